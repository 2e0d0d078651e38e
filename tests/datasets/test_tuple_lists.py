"""Lists of images and places, poses, co-visibility and pairs, in CSV and JSON; and folders of places."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.datasets.tuple_lists import tuples_of_list
from darkside_cli.datasets.tuples import TupleSet, tuples_of_folder
from darkside_cli.errors import MissingAssetError, UsageError

MakeImage = Callable[..., Path]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def pairs(tuples: TupleSet) -> set[tuple[str, str]]:
    return {
        (tuples.names[q], tuples.names[p])
        for q, p in zip(tuples.query_index.tolist(), tuples.positive_index.tolist(), strict=True)
    }


PLACES = "image,place\na1.jpg,tower\nb1.jpg,bridge\na2.jpg,tower\nb2.jpg,bridge\nc.jpg,gate\n"


def test_images_and_places(tmp_path: Path) -> None:
    tuples = tuples_of_list(write(tmp_path / "mine.csv", PLACES))
    assert tuples.name == "mine"
    assert tuples.names == ("a1.jpg", "b1.jpg", "a2.jpg", "b2.jpg", "c.jpg")
    assert tuples.paths[0] == tmp_path / "a1.jpg"
    assert tuples.clusters.tolist() == [0, 1, 0, 1, 2]
    assert tuples.places == ("tower", "bridge", "gate")
    assert pairs(tuples) == {
        ("a1.jpg", "a2.jpg"),
        ("a2.jpg", "a1.jpg"),
        ("b1.jpg", "b2.jpg"),
        ("b2.jpg", "b1.jpg"),
    }
    assert tuples_of_list(tmp_path / "mine.csv", images=Path("elsewhere")).paths[1] == Path(
        "elsewhere/b1.jpg"
    )


def test_the_same_in_json(tmp_path: Path) -> None:
    rows = [dict(zip(("image", "place"), line.split(","), strict=True)) for line in PLACES.split()[1:]]
    expected = tuples_of_list(write(tmp_path / "x.csv", PLACES)).describe()
    for number, document in enumerate((rows, {"images": rows})):
        path = write(tmp_path / f"{number}.json", json.dumps(document))
        assert tuples_of_list(path, name="x").describe() == expected


def test_titles_in_any_case_and_spaces(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", '\ufeffImage, Place, by\n"a, 1.jpg", tower, me\nb.jpg, tower, you\n')
    tuples = tuples_of_list(path)
    assert tuples.names == ("a, 1.jpg", "b.jpg")
    assert tuples.places == ("tower",)
    odd = tuples_of_list(write(tmp_path / "odd.csv", 'image,place\n"a\u2028b.jpg",t\n"two\nlines.jpg",t\n'))
    assert odd.names == ("a\u2028b.jpg", "two\nlines.jpg")
    with pytest.raises(UsageError, match="field larger"):
        tuples_of_list(write(tmp_path / "long.csv", f"image,place\n{'a' * 200_000},t\n"))


def test_nearest_cameras_that_look_the_same_way(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.csv",
        "image,place,x,y,heading\na,t,0,0,350\nb,t,1,0,20\nc,t,2,0,180\nd,t,9,0,0\ne,t,4,0,10\nz,other,0,0,0\n",
    )
    found = pairs(tuples_of_list(path, positives=2))
    assert {pair for pair in found if pair[0] == "a"} == {("a", "b"), ("a", "e")}  # c looks the other way
    assert {pair for pair in found if pair[0] == "d"} == {("d", "e"), ("d", "b")}
    assert not any("c" in pair or "z" in pair for pair in found)
    three = "image,place,x,y,z\na,t,0,0,0\nb,t,0,0,5\nc,t,0,3,0\n"
    assert ("a", "c") in pairs(tuples_of_list(write(tmp_path / "z.csv", three), positives=1))


def test_covisible_images(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "image,place,covisible\na,t,b;c\nb,t,\nc,t,a\nd,u,\n")
    assert pairs(tuples_of_list(path)) == {("a", "b"), ("a", "c"), ("c", "a")}
    document = [
        {"image": "a", "covisible": ["b"]},
        {"image": "b", "covisible": ["c"]},
        {"image": "d", "covisible": ["e"]},
        {"image": "c"},
        {"image": "e"},
        {"image": "f"},
    ]
    tuples = tuples_of_list(write(tmp_path / "x.json", json.dumps(document)))
    assert tuples.clusters.tolist() == [0, 0, 1, 0, 1, 2]  # a, b and c are one place
    assert pairs(tuples) == {("a", "b"), ("b", "c"), ("d", "e")}


def test_pairs(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "query,positive\na,b\nc,d\ne,b\n")
    tuples = tuples_of_list(path)
    assert tuples.names == ("a", "b", "c", "d", "e")
    assert tuples.clusters.tolist() == [0, 0, 1, 1, 0]
    assert pairs(tuples) == {("a", "b"), ("c", "d"), ("e", "b")}
    document = {"pairs": [{"query": "a", "positive": "b"}]}
    assert pairs(tuples_of_list(write(tmp_path / "x.json", json.dumps(document)))) == {("a", "b")}


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda p: p[0] != p[1]), min_size=1))
@settings(max_examples=60, deadline=None)
def test_places_of_pairs_are_connected_parts(
    tmp_path_factory: pytest.TempPathFactory, links: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("pairs") / "x.csv"
    write(path, "query,positive\n" + "".join(f"{a},{b}\n" for a, b in links))
    tuples = tuples_of_list(path)
    together = {name: {name} for name in tuples.names}
    for _ in tuples.names:  # until nothing changes
        for a, b in links:
            joined = together[str(a)] | together[str(b)]
            for name in joined:
                together[name] = joined
    for i, one in enumerate(tuples.names):
        for k, other in enumerate(tuples.names):
            assert (tuples.clusters[i] == tuples.clusters[k]) == (other in together[one])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,place\na,b\n", "no such columns: picture, place"),
        ("image,place\n", "lists no images"),
        ("image,place\na,t\na,t\n", "lists 'a' twice"),
        ("image,place\na,t\nb,\n", "b has no place"),
        ("image\na\nb\n", "a has no place"),
        ("image,place\na,t\n,t\n", "entry 2 has no 'image'"),
        ("image,place\na,t\nb,u\n", "no two images of one place"),
        ("image,place,x,y\na,t,1,2\nb,t,,\n", "some images have no position"),
        ("image,place,x,y\na,t,1,\nb,t,,\n", "a position needs x and y"),
        ("image,place,x,y\na,t,1,north\n", "'y' is 'north', not a number"),
        ("image,place,heading\na,t,3\nb,t,4\n", "headings, but no positions"),
        ("image,place,covisible\na,t,b\nb,u,\n", "are of the places t and u"),
        ("image,place,covisible\na,t,z\n", "names 'z', which is not listed"),
        ("image,place,covisible\na,t,a\n", "a names itself"),
        ("query,positive\na,\n", "entry 1 has no 'positive'"),
        ("query,positive\na,a\n", "its own positive"),
    ],
)
def test_lists_that_cannot_be_meant(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        tuples_of_list(write(tmp_path / "x.csv", text))
    assert message in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize("text", ["{", '"a"', "[1]", '{"images": 3}', "{}"])
def test_json_that_is_no_list(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="is no "):
        tuples_of_list(write(tmp_path / "x.json", text))


def test_json_of_wrong_kinds(tmp_path: Path) -> None:
    good = {"image": "a", "place": "t"}
    for wrong in (
        {"image": ["a"]},
        {"place": True},
        {"covisible": 3},
        {"covisible": [3]},
        {"x": [1], "y": 2},
    ):
        with pytest.raises(UsageError, match="entry 1"):
            tuples_of_list(write(tmp_path / "x.json", json.dumps([{**good, **wrong}])))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="no file"):
        tuples_of_list(tmp_path / "x.csv")
    with pytest.raises(UsageError, match="no list by its name"):
        tuples_of_list(tmp_path / "x.txt")
    write(tmp_path / "y.csv", "").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="cannot read"):
        tuples_of_list(tmp_path / "y.csv")


def test_a_folder_for_each_place(tmp_path: Path, make_image: MakeImage) -> None:
    for name in (
        "tower/10.jpg",
        "tower/9.jpg",
        "tower/night/n.png",
        "gate/one.jpg",
        "loose.jpg",
        ".hidden/h.jpg",
    ):
        make_image(tmp_path / "city" / name)
    (tmp_path / "city" / "tower" / "notes.txt").write_text("no image")
    tuples = tuples_of_folder(tmp_path / "city", positives=1)
    assert tuples.name == "city"
    assert tuples.names == ("gate/one.jpg", "tower/9.jpg", "tower/10.jpg", "tower/night/n.png")
    assert tuples.paths[1] == tmp_path / "city" / "tower" / "9.jpg"
    assert tuples.places == ("gate", "tower")
    assert tuples.clusters.tolist() == [0, 1, 1, 1]
    assert pairs(tuples) == {
        ("tower/9.jpg", "tower/night/n.png"),
        ("tower/10.jpg", "tower/9.jpg"),
        ("tower/night/n.png", "tower/10.jpg"),
    }
    assert tuples_of_folder(tmp_path / "city", positives=9).pairs == 6


def test_folders_that_are_no_places(tmp_path: Path, make_image: MakeImage) -> None:
    with pytest.raises(MissingAssetError, match="no folder"):
        tuples_of_folder(tmp_path / "nowhere")
    make_image(tmp_path / "a" / "1.jpg")
    make_image(tmp_path / "b" / "1.jpg")
    with pytest.raises(UsageError, match="2 images of 2 places"):
        tuples_of_folder(tmp_path)

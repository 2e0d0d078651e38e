"""Images described, looked up and scored from Python: what comes back, what is told, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_descriptor import WHITENED, write_small_descriptor

import darkside_cli
from darkside_cli.errors import MissingAssetError, UnknownNameError, UsageError
from darkside_cli.events import Event, ImageReady, ImagesNamed, ItemFailed, Notice, RunFinished
from darkside_cli.jobs.evaluate import EvaluateRequest
from darkside_cli.jobs.evaluate import run as score
from darkside_cli.jobs.extract import ExtractRequest
from darkside_cli.jobs.request import make
from darkside_cli.jobs.search import SearchRequest
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.describe.write import write_descriptors

MakeImage = Callable[..., Path]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKSIDE_HOME", environment["DARKSIDE_HOME"])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_small_descriptor(tmp_path / "net.safetensors", clahe={"clip_limit": 1.0, "grid_size": 8})


@pytest.fixture
def images(tmp_path: Path, make_image: MakeImage) -> Path:
    """Five images by day and, outside of ``day``, a copy of one of them."""
    for i in range(5):
        make_image(tmp_path / "images" / "day" / f"{i}.png", 128, 96, seed=i)
    shutil.copy(tmp_path / "images" / "day" / "2.png", tmp_path / "images" / "copy.png")
    return tmp_path / "images"


def test_a_folder_becomes_one_file(images: Path, model: Path, make_image: MakeImage, tmp_path: Path) -> None:
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    events: list[Event] = []
    options: dict[str, Any] = {"model": model, "output": "out/x.h5", "image_size": 96, "recursive": True}
    result = darkside_cli.extract("images", **options, emit=events.append)
    names = ("copy.png", *(f"day/{i}.png" for i in range(5)))
    assert (result.file, result.model, result.dim) == (Path("out/x.h5"), str(model), WHITENED)
    assert (result.images, result.done, result.skipped, result.failed) == (6, 6, 0, ("broken.jpg",))
    assert [event.source for event in events if isinstance(event, ItemFailed)] == [Path("images/broken.jpg")]
    assert len([event for event in events if isinstance(event, ImageReady)]) == 6
    (named,) = (event for event in events if isinstance(event, ImagesNamed))
    assert sorted(named.names.values()) == ["broken.jpg", *names]
    stored = open_descriptors("out/x.h5")
    assert stored.names == names
    assert stored.metadata["image_root"] == str(images)
    assert (stored.metadata["failed"], stored.metadata["image_size"]) == (["broken.jpg"], 96)
    np.testing.assert_allclose(np.linalg.norm(stored.read(), axis=1), 1, rtol=1e-5)
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["x.h5"]
    # The broken image is mended: only that is described. Then there is nothing to do, and the same is answered.
    make_image(images / "broken.jpg", 64, 64)
    again = darkside_cli.extract("images", **options)
    assert (again.images, again.done, again.skipped, again.failed) == (7, 1, 6, ())
    rows = dict(
        zip(open_descriptors("out/x.h5").names or (), open_descriptors("out/x.h5").read(), strict=True)
    )
    for name, row in zip(names, stored.read(), strict=False):
        np.testing.assert_array_equal(rows[name], row)
    before = Path("out/x.h5").stat().st_mtime_ns
    assert darkside_cli.extract("images", **options).skipped == 7
    assert Path("out/x.h5").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match=r"made with another image_size \(96, not 64\)"):
        darkside_cli.extract("images", **{**options, "image_size": 64})


def test_images_are_read_at_the_size_that_the_model_is_for(images: Path, tmp_path: Path) -> None:
    """As recorded with the model, unless another one is asked for; what is added to a file has that of the file."""
    model = write_small_descriptor(tmp_path / "sized.safetensors", image_size_px=80)
    one, options = images / "day" / "0.png", {"model": str(model), "overwrite": True}

    def size_of(**more: Any) -> Any:
        darkside_cli.extract(one, output="x.h5", **{**options, **more})
        return open_descriptors("x.h5").metadata["image_size"]

    own = size_of()
    assert own == 80
    (found,) = darkside_cli.search(one, index="x.h5", with_self=True).answers
    assert found.found[0].score == pytest.approx(1, abs=1e-5)
    assert (size_of(image_size=96), size_of(image_size=0)) == (96, None)
    size_of(image_size=96)
    darkside_cli.extract(images / "day" / "1.png", output="x.h5", append=True)
    assert open_descriptors("x.h5").metadata["image_size"] == 96
    assert len(open_descriptors("x.h5").names or ()) == 2
    places = tmp_path / "places"
    for number, part in enumerate(("a/day", "a/night", "b/day", "b/night")):
        (places / part).mkdir(parents=True)
        shutil.copy(images / "day" / f"{number}.png", places / part / f"{number}.png")
    darkside_cli.evaluate(model, dataset=places, keep="kept")
    (kept,) = (tmp_path / "kept").glob("*.h5")
    assert open_descriptors(kept).metadata["image_size"] == 80
    written = darkside_cli.whiten(places, model=model, output="w.safetensors", method="pca")
    assert written.whitening.metadata["descriptors"]["image_size"] == 80
    odd = write_small_descriptor(tmp_path / "odd.safetensors", image_size_px="large")
    assert size_of(model=str(odd)) == 1024


def test_images_are_added_to_an_index_and_found_there(
    images: Path, model: Path, make_image: MakeImage, tmp_path: Path
) -> None:
    """Neither adding nor searching describes again what is in the file; names start from where they did."""
    options: dict[str, Any] = {"model": model, "output": "x.h5", "image_size": 96, "recursive": True}
    darkside_cli.extract("images", **options)
    make_image(images / "new" / "a.png", 128, 96, seed=7)
    make_image(tmp_path / "elsewhere" / "b.png", 128, 96, seed=8)
    events: list[Event] = []
    as_recorded = {**options, "model": None}  # what the file was made with
    added = darkside_cli.extract("images/new", append=True, **as_recorded, emit=events.append)
    assert [event.source for event in events if isinstance(event, ImageReady)] == [Path("images/new/a.png")]
    assert (added.images, added.done) == (7, 1)
    stored = open_descriptors("x.h5")
    assert (stored.names or ())[-1] == "new/a.png"
    assert stored.metadata["image_root"] == str(images)
    with pytest.raises(UsageError, match="is not in") as caught:
        darkside_cli.extract("elsewhere/b.png", append=True, **options)
    assert f"--image-root {tmp_path}" in str(caught.value.hint)
    with pytest.raises(MissingAssetError, match=r"there is no file elsewhere/no\.png"):
        darkside_cli.extract("elsewhere/no.png", append=True, **options)
    with pytest.raises(UsageError, match="--append keeps"):
        darkside_cli.extract("images", append=True, overwrite=True, **options)
    with pytest.raises(UsageError, match=r"nothing can be added to \.npy"):
        darkside_cli.extract("images", append=True, **{**options, "output": "x.npy"})
    shutil.copy(images / "new" / "a.png", "query.png")
    events.clear()
    answer = darkside_cli.search("query.png", index="x.h5", top=1, emit=events.append).answers[0]
    assert answer.found[0].image == "new/a.png"
    assert answer.found[0].score == pytest.approx(1, abs=1e-5)
    assert [event.source for event in events if isinstance(event, ImageReady)] == [Path("query.png")]


def test_images_are_added_as_those_in_the_file_were_made(images: Path, model: Path) -> None:
    """Nothing of it need be said again; what contradicts it is refused, and the hint is none that loses the file."""
    first, second = images / "day" / "0.png", images / "day" / "1.png"
    whole: dict[str, Any] = {
        "model": model, "image_size": 80, "scales": "ss", "dim": 8, "clahe": "2.0:4", "precision": "bf16",
    }  # fmt: skip
    darkside_cli.extract([first, second], output="both.npz", image_root=images, **whole)
    darkside_cli.extract(first, output="x.npz", image_root=images, **whole)
    darkside_cli.extract(second, output="x.npz", append=True)
    both, added = open_descriptors("both.npz"), open_descriptors("x.npz")
    np.testing.assert_array_equal(added.read(), both.read())
    assert (added.names, dict(added.metadata)) == (both.names, dict(both.metadata))
    darkside_cli.extract(second, output="x.npz", append=True, **whole)  # the same, said again
    before = Path("x.npz").read_bytes()
    for option, value, flag in (
        ("image_size", 96, "--image-size"), ("scales", "ms", "--scales"), ("dim", 9, "--dim"),
        ("whiten", False, "--no-whiten"), ("clahe", "none", "--clahe"), ("precision", "fp32", "--precision"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            darkside_cli.extract(images / "copy.png", output="x.npz", append=True, **{option: value})
        assert f"leave {flag} out" in str(caught.value.hint)
        assert "overwrite" not in str(caught.value.hint)
    other = write_small_descriptor(images.parent / "other.safetensors", seed=1)
    with pytest.raises(UsageError, match="another model") as caught:
        darkside_cli.extract(images / "copy.png", output="x.npz", append=True, model=other)
    assert caught.value.hint == "leave --model out, or write to another file"
    assert Path("x.npz").read_bytes() == before
    darkside_cli.extract(first, output="plain.npz", image_root=images, model=model, whiten=False)
    darkside_cli.extract(second, output="plain.npz", append=True)
    assert open_descriptors("plain.npz").metadata["whiten"] is False
    np.savez("theirs.npz", descriptors=np.zeros((1, 3), dtype=np.float32), names=["a"])
    with pytest.raises(UsageError, match="not made by darkside extract") as caught:
        darkside_cli.extract(first, output="theirs.npz", append=True, model=model)
    assert "overwrite" not in str(caught.value.hint)


def test_names_of_all_images_in_a_file_start_from_one_folder(
    images: Path, model: Path, make_image: MakeImage, tmp_path: Path
) -> None:
    """Whatever is added: else some of them could not be found again."""
    new = make_image(tmp_path / "new" / "0.png", 96, 80, seed=7)
    options: dict[str, Any] = {"model": model, "output": "x.h5", "append": True}

    def facts() -> tuple[Any, Any]:
        stored = open_descriptors("x.h5")
        root = Path(stored.metadata["image_root"])
        assert all((root / name).is_file() for name in stored.names or ())
        return root, stored.names

    darkside_cli.extract(images / "day", **{**options, "append": False})
    names = tuple(f"{i}.png" for i in range(5))
    for root in ("new", "nothing"):
        with pytest.raises((UsageError, MissingAssetError)):
            darkside_cli.extract(new, image_root=root, **options)
    with pytest.raises(UsageError, match="called by their paths from") as caught:
        darkside_cli.extract(new, image_root="new", **options)
    assert "leave --image-root out" in str(caught.value.hint)
    assert facts() == (images / "day", names)
    # Another spelling of the same folder is the same; one that both are in calls all of them from there.
    (tmp_path / "link").symlink_to(images / "day")
    assert darkside_cli.extract(tmp_path / "link" / "0.png", image_root="link", **options).done == 0
    assert facts() == (images / "day", names)
    (images / "day" / "broken.png").write_bytes(b"broken")
    darkside_cli.extract([images / "day" / "broken.png", images / "copy.png"], image_root="images", **options)
    assert facts() == (images, (*(f"day/{name}" for name in names), "copy.png"))
    assert open_descriptors("x.h5").metadata["failed"] == ["day/broken.png"]
    rows = open_descriptors("x.h5").read()
    told: list[Event] = []
    with pytest.raises(UsageError, match="image size"):  # and nothing is said of other names
        darkside_cli.extract(new, image_root=tmp_path, image_size=64, **options, emit=told.append)
    assert not any("from now on" in each.message for each in told if isinstance(each, Notice))
    darkside_cli.extract(new, image_root=tmp_path, **options, emit=told.append)
    assert any("images/day/0.png was day/0.png" in each.message for each in told if isinstance(each, Notice))
    wide = (*(f"images/day/{name}" for name in names), "images/copy.png", "new/0.png")
    assert facts() == (tmp_path, wide)
    assert open_descriptors("x.h5").metadata["failed"] == ["images/day/broken.png"]
    np.testing.assert_array_equal(open_descriptors("x.h5").read()[:6], rows)
    # All images have moved, and their names with them.
    (tmp_path / "moved").mkdir()
    for part in ("images", "new"):
        (tmp_path / part).rename(tmp_path / "moved" / part)
    moved = tmp_path / "moved" / "images" / "day" / "broken.png"
    make_image(moved, 96, 80, seed=8)
    stored = open_descriptors("x.h5")
    gone = {**stored.metadata, "image_root": str(tmp_path / "gone")}
    write_descriptors(Path("x.h5"), stored.names or (), [stored.read()], stored.dim, metadata=gone)
    with pytest.raises(MissingAssetError, match="is not there") as absent:
        darkside_cli.extract(moved, **options)
    assert "--image-root" in str(absent.value.hint)
    assert darkside_cli.extract(moved, image_root="moved", **options).done == 1
    assert facts() == (tmp_path / "moved", (*wide, "images/day/broken.png"))
    # Files whose names start from several folders stay such.
    darkside_cli.extract([tmp_path / "moved" / "new" / "0.png"], model=model, output="y.h5", image_size=96)
    stored = open_descriptors("y.h5")
    unknown = {**stored.metadata, "image_root": None}
    write_descriptors(Path("y.h5"), stored.names or (), [stored.read()], stored.dim, metadata=unknown)
    darkside_cli.extract(moved, output="y.h5", append=True)
    assert open_descriptors("y.h5").metadata["image_root"] is None


def test_names_start_from_a_folder_that_was_named_from_another_one(
    images: Path, model: Path, make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image(tmp_path / "new" / "0.png", 96, 80, seed=7)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    darkside_cli.extract("../images/day", model=model, output="x.h5")
    stored = open_descriptors("x.h5")
    assert stored.metadata["image_root"] == str((images / "day").resolve())
    with pytest.raises(UsageError) as caught:
        darkside_cli.extract("../new", output="x.h5", append=True)
    assert f"--image-root {tmp_path.resolve()} " in str(caught.value.hint)
    # As such files were once written.
    old = {**stored.metadata, "image_root": str(tmp_path / "work/../images/day")}
    write_descriptors(Path("x.h5"), stored.names or (), [stored.read()], stored.dim, metadata=old)
    with pytest.raises(UsageError, match="called by their paths from"):
        darkside_cli.extract("../new", output="x.h5", append=True, image_root=tmp_path / "work")
    added = darkside_cli.extract(["../new", "../images/day"], output="x.h5", append=True, image_root="..")
    assert added.done == 1
    assert open_descriptors("x.h5").names == (*(f"images/day/{i}.png" for i in range(5)), "new/0.png")


def test_no_image_at_all(model: Path, tmp_path: Path) -> None:
    told: list[Event] = []
    nothing = darkside_cli.extract([], model=model, output="x.h5", emit=told.append)
    assert told == [Notice("no image names came in: nothing to do")]
    assert (nothing.file, nothing.images, nothing.failed) == (None, 0, ())
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    broken = darkside_cli.extract(["broken.jpg", "no.jpg"], model=model, output="x.h5", on_error="nan")
    assert (broken.file, broken.images, broken.failed) == (None, 0, ("broken.jpg", "no.jpg"))
    assert broken.document().keys() == nothing.document().keys()
    assert not Path("x.h5").exists()


def test_files_with_names_of_their_own(images: Path, model: Path) -> None:
    request = ExtractRequest(
        named=((images / "day" / "3.png", "here/three"), (images / "copy.png", "two")), model=str(model),
        output=Path("x.npz"), image_size=96,
    )  # fmt: skip
    from darkside_cli.jobs.extract import run

    assert run(request).images == 2
    assert open_descriptors("x.npz").names == ("here/three", "two")


@pytest.mark.parametrize("null", [False, True])
def test_a_list_of_images(images: Path, model: Path, null: bool) -> None:
    from darkside_cli.jobs.extract import run

    names = ("day/3.png", "copy.png")
    Path("list.txt").write_bytes(("\0" if null else "\n").join(names).encode())
    request = ExtractRequest(
        image_root=images,
        image_list=Path("list.txt"),
        null=null,
        model=str(model),
        output=Path("x.npz"),
        image_size=96,
    )
    assert run(request).images == 2
    assert open_descriptors("x.npz").names == names


def test_images_are_looked_up(images: Path, model: Path, tmp_path: Path) -> None:
    darkside_cli.extract(images, model=model, output="x.h5", image_size=96, recursive=True)
    shutil.copy(images / "day" / "2.png", "query.png")
    events: list[Event] = []
    queries = ["query.png", "missing.png", images / "day" / "1.png"]
    result = darkside_cli.search(queries, index="x.h5", top=3, gallery="page.html", emit=events.append)
    assert [answer.query for answer in result.answers] == [Path("query.png"), images / "day" / "1.png"]
    assert result.failed == {Path("missing.png"): "no such file"}
    assert [answer.left_out for answer in result.answers] == [None, "day/1.png"]
    first = result.answers[0].found
    assert {each.image for each in first[:2]} == {"copy.png", "day/2.png"}
    assert [len(answer.found) for answer in result.answers] == [3, 3]
    # The order is that of the scores of all images, computed by hand.
    stored = open_descriptors("x.h5")
    table = stored.read()
    scores = dict(
        zip(stored.names or (), table @ table[(stored.names or ()).index("day/2.png")], strict=True)
    )
    assert [each.score for each in first] == pytest.approx(sorted(scores.values())[:2:-1], abs=1e-5)
    assert all(each.score == pytest.approx(scores[each.image], abs=1e-5) for each in first)
    lines = result.documents()
    assert [(line["query"], "error" in line) for line in lines] == list(
        zip(result.queries, (False, True, False), strict=True)
    )
    assert json.dumps(result.document(), default=str)
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert notices[0].startswith("1 query is in the index")
    assert notices[-1] == "gallery: page.html"
    assert "no picture here" not in Path("page.html").read_text()


@pytest.fixture
def places(tmp_path: Path, make_image: MakeImage) -> Path:
    """Three places; each night image is its place's day image, darker."""
    for number in range(3):
        day = make_image(tmp_path / "places" / f"p{number}" / "day" / "d.png", 96, 80, seed=number)
        night = tmp_path / "places" / f"p{number}" / "night" / "n.png"
        night.parent.mkdir()
        Image.open(day).point(lambda v: v // 2).save(night)
    return tmp_path / "places"


def test_a_model_is_scored_and_so_are_descriptors(places: Path, model: Path) -> None:
    events: list[Event] = []
    result = darkside_cli.evaluate(
        model, dataset=places, image_size=96, keep="kept", gallery="page.html", emit=events.append
    )
    (one,) = result.evaluations
    assert (one.model, one.descriptors, one.failed) == (str(model), None, ())
    assert [(line.model, line.dataset, line.protocol) for line in result.lines] == [
        (str(model), "places", "ok")
    ]
    value = one.scores.protocol("ok").mean_average_precision
    assert result.lines[0].mean_average_precision == pytest.approx(100 * value)
    assert any(isinstance(event, RunFinished) and event.done == 6 for event in events)
    assert Path("page.html").read_text().count("<section") == 3
    bare = EvaluateRequest(model=(str(model),), dataset=(str(places),), image_size=96, top=2)
    (without,), (top,) = (score(replace(bare, with_top=wanted)).evaluations for wanted in (False, True))
    assert without.scores.top is None
    assert [len(found) for found in top.scores.top or ()] == [2, 2, 2]
    (kept,) = Path("kept").iterdir()
    again = darkside_cli.evaluate(descriptors=kept, dataset=places)
    assert (again.evaluations[0].descriptors, again.evaluations[0].model) == (str(kept), str(model))
    first, second = result.document()["results"][0], again.document()["results"][0]
    assert first["protocols"] == second["protocols"]
    assert [query["name"] for query in first["protocols"]["ok"]["per_query"]] == [
        f"p{i}/night/n.png" for i in range(3)
    ]


@pytest.mark.parametrize(
    ("request_type", "options", "words"),
    [
        (ExtractRequest, {"model": "m", "output": "x.txt"}, "x.txt is no name for a file of descriptors"),
        (ExtractRequest, {"model": "m", "output": "."}, "is a folder"),
        (ExtractRequest, {"model": "m"}, "needs output"),
        (ExtractRequest, {"model": "m", "output": "x.h5", "format": "npy"}, "no name for a file of npy"),
        (ExtractRequest, {"model": "m", "output": "x.h5", "on_error": "stop"}, "unknown way 'stop'"),
        (ExtractRequest, {"model": "m", "output": "x.h5", "scales": "huge"}, "are no scales"),
        (ExtractRequest, {"model": "m", "output": "x.h5", "clahe": "much"}, "no settings of CLAHE"),
        (ExtractRequest, {"model": "m", "output": "x.h5", "device": "gpu"}, "unknown device"),
        (SearchRequest, {"index": "x.h5", "whiten": False, "whitening": "w.pkl"}, "contradict each other"),
        (SearchRequest, {"index": "x.h5", "backend": "fais"}, "did you mean faiss"),
        (SearchRequest, {"index": "x.h5", "gallery": "."}, "is a folder"),
        (SearchRequest, {"index": "x.h5", "top": 0}, "top must be at least 1"),
        (EvaluateRequest, {"model": "m"}, "no data set given"),
        (EvaluateRequest, {"dataset": "x", "model": "m", "descriptors": "d.h5"}, "either --model or --desc"),
        (EvaluateRequest, {"model": ["a", "b"], "dataset": "x", "gallery": "g.html"}, "one model on one"),
        (EvaluateRequest, {"descriptors": "d.h5", "dataset": "x", "dim": 3}, "--dim says how a model"),
        (EvaluateRequest, {"descriptors": "d.h5", "dataset": "x", "whiten": False}, "--no-whiten says how"),
        (EvaluateRequest, {"descriptors": "d.h5", "dataset": "x", "image_size": 9}, "--image-size says how"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    request_type: type[ExtractRequest | SearchRequest | EvaluateRequest],
    options: dict[str, object],
    words: str,
) -> None:
    """Before anything is looked for, by every way of asking."""
    with pytest.raises(UsageError) as refused:
        make(request_type, **options)
    assert words in f"{refused.value.message}; {refused.value.hint}"


def test_usage_is_told_before_absence(images: Path) -> None:
    with pytest.raises(UnknownNameError, match="gem_vgg16_hedngam"):
        darkside_cli.extract("nothere", model="gem_vgg16_hedngam", output="x.h5")
    with pytest.raises(UnknownNameError, match="tokyo274"):
        darkside_cli.evaluate("no.pth", dataset="tokyo274")
    (images / "empty").mkdir()
    with pytest.raises(UsageError, match="no images in images/empty"):
        darkside_cli.search("images/empty", index="no.h5")
    with pytest.raises(MissingAssetError, match=r"no\.h5"):
        darkside_cli.search("images", index="no.h5", recursive=True)
    with pytest.raises(MissingAssetError, match=r"hedngan_embed_vgg16\.pth"):
        darkside_cli.extract("images", model="gem_vgg16_hedngan", output="x.h5", recursive=True)

"""``darkside search`` as a real process: lines, JSON, the page, and refusals."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_calls import RunCli, RunHere
from small_descriptor import write_small_descriptor

from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.describe.write import write_descriptors

MakeImage = Callable[..., Path]


@pytest.fixture
def index(run_inside: RunCli, make_image: MakeImage, tmp_path: Path) -> Path:
    """Six photographs in a folder, two of them alike, and their descriptors."""
    model = write_small_descriptor(tmp_path / "net.safetensors")
    for i in range(5):
        make_image(tmp_path / "photos" / "day" / f"{i}.png", 128, 96, seed=i)
    shutil.copy(tmp_path / "photos" / "day" / "2.png", tmp_path / "photos" / "copy.png")
    done = run_inside("extract", "photos", "-r", "-o", "x.h5", "--model", model, "--image-size", "96")
    assert done.returncode == 0, done.stderr
    return tmp_path / "x.h5"


def test_search(run_inside: RunCli, index: Path, tmp_path: Path, make_image: MakeImage) -> None:
    query = shutil.copy(tmp_path / "photos" / "day" / "2.png", tmp_path / "query.png")
    done = run_inside(
        "search", "--index", index, query, "missing.png", "--top", "3", "--gallery", "page.html"
    )
    assert done.returncode == 1
    assert b"missing.png: " in done.stderr
    assert b"gallery: page.html" in done.stderr
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert [row[:2] for row in rows] == [[str(query), str(rank)] for rank in (1, 2, 3)]
    assert {row[3] for row in rows[:2]} == {"copy.png", "day/2.png"}
    assert [row[2] for row in rows[:2]] == ["1.000000", "1.000000"]
    assert float(rows[2][2]) < 1
    page = (tmp_path / "page.html").read_text()
    assert page.count("background-image: url(data:image/jpeg") == 4
    assert "no picture here" not in page
    # The order is that of the scores of all images, computed by hand.
    stored = open_descriptors(index)
    table = stored.read()
    scores = table @ table[(stored.names or ()).index("day/2.png")]
    json_done = run_inside("search", "-i", index, query, "--json", "--backend", "exact")
    answer = json.loads(json_done.stdout)
    assert answer["failed"] == []
    found = answer["queries"][0]
    assert found["query"] == str(query)
    assert [each["rank"] for each in found["results"]] == [1, 2, 3, 4, 5, 6]
    by_name = dict(zip(stored.names or (), scores, strict=True))
    for each in found["results"]:
        assert each["score"] == pytest.approx(by_name[each["image"]], abs=1e-5)
    assert [each["score"] for each in found["results"]] == sorted(
        (each["score"] for each in found["results"]), reverse=True
    )


@pytest.mark.slow
def test_queries_that_fail_are_in_the_answers(run_inside: RunCli, index: Path, tmp_path: Path) -> None:
    arguments = ("search", "-i", index, "missing.png", "photos/copy.png", "-k", "1")
    answer = json.loads(run_inside(*arguments, "--json").stdout)
    assert answer["failed"] == ["missing.png"]
    assert [query["query"] for query in answer["queries"]] == ["photos/copy.png"]
    model = answer["model"]
    lines = [json.loads(line) for line in run_inside(*arguments, "--jsonl").stdout.splitlines()]
    # In the order that they were given in, whatever became of them.
    assert lines[0] == {"query": "missing.png", "error": "no such file", "model": model}
    assert (lines[1]["query"], lines[1]["model"]) == ("photos/copy.png", model)
    assert model.endswith("net.safetensors")


def test_names_through_a_pipe_and_images_elsewhere(run_inside: RunCli, index: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").rename(tmp_path / "moved")
    done = run_inside(
        "search",
        "-i",
        index,
        "-k",
        "2",
        "--jsonl",
        "--gallery",
        "page.html",
        stdin=b"moved/day/1.png\nmoved/day/4.png\n",
    )
    assert done.returncode == 0, done.stderr
    items = [json.loads(line) for line in done.stdout.splitlines()]
    assert [item["query"] for item in items] == ["moved/day/1.png", "moved/day/4.png"]
    assert [item["results"][0]["image"] for item in items] == ["day/1.png", "day/4.png"]
    assert [len(item["results"]) for item in items] == [2, 2]
    assert b"name their folder with --images" in done.stderr
    again = run_inside(
        "search", "-i", index, "-k", "2", "moved/day/1.png", "--gallery", "page.html", "--images", "moved"
    )
    assert b"--images" not in again.stderr
    assert "no picture here" not in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_refusals(run_inside: RunCli, index: Path, tmp_path: Path) -> None:
    write_small_descriptor(tmp_path / "another.safetensors", seed=1)
    write_descriptors(tmp_path / "foreign.npz", ["a"], [np.ones((1, 9), dtype=np.float32)], 9)
    (tmp_path / "empty").mkdir()

    def told(code: int, *arguments: str | Path, stdin: bytes = b"") -> str:
        done = run_inside("search", *arguments, stdin=stdin)
        message = done.stderr.decode()
        assert (done.returncode, done.stdout) == (code, b""), message
        assert message.count("\n") == 1, message
        return message

    image = "photos/copy.png"
    assert "Missing option '--index'" in told(2, image)
    assert "there is no file" in told(3, "-i", "none.h5", image)
    assert "other weights than another.safetensors" in told(
        2, "-i", index, "-m", "another.safetensors", image
    )
    assert "does not say which model" in told(2, "-i", "foreign.npz", image)
    assert "9 dimensions" in told(2, "-i", "foreign.npz", "-m", "net.safetensors", image)
    assert "no images in empty" in told(2, "-i", index, "empty")
    assert "nothing to do" in told(0, "-i", index)
    (tmp_path / "net.safetensors").unlink()
    assert "was made with" in told(3, "-i", index, image)


def test_doubtful_indexes_and_empty_pipes(
    run_here: RunHere, make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_descriptor(tmp_path / "net.safetensors")
    image = make_image(tmp_path / "photo.png", 96, 80)
    rows = 3 * np.eye(24, dtype=np.float32)[:2]
    np.savez(tmp_path / "long.npz", descriptors=rows, names=np.array(["a", "b"]))
    np.savez(tmp_path / "none.npz", descriptors=rows * np.nan, names=np.array(["a", "b"]))
    long = run_here("search", "-i", "long.npz", "-m", "net.safetensors", image, "--json")
    assert long.returncode == 0, long.stderr
    assert len(json.loads(long.stdout)["queries"][0]["results"]) == 2
    assert "warning: long.npz: 2 descriptors are not of unit length" in long.stderr
    none = run_here("search", "-i", "none.npz", "-m", "net.safetensors", image)
    assert (none.returncode, none.stdout) == (0, "")
    assert "warning: none.npz has no descriptors: there is nothing to find" in none.stderr
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    pipe = run_here("search", "-i", "long.npz", "-m", "net.safetensors", "--json")
    assert (pipe.returncode, "nothing to do" in pipe.stderr) == (0, True)
    assert json.loads(pipe.stdout) == {
        "index": "long.npz",
        "model": "net.safetensors",
        "queries": [],
        "failed": [],
    }
    (tmp_path / "pages").mkdir()
    page = run_here("search", "-i", "long.npz", "-m", "net.safetensors", image, "--gallery", "pages")
    assert (page.returncode, page.stdout) == (2, "")
    assert page.stderr == "darkside: pages is a folder; name a file, such as gallery.html\n"


def test_faiss(run_inside: RunCli, index: Path) -> None:
    done = run_inside("search", "-i", index, "photos/copy.png", "-k", "1", "--backend", "faiss")
    try:
        import faiss  # noqa: F401
    except ImportError:
        assert done.returncode == 3
        assert b"pip install 'darkside-cli[faiss]'" in done.stderr
    else:
        exact: subprocess.CompletedProcess[bytes] = run_inside(
            "search", "-i", index, "photos/copy.png", "-k", "1"
        )
        assert done.stdout.split(b"\t")[3] in (b"copy.png\n", b"day/2.png\n")
        assert done.stdout.split(b"\t")[2] == exact.stdout.split(b"\t")[2]


def written_by_hloc(path: Path, rows: dict[str, np.ndarray]) -> Path:
    """As hloc's extract_features leaves it: half precision, and each image's size beside its descriptor."""
    with h5py.File(path, "w", libver="latest") as file:
        for name, row in rows.items():
            group = file.create_group(name)
            group.create_dataset("global_descriptor", data=row.astype(np.float16))
            group.create_dataset("image_size", data=np.array([128, 96]))
    return path


def test_an_index_that_hloc_wrote(run_here: RunHere, make_image: MakeImage, tmp_path: Path) -> None:
    """It says nothing of a model or a whitening, and search had no --no-whiten, which its own hint named."""
    model = write_small_descriptor(tmp_path / "net.safetensors", whitened=False)
    for i in range(3):
        make_image(tmp_path / "images" / "db" / f"{i}.png", 128, 96, seed=i)
    made = run_here("extract", "images", "-r", "-m", model, "-o", "ours.h5", "--no-whiten", "--scales", "ss")
    assert made.returncode == 0, made.stderr
    ours = open_descriptors(tmp_path / "ours.h5")
    written_by_hloc(tmp_path / "theirs.h5", dict(zip(ours.names or (), ours.read(), strict=True)))
    common = ("search", "-i", "theirs.h5", "-m", model, "images/db/1.png", "--scales", "ss")
    refused = run_here(*common)
    assert refused.returncode == 3
    offered = set(re.findall(r"--[a-z-]+", refused.stderr))
    assert "--no-whiten" in offered
    help_page = run_here("search", "--help").stdout
    assert all(option in help_page for option in offered)
    found = run_here(*common, "--no-whiten", "--json")
    assert (found.returncode, found.stderr.count("\n")) == (0, 1), found.stderr
    results = json.loads(found.stdout)["queries"][0]["results"]
    assert results[0]["image"] == "db/1.png"
    assert results[0]["score"] == pytest.approx(1, abs=1e-3)
    # Where names start is not recorded, so that the query's own can only be told if it is said.
    told = run_here(*common, "--no-whiten", "--json", "--images", "images")
    query = json.loads(told.stdout)["queries"][0]
    assert query["left_out"] == "db/1.png"
    assert {each["image"] for each in query["results"]} == {"db/0.png", "db/2.png"}
    both = run_here(*common, "--no-whiten", "--whitening", "w.pkl")
    assert (both.returncode, "contradict" in both.stderr) == (2, True)
    # An index of ours says how it was made: another way is refused, with the option that is wrong.
    other = run_here("search", "-i", "ours.h5", "images/db/1.png", "--scales", "ms")
    assert other.returncode == 2
    assert "leave --scales out: the file says how it was made" in other.stderr
    size = run_here("search", "-i", "ours.h5", "images/db/1.png", "--image-size", "64")
    assert (
        size.stderr
        == "darkside: ours.h5 was made with an image size of 1024, not 64; leave --image-size out\n"
    )


def test_the_query_itself_is_not_found(run_here: RunHere, make_image: MakeImage, tmp_path: Path) -> None:
    model = write_small_descriptor(tmp_path / "net.safetensors")
    for i in range(4):
        make_image(tmp_path / "photos" / "day" / f"{i}.png", 128, 96, seed=i)
    made = run_here("extract", "photos", "-r", "-m", model, "-o", "x.npz", "--json")
    assert made.returncode == 0, made.stderr
    shutil.copy(tmp_path / "photos" / "day" / "2.png", tmp_path / "outside.png")
    (tmp_path / "link.png").symlink_to("photos/day/3.png")
    queries = ("photos/day/1.png", "outside.png", "link.png")
    done = run_here("search", "-i", "x.npz", *queries, "-k", "3", "--jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["left_out"] for line in lines] == ["day/1.png", None, "day/3.png"]
    assert [len(line["results"]) for line in lines] == [3, 3, 3]
    assert [[each["rank"] for each in line["results"]] for line in lines] == [[1, 2, 3]] * 3
    assert lines[1]["results"][0]["image"] == "day/2.png"
    for line in lines:
        assert line["left_out"] not in [each["image"] for each in line["results"]]
    assert "2 queries are in the index and not named as found; --with-self names them too" in done.stderr
    kept = run_here("search", "-i", "x.npz", "photos/day/1.png", "-k", "1", "--with-self")
    assert kept.stdout.split("\t")[3] == "day/1.png\n"
    assert "--with-self" not in kept.stderr
    # The folder has moved: the name that it is called by from there is enough.
    (tmp_path / "photos").rename(tmp_path / "moved")
    moved = run_here("search", "-i", "x.npz", "moved/day/1.png", "-k", "1", "--images", "moved")
    assert moved.stdout.split("\t")[3] != "day/1.png\n"

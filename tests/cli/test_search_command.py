"""``darkside search`` as a real process: lines, JSON, the page, and refusals."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_descriptor import write_small_descriptor
from tests_support import RunCli, RunHere

from darkside_cli.retrieval.store import open_descriptors, write_descriptors

MakePhoto = Callable[..., Path]


@pytest.fixture
def index(run_cli: RunCli, make_photo: MakePhoto, tmp_path: Path) -> Path:
    """Six photographs in a folder, two of them alike, and their descriptors."""
    model = write_small_descriptor(tmp_path / "net.safetensors")
    for i in range(5):
        make_photo(tmp_path / "photos" / "day" / f"{i}.png", 128, 96, seed=i)
    shutil.copy(tmp_path / "photos" / "day" / "2.png", tmp_path / "photos" / "copy.png")
    done = run_cli("extract", "photos", "-r", "-o", "x.h5", "--model", model, "--image-size", "96")
    assert done.returncode == 0, done.stderr
    return tmp_path / "x.h5"


def test_search(run_cli: RunCli, index: Path, tmp_path: Path, make_photo: MakePhoto) -> None:
    query = shutil.copy(tmp_path / "photos" / "day" / "2.png", tmp_path / "query.png")
    done = run_cli("search", "--index", index, query, "missing.png", "--top", "3", "--gallery", "page.html")
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
    json_done = run_cli("search", "-i", index, query, "--json", "--backend", "exact")
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
def test_queries_that_fail_are_in_the_answers(run_cli: RunCli, index: Path, tmp_path: Path) -> None:
    arguments = ("search", "-i", index, "photos/copy.png", "missing.png", "-k", "1")
    answer = json.loads(run_cli(*arguments, "--json").stdout)
    assert answer["failed"] == ["missing.png"]
    assert [query["query"] for query in answer["queries"]] == ["photos/copy.png"]
    lines = [json.loads(line) for line in run_cli(*arguments, "--jsonl").stdout.splitlines()]
    assert lines[1] == {"query": "missing.png", "error": "no such file"}


def test_names_through_a_pipe_and_pictures_elsewhere(run_cli: RunCli, index: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").rename(tmp_path / "moved")
    done = run_cli(
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
    again = run_cli(
        "search", "-i", index, "-k", "2", "moved/day/1.png", "--gallery", "page.html", "--images", "moved"
    )
    assert b"--images" not in again.stderr
    assert "no picture here" not in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_refusals(run_cli: RunCli, index: Path, tmp_path: Path) -> None:
    write_small_descriptor(tmp_path / "another.safetensors", seed=1)
    write_descriptors(tmp_path / "foreign.npz", ["a"], [np.ones((1, 9), dtype=np.float32)], 9)
    (tmp_path / "empty").mkdir()

    def told(code: int, *arguments: str | Path, stdin: bytes = b"") -> str:
        done = run_cli("search", *arguments, stdin=stdin)
        message = done.stderr.decode()
        assert (done.returncode, done.stdout) == (code, b""), message
        assert message.count("\n") == 1, message
        return message

    photo = "photos/copy.png"
    assert "Missing option '--index'" in told(2, photo)
    assert "there is no file" in told(3, "-i", "none.h5", photo)
    assert "other weights than another.safetensors" in told(
        2, "-i", index, "-m", "another.safetensors", photo
    )
    assert "does not say which model" in told(2, "-i", "foreign.npz", photo)
    assert "9 dimensions" in told(2, "-i", "foreign.npz", "-m", "net.safetensors", photo)
    assert "no images in empty" in told(2, "-i", index, "empty")
    assert "nothing to do" in told(0, "-i", index)
    (tmp_path / "net.safetensors").unlink()
    assert "was made with" in told(3, "-i", index, photo)


def test_doubtful_indexes_and_empty_pipes(
    run_here: RunHere, make_photo: MakePhoto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_descriptor(tmp_path / "net.safetensors")
    photo = make_photo(tmp_path / "photo.png", 96, 80)
    rows = 3 * np.eye(24, dtype=np.float32)[:2]
    np.savez(tmp_path / "long.npz", descriptors=rows, names=np.array(["a", "b"]))
    np.savez(tmp_path / "none.npz", descriptors=rows * np.nan, names=np.array(["a", "b"]))
    long = run_here("search", "-i", "long.npz", "-m", "net.safetensors", photo, "--json")
    assert long.returncode == 0, long.stderr
    assert len(json.loads(long.stdout)["queries"][0]["results"]) == 2
    assert "warning: long.npz: 2 descriptors are not of unit length" in long.stderr
    none = run_here("search", "-i", "none.npz", "-m", "net.safetensors", photo)
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
    page = run_here("search", "-i", "long.npz", "-m", "net.safetensors", photo, "--gallery", "pages")
    assert (page.returncode, page.stdout) == (2, "")
    assert page.stderr == "darkside: pages is a folder; name a file, such as gallery.html\n"


def test_faiss(run_cli: RunCli, index: Path) -> None:
    done = run_cli("search", "-i", index, "photos/copy.png", "-k", "1", "--backend", "faiss")
    try:
        import faiss  # noqa: F401
    except ImportError:
        assert done.returncode == 3
        assert b"pip install faiss-cpu" in done.stderr
    else:
        exact: subprocess.CompletedProcess[bytes] = run_cli(
            "search", "-i", index, "photos/copy.png", "-k", "1"
        )
        assert done.stdout.split(b"\t")[3] in (b"copy.png\n", b"day/2.png\n")
        assert done.stdout.split(b"\t")[2] == exact.stdout.split(b"\t")[2]

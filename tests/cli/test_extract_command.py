"""``darkside extract`` as a real process: folders, pipes, boxes, broken images, interruption, torchrun."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_calls import RunCli, RunHere
from held_command import held_command
from small_descriptor import DIM, WHITENED, write_small_descriptor
from waiting import Process

from darkside_cli.retrieval.describe.store import open_descriptors

MakeImage = Callable[..., Path]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_small_descriptor(tmp_path / "net.safetensors", clahe={"clip_limit": 1.0, "grid_size": 8})


@pytest.fixture
def extract(run_inside: RunCli, model: Path) -> RunCli:
    """``darkside extract --model <a small one> ...``."""

    def run(
        *arguments: str | os.PathLike[str] | bytes, **kwargs: object
    ) -> subprocess.CompletedProcess[bytes]:
        return run_inside("extract", "--model", model, *arguments, **kwargs)

    return run


def names_by_hloc(path: Path) -> set[str]:
    names = set()
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda _, item: names.add(item.parent.name.strip("/")) if isinstance(item, h5py.Dataset) else None
        )
        assert all(file[name]["global_descriptor"].shape == (WHITENED,) for name in names)
    return names


@pytest.mark.slow
def test_a_folder_into_a_file_that_hloc_reads(extract: RunCli, make_image: MakeImage, tmp_path: Path) -> None:
    for i, name in enumerate(("b/x.jpg", "a/x.jpg", "10.png", "9.png")):
        make_image(tmp_path / "in" / name, 120, 90 + 6 * (i // 2), seed=i)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    done = extract("in", "-r", "-o", "out/x.h5", "--image-size", "96")
    assert done.returncode == 1
    assert done.stdout == b"out/x.h5\n"
    lines = done.stderr.decode().splitlines()
    assert [line for line in lines if line.startswith("darkside: in/broken.jpg: ")]
    assert "4 images done" in lines[-1]
    assert "1 FAILED" in lines[-1]
    path = tmp_path / "out" / "x.h5"
    assert names_by_hloc(path) == {"9.png", "10.png", "a/x.jpg", "b/x.jpg"}
    stored = open_descriptors(path)
    assert stored.names == ("9.png", "10.png", "a/x.jpg", "b/x.jpg")
    np.testing.assert_allclose(np.linalg.norm(stored.read(), axis=1), 1, rtol=1e-5)
    assert stored.metadata["image_root"] == str(tmp_path / "in")
    assert stored.metadata["failed"] == ["broken.jpg"]
    assert stored.metadata["image_size"] == 96
    assert [each.name for each in path.parent.iterdir()] == ["x.h5"]
    # The broken image is mended: only that is described. Then there is nothing to do, and the same is answered.
    make_image(tmp_path / "in" / "broken.jpg", 64, 64)
    again = extract("in", "-r", "-o", "out/x.h5", "--image-size", "96", "--json")
    assert again.returncode == 0
    answer = json.loads(again.stdout)
    assert {key: answer[key] for key in ("file", "dim", "images", "done", "skipped", "failed")} == {
        "file": "out/x.h5",
        "dim": WHITENED,
        "images": 5,
        "done": 1,
        "skipped": 4,
        "failed": [],
    }
    rows = dict(zip(open_descriptors(path).names or (), open_descriptors(path).read(), strict=True))
    for name, row in zip(stored.names, stored.read(), strict=False):
        np.testing.assert_array_equal(rows[name], row)
    before = path.stat().st_mtime_ns
    assert extract("in", "-r", "-o", "out/x.h5", "--image-size", "96", "-q").stdout == b"out/x.h5\n"
    assert path.stat().st_mtime_ns == before
    refused = extract("in", "-r", "-o", "out/x.h5", "--image-size", "64")
    assert refused.returncode == 2
    assert b"made with another image_size (96, not 64)" in refused.stderr
    assert refused.stderr.count(b"\n") == 1


def test_a_pipe_boxes_and_nan(extract: RunCli, make_image: MakeImage, tmp_path: Path) -> None:
    make_image(tmp_path / "a.png", 120, 90)
    make_image(tmp_path / "sub" / "b.png", 90, 120, seed=1)
    make_image(tmp_path / "tiny.png", 10, 10)
    (tmp_path / "boxes.csv").write_text("name,x1,y1,x2,y2\na.png,20,10,100,80\n")
    names = b"sub/b.png\0tiny.png\0a.png\0"
    common = ("-0", "--boxes", "boxes.csv", "--on-error", "nan", "--jsonl")
    done = extract(*common, "-o", "x.npy", "--no-whiten", "--scales", "ss", stdin=names)
    assert done.returncode == 1
    items = [json.loads(line) for line in done.stdout.splitlines()]
    assert [item["input"] for item in items] == ["sub/b.png", "tiny.png", "a.png"]
    assert items[0]["size"] == [90, 120]
    assert "too few" in items[1]["error"]
    assert items[2]["size"] == [80, 70]
    table = np.load(tmp_path / "x.npy")
    assert table.shape == (3, DIM)
    assert np.isnan(table).all(axis=1).tolist() == [False, True, False]
    assert (tmp_path / "x.names.txt").read_text() == "sub/b.png\ntiny.png\na.png\n"
    # Without boxes the same image has another descriptor.
    plain = extract("a.png", "-o", "y", "--format", "npz", "--no-whiten", "--scales", "1", "--clahe", "1.0:8")
    assert plain.stdout == b"y.npz\n"
    assert not np.allclose(open_descriptors(tmp_path / "y.npz").read()[0], table[2], atol=1e-3)


@pytest.mark.slow
def test_mistakes_are_told_in_one_line(
    extract: RunCli, run_inside: RunCli, make_image: MakeImage, tmp_path: Path
) -> None:
    make_image(tmp_path / "a.png", 64, 64)
    (tmp_path / "none").mkdir()
    (tmp_path / "boxes.json").write_text('{"b.png": [0, 0, 9, 9]}')

    def told(done: subprocess.CompletedProcess[bytes], code: int) -> str:
        assert done.returncode == code, done.stderr
        message = done.stderr.decode()
        assert message.count("\n") == 1, message
        assert message.startswith("darkside: ")
        assert done.stdout == b""
        return message

    assert "Missing option '--output'" in told(extract("a.png"), 2)
    assert "features.txt is no name for a file of descriptors" in told(
        extract("a.png", "-o", "features.txt"), 2
    )
    assert "none is a folder" in told(extract("a.png", "-o", "none"), 2)
    assert "no images in none" in told(extract("none", "-o", "x.h5"), 2)
    assert "nothing to do" in told(extract("-o", "x.h5", stdin=b"\n"), 0)
    assert "'huge' are no scales" in told(extract("a.png", "-o", "x.h5", "--scales", "huge"), 2)
    assert "contradict" in told(extract("a.png", "-o", "x.h5", "--no-whiten", "--whitening", "w.pkl"), 2)
    assert "such as 'b.png'" in told(extract("a.png", "-o", "x.h5", "--boxes", "boxes.json"), 2)
    assert "no settings of CLAHE" in told(extract("a.png", "-o", "x.h5", "--clahe", "much"), 2)
    missing = told(run_inside("extract", "a.png", "-o", "x.h5", "--model", "gem_r101_hedngan"), 3)
    assert "gem_resnet101_hedngan" in missing
    near = told(run_inside("extract", "a.png", "-o", "x.h5", "--model", "gem_r101_hedgnan"), 2)
    assert "did you mean gem_r101_hedngan" in near
    assert not list(tmp_path.glob("*.h5"))
    assert not list(tmp_path.glob(".darkside*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on(
    extract: RunCli,
    make_image: MakeImage,
    tmp_path: Path,
    environment: dict[str, str],
    model: Path,
    number: signal.Signals,
) -> None:
    for i in range(8):
        make_image(tmp_path / "in" / f"{i:02}.png", 320, 240 if i < 7 else 236, seed=i)
    command = held_command((320, 236), "extract", "--model", model, "in", "-o", "x.h5", "--jsonl")
    with Process(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(number)
        told += process.stdout.readlines()
        errors = process.stderr.read()
    assert process.returncode == (130 if number == signal.SIGINT else -number), errors
    assert 2 <= len(told) < 8
    assert not (tmp_path / "x.h5").exists()
    done = extract("in", "-o", "x.h5", "--jsonl")
    assert done.returncode == 0, done.stderr
    items = [json.loads(line) for line in done.stdout.splitlines()]
    assert [item["name"] for item in items] == [f"{i:02}.png" for i in range(8)]
    skipped = [item["name"] for item in items if item.get("skipped")]
    assert skipped[: len(told)] == [json.loads(line)["name"] for line in told]
    assert open_descriptors(tmp_path / "x.h5").names == tuple(f"{i:02}.png" for i in range(8))
    assert not list(tmp_path.glob(".darkside*"))


@pytest.mark.slow
def test_a_file_size_limit_and_kill_9_change_nothing(
    make_image: MakeImage, tmp_path: Path, environment: dict[str, str], model: Path
) -> None:
    """A file too large for ``ulimit -f`` ended in a segmentation fault, and every run's file had other bytes."""
    for i in range(8):
        make_image(tmp_path / "in" / f"place {i % 3}" / f"{i}.png", 96, 80 + 8 * (i % 2), seed=i)

    def command(target: str) -> list[str]:
        words = [sys.executable, "-m", "darkside_cli", "extract", "--no-whiten", "in", "-r", "--jsonl"]
        return [*words, "--model", str(model), "-o", target]

    def run(target: str, *before: str) -> subprocess.CompletedProcess[bytes]:
        words = [*before, *command(target)]
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, check=False)

    undisturbed = run("a.h5")
    assert undisturbed.returncode == 0
    # 8 x 2 kB of rows fit into 17 kB, the file does not; into 9 kB only some of the rows do.
    for blocks in (9, 17):
        limited = run("b.h5", "bash", "-c", f'ulimit -f {blocks}; exec "$@"', "bash")
        errors = limited.stderr.decode()
        assert limited.returncode == 1, errors
        assert "Traceback" not in errors
        assert "ulimit -f" in errors
        assert "is kept" in errors
        assert errors.count("\n") <= 2
        assert not (tmp_path / "b.h5").exists()
    assert errors.count("\n") == 1
    skipped = [json.loads(line).get("skipped", False) for line in limited.stdout.splitlines()]
    assert skipped.count(True) == 4
    done = run("b.h5")
    assert done.returncode == 0
    assert all(json.loads(line)["skipped"] for line in done.stdout.splitlines())
    with Process(
        command("c.h5"), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    assert run("c.h5").returncode == 0
    whole = (tmp_path / "a.h5").read_bytes()
    assert (tmp_path / "b.h5").read_bytes() == whole
    assert (tmp_path / "c.h5").read_bytes() == whole
    assert not list(tmp_path.glob(".darkside*"))


@pytest.mark.slow
def test_torchrun_writes_one_ordered_file(
    extract: RunCli, make_image: MakeImage, tmp_path: Path, environment: dict[str, str], model: Path
) -> None:
    """The names come through a pipe, which one process reads for all; one image is broken."""
    for i in range(7):
        make_image(tmp_path / "in" / f"{i}.png", 96, 80 + 8 * (i % 2), seed=i)
    (tmp_path / "in" / "3.png").write_bytes(b"broken")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "darkside_cli", "extract", "--model", str(model), "-o", "x.h5"]
    order = [5, 0, 3, 6, 1, 2, 4]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**environment, "OMP_NUM_THREADS": "1"},
        input=b"".join(b"in/%d.png\n" % i for i in order),
        capture_output=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == b"x.h5\n"
    assert done.stderr.count(b"in/3.png: ") == 1
    stored = open_descriptors(tmp_path / "x.h5")
    assert stored.names == tuple(f"in/{i}.png" for i in order if i != 3)
    extract("-o", "y.h5", stdin=b"".join(b"in/%d.png\n" % i for i in order))
    np.testing.assert_allclose(stored.read(), open_descriptors(tmp_path / "y.h5").read(), atol=1e-5)


def test_json_of_nothing(
    run_here: RunHere, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty pipe, and images that are all broken: still one object, with as many images as there are rows."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    empty = run_here("extract", "-m", model, "-o", "x.h5", "--json")
    assert (empty.returncode, "nothing to do" in empty.stderr) == (0, True)
    answer = json.loads(empty.stdout)
    assert (answer["file"], answer["images"], answer["failed"]) == (None, 0, [])
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    broken = run_here("extract", "-m", model, "-o", "x.h5", "--json", "--on-error", "nan", "broken.jpg")
    assert broken.returncode == 1
    told = json.loads(broken.stdout)
    assert (told["file"], told["images"], told["failed"]) == (None, 0, ["broken.jpg"])
    assert told.keys() == answer.keys()
    wrong = run_here("extract", "-m", model, "-o", "x.txt", "broken.jpg")
    assert (
        wrong.stderr == "darkside: x.txt is no name for a file of descriptors; end it in .h5, .npz or .npy\n"
    )


def test_names_from_a_root_and_a_list(
    run_here: RunHere,
    model: Path,
    make_image: MakeImage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As hloc calls images: by their paths from one folder, whatever else is given."""
    for i, name in enumerate(("db/a.jpg", "query/a.jpg", "query/b.jpg")):
        make_image(tmp_path / "images" / name, 96, 80, seed=i)
    (tmp_path / "list.txt").write_text("# queries\nquery/b.jpg PINHOLE 96 80 90 90 48 40\nquery/a.jpg\n")
    root = ("--image-root", "images")
    common = ("extract", "-m", model, "--no-whiten", "--scales", "ss", "--jsonl", "--overwrite", "-o", "x.h5")

    def extracted(*arguments: str) -> list[str]:
        done = run_here(*common, *arguments)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert {line["model"] for line in lines} == {str(model)}
        stored = open_descriptors(tmp_path / "x.h5")
        assert stored.metadata["image_root"] == str(tmp_path / "images")
        assert [line["name"] for line in lines] == list(stored.names or ())
        return list(stored.names or ())

    everything = ["db/a.jpg", "query/a.jpg", "query/b.jpg"]
    assert extracted(*root) == everything
    assert extracted(*root, "images/query/a.jpg") == ["query/a.jpg"]
    assert extracted(*root, "images/query/a.jpg", "images/db/a.jpg") == ["query/a.jpg", "db/a.jpg"]
    assert extracted(*root, "--image-list", "list.txt") == ["query/b.jpg", "query/a.jpg"]
    assert extracted(*root, "--image-list", "list.txt", "images/db") == [
        "db/a.jpg",
        "query/b.jpg",
        "query/a.jpg",
    ]
    (tmp_path / "list0.txt").write_bytes(b"query/b.jpg\0db/a.jpg\0")
    assert extracted(*root, "-0", "--image-list", "list0.txt") == ["query/b.jpg", "db/a.jpg"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"db/a.jpg\n")))
    assert extracted(*root, "--image-list", "-") == ["db/a.jpg"]
    outside = run_here(*common, *root, "x.h5")
    assert (outside.returncode, "x.h5 is not in images" in outside.stderr) == (2, True)
    # Without a root, names that come from several folders are told to.
    told = run_here(*common, "images/db", "images/query")
    assert f"images are called by their paths from {tmp_path / 'images'}; with --image-root" in told.stderr
    assert "--image-root" not in run_here(*common, "images/db").stderr


def test_a_file_that_is_complete_answers_for_every_image(
    run_here: RunHere, model: Path, make_image: MakeImage, tmp_path: Path
) -> None:
    for i in range(2):
        make_image(tmp_path / "in" / f"{i}.png", 96, 80, seed=i)
    arguments = ("extract", "-m", model, "in", "-o", "x.npz", "--jsonl")
    assert run_here(*arguments).returncode == 0
    again = [json.loads(line) for line in run_here(*arguments).stdout.splitlines()]
    assert again == [
        {"input": f"in/{i}.png", "name": f"{i}.png", "skipped": True, "model": str(model)} for i in range(2)
    ]

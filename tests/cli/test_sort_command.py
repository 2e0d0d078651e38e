"""``darkside sort``: names in, lists and scores out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_calls import RunCli, RunHere
from held_command import held_command
from PIL import Image
from waiting import Process

LEVELS = {"day": 200, "dusk": 84, "night": 10}


def image(path: Path, light: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 30, 3), LEVELS[light], dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name, light in {"a.png": "day", "b.png": "night", "sub/c.png": "dusk"}.items():
        image(tmp_path / "photos" / name, light)
    return tmp_path / "photos"


@pytest.mark.usefixtures("images")
def test_folder(run_here: RunHere, tmp_path: Path) -> None:
    done = run_here("sort", "-r", "photos")
    assert done.returncode == 0, done.stderr
    heading, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert heading == ["picture", "light", "night", "sky L*", "L*", "b*"]
    assert [row[:2] for row in rows] == [
        ["photos/a.png", "day"], ["photos/b.png", "night"], ["photos/sub/c.png", "dusk"]
    ]  # fmt: skip
    assert float(rows[0][2]) < 0.3 < float(rows[2][2]) < 0.7 < float(rows[1][2])
    assert "1 day, 1 dusk, 1 night, listed in sorted/" in done.stderr
    assert (tmp_path / "sorted" / "night.txt").read_text() == f"{tmp_path / 'photos' / 'b.png'}\n"
    # Lists may have been mended by hand: they are not replaced without being asked to.
    again = run_here("sort", "-r", "photos")
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert run_here("sort", "-r", "photos", "--overwrite").returncode == 0


@pytest.mark.usefixtures("images")
def test_json(run_here: RunHere) -> None:
    done = run_here("sort", "photos", "--json", "-o", "lists")
    told = json.loads(done.stdout)
    assert told["counts"] == {"day": 1, "dusk": 0, "night": 1}
    assert told["failed"] == 0
    assert told["lists"] == ["lists/day.txt", "lists/dusk.txt", "lists/night.txt"]
    day, night = told["pictures"]
    assert day | {"score": 0} == {
        "input": "photos/a.png", "path": "photos/a.png", "light": "day", "score": 0,
        "sky_lightness": 80.6, "lightness": 80.6, "warmth": 0.0,
    }  # fmt: skip
    assert night["score"] > 0.9


def test_broken_images(run_here: RunHere, images: Path) -> None:
    (images / "broken.png").write_bytes(b"nothing")
    done = run_here("sort", "photos", "--jsonl", "--dry-run")
    assert done.returncode == 1
    told = {each["input"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert told["photos/a.png"]["light"] == "day"
    assert set(told["photos/broken.png"]) == {"input", "error"}
    assert "photos/broken.png: " in done.stderr
    assert [path.name for path in images.parent.iterdir() if path.name == "sorted"] == []


@pytest.mark.usefixtures("images")
def test_placing(run_here: RunHere, tmp_path: Path) -> None:
    assert run_here("sort", "-r", "photos", "--link", "-o", "out").returncode == 0
    assert (tmp_path / "out" / "day" / "a.png").is_symlink()
    assert run_here("sort", "-r", "photos", "--move", "-o", "moved").returncode == 0
    assert (tmp_path / "moved" / "dusk" / "sub" / "c.png").is_file()
    assert not list((tmp_path / "photos").rglob("*.png"))


@pytest.mark.usefixtures("images")
def test_results_are_not_sorted_again(run_here: RunHere) -> None:
    """The folder of the results lies in the one that is sorted."""
    for _ in range(2):
        done = run_here("sort", "-r", ".", "--copy", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["counts"] == {"day": 1, "dusk": 1, "night": 1}


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("photos", "--move", "--copy"), "give one of --move, --copy and --link"),
        (("photos", "--json", "--jsonl"), "give one of them"),
        (("photos", "-o", "photos/a.png"), "is not a folder"),
        (("empty",), "no images in empty; --recursive"),
        (("empty", "-r"), "no images in empty"),
        (("photos", "--workers", "0"), "--workers"),
    ],
)
def test_mistakes(run_here: RunHere, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "empty").mkdir()
    done = run_here("sort", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "sorted").exists()


def test_names_from_a_pipe(run_inside: RunCli, images: Path, tmp_path: Path) -> None:
    """As a real process, with a name that is no UTF-8 and lines of either kind."""
    odd = os.fsencode(images) + b"/\xff.png"
    os.rename(images / "b.png", odd)  # noqa: PTH104 - bytes
    done = run_inside("sort", stdin=b"photos/a.png\r\n\n" + odd + b"\nphotos/none.png\n")
    assert done.returncode == 1
    assert b"photos/none.png: no such file" in done.stderr
    assert (tmp_path / "sorted" / "night.txt").read_bytes() == odd + b"\n"
    assert (tmp_path / "sorted" / "day.txt").read_text() == f"{images / 'a.png'}\n"
    nul = run_inside("sort", "-0", "-", "-n", "--quiet", stdin=b"photos/a.png\0" + odd + b"\0")
    assert nul.returncode == 0
    assert nul.stderr == b""
    assert len(nul.stdout.splitlines()) == 3
    nothing = run_inside("sort", stdin=b"")
    assert nothing.returncode == 0
    assert b"nothing to do" in nothing.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_interruption(images: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Ctrl-C ends it in one line, with nothing half-written; without threads that go on."""
    names = [os.fspath(image(images / f"{number}.png", "day")) for number in range(30)]
    Image.new("RGB", (41, 31), (200, 200, 200)).save(names[20])
    command = held_command((41, 31), "sort", "--jsonl", "--workers", "1", *names)
    with Process(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert rest.count(b"\n") < 29
    assert b"Traceback" not in said
    assert b"interrupted" in said
    assert not (tmp_path / "sorted").exists()


def test_torch_is_not_needed(images: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """It would take longer to load than a hundred images to sort."""
    code = (
        "import sys; from darkside_cli.cli.app import main\n"
        f"sys.argv = ['darkside', 'sort', {os.fspath(images)!r}]\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "False"

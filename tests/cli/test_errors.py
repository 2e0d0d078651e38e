from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image

from darkside_cli.cli.errors import explain, one_line, report
from darkside_cli.cli.session import Session
from darkside_cli.errors import (
    CheckpointError,
    ConfigError,
    DarksideError,
    ImageError,
    MissingAssetError,
    OutOfDeviceMemoryError,
    UnknownNameError,
    UsageError,
)
from darkside_cli.events import Preparing


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("u"), 2),
        (ConfigError("c"), 2),
        (CheckpointError("k"), 2),
        (UnknownNameError("model", "x", ["y"]), 2),
        (ImageError("i"), 1),
        (OutOfDeviceMemoryError("o"), 1),
        (MissingAssetError("m"), 3),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
        (typer.BadParameter("p"), 2),
        (OSError(errno.ENOSPC, "full", "f"), 1),
        (PermissionError(errno.EACCES, "Permission denied", "f"), 1),
        (ZeroDivisionError("z"), 1),
    ],
)
def test_every_error_has_one_line_and_a_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error, debug=False) == code
    told = capsys.readouterr().err
    assert told.startswith("darkside: ")
    assert told.count("\n") == 1
    assert "Traceback" not in told


def test_the_next_step_is_told() -> None:
    assert explain(DarksideError("it broke", hint="mend it")) == ("it broke; mend it", 2)
    assert explain(UnknownNameError("model", "hedgnan", ["hedngan", "cut"]))[0] == (
        "unknown model 'hedgnan'; did you mean hedngan?"
    )
    assert explain(UnknownNameError("model", "zzz", ["a", "b"]))[0] == "unknown model 'zzz'; known: a, b"
    many = [f"name{number}" for number in range(30)]
    assert explain(UnknownNameError("model", "zzz", many))[0].endswith(
        "known: name0, name1, name2, name3, name4 and 25 more"
    )
    assert explain(UnknownNameError("model", "hedgnan", ["hedngan", "HEDNGAN"]))[0].endswith(
        "did you mean hedngan?"
    )
    assert explain(UnknownNameError("model", "zzz", ["a", "A", "b"]))[0].endswith("known: a, b")


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as caught:
        raise UsageError("no")
    assert report(caught.value, debug=True) == 2
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "test_errors.py" in told


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert one_line("a\nb\x1b[31m é") == r"a\nb\x1b[31m é"
    assert one_line("\udcff") == r"\udcff"


def test_a_closed_pipe_is_not_talked_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys, "stdout", sys.stdout)  # report() replaces it; restored afterwards
    assert report(BrokenPipeError(), debug=False) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "words",
    [
        ["translate", "a.png", "--model", "darkside-night"],
        ["extract", "a.png", "--model", "net.safetensors", "-o", "x.npz"],
        ["train-gan", "--preset", "tiny", "--data", "nightfall", "-o", "run"],
        ["finetune", "--data", "places", "--init", "random", "--augment", "none", "-o", "run"],
    ],
)
def test_a_word_comes_before_torch_is_loaded(words: list[str], tmp_path: Path) -> None:
    """Loading it takes seconds, in which nothing else can be said."""
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "net.safetensors").write_bytes(b"")
    (tmp_path / "places" / "a").mkdir(parents=True)
    for name in ("1.png", "2.png"):  # a place: a folder without any would be refused first
        Image.new("RGB", (64, 64)).save(tmp_path / "places" / "a" / name)
    code = (
        "import sys\n"
        "from darkside_cli.cli.session import Screen\n"
        "def announce(self, text):\n"
        "    print('torch' in sys.modules, text)\n"
        "    raise SystemExit(7)\n"
        "Screen._announce = announce\n"
        "from darkside_cli.cli.app import main\n"
        "main()"
    )
    environment = {**os.environ, "DARKSIDE_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path,
                          env=environment, check=False)  # fmt: skip
    assert (done.returncode, done.stdout.split(" ")[0]) == (7, "False"), done.stderr
    assert "getting ready" in done.stdout


def test_nothing_is_announced_where_nobody_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Session().screen().emit(Preparing("begins"))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    Session(quiet=True).screen().emit(Preparing("begins"))
    assert capsys.readouterr().err == ""
    Session().screen().emit(Preparing("begins"))
    assert "begins" in capsys.readouterr().err

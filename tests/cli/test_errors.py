from __future__ import annotations

import errno

import pytest
import typer

from darkside_cli.cli.errors import explain, one_line, report
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

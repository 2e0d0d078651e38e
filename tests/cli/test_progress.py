from __future__ import annotations

import contextlib
import os
import pty
import sys
from pathlib import Path

import pytest

from darkside_cli.cli import progress as module
from darkside_cli.cli.progress import ProgressRenderer
from darkside_cli.events import ImageReady, ItemFailed, ItemSkipped, Notice, RunFinished, RunStarted

READY = ImageReady(Path("in.jpg"), Path("out.jpg"), (4, 3), 0.5)


def test_without_a_terminal_failures_and_the_summary_are_plain_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ProgressRenderer() as shown:
        shown.emit(RunStarted("job", 3))
        shown.emit(READY)
        shown.emit(ItemFailed(Path("bad\n.jpg"), "is broken"))
        shown.emit(ItemSkipped(Path("s.jpg"), Path("t.jpg")))
        shown.emit(Notice("by the way"))
        shown.emit(RunFinished("job", 1, 1, 1, 2.0))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        r"darkside: bad\n.jpg: is broken",
        "darkside: by the way",
        "darkside: job: 1 images done in 2.0 s (0.50/s), 1 skipped (already there; --overwrite makes them anew), "
        "1 FAILED (named above)",
    ]


def test_a_long_run_tells_where_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.0, 1.0, 6.0, 6.0, 7.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    shown = ProgressRenderer()
    shown.emit(RunStarted("job", 9))
    shown.emit(READY)
    shown.emit(READY)
    shown.emit(READY)
    assert capsys.readouterr().err == "darkside: 2 of 9 images, 0.33 images/s\n"


def test_of_one_of_many_jobs_a_line_a_minute_and_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    shown = ProgressRenderer(brief=True)
    for _ in range(2):
        shown.emit(RunStarted("day on night", 9))
        clock[0] += 40
        shown.emit(READY)
        shown.emit(ItemFailed(Path("bad.jpg"), "is broken"))
        shown.emit(RunFinished("day on night", 1, 1, 0, 40.0))
    assert capsys.readouterr().err.splitlines() == [
        "darkside: bad.jpg: is broken",
        "darkside: day on night: 1 of 9 images, 0.03 images/s",
        "darkside: bad.jpg: is broken",
    ]


def test_each_job_of_a_command_counts_for_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.0, 1.0, 0.0, 6.0, 6.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    shown = ProgressRenderer()
    shown.emit(RunStarted("first", 1))
    shown.emit(READY)
    shown.emit(RunStarted("second", 2))
    shown.emit(READY)
    assert capsys.readouterr().err == "darkside: 1 of 2 images, 0.17 images/s\n"


def test_quiet_shows_failures_and_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ProgressRenderer(quiet=True)
    shown.emit(RunStarted("job", 1))
    shown.emit(Notice("chatter"))
    shown.emit(Notice("look out", level="warning"))
    shown.emit(ItemFailed(Path("x"), "no"))
    shown.emit(RunFinished("job", 0, 1, 0, 1.0))
    assert capsys.readouterr().err == "darkside: warning: look out\ndarkside: x: no\n"


def test_verbose_has_a_line_per_item(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ProgressRenderer(verbose=True)
    shown.emit(READY)
    shown.emit(ItemSkipped(Path("s"), Path("t")))
    shown.emit(ImageReady(Path("in.jpg"), None, (4, 3), 0.5))  # described into memory: nothing was written
    assert capsys.readouterr().err.splitlines() == [
        "darkside: in.jpg -> out.jpg (0.50 s)",
        "darkside: s: skipped, its output exists",
        "darkside: in.jpg (0.50 s)",
    ]


def read_all(reader: int) -> str:
    """Everything written to a pseudo-terminal whose other end is closed."""
    parts = []
    with contextlib.suppress(OSError):  # what Linux says at the end
        while part := os.read(reader, 65536):
            parts.append(part)
    os.close(reader)
    return b"".join(parts).decode()


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        with ProgressRenderer() as shown:
            shown.emit(RunStarted("hedngan to night", 2))
            shown.emit(READY)
            shown.emit(ItemFailed(Path("[bold]x"), "no"))
            shown.emit(RunFinished("hedngan to night", 1, 1, 0, 1.0))
    seen = read_all(reader)
    assert "hedngan to night" in seen
    assert "[bold]x: no" in seen
    assert "/2" in seen
    assert "1 images done" in seen

"""A training run as people see it: a live view on a terminal of any size, plain lines everywhere else."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import pty
import struct
import sys
import termios
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from darkside_cli.cli import training_progress as module
from darkside_cli.cli.training_progress import TrainingRenderer, sparkline, training_view
from darkside_cli.cli.training_state import TrainingState, speed_words
from darkside_cli.events import (
    CheckpointSaved,
    EpochDone,
    EvalDone,
    Event,
    ImageReady,
    ItemFailed,
    Notice,
    RunStarted,
    StepDone,
    TrainingFinished,
    TrainingStarted,
)

RUN = Path("runs/läuf")
RATES = {"generator_day2night": 2e-4, "discriminator_night": 2e-4}
START = TrainingStarted(RUN, 50, 0, 0, 100, 10, "cuda:0")
STEP = StepDone(1, 20, 100, {"edge": 0.5, "adversarial": 0.25}, RATES, 93.2, 21_400_000_000, 0.97)
EPOCH = EpochDone(1, 50, {"edge": 0.4}, RATES, 125.0)
EVAL = EvalDone(1, {"edge_agreement": 0.7123}, 8.0, best=True)
SAVED = CheckpointSaved(RUN / "checkpoints" / "epoch_0001", 1, 0, 0.2)
STOPPED = TrainingFinished(RUN, 1, 140.0, False, "interrupted")


def test_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with TrainingRenderer(title="hedngan") as shown:
        shown.emit(Notice("by the way"))
        shown.emit(START)
        now[0] = 105.0
        shown.emit(STEP)
        now[0] = 110.0
        shown.emit(StepDone(1, 40, 100, {"edge": 0.5, "adversarial": math.nan}, RATES, 90.0))
        now[0] = 111.0
        shown.emit(StepDone(1, 44, 100, {"edge": 0.5}, RATES, 90.0))
        for event in (
            EPOCH,
            EVAL,
            SAVED,
            Notice("odd\nvalue", "warning"),
            ItemFailed(Path("x\t.jpg"), "is cut"),
        ):
            shown.emit(event)
        shown.emit(STOPPED)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "darkside: by the way",
        "darkside: hedngan: training in runs/läuf on cuda:0, 50 epochs of 100 batches of 10",
        "darkside: epoch 1/50 batch 40/100; edge 0.5000, adversarial nan; rate 0.0002; 90.00 images/s; "
        "left 15 s in epoch, 20:40 min in all",
        "darkside: epoch 1/50 done in 2:05 min: edge 0.4000",
        "darkside: epoch 1 validated in 8.0 s: edge agreement 0.7123 (best so far)",
        "darkside: saved runs/läuf/checkpoints/epoch_0001",
        r"darkside: warning: odd\nvalue",
        r"darkside: x\t.jpg: is cut",
        "darkside: hedngan: training stopped (interrupted) after epoch 1, 2:20 min, in runs/läuf",
    ]


def test_one_of_many_trainings_tells_where_it_is_now_and_then_and_that_it_was_stopped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with TrainingRenderer(brief=True) as shown:
        for seconds, event in ((0, START), (20, STEP), (70, STEP), (71, EPOCH), (72, EVAL), (73, SAVED)):
            now[0] = 100.0 + seconds
            shown.emit(event)
        shown.emit(TrainingFinished(RUN, 50, 3600.0, True))
        shown.emit(STOPPED)
    where, stopped = capsys.readouterr().err.splitlines()
    assert where.startswith("darkside: läuf: epoch 1/50 batch 20/100;")
    assert stopped == "darkside: läuf: training stopped (interrupted) after epoch 1, 2:20 min, in runs/läuf"


def test_the_device_is_told_where_it_is_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLAIN_LINE_EVERY_S", 0.0)
    shown = TrainingRenderer()
    shown.emit(START)
    shown.emit(STEP)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("darkside: läuf: training in runs/läuf")
    assert "; 93.20 images/s; 21.4 GB, 97% busy;" in lines[1]


def test_a_run_that_goes_on_and_one_that_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    shown = TrainingRenderer(title="cut")
    shown.emit(TrainingStarted(RUN, 50, 6, 30, 100, 10, "cpu"))
    shown.emit(TrainingFinished(RUN, 50, 3600.0, True))
    shown.emit(TrainingStarted(RUN, 50, 50, 0, 0, 10, "cpu"))
    assert capsys.readouterr().err.splitlines() == [
        "darkside: cut: goes on at epoch 7, batch 31 in runs/läuf on cpu, 50 epochs of 100 batches of 10",
        "darkside: cut: training done after epoch 50, 1:00:00, in runs/läuf",
        "darkside: cut: all 50 epochs are done in runs/läuf",
    ]


def test_quiet_shows_failures_and_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingRenderer(quiet=True, verbose=True) as shown:
        for event in (START, STEP, EPOCH, EVAL, SAVED, Notice("chatter"), Notice("look out", "warning")):
            shown.emit(event)
        shown.emit(ItemFailed(Path("x"), "no"))
        shown.emit(STOPPED)
    assert capsys.readouterr().err == "darkside: warning: look out\ndarkside: x: no\n"


class Terminal:
    """A pseudo-terminal as stderr, with everything that was written to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, columns: int, lines: int = 30) -> None:
        self._reader, writer = pty.openpty()
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.file = os.fdopen(writer, "w", encoding="utf-8")
        self._parts: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        monkeypatch.setattr(sys, "stderr", self.file)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))
        monkeypatch.delenv("NO_COLOR", raising=False)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # what Linux says at the end
            while part := os.read(self._reader, 65536):
                self._parts.append(part)
        os.close(self._reader)

    def seen(self) -> str:
        self.file.close()
        self._thread.join()
        return b"".join(self._parts).decode().replace("\r\n", "\n")


ALL = (START, STEP, EPOCH, EVAL, SAVED)


def test_a_live_view_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, 100)
    with TrainingRenderer(title="[bold]hedngan") as shown:
        assert not shown.above_bar("nothing yet")
        for event in ALL:
            shown.emit(event)
        assert shown.above_bar("a result")
        shown.emit(Notice("[red]odd[/red]", "warning"))
        shown.emit(STOPPED)
        assert not shown.above_bar("no more")
    assert sys.stderr is terminal.file
    seen = terminal.seen()
    for text in (
        "[bold]hedngan", "runs/läuf", "1/50", "100/100", "━", "edge", "93.20 images/s, 21.4 GB, 97% busy", "0.0002",
        "edge agreement 0.7123 (best so far), epoch 1", "epoch_0001", "\x1b[2m",
    ):  # fmt: skip
        assert text in seen, text
    lines = [line.rpartition("\x1b[2K")[2] for line in seen.split("\n")]
    assert "a result" in lines
    assert "darkside: warning: [red]odd[/red]" in lines
    assert "darkside: epoch 1 validated in 8.0 s: edge agreement 0.7123 (best so far)" in lines
    assert lines[-2].startswith("darkside: [bold]hedngan: training stopped (interrupted)")
    assert not any("done in" in line for line in lines)  # the view shows epochs


def test_verbose_has_a_line_per_epoch_and_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, 100)
    with TrainingRenderer(verbose=True) as shown:
        for event in ALL:
            shown.emit(event)
    seen = terminal.seen()
    assert "darkside: epoch 1/50 done in 2:05 min: edge 0.4000" in seen
    assert "darkside: saved runs/läuf/checkpoints/epoch_0001" in seen


def test_an_error_takes_the_view_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, 80)

    def interrupted() -> None:
        with TrainingRenderer() as shown:
            shown.emit(START)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sys.stderr is terminal.file
    assert terminal.seen().endswith("\x1b[2K")


def test_no_colour_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, 100)
    monkeypatch.setenv("NO_COLOR", "1")
    with TrainingRenderer() as shown:
        for event in ALL:
            shown.emit(event)
        shown.emit(StepDone(2, 1, 100, {"edge": math.nan}, RATES, 1.0))
        shown.above_bar("drawn anew")
    seen = terminal.seen()
    assert "nan" in seen
    assert not any(f"\x1b[{code}" in seen for code in ("3", "9", "4"))


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, 100)
    monkeypatch.setenv("TERM", "dumb")
    with TrainingRenderer(title="cut") as shown:
        for event in ALL:
            shown.emit(event)
    seen = terminal.seen()
    assert "\x1b" not in seen
    assert "darkside: epoch 1/50 done in 2:05 min: edge 0.4000" in seen


def drawn(state: TrainingState, width: int, height: int, *, encoding_is_ascii: bool = False) -> list[str]:
    console = Console(width=width, height=height, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        view = training_view(state, "hedngan", width, height, 10.0, ascii_only=encoding_is_ascii)
        console.print(view, width=width, crop=True, end="")
    return captured.get().rstrip("\n").split("\n")


def state_after(*events: Event) -> TrainingState:
    state = TrainingState()
    for number, event in enumerate(events):
        state.apply(event, float(number))
    return state


OVER = TrainingStarted(RUN, 50, 50, 0, 0, 10, "cpu")
MANY = StepDone(1, 20, 100, {f"a_rather_long_name_of_loss_{i}": 1.0 for i in range(20)}, RATES, 93.2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*ALL, MANY, OVER, RunStarted("extract", 9), ImageReady(Path("a"), Path("b"), (1, 1), 0.1)]
        )
    ),
    st.integers(19, 200),
    st.integers(3, 60),
    st.booleans(),
)
def test_any_stage_fits_any_terminal(events: list[Event], width: int, height: int, plain: bool) -> None:
    lines = drawn(state_after(*events), width, height, encoding_is_ascii=plain)
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("darkside: hedngan"[:width])


def test_narrow_and_low_terminals_keep_what_matters_most() -> None:
    state = state_after(START, MANY, EPOCH, EVAL, SAVED)
    narrow = drawn(state, 39, 40)
    assert any("a rather long" in line for line in narrow)
    assert any(line.startswith("epoch") and "1/50" in line for line in narrow)
    low = drawn(state, 100, 12)
    assert len(low) <= 12
    assert any("and 17 more" in line for line in low)
    assert any("edge agreement" in line for line in low)
    assert any("epoch_0001" in line for line in low)
    assert not any("a rather" in line for line in drawn(state, 100, 6))


def test_terminals_without_unicode_get_none() -> None:
    lines = drawn(state_after(START, STEP, EVAL), 80, 24, encoding_is_ascii=True)
    assert not set(
        "".join(lines).replace("läuf", "").replace("━", "").replace("╸", "").replace("╺", "")
    ) & set("▁▂█·…")


def test_jobs_inside_a_training_have_a_bar() -> None:
    lines = drawn(
        state_after(START, RunStarted("extract", 9), ImageReady(Path("a"), Path("b"), (1, 1), 0.1)), 80, 24
    )
    assert any(line.startswith("extract") and "1/9" in line for line in lines)


def test_courses() -> None:
    assert sparkline([], 5) == ""
    assert sparkline([1.0], 5) == "▁"
    assert sparkline([2.0] * 9, 5) == "▁▁▁▁▁"
    assert sparkline([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.0, 0.0, 7.0, 7.0], 2) == "▁█"
    assert sparkline([1e300, -1e300], 2) == "█▁"


def test_speeds_name_what_they_count() -> None:
    step = StepDone(1, 1, 2, {}, {}, 14.0, items_per_s=2.0, item="tuple")
    assert speed_words(step) == "2.000 tuples/s (14.00 images/s)"
    assert speed_words(StepDone(1, 1, 2, {}, {}, 14.0)) == "14.00 images/s"

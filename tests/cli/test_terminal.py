"""Text for terminals: words stay whole, and no escape codes where none are understood."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkside_cli.cli import errors, terminal
from darkside_cli.cli.live.progress import ProgressRenderer, TransferRenderer
from darkside_cli.cli.live.training_progress import TrainingRenderer
from darkside_cli.cli.output import Output
from darkside_cli.errors import UnknownNameError
from darkside_cli.events import Notice


class Screen(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


def look_at_stderr(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Have a terminal of 60 columns in the place of stderr; not from a fixture, as pytest sets its own after those."""
    made = Screen()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    return made


MESSAGE = (
    "the configuration says retrieval-sfm-120k, which is not on this machine; darkside download gets it there"
)
TELLERS: dict[str, Callable[[str], object]] = {
    "say": errors.say,
    "report": lambda text: errors.report(UnknownNameError(text, "x", ["y"]), debug=False),
    "progress": lambda text: ProgressRenderer().emit(Notice(text)),
    "training": lambda text: TrainingRenderer().emit(Notice(text)),
    "transfers": lambda text: TransferRenderer().emit(Notice(text)),
}


@pytest.mark.parametrize("who", TELLERS)
def test_messages_are_broken_between_words(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = look_at_stderr(monkeypatch)
    TELLERS[who](MESSAGE)
    lines = screen.getvalue().splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60
    assert all(line.startswith("  ") for line in lines[1:])
    assert MESSAGE in " ".join(screen.getvalue().split())


def test_transfers_too_while_bars_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = look_at_stderr(monkeypatch)
    with TransferRenderer() as renderer:
        renderer.emit(Notice(MESSAGE))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert MESSAGE in " ".join(shown.split())
    assert max(map(len, re.split(r"[\r\n]+", shown))) <= 60


def test_elsewhere_a_message_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    errors.say(MESSAGE)
    assert capsys.readouterr().err == f"darkside: {MESSAGE}\n"


@given(st.text(alphabet="ab é漢-/", max_size=200), st.integers(5, 60))
def test_nothing_is_lost_and_no_word_broken(text: str, width: int) -> None:
    lines = terminal.fold(text, width, indent="  ")
    assert " ".join(lines).split() == text.split()
    for line in lines:
        assert terminal.cells(line) <= width or len(line.split()) == 1


@pytest.mark.parametrize(
    ("term", "plain"), [("", True), (None, True), ("dumb", True), ("unknown", True), ("xterm", False)]
)
def test_terminals_without_escape_codes(
    term: str | None, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.can_move_cursor(Screen()) is not plain
    assert not terminal.can_move_cursor(io.StringIO())
    made = terminal.console(Screen())
    assert made.is_dumb_terminal is plain
    assert (made.color_system is None) is plain


def test_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "61")
    assert terminal.columns(Screen()) == 61
    monkeypatch.delenv("COLUMNS")
    assert terminal.columns(Screen()) == 80


class _Pipe(io.BytesIO):
    def isatty(self) -> bool:
        return True


def test_tables_on_a_terminal_are_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = _Pipe()
    Output(stream=stream).table(("name", "what"), [("a\x1b[1m", "b")], title="title")
    Output(stream=stream).table(("name", "what"), [])
    Output(stream=stream).facts([("name", "value " * 10)], indent="  ")
    assert stream.getvalue().decode() == (
        "title\n\nname      what\n--------  ----\na\\x1b[1m  b\n"
        "  name  value value value value value\n        value value value value value\n"
    )


@pytest.mark.slow
def test_no_escape_code_where_term_is_empty(tmp_path: Path, environment: dict[str, str]) -> None:
    """The whole command, on a terminal."""
    for words in (["models"], ["samples"], ["translate", "samples"], ["translate", "samples", "--nope"]):
        for term in ({"TERM": ""}, {}):
            env = {k: v for k, v in environment.items() if k not in ("TERM", "NO_COLOR")} | term
            master, slave = pty.openpty()
            process = subprocess.Popen(
                [sys.executable, "-m", "darkside_cli", *words],
                stdin=slave, stdout=slave, stderr=slave, env=env, cwd=tmp_path,
            )  # fmt: skip
            os.close(slave)
            shown = b""
            try:
                while piece := os.read(master, 1 << 16):
                    shown += piece
            except OSError:  # the other end is closed
                pass
            os.close(master)
            assert process.wait() == (2 if "--nope" in words else 0), shown
            assert shown
            assert b"\x1b" not in shown, shown

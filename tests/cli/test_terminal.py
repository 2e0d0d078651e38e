"""Text for terminals: words stay whole, and no escape codes where none are understood."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pseudo_terminal import run_on_terminal

from darkside_cli.cli import errors, models, terminal
from darkside_cli.cli.descriptors import HEADING, print_scores
from darkside_cli.cli.descriptors import SPARE as EVALUATION_SPARE
from darkside_cli.cli.output import Output
from darkside_cli.cli.progress import ProgressRenderer, TransferRenderer
from darkside_cli.cli.terminal import facts, table
from darkside_cli.cli.training_progress import TrainingRenderer
from darkside_cli.errors import UnknownNameError
from darkside_cli.events import Notice
from darkside_cli.networks.catalog import MODELS
from darkside_cli.retrieval.search.score import ScoreLine


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
            code, shown = run_on_terminal(*words, env=env, cwd=tmp_path)
            assert code == (2 if "--nope" in words else 0), shown
            assert shown
            assert b"\x1b" not in shown, shown


# Tables and facts

CELLS = st.lists(st.text("abc", min_size=1, max_size=12), max_size=8).map(" ".join)


def models_rows() -> list[tuple[str, ...]]:
    score = "92.0 | 66.8 | 76.4"
    return [(m.name, m.kind, "missing", "166.4 MB", score, m.licence, m.source) for m in MODELS]


def test_the_models_take_a_line_each_at_eighty_columns_and_at_sixty() -> None:
    for width in (60, 80, 130):
        lines = table(models.COLUMNS, models_rows(), width, spare=models.SPARE).splitlines()
        assert max(map(len, lines)) <= width
        for name in MODELS.names():
            assert len([line for line in lines if line.startswith(f"{name} ")]) == 1
        assert sum("92.0 | 66.8 | 76.4" in line for line in lines) == len(list(MODELS))
        head = lines.index(next(line for line in lines if line.startswith("--")))
        assert lines[head + 1 + len(list(MODELS)) :][:1] in ([], [""])


def test_what_is_left_out_is_told() -> None:
    text = table(("name", "what", "source"), [("n", "w" * 20, "s" * 40)], 60, spare=("source",))
    assert "sss" not in text
    assert "not shown for want of room: source;" in text
    assert "not shown" not in table(
        ("name", "what", "source"), [("n", "w" * 20, "s" * 40)], 70, spare=("source",)
    )


def test_empty_columns_make_room_first_and_stay_where_there_is_room() -> None:
    headings, rows = ("name", "published", "what", "source"), [("n", "-", "w" * 20, "s" * 20)]
    narrow = table(headings, rows, 55, spare=("source",))
    assert narrow.splitlines()[0].split() == ["name", "what", "source"]
    assert "not shown" not in narrow
    assert "published" in table(headings, rows, 60, spare=("source",))
    assert "published" in table(headings, [*rows, ("m", "3", "w", "s")], 55, spare=("source",))


def test_of_place_recognition_eighty_columns_show_recall_at_each_k(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _Pipe()
    monkeypatch.setenv("COLUMNS", "80")
    line = ScoreLine("gem_lite_night", "pitts30k", "25 m", 62.5, None, (1.0,) * 3, (2.0,) * 4, 6816, 10000)
    print_scores(Output(stream=stream), [line])
    shown = stream.getvalue().decode()
    assert {"mAP", "R@1", "R@5", "R@10", "R@20"} <= set(shown.splitlines()[0].split())
    assert max(map(len, shown.splitlines())) <= 80


def test_rows_become_paragraphs_where_no_table_fits() -> None:
    columns = ("model", "data set", *(f"R@{n}" for n in range(12)))
    text = table(columns, [("gem_resnet101_cyclegan", "tokyo247", *["92.0"] * 11, "-")], 60)
    assert text.splitlines() == [
        "gem_resnet101_cyclegan",
        "  data set tokyo247, R@0 92.0, R@1 92.0, R@2 92.0, R@3 92.0,",
        "  R@4 92.0, R@5 92.0, R@6 92.0, R@7 92.0, R@8 92.0, R@9",
        "  92.0, R@10 92.0",
    ]


def test_paragraphs_leave_nothing_out() -> None:
    rows = [("gem_resnet101_cyclegan", "roxford5k", "medium", *(f"{n}.0" for n in range(11)))]
    text = table(HEADING, rows, 50, spare=EVALUATION_SPARE)
    assert all(name in text for name in HEADING[1:])
    assert "not shown" not in text
    assert "published" in table(HEADING, rows, 80, spare=EVALUATION_SPARE).splitlines()[0]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=4), st.integers(30, 100))
def test_no_word_is_broken_or_lost(rows: list[tuple[str, str, str]], width: int) -> None:
    text = table(("one", "two", "three"), rows, width)
    assert sorted(w for row in rows for cell in row for w in cell.split()) == sorted(
        w for w in text.replace(",", " ").split() if w.strip("abc") == ""
    )


def test_facts_are_aligned() -> None:
    assert facts([("a", "x y"), ("long", "z")], None) == "a     x y\nlong  z"
    assert facts([("long", "one two three")], 12) == "long  one\n    two\n    three"

"""Help: panels, names of values, summaries that fit, and examples that work."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from cli_calls import RunHere

from darkside_cli.cli import help_pages
from darkside_cli.cli.app import app
from darkside_cli.cli.help_pages import COMMAND_PANELS, OPTION_PANELS, PANEL_OF
from darkside_cli.jobs import request

GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
#: Commands that print their settings, and run nothing, with one more word.
DRY = {"train-gan": "--print-config", "finetune": "--print-config", "run": "--print-steps"}


def page(name: str | None, monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    """The help of a command (None: of darkside itself) on a terminal of ``width`` columns."""
    monkeypatch.setenv("COLUMNS", str(width))
    command = GROUP if name is None else COMMANDS[name]
    context = command.make_context(f"darkside {name or ''}".strip(), [], resilient_parsing=True)
    text: str = context.get_help()
    return text


def examples(name: str | None) -> Iterator[list[str]]:
    """The words after ``darkside`` of every example in a command's help."""
    command = GROUP if name is None else COMMANDS[name]
    text = inspect.cleandoc(command.help)
    for line in (line.strip() for line in text.splitlines() if line.startswith("    ")):
        assert "darkside " in line, line
        for part in line.split("|"):
            words = shlex.split(part)
            if words[0] == "darkside":
                yield words[1:]


def test_every_command_and_option_has_a_panel() -> None:
    assert (request.MAIN, request.DATA, request.DEVICE, request.ADVANCED) == OPTION_PANELS
    assert set(COMMANDS) == {name for names in COMMAND_PANELS.values() for name in names}
    for name, command in COMMANDS.items():
        assert command.rich_help_panel == PANEL_OF[name]
        for param in command.params:
            if param.param_type_name == "option":
                assert param.rich_help_panel in OPTION_PANELS, f"{name} {param.opts[0]} has no panel"


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_pages_fit_and_say_everything(name: str | None, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(name, monkeypatch, width)
    assert max(map(len, text.splitlines())) <= width
    assert "<" not in text  # <int range>
    assert "]...]..." not in text
    assert "x<=" not in text
    command = GROUP if name is None else COMMANDS[name]
    flat = " ".join(text.split())
    for param in command.params:
        for flag in (*param.opts, *param.secondary_opts) if param.param_type_name == "option" else ():
            assert flag in text
        assert " ".join((param.help or "").split()) in flat
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    known = COMMAND_PANELS if name is None else ("Arguments", *OPTION_PANELS)
    places = [[*known, "Options"].index(each.rstrip(":")) for each in headings]
    assert places == sorted(set(places))


def test_summaries_fit_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(None, monkeypatch, 80)
    for name, command in COMMANDS.items():
        summary = command.get_short_help_str(1000)
        assert summary.endswith(".")
        assert re.search(rf"^  {name} +{re.escape(summary)}$", text, re.MULTILINE), name


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_examples_parse(name: str | None) -> None:
    for words in examples(name):
        COMMANDS[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize(
    "words", [w for n in (None, *COMMANDS) for w in examples(n) if w[0] in DRY], ids=" ".join
)
def test_examples_of_trainings_and_scenarios_are_whole(words: list[str], run_here: RunHere) -> None:
    """Not only parsed: nothing that the command asks for is left out, no setting unknown, no step untranslated."""
    done = run_here(*words, DRY[words[0]])
    assert done.returncode == 0, done.stderr


def test_long_examples_go_on_after_a_backslash(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page("sort", monkeypatch, 60)
    whole = re.sub(r" \\\n +", " ", text)
    assert "darkside train-gan --model cyclegan --day sorted/day.txt --night sorted/night.txt\n" in whole
    assert "\\\n        --night sorted/night.txt" in page("sort", monkeypatch, 80)


def test_what_stands_for_values() -> None:
    assert help_pages.metavar_of(int | None) == "N"
    assert help_pages.metavar_of(list[float]) == "X"
    assert help_pages.metavar_of(list[Path] | None) == "PATH"
    assert help_pages.metavar_of(bool) is None

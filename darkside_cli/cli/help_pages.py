"""How help is laid out: options and commands in panels, examples that can be copied, nothing cut short.

Plain text: it answers in half the time that rich's panels take, and pipes into grep.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from typer.core import TyperCommand, TyperGroup

from darkside_cli.jobs.request import ADVANCED, DATA, DEVICE, MAIN

#: Panels of options, in the order in which help shows them.
OPTION_PANELS = (MAIN, DATA, DEVICE, ADVANCED)
#: Panels of commands, likewise, and the commands in each.
COMMAND_PANELS = {
    "Photographs": ("translate", "samples", "sort", "train-gan", "evaluate-night"),
    "Descriptors": ("extract", "search", "evaluate", "finetune", "whiten"),
    "The whole method": ("demo", "run"),
    "Models and data": ("models", "export", "download", "cache"),
    "This installation": ("doctor", "config"),
}
PANEL_OF = {name: panel for panel, names in COMMAND_PANELS.items() for name in names}
METAVARS: dict[Any, str] = {int: "N", float: "X", str: "TEXT", Path: "PATH"}

Row = tuple[str, str]
_ARGUMENTS = "Arguments"
_EXAMPLE = "    "
_VALUE = re.compile(r"(?<= )(--?[\w-]+) (?=[^-|\s])")
_TYPE = re.compile(r" <[^<>]+>$")


def metavar_of(annotation: Any) -> str | None:
    """What stands for the value of an option in help where the option says nothing itself: "N" for numbers.

    None for flags and for what has values of its own.
    """
    if get_origin(annotation) in (list, Union) or type(annotation).__name__ == "UnionType":
        inner = [each for each in get_args(annotation) if each is not type(None)]
        return metavar_of(inner[0]) if len(inner) == 1 else None
    return METAVARS.get(annotation)


def _blocks(text: str) -> list[str]:
    return [block for block in re.split(r"\n\s*\n", text) if block.strip()]


def _is_example(block: str) -> bool:
    return all(line.startswith(_EXAMPLE) for line in block.splitlines())


def _fold(line: str, width: int, further: str = "") -> list[str]:
    """``line`` in pieces of at most ``width``, broken between words only."""
    return textwrap.wrap(
        line, max(width, 10), subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    ) or [""]


def _write_prose(formatter: Any, text: str) -> None:
    """Paragraphs are filled, examples stay lines of their own; one that is too long goes on after a backslash."""
    for number, block in enumerate(_blocks(text)):
        if number:
            formatter.write("\n")
        if not _is_example(block):
            for line in _fold(" ".join(block.split()), formatter.width - 2):
                formatter.write(f"  {line}\n")
            continue
        for line in textwrap.dedent(block).splitlines():
            pieces = [line]
            if len(line) > formatter.width - len(_EXAMPLE):
                together = _VALUE.sub("\\1\0", line)  # an option and its value stay on one line
                pieces = _fold(together, formatter.width - len(_EXAMPLE) - 2, _EXAMPLE)
            formatter.write(_EXAMPLE + f" \\\n{_EXAMPLE}".join(pieces).replace("\0", " ") + "\n")


def _write_panels(formatter: Any, panels: Sequence[tuple[str, Sequence[Row]]]) -> None:
    """Two columns under a heading for each panel, the second one beginning at the same place in all."""
    longest = max((len(name) for _, rows in panels for name, _ in rows), default=0)
    column = min(longest, max(14, formatter.width // 3))
    for heading, rows in panels:
        if not rows:
            continue
        formatter.write(f"\n{heading}:\n")
        for name, text in rows:
            lines = _fold(text, formatter.width - column - 4) if text else []
            if len(name) > column:
                formatter.write("".join(f"  {part}\n" for part in _fold(name, formatter.width - 2, "  ")))
            else:
                formatter.write(f"  {name:<{column}}  {lines.pop(0) if lines else ''}".rstrip() + "\n")
            for line in lines:
                formatter.write(f"  {'':<{column}}  {line}\n")


def _plain_range(text: str) -> str:
    """Bounds in words: "1 to 100" for "1<=x<=100"."""
    text = re.sub(r"(-?[\d.]+)<=x<=(-?[\d.]+)", r"\1 to \2", text)
    text = re.sub(r"x>=(-?[\d.]+)", r"\1 or more", text)
    return re.sub(r"x<=(-?[\d.]+)", r"\1 or less", text)


def _rows(params: Iterable[Any], context: Any) -> list[Row]:
    records = [record for param in params if (record := param.get_help_record(context))]
    return [(_TYPE.sub("", name), _plain_range(text)) for name, text in records]


def _usage(piece: str) -> str:
    """A piece of the usage line, without the braces that Typer adds, and without repeating that something repeats."""
    piece = piece.strip("{}")
    if not piece.endswith("...]..."):
        return piece
    return piece[1:-4] if " " in piece else f"{piece[:-7]}]..."


class _Described:
    """Whose description is written with its examples."""

    help: str | None

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as Typer calls it
        """Write the description."""
        formatter.write("\n")
        _write_prose(formatter, inspect.cleandoc(self.help or "").partition("\f")[0])


class Command(_Described, TyperCommand):
    """A command whose options are shown in panels."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What stands in the usage line after the command's name."""
        return [_usage(piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options; those without a panel (--help) are in the last one."""
        panels: dict[str, list[Any]] = {panel: [] for panel in (_ARGUMENTS, *OPTION_PANELS)}
        for each in self.get_params(ctx):
            own = getattr(each, "rich_help_panel", None) or ADVANCED
            panels.setdefault(_ARGUMENTS if each.param_type_name == "argument" else own, []).append(each)
        _write_panels(formatter, [(panel, _rows(each, ctx)) for panel, each in panels.items()])


class Group(_Described, TyperGroup):
    """The command itself: its sub-commands are shown in panels, none of their summaries cut short."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sub-commands, then the few options."""
        panels: dict[str, list[Row]] = {panel: [] for panel in COMMAND_PANELS}
        order = [*PANEL_OF, *self.list_commands(ctx)]
        for name in sorted(self.list_commands(ctx), key=order.index):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                row = (name, command.get_short_help_str(1000))
                panels.setdefault(getattr(command, "rich_help_panel", None) or "Commands", []).append(row)
        options = _rows([each for each in self.get_params(ctx) if each.param_type_name == "option"], ctx)
        _write_panels(formatter, list(panels.items()))
        _write_panels(formatter, [("Options", options)])

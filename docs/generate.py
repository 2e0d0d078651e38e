"""Writes the pages that are made from the program: all commands with their help, and all models and data sets.

``python docs/generate.py`` writes them anew; ``tests/test_docs.py`` holds them to the program.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parent / "pages"
WIDTH = 100


def commands_page() -> str:
    """The help of darkside and of each command, as a terminal of ``WIDTH`` columns shows it."""
    os.environ.update(COLUMNS=str(WIDTH), NO_COLOR="1")
    import typer

    from darkside_cli.cli.app import app

    group: Any = typer.main.get_command(app)
    parts = ["# Commands\n\nThis is what `darkside --help` and `darkside COMMAND --help` say.\n"]
    for name, command in ((None, group), *group.commands.items()):
        title = f"darkside {name or ''}".strip()
        text = command.make_context(title, [], resilient_parsing=True).get_help()
        parts.append(f"## {title}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


def assets_page() -> str:
    """The table of all that ``darkside download`` can get."""
    from darkside_cli.jobs.catalog import ASSETS

    lines = [
        "# Models and data sets by name\n",
        "`darkside download NAME` gets them, and `darkside download GROUP` a group of them. "
        "`darkside download --list` also says what is on this machine.\n",
        "| name | groups | what | licence | needed by |",
        "|---|---|---|---|---|",
    ]
    for asset in ASSETS:
        needed = ", ".join(f"`{command}`" for command in asset.needed_by)
        groups = ", ".join(asset.groups) or "-"
        licence = asset.licence.partition(" (")[0]  # without its remark
        lines.append(f"| `{asset.name}` | {groups} | {asset.summary} | {licence} | {needed} |")
    return "\n".join([*lines, "", *embedded_table(), "", *others_table()]) + "\n"


def embedded_table() -> list[str]:
    """The table of the models that come with the package."""
    from darkside_cli.networks.catalog import MODELS

    lines = [
        "## Models that come with darkside\n",
        "They need no download. `darkside models NAME` tells what each was trained on.\n",
        "| name | what | licence | used by |",
        "|---|---|---|---|",
    ]
    uses = {"generator": "`translate`, `finetune`", "descriptor": "`extract`, `search`, `evaluate`"}
    lines += [
        f"| `{each.name}` | {each.summary} | {each.licence} | {uses[each.kind]} |"
        for each in MODELS
        if each.embedded
    ]
    return lines


def others_table() -> list[str]:
    """The table of the descriptors of others."""
    from darkside_cli.networks.others import OTHERS

    lines = [
        "## Descriptors of others\n",
        "`extract`, `search` and `evaluate` take them by name, with `--trust`: see "
        "[models of others](descriptors.md#models-of-others). R@1 is what their papers say, in percent, where a place "
        "within 25 m is right. Rows without a call are figures alone.\n",
        "| name | what | numbers | image | R@1 Tokyo 24/7 | R@1 SVOX night | trained on | licence | call |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in OTHERS:
        size = "x".join(map(str, each.input.size)) if each.input.size else "any" if each.call else "-"
        figures = (
            f"{each.recall[key]:.1f}" if key in each.recall else "-" for key in ("tokyo247", "svox_night")
        )
        cells = (
            f"`{each.name}`",
            each.summary,
            str(each.dim or "-"),
            size,
            *figures,
            each.trained_on,
            each.licence,
        )
        lines.append(f"| {' | '.join(cells)} | {f'`hub:{each.call}`' if each.call else '-'} |")
    return [
        *lines,
        "",
        "Where the figures are from:\n",
        *(f"- `{each.name}`: {each.recall_from}" for each in OTHERS),
    ]


def pages() -> dict[str, str]:
    """All pages that are made, by the name of their file."""
    return {"commands.md": commands_page(), "assets.md": assets_page()}


if __name__ == "__main__":
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8")

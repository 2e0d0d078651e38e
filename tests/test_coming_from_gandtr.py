"""The table of ``docs/pages/coming-from-gandtr.md``: its commands and its tests exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_calls import RunCli

from darkside_cli.assets.catalog import DATA
from darkside_cli.networks.catalog import MODELS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "pages" / "coming-from-gandtr.md").read_text(encoding="utf-8")
TABLE = TEXT[TEXT.index("line by line") :]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TABLE.splitlines()
    if line.startswith("| ") and "---" not in line
][1:]


def test_there_is_a_row_for_each_promise() -> None:
    assert len(ROWS) >= 20
    assert all(len(row) == 3 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_the_test_exists(row: list[str]) -> None:
    path, _, name = row[2].strip("`").partition("::")
    source = (ROOT / path).read_text(encoding="utf-8")
    if name:
        assert re.search(rf"^\s*def {name}\(", source, re.MULTILINE)


def test_the_commands_exist(run_inside: RunCli) -> None:
    """Every command has a help page that tells its options; published names are known."""
    groups = {group for asset in DATA for group in asset.groups}
    pages: dict[str, str] = {}
    for row in ROWS:
        words = row[1].strip("`").split()
        if words[0] != "darkside":
            continue
        if words[1] not in pages:
            done = run_inside(words[1], "--help")
            assert done.returncode == 0, row
            pages[words[1]] = done.stdout.decode()
        for option in (word for word in words if word.startswith("--")):
            assert option in pages[words[1]], row
        if words[1] == "download" and not words[2].startswith("-"):
            assert all(word in MODELS or word in DATA or word in groups for word in words[2:]), row

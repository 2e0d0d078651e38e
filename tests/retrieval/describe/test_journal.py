"""Unfinished rows: what a killed process leaves behind is whole, and is only taken for what it is."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from darkside_cli.errors import NoSpaceError, UsageError
from darkside_cli.retrieval.describe.journal import Journal, journal_folder, remove_journal

DIGEST = "0123456789abcdef0123"
DIM = 4


def row(number: float) -> np.ndarray:
    return np.full(DIM, number, dtype=np.float32)


def open_journal(target: Path, **changes: object) -> Journal:
    return Journal(target, **{"digest": DIGEST, "dim": DIM, **changes})  # type: ignore[arg-type]


def files(target: Path) -> dict[str, Path]:
    return {path.suffix: path for path in journal_folder(target).iterdir()}


def read(journal: Journal, names: list[str], **options: object) -> list[float]:
    blocks = journal.read(names, 2, **options)  # type: ignore[arg-type]
    return [float(value) for block in blocks for value in block[:, 0]]


def test_rows_by_name_in_any_order(tmp_path: Path) -> None:
    target = tmp_path / "x.h5"
    with open_journal(target) as journal:
        assert not journal.has("a", (1,))
        for number, name in enumerate(["c", "a", "b\n\udcff"]):
            journal.append(name, (number, 10), row(number))
        assert len(journal) == 3
        assert read(journal, ["a", "b\n\udcff", "c"]) == [1, 2, 0]
    with open_journal(target) as journal:
        assert journal.dropped == 0
        assert read(journal, ["b\n\udcff", "c", "a"], without={"c"})[::2] == [2, 1]
        assert np.isnan(read(journal, ["c"], without={"c"})[0])
        assert journal.has("a", (1, 10))
        assert not journal.has("a", (1, 11))
        assert "c" in journal
        with pytest.raises(KeyError):
            read(journal, ["d"])
        journal.append("a", (1, 11), row(7))  # the image has changed
        assert journal.has("a", (1, 11))
        assert not journal.has("a", (1, 10))
        journal.refresh()
        assert read(journal, ["a", "c"]) == [7, 0]
        journal.remove()
    assert not journal_folder(target).exists()
    assert journal_folder(target).name.startswith(".")


def test_rows_of_nobody_knows_which_file_serve_all(tmp_path: Path) -> None:
    with open_journal(tmp_path / "x.h5") as journal:
        journal.append("a", None, row(1))
        assert journal.has("a", (5, 6))


@pytest.mark.parametrize("torn_journal", [1, 20, 60])
@pytest.mark.parametrize("torn_rows", [0, 3, 16])
def test_torn_ends_do_not_count(tmp_path: Path, torn_journal: int, torn_rows: int) -> None:
    """A process killed while it writes: a line that is not whole, a row that is not whole, or a row too many."""
    target = tmp_path / "x.h5"
    with open_journal(target) as journal:
        for number, name in enumerate("abc"):
            journal.append(name, (number,), row(number))
    found = files(target)
    with found[".journal"].open("rb+") as file:
        file.truncate(found[".journal"].stat().st_size - torn_journal)
    with found[".rows"].open("ab") as file:
        file.write(b"\1" * torn_rows)
    with open_journal(target) as journal:
        assert [name for name in "abc" if name in journal] == ["a", "b"]
        journal.append("d", (3,), row(3))
        assert read(journal, ["d", "a", "b"]) == [3, 0, 1]
    with open_journal(target) as journal:
        assert read(journal, ["d", "a", "b"]) == [3, 0, 1]
        assert "c" not in journal


def test_damaged_rows_and_lines_do_not_count(tmp_path: Path) -> None:
    target = tmp_path / "x.h5"
    with open_journal(target) as journal:
        for number, name in enumerate("abc"):
            journal.append(name, (number,), row(number + 1))
    found = files(target)
    data = bytearray(found[".rows"].read_bytes())
    data[17] ^= 1
    found[".rows"].write_bytes(data)
    found[".journal"].write_bytes(b"\0\0\0\n[1]\n" + found[".journal"].read_bytes())
    with open_journal(target) as journal:
        assert [name for name in "abc" if name in journal] == ["a", "c"]
        assert read(journal, ["a", "c"]) == [1, 3]
    found[".rows"].unlink()
    with open_journal(target) as journal:
        assert len(journal) == 0


def test_another_digest_or_size_starts_afresh(tmp_path: Path) -> None:
    target = tmp_path / "x.h5"
    with open_journal(target) as journal:
        journal.append("a", (0,), row(0))
        journal.append("b", (0,), row(0))
    with open_journal(target, digest="f" * 20) as journal:
        assert journal.dropped == 2
        assert len(journal) == 0
        journal.append("a", (0,), row(1))
    with open_journal(target, digest="f" * 20) as journal:
        assert journal.dropped == 0
        assert read(journal, ["a"]) == [1]
    with open_journal(target, digest="f" * 20, dim=5) as journal:
        assert journal.dropped == 1
        with pytest.raises(ValueError, match="a row of 4 numbers"):
            journal.append("a", (0,), row(1))


def test_several_processes(tmp_path: Path) -> None:
    target = tmp_path / "x.h5"
    with open_journal(target, part=0, parts=2) as first, open_journal(target, part=1, parts=2) as second:
        first.append("a", (0,), row(1))
        second.append("b", (0,), row(2))
        assert "b" not in first
        first.refresh()
        assert read(first, ["b", "a"]) == [2, 1]
        with pytest.raises(UsageError, match="another process"), open_journal(target, part=1, parts=2):
            pass
    # Another number of processes goes on with the rows of both; the newest row of an image counts.
    with open_journal(target) as journal:
        assert read(journal, ["a", "b"]) == [1, 2]
        journal.append("b", (1,), row(3))
    with open_journal(target, part=1, parts=3) as journal:
        assert journal.has("b", (1,))
        assert read(journal, ["b"]) == [3]


def test_any_target_name(tmp_path: Path) -> None:
    for name in ("x" * 250 + ".h5", os.fsdecode(b"\xff.npz"), "[a]*.npy"):
        target = tmp_path / name
        with open_journal(target) as journal:
            journal.append("a", (0,), row(1))
        with open_journal(target) as journal:
            assert "a" in journal
        remove_journal(target)
        assert list(tmp_path.iterdir()) == []
    remove_journal(tmp_path / "there is none")


def test_lines_are_json(tmp_path: Path) -> None:
    target = tmp_path / "x.h5"
    with open_journal(target) as journal:
        journal.append("ä", (12, 34, 1.5), row(1))
    entry = json.loads(files(target)[".journal"].read_text())
    assert entry["name"] == "ä"
    assert entry["row"] == 0
    assert entry["stamp"] == [12, 34, 1.5]


@pytest.mark.parametrize(("size", "fitting"), [(30, 0), (200, 2), (260, 3)])
def test_a_row_without_room_takes_nothing_with_it(tmp_path: Path, size: int, fitting: int) -> None:
    """Rows of 16 bytes, lines of some 85: what fits no more is cut off again, and there is more room later."""
    target = tmp_path / "x.h5"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept: list[str] = []

    def fill(journal: Journal) -> None:
        for number, name in enumerate("abcdef"):
            journal.append(name, (number,), row(number))
            kept.append(name)

    with open_journal(target) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            with pytest.raises(NoSpaceError, match="File too large"):
                fill(journal)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert len(kept) == fitting
        journal.append("later", (9,), row(9))
    with open_journal(target) as journal:
        assert [name for name in (*"abcdef", "later") if name in journal] == [*kept, "later"]
        assert read(journal, ["later", *kept]) == [9, *range(len(kept))]

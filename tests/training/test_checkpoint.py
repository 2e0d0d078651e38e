from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from darkside_cli.atomic import TEMPORARY_PREFIX
from darkside_cli.errors import CheckpointError
from darkside_cli.training import checkpoint
from darkside_cli.training.checkpoint import (
    CheckpointFolder,
    CheckpointNotSavedError,
    OtherVersionError,
    Position,
    load_weights,
    put_weights,
    save_plain,
    save_state,
)


def fill(text: str = "weights") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "a.safetensors").write_text(text)
        save_state(folder / "state.pt", {"number": 5, "tensor": torch.arange(3)})

    return write


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "checkpoints")


def write(folder: CheckpointFolder, *positions: tuple[int, int]) -> None:
    for each in positions:
        folder.write(Position(*each), {"epoch": each[0]}, fill(str(each)))


def names(folder: CheckpointFolder) -> list[str]:
    return sorted(each.name for each in folder.folder.iterdir())


@given(st.integers(0, 20_000), st.integers(0, 5_000_000))
def test_names_say_the_position(epoch: int, step: int) -> None:
    position = Position(epoch, step)
    assert Position.from_name(position.name) == position


def test_names_as_documented() -> None:
    assert Position(10, 0).name == "epoch_0010"
    assert Position(9, 123).name == "epoch_0010_step_000123"
    for other in ("epoch_10", "epoch_0010.damaged", "epoch_0010_step_1", "frozen", "epoch_00010", ""):
        assert Position.from_name(other) is None


def test_newest_first(folder: CheckpointFolder) -> None:
    assert folder.positions() == []
    write(folder, (2, 0), (0, 5), (1, 70), (1, 0))
    (folder.folder / "epoch_0009").write_text("a file")
    assert folder.positions() == [Position(2), Position(1, 70), Position(1), Position(0, 5)]


def test_written_and_read(folder: CheckpointFolder) -> None:
    path = folder.write(Position(3), {"config": {"lr": 0.1}}, fill())
    assert path == folder.folder / "epoch_0003"
    meta = folder.meta(Position(3))
    assert meta["config"] == {"lr": 0.1}
    assert meta["files"]["a.safetensors"]["size"] == len("weights")
    state = folder.state(Position(3))
    assert state["number"] == 5
    assert torch.equal(state["tensor"], torch.arange(3))
    assert names(folder) == ["epoch_0003"]


def test_a_checkpoint_is_replaced_whole(folder: CheckpointFolder) -> None:
    folder.write(Position(1), {}, fill("old"))
    folder.write(Position(1), {}, fill("new"))
    assert (folder.path(Position(1)) / "a.safetensors").read_text() == "new"
    assert names(folder) == ["epoch_0001"]


class PowerCutError(BaseException):
    pass


def test_wherever_writing_ends_no_checkpoint_is_partial(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that reaches the disk is made to be the last one."""
    write(folder, (1, 0))
    calls = allowed = 0

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls > allowed:
                raise PowerCutError
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(os, "fsync", counted(os.fsync))
    monkeypatch.setattr(Path, "rename", counted(Path.rename))
    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr(torch, "save", counted(torch.save))
    monkeypatch.setattr(checkpoint, "_remove", lambda path: None)  # a killed process tidies nothing
    for allowed in range(30):  # noqa: B007 - the functions above look at it
        calls = 0
        try:
            write(folder, (2, 0))
        except PowerCutError:
            for position in folder.positions():
                folder.meta(position)
                folder.state(position)
            if folder.path(Position(2)).exists():
                break  # renamed, and only the folder's own sync was left
            assert folder.positions() == [Position(1)]
    else:
        pytest.fail("never written")
    assert allowed > 5
    monkeypatch.undo()
    assert any(name.startswith(TEMPORARY_PREFIX) for name in names(folder))
    folder.tidy()
    assert names(folder) == ["epoch_0001", "epoch_0002"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_leaves_what_there_was(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write(folder, (1, 0))

    def full(path: Path) -> None:
        fill()(path)
        raise OSError(number, os.strerror(number))

    with pytest.raises(CheckpointNotSavedError) as caught:
        folder.write(Position(2), {}, full)
    assert os.strerror(number) in caught.value.message
    assert "epoch_0001 is kept" in (caught.value.hint or "")
    assert names(folder) == ["epoch_0001"]

    def no_sync(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", no_sync)
    with pytest.raises(CheckpointNotSavedError):
        write(folder, (2, 0))
    assert names(folder) == ["epoch_0001"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_what_the_writers_of_files_say_of_a_full_disk(folder: CheckpointFolder, tmp_path: Path) -> None:
    """torch and safetensors have errors of their own; here they really run out of space."""

    def state(path: Path) -> None:
        (path / "state.pt").symlink_to("/dev/full")
        save_state(path / "state.pt", {"a": torch.zeros(100_000)})

    def network(path: Path) -> None:
        raise CheckpointError("cannot write it: No space left on device")  # as models.weights does

    for write_part in (state, network):
        with pytest.raises(CheckpointNotSavedError, match=r"(?i)space"):
            folder.write(Position(1), {}, write_part)
        assert names(folder) == []


def test_other_errors_are_passed_on_and_leave_nothing(folder: CheckpointFolder) -> None:
    def broken(path: Path) -> None:
        fill()(path)
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        folder.write(Position(1), {}, broken)
    assert names(folder) == []


@pytest.mark.parametrize(
    "damage", ["truncated", "changed", "missing", "no meta", "torn meta", "strange meta"]
)
def test_damage_is_noticed(folder: CheckpointFolder, damage: str) -> None:
    path = folder.write(Position(1), {}, fill())
    state = path / "state.pt"
    if damage == "truncated":
        state.write_bytes(state.read_bytes()[:-10])
    elif damage == "changed":
        content = bytearray(state.read_bytes())
        content[len(content) // 2] ^= 1
        state.write_bytes(content)
    elif damage == "missing":
        state.unlink()
    elif damage == "no meta":
        (path / "meta.json").unlink()
    elif damage == "torn meta":
        (path / "meta.json").write_text((path / "meta.json").read_text()[:40])
    else:
        (path / "meta.json").write_text("[]")
    with pytest.raises(CheckpointError, match="epoch_0001 is damaged"):
        folder.meta(Position(1))


def test_a_newer_format_is_no_damage(folder: CheckpointFolder) -> None:
    path = folder.write(Position(1), {}, fill()) / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(OtherVersionError, match="format version 99"):
        folder.meta(Position(1))


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("should-not-exist",))


def test_state_is_data_only(
    folder: CheckpointFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder.write(Position(1), {}, lambda path: torch.save({"a": Evil()}, path / "state.pt"))
    with pytest.raises(CheckpointError, match=r"cannot read .*state\.pt"):
        folder.state(Position(1))
    assert not (tmp_path / "should-not-exist").exists()


ENDS = [(epoch, 0) for epoch in range(1, 13)]


@pytest.mark.parametrize(
    ("there", "keep", "store_every", "best", "left"),
    [
        (ENDS, 1, 10, None, [10, 12]),
        (ENDS, 2, 5, None, [5, 10, 11, 12]),
        (ENDS, 2, 0, 3, [3, 11, 12]),
        (ENDS[:3], 5, 10, None, [1, 2, 3]),
        # Inside epochs: the newest if nothing is newer, and the ends that would have been kept without it.
        ([(1, 0), (2, 0), (2, 4), (2, 8)], 1, 0, None, [2, (2, 8)]),
        ([(2, 4), (3, 0), (1, 0)], 1, 0, None, [3]),
        ([(0, 2), (0, 4)], 3, 1, None, [(0, 4)]),
        ([], 1, 10, 4, []),
    ],
)
def test_pruning(
    folder: CheckpointFolder,
    there: list[tuple[int, int]],
    keep: int,
    store_every: int,
    best: int | None,
    left: list[int | tuple[int, int]],
) -> None:
    write(folder, *there)
    removed = folder.prune(keep=keep, store_every=store_every, best_epoch=best)
    expected = [Position(each) if isinstance(each, int) else Position(*each) for each in left]
    assert sorted(folder.positions()) == sorted(expected)
    assert len(removed) == len(there) - len(left)
    if there:
        assert len(names(folder)) == len(left)  # nothing hidden is left either


def test_set_aside_and_start_over(folder: CheckpointFolder, tmp_path: Path) -> None:
    assert folder.start_over() is None
    write(folder, (1, 0), (2, 0))
    for _ in range(2):
        moved = folder.set_aside(Position(2))
        assert moved.name == "epoch_0002.damaged"
        assert folder.positions() == [Position(1)]
        write(folder, (2, 0))
    assert folder.start_over() == tmp_path / "checkpoints-before-1"
    assert folder.positions() == []
    write(folder, (1, 0))
    assert folder.start_over() == tmp_path / "checkpoints-before-2"


def test_weights_go_through_plain_safetensors(tmp_path: Path) -> None:
    first, second = (
        nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)),
        nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)),
    )
    first.to(memory_format=torch.channels_last)
    path = tmp_path / "a.safetensors"
    save_plain(path, "a", first, {"epoch": 1})
    put_weights(second, load_weights(path), path)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    with pytest.raises(CheckpointError, match="does not fit"):
        put_weights(nn.Linear(1, 1), load_weights(path), path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="cannot read"):
        load_weights(path)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_weights(tmp_path / "none")

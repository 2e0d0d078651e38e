"""Checkpoints as folders that are whole or not there, and which of them are kept.

A checkpoint is made under a hidden name, brought to the disk file by file, and renamed. ``meta.json`` in it lists its
other files with their sizes and digests, so that damage is noticed before anything is loaded. Names:
``epoch_0010`` after the tenth epoch, ``epoch_0010_step_000123`` after 123 batches of it.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from darkside_cli.assets.ledger import sha256_of
from darkside_cli.atomic import TEMPORARY_PREFIX, write_bytes_atomic
from darkside_cli.errors import CheckpointError, DarksideError

FORMAT_VERSION = 1
META, STATE, WEIGHTS = "meta.json", "state.pt", ".safetensors"
_NAME = re.compile(r"epoch_(?P<epoch>\d{4,})(_step_(?P<step>\d{6,}))?")
_DAMAGED = ".damaged"


class CheckpointNotSavedError(DarksideError):
    """A checkpoint could not be written; those before it are as they were."""

    exit_code = 1


class OtherVersionError(CheckpointError):
    """A checkpoint is sound, but this version does not know its format."""


@dataclass(frozen=True, order=True)
class Position:
    """How far a run is: ``epoch`` epochs are done, and ``step`` batches of the next one."""

    epoch: int = 0
    step: int = 0

    @property
    def name(self) -> str:
        """Name of the checkpoint's folder."""
        if self.step:
            return f"epoch_{self.epoch + 1:04d}_step_{self.step:06d}"
        return f"epoch_{self.epoch:04d}"

    @classmethod
    def from_name(cls, name: str) -> Position | None:
        """Read a folder's name; None if it is no checkpoint's."""
        if (match := _NAME.fullmatch(name)) is None:
            return None
        step = int(match["step"] or 0)
        position = cls(int(match["epoch"]) - bool(step), step)
        return position if position.name == name else None


class CheckpointFolder:
    """The checkpoints of a run, in ``folder``. One process at a time may write there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, position: Position) -> Path:
        """Where the checkpoint of ``position`` is, or would be."""
        return self.folder / position.name

    def positions(self) -> list[Position]:
        """Positions of all checkpoints, newest first, whole ones and damaged ones."""
        found = (Position.from_name(each.name) for each in self.folder.glob("epoch_*") if each.is_dir())
        return sorted((each for each in found if each is not None), reverse=True)

    def tidy(self) -> None:
        """Remove what processes left that were killed while they wrote."""
        for each in self.folder.glob(f"{TEMPORARY_PREFIX}*"):
            _remove(each)

    def write(self, position: Position, meta: Mapping[str, Any], fill: Callable[[Path], None]) -> Path:
        """Write the checkpoint of ``position``: ``fill(folder)`` writes its files, ``meta`` is JSON-able.

        Returns its path. What was there under this name is replaced. Raises CheckpointNotSavedError if it cannot be
        written; whatever ``fill`` raises leaves nothing behind.
        """
        target = self.path(position)
        temporary = self._hidden()
        with self.told(target):
            try:
                temporary.mkdir(parents=True)
                fill(temporary)
                files = {each.name: _described(each) for each in sorted(temporary.iterdir())}
                content = {**meta, "format": FORMAT_VERSION, "files": files}
                write_bytes_atomic(temporary / META, json.dumps(content, indent=1, allow_nan=False).encode())
                for each in temporary.iterdir():
                    _sync(each)
                _sync(temporary)
                old = self._hidden()
                if target.exists():
                    target.rename(old)
                temporary.rename(target)
                _remove(old)
                _sync(self.folder)
            finally:
                _remove(temporary)
        return target

    @contextmanager
    def told(self, target: Path) -> Iterator[None]:
        """What goes wrong in writing ``target`` inside of this block becomes a CheckpointNotSavedError."""
        try:
            yield
        except (OSError, SafetensorError, CheckpointError, RuntimeError) as error:
            if isinstance(error, CheckpointError):
                reason = error.message
            elif isinstance(error, (OSError, SafetensorError)):  # safetensors has its own for a full disk
                reason = getattr(error, "strerror", None) or str(error)
            elif "PytorchStreamWriter" in str(error) or "unexpected pos" in str(error):
                reason = "no space left on the disk, or it failed"  # all that torch tells
            else:
                raise
            good = self.positions()
            kept = f"; {self.path(good[0])} is kept, the run goes on from it" if good else ""
            raise CheckpointNotSavedError(
                f"cannot save {target}: {reason}", hint=f"make room and run again{kept}"
            ) from error

    def _hidden(self) -> Path:
        return self.folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"

    def meta(self, position: Position) -> dict[str, Any]:
        """What ``meta.json`` says, all files it lists being there as they were written.

        Raises CheckpointError if the checkpoint is damaged, OtherVersionError if it is of another version's making.
        """
        path = self.path(position)
        try:
            meta: dict[str, Any] = json.loads((path / META).read_text(encoding="utf-8"))
            version, files = meta["format"], dict(meta["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"checkpoint {path} is damaged: {META}: {error}") from error
        if version != FORMAT_VERSION:
            raise OtherVersionError(
                f"checkpoint {path} has format version {version}, this darkside reads {FORMAT_VERSION}",
                hint="go on with the version of darkside that wrote it, or start over with --no-resume",
            )
        for name, expected in files.items():
            try:
                found = _described(path / name)
            except OSError as error:
                raise CheckpointError(f"checkpoint {path} is damaged: {name}: {error.strerror}") from error
            if found != expected:
                raise CheckpointError(f"checkpoint {path} is damaged: {name} is not as it was written")
        return meta

    def state(self, position: Position) -> dict[str, Any]:
        """Content of ``state.pt``, tensors on the CPU. Raises CheckpointError."""
        path = self.path(position) / STATE
        try:
            return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
        except Exception as error:  # unpickling raises whatever it likes
            raise CheckpointError(f"cannot read {path}: {type(error).__name__}: {error}") from error

    def set_aside(self, position: Position) -> Path:
        """Rename a damaged checkpoint so that it counts as none; returns where it is now."""
        target = self.folder / f"{position.name}{_DAMAGED}"
        _remove(target)
        return self.path(position).rename(target)

    def start_over(self) -> Path | None:
        """Rename the whole folder, if there are checkpoints in it, so that a run can begin anew.

        Returns where it is now, None if there were no checkpoints.
        """
        if not self.positions():
            return None
        names = (f"{self.folder.name}-before-{number}" for number in itertools.count(1))
        return self.folder.rename(
            next(path for path in map(self.folder.with_name, names) if not path.exists())
        )

    def prune(self, *, keep: int, store_every: int, best_epoch: int | None) -> list[Path]:
        """Remove what the rule does not keep, and return what was removed.

        Kept are the newest ``keep`` ends of epochs, every ``store_every``-th (0: none), the best, and the newest
        checkpoint inside an epoch if nothing is newer.
        """
        positions = self.positions()
        ends = [each for each in positions if not each.step]
        kept = {*positions[:1], *ends[:keep]}
        kept |= {e for e in ends if e.epoch == best_epoch or (store_every and e.epoch % store_every == 0)}
        removed = [each for each in positions if each not in kept]
        for each in removed:
            hidden = self._hidden()  # no folder under a checkpoint's name is ever partial
            self.path(each).rename(hidden)
            _remove(hidden)
        return [self.path(each) for each in removed]


def save_plain(path: Path, name: str, module: nn.Module, metadata: Mapping[str, Any]) -> None:
    """Write a network as plain safetensors, ``name`` and ``metadata`` as JSON in the header.

    One entry, because safetensors writes several in an order that is up to chance.
    """
    tensors = {
        key: value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for key, value in module.state_dict().items()
    }
    save_file(tensors, path, metadata={"metadata": json.dumps({"name": name, **metadata})})


def load_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, on the CPU. Raises CheckpointError."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error


def put_weights(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load ``state``, read from ``path``, into ``module``. Raises CheckpointError if it does not fit."""
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit the network of this run: {error}", hint="start over with --no-resume"
        ) from error


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write ``state.pt``; it must be made of what ``torch.load(weights_only=True)`` takes.

    The same state gives the same bytes, wherever its parts come from: see :func:`_plain`.
    """
    torch.save(_plain(dict(state)), path)


def _plain(value: Any) -> Any:
    """``value`` with new containers, and each text one object.

    Pickle writes an object that it meets again as a reference, so that what was read from a file would otherwise give
    other bytes than what was made here.
    """
    if isinstance(value, Mapping):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(_plain(each) for each in value)
    return sys.intern(value) if type(value) is str else value


def _described(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": sha256_of(path)}


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot, and need not
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()

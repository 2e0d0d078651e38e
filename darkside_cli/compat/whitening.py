"""The one function that reads a whitening of any format, ours or others'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darkside_cli.compat import cirtorch
from darkside_cli.compat.safe_pickle import load_pickle
from darkside_cli.errors import CheckpointError
from darkside_cli.models import whitening as ours
from darkside_cli.models.state_file import read_state_file
from darkside_cli.models.whitening import Whitening


def read_whitening(path: str | Path, *, which: str | None = None) -> Whitening:
    """Read a whitening: ours, a pickle ``{"m", "P"}`` of gandtr or cirtorch, or one inside cirtorch's network.

    ``which`` ("retrieval-SfM-120k/ms") chooses among those of a network's file; of others it changes nothing.

    Raises MissingAssetError if there is no such file, CheckpointError if it is damaged, unsafe or holds no
    whitening, ConfigError if it does not hold the one that is wanted.
    """
    path = Path(path)
    if _is_pickle(path) and not isinstance(content := load_pickle(path), int):
        return _from_mapping(content, path)
    # torch's old container is a row of pickles, of which the first is a number
    with cirtorch.arrays_allowed():
        file = read_state_file(path)
    if (whitening := ours.from_state_file(file)) is not None:
        return whitening
    if cirtorch.is_cirtorch(file.content):
        return cirtorch.choose_whitening(cirtorch.parse(file.content, path), which, path)
    raise CheckpointError(f"{path} holds no whitening", hint="give a file with the mean and the projection")


def _is_pickle(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(1) == b"\x80"
    except OSError:
        return False  # read_state_file says what is wrong


def _from_mapping(content: Any, path: Path) -> Whitening:
    if not isinstance(content, Mapping) or not {"m", "P"} <= set(content):
        raise CheckpointError(f"{path} is a pickle, but of no whitening: it has no 'm' and 'P'")
    try:
        return Whitening(content["m"], content["P"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds a damaged whitening: {error}") from error

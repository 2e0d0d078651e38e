"""The one function that reads a whitening of any format, ours or others', and one that writes the published format."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.errors import CheckpointError
from darkside_cli.interop import cirtorch
from darkside_cli.interop.safe_pickle import load_pickle
from darkside_cli.networks.state_file import looks_like_safetensors, read_state_file
from darkside_cli.networks.weights import Whitening, whitening_from_state_file
from darkside_cli.regular_file import open_regular


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
    if (whitening := whitening_from_state_file(file)) is not None:
        return whitening
    if cirtorch.is_cirtorch(file.content):
        return cirtorch.choose_whitening(cirtorch.parse(file.content, path), which, path)
    raise CheckpointError(f"{path} holds no whitening", hint="give a file with the mean and the projection")


def _is_pickle(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            head = file.read(16)
    except OSError:
        return False  # read_state_file says what is wrong
    # The length that a safetensors file begins with may look like a pickle's first byte.
    return head.startswith(b"\x80") and not looks_like_safetensors(head)


def _from_mapping(content: Any, path: Path) -> Whitening:
    if not isinstance(content, Mapping) or not {"m", "P"} <= set(content):
        raise CheckpointError(f"{path} is a pickle, but of no whitening: it has no 'm' and 'P'")
    try:
        return Whitening(content["m"], content["P"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} holds a damaged whitening: {error}") from error


def write_published_whitening(path: str | Path, whitening: Whitening) -> Path:
    """Write the published pickle, ``{"m": (D, 1), "P": (K, D)}`` in float64, whole or not at all; gives its path.

    Its protocol (2) and the names in it (NumPy 1's) are those that every NumPy and Python can read. Metadata has no
    place in it. Raises CheckpointError if it cannot be written.
    """
    path = Path(path)
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=2).dump({"m": whitening.mean[:, None].copy(), "P": whitening.projection})
    try:
        write_bytes_atomic(path, buffer.getbuffer(), sync=True)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
    return path


class _Pickler(pickle._Pickler):  # the one written in Python: how it names things can be changed
    """Calls NumPy's modules what NumPy 1 calls them; NumPy 2 knows these names, too."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write the place of a function or class."""
        module = str(getattr(obj, "__module__", ""))
        if not module.startswith("numpy._core."):
            super().save_global(obj, name)  # type: ignore[misc]
            return
        place = module.replace("numpy._core.", "numpy.core.", 1)
        self.write(pickle.GLOBAL + f"{place}\n{obj.__qualname__}\n".encode())  # type: ignore[attr-defined]
        self.memoize(obj)  # type: ignore[attr-defined]

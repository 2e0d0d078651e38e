"""Pickles of data (whitenings, ground truths, training databases), read without running anything in them.

The reader knows a short list of names: NumPy's arrays, scalars and dtypes under the module paths of NumPy 1
and 2, and the few built-in types that pickles call by name. Whatever else a pickle asks for refuses the
whole file. State is only given to arrays and dtypes, and only after a look at it: NumPy itself would take a
dtype whose pickle lies about holding objects, and follow the array's bytes as pointers.
"""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from darkside_cli.errors import CheckpointError, MissingAssetError
from darkside_cli.regular_file import open_regular

_TRUST = "get the file from a source you trust; other programs may run what is in it"
_AGAIN = "get the file again: it may be an interrupted or failed download"

#: Type codes of plain dtypes: bool, integers, floats, complex, bytes, text and objects, with their sizes.
_PLAIN_DTYPE = re.compile(r"[<>|=]?[?biufcSUO]\d*")


class _RefusedError(Exception):
    """The pickle asks for something that data has no use for; the argument says for what."""


def load_pickle(path: str | Path) -> Any:
    """Read a pickle of plain containers, numbers, text and NumPy arrays, of any protocol.

    Byte strings of Python 2 come back as text (latin-1). Raises MissingAssetError if there is no such file,
    CheckpointError if it is damaged or no pickle, or if it was refused as unsafe because it asks Python for
    anything else.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            data = file.read()
    except FileNotFoundError as error:
        raise MissingAssetError(f"there is no file {path}", hint="check the path") from error
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror or error}", hint="check its permissions"
        ) from error
    if not data:
        raise CheckpointError(f"{path} is empty", hint=_AGAIN)
    try:
        return loads(data)
    except _RefusedError as error:
        raise CheckpointError(
            f"{path} was refused as unsafe: it asks Python for {error}, which data has no use for",
            hint=_TRUST,
        ) from error
    except Exception as error:  # damaged pickles raise almost anything
        from darkside_cli.networks.state_file import kind_of

        what = "is damaged or incomplete" if data.startswith(b"\x80") else f"{kind_of(data[:512])}, not data"
        raise CheckpointError(f"{path} {what}: {str(error) or type(error).__name__}", hint=_AGAIN) from error


def loads(data: bytes) -> Any:
    """Read a pickle from memory as :func:`load_pickle` does, but with the errors as they come."""
    return _Reader(io.BytesIO(data), encoding="latin1").load()


def _dtype(code: Any, *_: Any) -> np.dtype[Any]:
    """Stand in for ``numpy.dtype``: plain ones only, and always a copy, since state may be given to it."""
    if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
        raise _RefusedError(f"the data type {code!r}")
    return np.dtype(code, copy=True)


def _empty_array(subtype: Any, *_: Any) -> np.ndarray[Any, Any]:
    """Stand in for ``_reconstruct``: what a pickled array begins as, before it is given its state."""
    if subtype is not np.ndarray:
        raise _RefusedError(f"an array of the kind {subtype!r}")
    return np.ndarray((0,), np.dtype("b"))


def _array(buffer: Any, dtype: Any, shape: Any, order: Any = "C", *_: Any) -> np.ndarray[Any, Any]:
    """Stand in for ``_frombuffer``, by which protocol 5 writes arrays."""
    if not isinstance(buffer, (bytes, bytearray)) or not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise _RefusedError("an array of pointers")
    return np.frombuffer(buffer, dtype).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: Any, data: Any) -> Any:
    """Stand in for ``scalar``, without the possibility to make an object."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise _RefusedError("a scalar that is an object")
    return np.frombuffer(_as_bytes(data), dtype, count=1)[0]


def _as_bytes(text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    """Stand in for ``bytes`` and ``_codecs.encode``, by which protocols up to 2 write bytes."""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _RefusedError("a conversion of text")
    return text.encode("latin1")


def _no_bytes(*arguments: Any) -> bytes:
    return _as_bytes(*arguments) if arguments else b""


_KNOWN: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array,
    "_codecs.encode": _as_bytes,
    "builtins.bytes": _no_bytes,
    "builtins.bytearray": lambda *arguments: bytearray(_no_bytes(*arguments)),
    "builtins.complex": complex,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "collections.OrderedDict": dict,
}
#: Where the same things are called otherwise: NumPy 2, Python 2.
_RENAMED = {"numpy._core": "numpy.core", "__builtin__": "builtins"}


class _Reader(pickle._Unpickler):  # the one written in Python: its handling of states can be replaced
    """The unpickler that knows only ``_KNOWN``."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Look a name up in the list; nothing is imported."""
        module = module_name
        for other, usual in _RENAMED.items():
            if module == other or module.startswith(f"{other}."):
                module = usual + module.removeprefix(other)
        known = _KNOWN.get(f"{module}.{global_name}")
        if known is None:
            raise _RefusedError(f"{module_name}.{global_name}")
        return known

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse: data has all it needs in its file."""
        raise _RefusedError(f"the object {pid!r} outside the file")

    def load_build(self) -> None:
        """Give an object its state: a dtype its byte order, an array its shape, type and data."""
        state = self.stack.pop()  # type: ignore[attr-defined]
        target = self.stack[-1]  # type: ignore[attr-defined]
        if isinstance(target, np.dtype):
            _build_dtype(target, state)
        elif type(target) is np.ndarray:
            _build_array(target, state)
        else:
            raise _RefusedError(f"a state of a {type(target).__name__}")

    def load_extension(self) -> NoReturn:
        """Refuse: Python's cache of extensions would go past the list."""
        raise _RefusedError("a registered extension")

    dispatch[pickle.BUILD[0]] = load_build
    for _opcode in (pickle.EXT1, pickle.EXT2, pickle.EXT4):
        dispatch[_opcode[0]] = load_extension


def _build_dtype(target: np.dtype[Any], state: Any) -> None:
    # (version, byte order, subarray, names, fields, size, alignment, flags[, metadata])
    if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
        raise _RefusedError("a structured data type")
    own = target.__reduce__()[2]  # everything but the byte order is as NumPy says, not the file
    order = state[1] if state[1] in ("<", ">", "|", "=") else "="
    target.__setstate__((own[0], order, *own[2:]))  # type: ignore[attr-defined]


def _build_array(target: np.ndarray[Any, Any], state: Any) -> None:
    version, shape, dtype, fortran, data = state
    if not isinstance(dtype, np.dtype) or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise _RefusedError("an array of an impossible kind")
    if dtype.hasobject:
        if not isinstance(data, list) or len(data) != prod(shape):
            raise _RefusedError("an array of pointers")
    else:
        data = _as_bytes(data)
        if len(data) != prod(shape) * dtype.itemsize:
            raise ValueError(f"an array of shape {shape} has {len(data)} bytes")
    target.__setstate__((version, shape, dtype, bool(fortran), data))  # type: ignore[arg-type]


# Values beside weights

_MOST_VALUES, _MOST_CHARACTERS = 100_000, 1 << 22
_DEEPEST = 64


def plain_copy(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in JSON's types, texts, finite numbers, lists and mappings, of what a program wrote beside weights.

    In a pickle one list can stand in many places, also of lists that do so too: a file of a kilobyte describes more
    values than any memory holds.

    Raises TypeError or ValueError if there is anything else in it, or too much.
    """
    _require_small(value)
    copy: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    return copy


def _require_small(value: Any) -> None:
    """See that values, each counted as often as it is named, and characters of texts are not too many, nor too deep."""
    pending, values, characters = [(value, 0)], 0, 0
    while pending:
        each, depth = pending.pop()
        values += 1 + (len(each) if isinstance(each, (Mapping, list, tuple)) else 0)
        characters += len(each) if isinstance(each, (str, bytes)) else 0
        if values > _MOST_VALUES or characters > _MOST_CHARACTERS:
            raise ValueError(f"more than {_MOST_VALUES:,} values or {_MOST_CHARACTERS:,} characters")
        if depth > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} levels deep")
        if isinstance(each, Mapping):
            pending += ((inner, depth + 1) for pair in each.items() for inner in pair)
        elif isinstance(each, (list, tuple)):
            pending += ((inner, depth + 1) for inner in each)

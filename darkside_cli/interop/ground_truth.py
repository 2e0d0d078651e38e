"""Ground truths in the published form: a pickle (or JSON) of ``imlist``, ``qimlist`` and ``gnd``.

``imlist`` and ``qimlist`` are the names of database and query images, usually without suffix. ``gnd`` has a
mapping for each query, of ``ok`` and ``junk`` or of ``easy``, ``hard`` and ``junk`` to database indices, in
lists or NumPy arrays, and ``bbx``, the query's box (left, top, right, bottom), or None. By convention the
file is ``<data set>/gnd_<data set>.pkl`` and the images are in ``<data set>/jpg``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from darkside_cli.datasets.ground_truth import GroundTruth, GroundTruthError, Query, from_document, parse_box
from darkside_cli.errors import MissingAssetError
from darkside_cli.interop.safe_pickle import load_pickle
from darkside_cli.metrics import protocols
from darkside_cli.regular_file import read_regular

_MAX_BYTES = 1 << 30
_PREFIX = "gnd_"
_IMAGES = "jpg"
_KEYS = ("imlist", "qimlist", "gnd")


def read_ground_truth(
    path: str | Path, *, name: str | None = None, images: Path | None = None
) -> GroundTruth:
    """Read a ground truth from a file: the published pickle, the same as JSON, or our own JSON.

    ``name`` defaults to that of the file (less ``gnd_``), ``images`` to the folder ``jpg`` beside the file if
    there is one, else to the file's folder; our own JSON says both itself, but ``images``, if given, counts.
    Pickles are read with names of data types only, so that nothing in them can run.

    Raises MissingAssetError if there is no such file, GroundTruthError if it is no ground truth or
    contradicts itself, CheckpointError if a pickle is damaged or unsafe.
    """
    path = Path(path)
    title = name or path.stem.removeprefix(_PREFIX)
    if path.suffix.lower() == ".json":
        document = _load_json(path)
        if _is_own(document):
            own = from_document(document, name=title, folder=path.parent)
            return own if images is None else replace(own, image_root=images)
    else:
        document = load_pickle(path)
    if images is None:
        usual = path.parent / _IMAGES
        images = usual if usual.is_dir() else path.parent
    return from_published(document, name=title, images=images)


def from_published(document: Any, *, name: str, images: Path | None = None) -> GroundTruth:
    """Ground truth from the published form, as unpickled.

    As there, the first query says of which kind it is: ``ok`` or not. Groups left out are empty, and other
    keys of a query are passed over. Images listed twice or in two groups are let pass, since such files exist
    and have been scored (see :class:`GroundTruth`). Raises GroundTruthError if something is missing or
    impossible.
    """
    if not isinstance(document, Mapping) or not all(key in document for key in _KEYS):
        raise GroundTruthError(f"{name} is no ground truth", hint=f"it needs {', '.join(_KEYS)}")
    database, queries = (_names(document[key], f"{name}: {key}") for key in ("imlist", "qimlist"))
    entries = document["gnd"]
    if not isinstance(entries, (list, tuple, np.ndarray)):
        raise GroundTruthError(f"{name}: gnd is not a list of mappings", hint="get the file again")
    if len(entries) != len(queries):
        raise GroundTruthError(
            f"{name} has {len(queries)} queries, but ground truth of {len(entries)}",
            hint="get the file again",
        )
    if not all(isinstance(entry, Mapping) for entry in entries):
        raise GroundTruthError(f"{name}: gnd is not a list of mappings", hint="get the file again")
    groups = protocols.PLAIN_GROUPS if entries and "ok" in entries[0] else protocols.GRADED_GROUPS
    relevant = groups[:-1]
    found = []
    for number, (query, entry) in enumerate(zip(queries, entries, strict=True)):
        where = f"{name}, query {number} ({query})"
        if not any(group in entry for group in relevant):
            raise GroundTruthError(
                f"{where} has no {' or '.join(relevant)} images", hint="get the file again"
            )
        lists = {group: _indices(entry.get(group, ()), f"{where}: {group}") for group in groups}
        found.append(Query(query, lists, parse_box(entry.get("bbx"), where)))
    return GroundTruth(name, database, tuple(found), image_root=images, lenient=True)


def _is_own(document: Any) -> bool:
    """Whether JSON is meant to be of our own form, even if it says so wrongly or not at all."""
    if not isinstance(document, Mapping) or any(key in document for key in _KEYS):
        return False
    return bool({"format", "version", "database", "queries"} & set(document))


def _load_json(path: Path) -> Any:
    try:
        # Some editors begin files with a mark.
        return json.loads(read_regular(path, limit_bytes=_MAX_BYTES).decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise MissingAssetError(f"there is no file {path}", hint="check the path") from error
    except OSError as error:
        raise GroundTruthError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # nested thousands of levels deep
        raise GroundTruthError(f"{path} is no JSON: {error}", hint="correct the file") from error


def _names(value: Any, where: str) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, (list, tuple, np.ndarray)) else (None,)
    if not all(isinstance(name, str) for name in names):
        raise GroundTruthError(f"{where} is not a list of image names", hint="get the file again")
    return tuple(str(name) for name in names)


def _indices(value: Any, where: str) -> tuple[int, ...]:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.array("ragged")
    whole = array.size == 0 or array.dtype.kind in "iu"
    if array.ndim > 1 and array.size and max(array.shape) == array.size:
        array = array.reshape(-1)  # a column, as files converted from MATLAB have them
    if array.ndim > 1 and array.size == 0:
        array = array.reshape(-1)
    if array.ndim != 1 or not whole:
        raise GroundTruthError(f"{where} is not a list of indices", hint="get the file again")
    return tuple(int(index) for index in array)

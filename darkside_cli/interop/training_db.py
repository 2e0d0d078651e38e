"""Retrieval-SfM's databases of training tuples (Radenović et al., TPAMI 2019), pickles of plain lists and arrays.

``cids`` are the images' ids, ``cluster`` the numbers of the 3D models they come from, ``qidxs`` and ``pidxs`` pairs of
images of one model, ``bbxs`` boxes or None. A training database has these under ``train`` and ``val``, one for
whitening has them at its top. Images are found by id: ``ims/<last two digits>/<two before>/<two before>/<id>``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from darkside_cli.assets.entries import shard_path
from darkside_cli.datasets.tuples import IntArray, TupleSet
from darkside_cli.errors import CheckpointError, UnknownNameError
from darkside_cli.images.boxes import Box
from darkside_cli.interop.safe_pickle import load_pickle

IMAGES = "ims"
SPLITS = ("train", "val")
_KEYS = ("cids", "cluster", "qidxs", "pidxs")
_AGAIN = "get the file again"


def read_training_db(path: str | Path, *, split: str | None = None, images: Path | None = None) -> TupleSet:
    """Read the tuples of ``split`` ("train" or "val") of a training database, or those of one for whitening.

    ``split`` None takes "train" where there are splits; of a database without splits it changes nothing. ``images``
    defaults to the folder ``ims`` beside the file. Nothing in the file can run.

    Raises MissingAssetError if there is no such file, CheckpointError if it is damaged, unsafe or no such database,
    UnknownNameError if it has no such split.
    """
    path = Path(path)
    content = load_pickle(path)
    title = path.stem
    if not _has_tuples(content):
        parts = content.items() if isinstance(content, Mapping) else ()
        splits = {str(key): value for key, value in parts if _has_tuples(value)}
        if not splits:
            raise CheckpointError(
                f"{path} is no database of training tuples", hint=f"it needs {', '.join(_KEYS)}"
            )
        wanted = split or SPLITS[0]
        if wanted not in splits:
            raise UnknownNameError(f"split of {path}", wanted, splits)
        content, title = splits[wanted], f"{title}/{wanted}"
    return _tuples(content, title, path, images if images is not None else path.parent / IMAGES)


def _has_tuples(content: Any) -> bool:
    return isinstance(content, Mapping) and set(_KEYS) <= set(content)


def _tuples(content: Mapping[str, Any], title: str, path: Path, images: Path) -> TupleSet:
    ids = content["cids"]
    if not isinstance(ids, (list, tuple, np.ndarray)) or not all(isinstance(each, str) for each in ids):
        raise CheckpointError(f"{path}: cids are no image ids", hint=_AGAIN)
    names = tuple(str(each) for each in ids)
    clusters, queries, positives = (_indices(content[key], key, path) for key in _KEYS[1:])
    ends = np.concatenate([queries, positives])
    if len(clusters) != len(names) or len(queries) != len(positives):
        raise CheckpointError(f"{path}: its lists are not equally long", hint=_AGAIN)
    if len(ends) and not (ends.min() >= 0 and ends.max() < len(names)):
        raise CheckpointError(f"{path}: a pair has an image that is not there", hint=_AGAIN)
    boxes = _boxes(content.get("bbxs"), len(names), path)
    paths = tuple(images / shard_path(name) for name in names)
    return TupleSet(title, names, paths, clusters, queries, positives, boxes)


def _indices(value: Any, key: str, path: Path) -> IntArray:
    array = np.asarray(value) if isinstance(value, (list, tuple, np.ndarray)) else np.array(None)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.dtype.kind not in "iu" or max(array.shape) != array.size:
        raise CheckpointError(f"{path}: {key} is not a list of whole numbers", hint=_AGAIN)
    return array.reshape(-1).astype(np.int64)


def _boxes(value: Any, count: int, path: Path) -> tuple[Box | None, ...] | None:
    listed = value if isinstance(value, (list, tuple, np.ndarray)) else () if value is None else (value,)
    if all(each is None for each in listed):
        return None
    try:
        boxes = tuple(None if box is None else tuple(map(float, box)) for box in listed)
    except (TypeError, ValueError):
        boxes = ()
    if len(boxes) != count or any(box is not None and len(box) != 4 for box in boxes):
        raise CheckpointError(f"{path}: bbxs are not the images' boxes", hint=_AGAIN)
    return boxes  # type: ignore[return-value]

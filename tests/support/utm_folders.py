"""Folders of images named as those of place recognition are, and what VPR-methods-evaluation makes of them, plainly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from glob import glob
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Place = tuple[float, float]


def utm_name(east: float, north: float, *, heading: float | str = "", note: str = "") -> str:
    """A name with all fields of VPR-datasets-downloader's, most of them empty."""
    fields = [f"{east:.2f}", f"{north:.2f}", "33", "U", "", "", note, "", str(heading), "", "", "", "", ""]
    return f"@{'@'.join(fields)}@.jpg"


def write_utm_folder(root: Path, sides: Mapping[str, Iterable[str]]) -> Path:
    """``root/SIDE/NAME`` for all names, each a small image."""
    for side, names in sides.items():
        for number, name in enumerate(names):
            path = root / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number * 37 % 256, 90, 10)).save(path)
    return root


def recalls_of_vpr_methods_evaluation(
    database: str,
    queries: str,
    descriptors: Mapping[str, NDArray[np.float32]],
    *,
    within_m: float = 25,
    values: Sequence[int] = (1, 5, 10, 20),
) -> list[float]:
    """Recalls in percent by the steps of its main.py and test_dataset.py, with exact searches written out.

    ``descriptors`` are by path. Its IndexFlatL2 gives the smallest distances first, of equal ones the lower index.
    """
    database_paths, queries_paths = (
        sorted(glob(f"{folder}/**/*.jpg", recursive=True))  # noqa: PTH207 - as it does
        for folder in (database, queries)
    )
    utms = [
        np.array([(path.split("@")[1], path.split("@")[2]) for path in paths]).astype(float)
        for paths in (database_paths, queries_paths)
    ]
    positives_per_query = [
        np.flatnonzero(((utms[0] - utm) ** 2).sum(axis=1) <= within_m * within_m) for utm in utms[1]
    ]
    table = np.stack([descriptors[path] for path in database_paths]).astype(np.float64)
    recalls = np.zeros(len(values))
    for query_index, path in enumerate(queries_paths):
        distances = ((table - descriptors[path].astype(np.float64)) ** 2).sum(axis=1)
        preds = np.argsort(distances, kind="stable")[: max(values)]
        for i, n in enumerate(values):
            if np.any(np.isin(preds[:n], positives_per_query[query_index])):
                recalls[i:] += 1
                break
    recalls = recalls / len(queries_paths) * 100
    return [float(value) for value in recalls]

"""Writes ground truths in the published form, which the package reads."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from darkside_cli.datasets.ground_truth import GroundTruth


def to_published(truth: GroundTruth) -> dict[str, Any]:
    """Give the published form, in plain lists, strings and numbers."""
    return {
        "imlist": list(truth.database),
        "qimlist": [query.name for query in truth.queries],
        "gnd": [
            {
                **{group: list(query.groups[group]) for group in truth.groups},
                "bbx": list(query.box) if query.box is not None else None,
            }
            for query in truth.queries
        ],
    }


def write_published(truth: GroundTruth, path: Path) -> None:
    """Write the published pickle, of the protocol that Python 2 reads as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(to_published(truth), protocol=2))

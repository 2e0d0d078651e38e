"""Published sets of training tuples by name: where their files are. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

_FOLDER = "retrieval-SfM-120k"

PUBLISHED = {
    "retrieval-sfm-120k": f"{_FOLDER}/retrieval-SfM-120k.pkl",
    "retrieval-sfm-120k-whiten": f"{_FOLDER}/retrieval-SfM-120k-whiten.pkl",
    "retrieval-sfm-30k-whiten": "retrieval-SfM-30k/retrieval-SfM-30k-whiten.pkl",
    "nightfall": "nightfall/nightfall.pkl",
    "nightfall-whiten": "nightfall/nightfall-whiten.pkl",
}
"""Database files, relative to the folder of training data (``DataRoot.train``)."""

WHITENING = "retrieval-sfm-120k-whiten"
"""The set that published whitenings were learned from."""


def published_name(spec: str | Path) -> str | None:
    """Name in ``PUBLISHED`` that ``spec`` is, whatever its case; None if it is none."""
    name = str(spec).lower()
    return name if name in PUBLISHED else None


def asset_of(name: str) -> str:
    """Name by which ``darkside download`` brings the published set ``name``."""
    return name.removesuffix("-whiten")

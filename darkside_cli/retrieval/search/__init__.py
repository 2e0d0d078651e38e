"""Nearest images, indexes of them, and scores on benchmarks. Free of heavy imports."""

from __future__ import annotations

from typing import Any

from darkside_cli.errors import MissingAssetError

BACKENDS = ("exact", "faiss")
"""What nearest descriptors can be looked for with."""


def import_faiss() -> Any:
    """The package ``faiss``. Raises MissingAssetError if it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise MissingAssetError(
            "FAISS is not installed", hint="pip install 'darkside-cli[faiss]', or leave --backend faiss out"
        ) from error
    return faiss

"""What nearest descriptors can be looked for with besides darkside itself. Free of heavy imports."""

from __future__ import annotations

from typing import Any

from darkside_cli.errors import MissingAssetError

BACKENDS = ("exact", "faiss")


def require_backend(backend: str) -> None:
    """Raise MissingAssetError if ``backend`` is "faiss" and FAISS is not installed."""
    if backend == "faiss":
        import_faiss()


def import_faiss() -> Any:
    """The package ``faiss``. Raises MissingAssetError if it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise MissingAssetError(
            "FAISS is not installed", hint="pip install faiss-cpu, or leave --backend faiss out"
        ) from error
    return faiss

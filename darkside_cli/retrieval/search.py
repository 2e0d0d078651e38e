"""Looking photographs up in a file of descriptors: with the model it was made with, exactly or by FAISS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkside_cli.config.paths import DataRoot
from darkside_cli.data.clahe import ClaheSettings
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.retrieval.describer import Describer
from darkside_cli.retrieval.finite import missing_as_nan
from darkside_cli.retrieval.index import scan
from darkside_cli.retrieval.load import load_descriptor
from darkside_cli.retrieval.scales import PAPER_SCALES
from darkside_cli.retrieval.store import StoredDescriptors

BACKENDS = ("exact", "faiss")

Indices = NDArray[np.int64]
Scores = NDArray[np.float32]


def describer_for(
    index: StoredDescriptors,
    model: str | Path | None = None,
    *,
    root: DataRoot | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Describer:
    """Load the model that queries to ``index`` are described with: the one recorded there, set up as recorded.

    ``model`` is for a file that says nothing of its model, or a model that has moved. Raises UsageError if the model
    is not known or gives other descriptors than those of the file, and as
    :func:`darkside_cli.retrieval.load.load_descriptor`.
    """
    recorded = index.metadata
    wanted = model if model is not None else recorded.get("model")
    if wanted is None:
        raise UsageError(
            f"{index.path} does not say which model it was made with", hint="name it with --model"
        )
    try:
        describer = load_descriptor(
            wanted,
            root=root,
            device=device,
            precision=precision,
            scales=recorded.get("scales") or PAPER_SCALES,
            whiten=recorded.get("whiten", True),
            dim=recorded.get("reduced_to"),
            clahe=_clahe(recorded),
        )
    except MissingAssetError as error:
        if model is None and "model" in recorded:
            hint = f"{error.hint}; or say where the model is with --model" if error.hint else None
            raise MissingAssetError(
                f"{index.path} was made with {wanted}: {error.message}", hint=hint
            ) from error
        raise
    if describer.dim != index.dim:
        raise UsageError(
            f"{index.path} has descriptors of {index.dim} dimensions, {describer.name} gives {describer.dim}",
            hint="name the model it was made with, or extract it again",
        )
    if recorded.get("fingerprint") not in (None, describer.fingerprint):
        raise UsageError(
            f"{index.path} was made with another model or other weights than {describer.name}",
            hint="name the model it was made with, or extract it again",
        )
    return describer


def _clahe(recorded: Mapping[str, Any]) -> ClaheSettings | bool:
    clahe = recorded.get("clahe", True)
    return ClaheSettings(**clahe) if isinstance(clahe, Mapping) else bool(clahe)


def nearest(
    index: StoredDescriptors, queries: Scores, k: int, *, backend: str = "exact", device: str = "cpu"
) -> tuple[Indices, Scores]:
    """Row numbers and scores, (Q, K) each, best first, of the ``k`` rows of ``index`` nearest to each query (Q, D).

    "exact" reads the file block by block, so that memory stays flat; "faiss" holds all of it in memory. Rows without
    a descriptor are never found: a list that is too short for it ends with -1 and NaN.

    Raises MissingAssetError if FAISS is asked for and not installed.
    """
    if backend == "faiss":
        return _by_faiss(index, queries, k)
    blocks = map(missing_as_nan, index.blocks())
    found = scan(queries, np.empty((0, index.dim), dtype=np.float32), k=k, more=blocks, device=device)
    there = np.isfinite(found.top_scores)
    return np.where(there, found.top_indices, -1), np.where(there, found.top_scores, np.float32(np.nan))


def require_backend(backend: str) -> None:
    """Raise MissingAssetError if ``backend`` is "faiss" and FAISS is not installed."""
    if backend == "faiss":
        _import_faiss()


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingAssetError(
            "FAISS is not installed", hint="pip install faiss-cpu, or leave --backend faiss out"
        ) from error
    return faiss


def _by_faiss(index: StoredDescriptors, queries: Scores, k: int) -> tuple[Indices, Scores]:
    faiss = _import_faiss()
    flat = faiss.IndexIDMap(faiss.IndexFlatIP(index.dim))
    first = 0
    for block in index.blocks():
        there = np.flatnonzero(np.isfinite(block).all(axis=1))
        flat.add_with_ids(np.ascontiguousarray(block[there]), there + first)
        first += len(block)
    scores, indices = flat.search(np.ascontiguousarray(queries), min(k, max(1, first)))
    return indices, np.where(indices >= 0, scores, np.float32(np.nan))

"""Looking photographs up in a file of descriptors: with the model it was made with, exactly or by FAISS."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.networks.other_spec import Trust
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.descriptor_file import DescriptorFile
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions
from darkside_cli.retrieval.describe.load import load_descriptor
from darkside_cli.retrieval.describe.scales import PAPER_SCALES
from darkside_cli.retrieval.describe.tables import default_rows, missing_as_nan
from darkside_cli.retrieval.search import import_faiss
from darkside_cli.retrieval.search.index import scan

Indices = NDArray[np.int64]
Scores = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class QuerySettings:
    """How queries are described, for indexes of other programs; None is as recorded, else as extraction does it."""

    scales: tuple[float, ...] | None = None
    whiten: bool | Path | None = None
    dim: int | None = None
    clahe: ClaheSettings | bool | None = None

    def flags(self) -> str:
        """Options that were given, as people write them."""
        flags = {
            "--scales": self.scales is not None,
            "--no-whiten": self.whiten is False,
            "--whiten": self.whiten is True,
            "--whitening": isinstance(self.whiten, Path),
            "--dim": self.dim is not None,
            "--clahe": self.clahe is not None,
        }
        return " and ".join(flag for flag, given in flags.items() if given)


def describer_for(
    index: DescriptorFile,
    model: str | Path | None = None,
    *,
    settings: QuerySettings | None = None,
    root: DataRoot | None = None,
    device: str = "auto",
    precision: str = "auto",
    trust: Trust | bool = False,
    adding: bool = False,
) -> Describer:
    """Load the model that queries to ``index`` are described with: the one recorded there, set up as recorded.

    ``model`` and ``settings`` are for a file that says nothing of them, or files that have moved. ``adding``
    is for images that are added to the file. Raises UsageError if the model is not known or gives other descriptors
    than those of the file, and as :func:`darkside_cli.retrieval.describe.load.load_descriptor`.
    """
    settings = settings or QuerySettings()
    recorded = index.metadata
    plain = settings.whiten is False  # fewer dimensions are those of a whitening
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
            scales=settings.scales or recorded.get("scales") or PAPER_SCALES,
            whiten=recorded.get("whiten", True) if settings.whiten is None else settings.whiten,
            dim=recorded.get("reduced_to") if settings.dim is None and not plain else settings.dim,
            clahe=_clahe(recorded) if settings.clahe is None else settings.clahe,
            trust=trust,
        )
    except MissingAssetError as error:
        if model is None and "model" in recorded:
            hint = f"{error.hint}; or say where the model is with --model" if error.hint else None
            raise MissingAssetError(
                f"{index.path} was made with {wanted}: {error.message}", hint=hint
            ) from error
        raise
    known = "fingerprint" in recorded
    hint = "name the model it was made with, or extract it again"
    if known and settings.flags():
        hint = f"leave {settings.flags()} out: the file says how it was made"
    if adding:
        given = " and ".join(filter(None, ("--model" if model is not None else "", settings.flags())))
        hint = f"leave {given} out, or write to another file" if given else "write to another file"
    elif not known:
        hint = "name its model, and --no-whiten, --whitening or --dim as it was made with"
    if describer.dim != index.dim:
        raise UsageError(
            f"{index.path} has descriptors of {index.dim} dimensions, {describer.name} gives {describer.dim}",
            hint=hint,
        )
    if recorded.get("fingerprint") not in (None, describer.fingerprint):
        other = "in another way" if settings.flags() else "with another model or other weights"
        raise UsageError(f"{index.path} was made {other} than {describer.name}", hint=hint)
    return describer


def reading_for(index: DescriptorFile, describer: Describer, image_size: int | None) -> ExtractOptions:
    """How images are read that are held against those of ``index``: as recorded there, else as the model's are.

    ``image_size`` is the longest side that somebody asks for (0: as they are). Raises UsageError if the index was made
    with another one.
    """
    recorded = index.metadata
    size = recorded.get("image_size", describer.image_size_px)
    if size is not None and not (isinstance(size, int) and size > 0):
        raise UsageError(f"{index.path} records an image size of {size!r}", hint="make the file again")
    if image_size is not None:
        if "image_size" in recorded and (image_size or None) != size:
            made = f"{index.path} was made with an image size of {size or 0}, not {image_size}"
            raise UsageError(made, hint="leave --image-size out")
        size = image_size or None
    return ExtractOptions(image_size_px=size, upright=bool(recorded.get("upright", True)))


def _clahe(recorded: Mapping[str, Any]) -> ClaheSettings | bool:
    clahe = recorded.get("clahe", True)
    if not isinstance(clahe, Mapping):
        return bool(clahe)
    try:
        return ClaheSettings(**clahe)
    except TypeError as error:
        raise UsageError(
            f"the file records {dict(clahe)}, which are no settings of CLAHE", hint="extract it again"
        ) from error


def nearest(
    index: DescriptorFile, queries: Scores, k: int, *, backend: str = "exact", device: str = "cpu"
) -> tuple[Indices, Scores]:
    """Row numbers and scores, (Q, K) each, best first, of the ``k`` rows of ``index`` nearest to each query (Q, D).

    "exact" reads the file block by block, so that memory stays flat; "faiss" holds all of it in memory. Rows without
    a descriptor are never found: a list that is too short for it ends with -1 and NaN.

    Raises MissingAssetError if FAISS is asked for and not installed.
    """
    if backend == "faiss":
        return _by_faiss(index, queries, k)
    none, blocks = np.empty((0, index.dim), dtype=np.float32), map(missing_as_nan, index.blocks())
    # Blocks are scored where they are: larger tiles would be put together in memory of their own.
    rows = min(index.block_rows, default_rows(len(queries), index.dim, torch.device(device), index.count))
    found = scan(queries, none, k=k, more=blocks, block=rows, device=device)
    there = np.isfinite(found.top_scores)
    return np.where(there, found.top_indices, -1), np.where(there, found.top_scores, np.float32(np.nan))


def own_names(
    index: DescriptorFile, paths: Sequence[Path], *, image_root: Path | None = None
) -> list[str | None]:
    """For each photograph its own name in ``index``; None for those that are not in it.

    Names start from ``image_root``, else from the folder recorded with the file, links aside. Where that is not known
    or not there, a path means the image of that name.
    """
    recorded = index.metadata.get("image_root")
    root = image_root if image_root is not None else Path(recorded) if isinstance(recorded, str) else None
    names = set(index.names or ())
    found: list[str | None] = []
    for path in paths:
        if root is None or not root.is_dir():
            candidates = {path.as_posix()}
        else:
            pairs = ((path.absolute(), root.absolute()), (Path(os.path.realpath(path)), root.resolve()))
            candidates = {
                image.relative_to(folder).as_posix()
                for image, folder in pairs
                if image.is_relative_to(folder)
            }
        found.append(next((name for name in sorted(candidates) if name in names), None))
    return found


def _by_faiss(index: DescriptorFile, queries: Scores, k: int) -> tuple[Indices, Scores]:
    faiss = import_faiss()
    flat = faiss.IndexIDMap(faiss.IndexFlatIP(index.dim))
    first = 0
    for block in index.blocks():
        there = np.flatnonzero(np.isfinite(block).all(axis=1))
        flat.add_with_ids(np.ascontiguousarray(block[there]), there + first)
        first += len(block)
    scores, indices = flat.search(np.ascontiguousarray(queries), min(k, max(1, first)))
    return indices, np.where(indices >= 0, scores, np.float32(np.nan))

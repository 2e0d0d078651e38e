"""From training data and a model, or descriptors that are there already, to a whitening in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from darkside_cli.datasets.tuples import TupleSet, without_broken
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.interop.whitening import write_published_whitening
from darkside_cli.networks.whitening import Whitening, save_whitening
from darkside_cli.retrieval import seen
from darkside_cli.retrieval.describe.extract import Rows
from darkside_cli.retrieval.describe.image_jobs import BatchDescriber, ExtractOptions
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.mining.tuple_rows import describe_tuples, tuple_rows_of_file
from darkside_cli.retrieval.whitening.learn_whitening import learn_whitening, pca_whitening

PUBLISHED_SUFFIX = ".pkl"
"""What a file in the published format ends in."""

_KNOWN = ("model", "scales", "clahe", "image_size", "fingerprint")


@dataclass(frozen=True, eq=False)
class WhiteningSource:
    """Descriptors (N, D) to learn from, and pairs of them, if there are any.

    ``name`` is what they are of; ``facts``, JSON-able, are recorded with the whitening.
    """

    name: str
    rows: Rows
    tuples: TupleSet | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def source_from_model(
    describer: BatchDescriber,
    tuples: TupleSet | None,
    *,
    options: ExtractOptions | None = None,
    keep: Path | None = None,
    emit: Emit = ignore,
) -> WhiteningSource:
    """Describe the images of ``tuples``; broken ones are named and passed over. ``keep`` as in ``describe_tuples``.

    Raises UsageError if there are no tuples, or none of their pairs can be read.
    """
    if tuples is None:
        raise UsageError(
            "there are no images to learn a whitening from", hint="name a folder of places, or a list"
        )
    usable = without_broken(tuples.require_pairs(), emit=emit)
    rows = describe_tuples(usable, describer, options=options, keep=keep, emit=emit)
    facts = {key: value for key, value in describer.metadata.items() if key in _KNOWN}
    facts |= {"fingerprint": describer.fingerprint, "image_size": (options or ExtractOptions()).image_size_px}
    return WhiteningSource(usable.name, rows, usable, facts)


def source_from_file(path: Path, tuples: TupleSet | None, *, emit: Emit = ignore) -> WhiteningSource:
    """Take the descriptors of the images of ``tuples``, or all there are, from a descriptor file.

    Says so (``Notice``) if they are whitened already. Raises what ``open_descriptors`` and ``tuple_rows_of_file`` do.
    """
    stored = open_descriptors(path)
    if stored.metadata.get("whiten"):
        text = f"{path} holds descriptors that are whitened already: extract them with --no-whiten"
        emit(Notice(text, level="warning"))
    rows = stored.read() if tuples is None else tuple_rows_of_file(tuples, stored, emit=emit)
    facts = {key: stored.metadata[key] for key in _KNOWN if key in stored.metadata}
    return WhiteningSource(os.fspath(path) if tuples is None else tuples.name, rows, tuples, facts)


def learn(
    source: WhiteningSource, *, method: str = "lw", shrink: int | None = None, emit: Emit = ignore
) -> Whitening:
    """Learn a whitening by ``method`` ("lw", which needs pairs, or "pca"); its metadata says of what.

    ``shrink`` is the eigenvalue that PCA shrinks by. A covariance of fewer pairs than dimensions is shrunk by itself;
    0 leaves it as it is, as published whitenings do.

    Raises UsageError as :mod:`darkside_cli.retrieval.whitening.learn_whitening` does.
    """
    tuples = source.tuples
    if method == "pca":
        whitening = pca_whitening(source.rows, shrink=shrink or None, emit=emit)
    elif tuples is None:
        raise UsageError(
            "lw is learned from pairs, and there are none", hint="name them, or take --method pca"
        )
    else:
        whitening = learn_whitening(
            source.rows, tuples.query_index, tuples.positive_index, shrink=shrink != 0, emit=emit
        )
    learned_from = {"name": source.name, "images": len(source.rows)} if tuples is None else tuples.describe()
    metadata = {**whitening.metadata, "learned_from": learned_from, "descriptors": dict(source.facts)}
    if tuples is not None:
        metadata[seen.KEY] = seen.record(tuples.paths)
    return replace(whitening, metadata=metadata)


def write(path: Path, whitening: Whitening) -> Path:
    """Write a whitening: in the published format if ``path`` ends in .pkl, else in ours, which keeps its metadata."""
    if path.suffix == PUBLISHED_SUFFIX:
        return write_published_whitening(path, whitening)
    return save_whitening(path, whitening)


def in_words(whitening: Whitening) -> str:
    """One line that says what was learned from what."""
    metadata = whitening.metadata
    pairs = f"{metadata['pairs']} pairs and " if "pairs" in metadata else ""
    return (
        f"whitening of {whitening.in_dim} to {whitening.out_dim} dimensions, learned from {pairs}"
        f"{metadata['images']} images of {metadata['learned_from']['name']}"
    )

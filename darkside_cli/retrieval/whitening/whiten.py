"""From training data and a model, or descriptors that are there already, to a whitening in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkside_cli.datasets.tuples import IntArray, TupleSet, without_broken
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.images.views import random_view
from darkside_cli.interop.whitening import write_published_whitening
from darkside_cli.networks.weights import Whitening, save_whitening
from darkside_cli.retrieval.describe import overlap
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.descriptor_file import DescriptorFile
from darkside_cli.retrieval.describe.extract import extract_array
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob, row_finder
from darkside_cli.retrieval.describe.pipeline import Rows
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.whitening.learn_whitening import learn_whitening, pca_whitening

PUBLISHED_SUFFIX = ".pkl"
"""What a file in the published format ends in."""

_NAMED = 3
_KNOWN = ("model", "scales", "clahe", "image_size", "fingerprint")


@dataclass(frozen=True, eq=False)
class WhiteningSource:
    """Descriptors (N, D) to learn from, and pairs of them, if there are any.

    ``name`` is what they are of; ``facts``, JSON-able, are recorded with the whitening. ``places`` (N,) are the numbers
    of their places, where somebody knows.
    """

    name: str
    descriptors: Rows
    tuples: TupleSet | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    places: IntArray | None = None


def source_from_model(
    describer: Describer,
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
    facts = known_facts(describer, options or ExtractOptions())
    return WhiteningSource(usable.name, rows, usable, facts, usable.clusters)


def known_facts(describer: Describer, options: ExtractOptions) -> dict[str, Any]:
    """What is recorded of descriptors that a whitening is learned from."""
    facts = {key: value for key, value in describer.metadata.items() if key in _KNOWN}
    return {**facts, "fingerprint": describer.fingerprint, "image_size": options.image_size_px}


def source_from_file(path: Path, tuples: TupleSet | None, *, emit: Emit = ignore) -> WhiteningSource:
    """Take the descriptors of the images of ``tuples``, or all there are, from a descriptor file.

    Says so (``Notice``) if they are whitened already. Raises what ``open_descriptors`` and ``find_tuples`` do.
    """
    stored = open_descriptors(path)
    if stored.metadata.get("whiten"):
        text = f"{path} holds descriptors that are whitened already: extract them with --no-whiten"
        emit(Notice(text, level="warning"))
    rows = stored.read() if tuples is None else find_tuples(tuples, stored, emit=emit)
    facts = {key: stored.metadata[key] for key in _KNOWN if key in stored.metadata}
    if tuples is None:
        return WhiteningSource(os.fspath(path), rows, None, facts)
    return WhiteningSource(tuples.name, rows, tuples, facts, tuples.clusters)


def learn(
    source: WhiteningSource,
    *,
    method: str = "lw",
    shrink: int | None = None,
    dim: int | None = None,
    balance: float = 0.0,
    emit: Emit = ignore,
) -> Whitening:
    """Learn a whitening by ``method`` ("lw", which needs pairs, or "pca"); its metadata says of what.

    ``shrink`` is the eigenvalue that PCA shrinks by. A covariance of fewer pairs than dimensions is shrunk by itself;
    0 leaves it as it is, as published whitenings do. Of more than ``dim`` dimensions the first ones are kept. For PCA a
    place of n images counts as n^(1 - ``balance``): 0 lets every image count alike, 1 every place, so that what sets
    places with many images apart is not whitened away.

    Raises UsageError as :mod:`darkside_cli.retrieval.whitening.learn_whitening` does, and for a balance without places.
    """
    tuples = source.tuples
    if method == "pca":
        weights = _weights(source.places, balance)
        whitening = pca_whitening(source.descriptors, shrink=shrink or None, weights=weights, emit=emit)
        if balance:
            whitening = replace(whitening, metadata={**whitening.metadata, "balance": balance})
    elif tuples is None:
        raise UsageError(
            "lw is learned from pairs, and there are none", hint="name them, or take --method pca"
        )
    else:
        whitening = learn_whitening(
            source.descriptors, tuples.query_index, tuples.positive_index, shrink=shrink != 0, emit=emit
        )
    learned_from = (
        {"name": source.name, "images": len(source.descriptors)} if tuples is None else tuples.describe()
    )
    metadata = {**whitening.metadata, "learned_from": learned_from, "descriptors": dict(source.facts)}
    if tuples is not None:
        metadata[overlap.KEY] = overlap.record(tuples.paths)
    return replace(whitening.reduced(min(dim or whitening.out_dim, whitening.out_dim)), metadata=metadata)


def _weights(places: IntArray | None, balance: float) -> NDArray[np.float64] | None:
    """How much each image counts; None if all count alike."""
    if not balance:
        return None
    if places is None:
        raise UsageError(
            "nobody says which images are of one place", hint="name a folder of places, or a list"
        )
    _, of_image, sizes = np.unique(places, return_inverse=True, return_counts=True)
    return np.asarray(sizes[of_image] ** -float(balance), dtype=np.float64)


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


def describe_tuples(
    tuples: TupleSet,
    describer: Describer,
    *,
    options: ExtractOptions | None = None,
    keep: Path | None = None,
    emit: Emit = ignore,
) -> Rows:
    """Describe all images of ``tuples``: (N, D) in their order, rows of NaN for broken ones, which are told of.

    ``keep`` is a descriptor file that the rows are written to: a run that was stopped goes on from there, and a second
    one with the same model and settings takes them from it.
    """
    size_px = (options or ExtractOptions()).image_size_px
    jobs = [
        ImageJob(
            path,
            name,
            None if tuples.boxes is None else tuples.boxes[number],
            partial(random_view, size_px=size_px, seed=name)
            if tuples.views and tuples.views[number]
            else None,
        )
        for number, (path, name) in enumerate(zip(tuples.paths, tuples.names, strict=True))
    ]
    label = f"{describer.name} on {tuples.name}"
    return extract_array(jobs, describer, options=options, keep=keep, label=label, emit=emit)


def find_tuples(tuples: TupleSet, stored: DescriptorFile, *, emit: Emit = ignore) -> Rows:
    """Find the descriptors of the images of ``tuples`` in a file: (N, D), rows of NaN for those it does not hold.

    Rows are found by name; where that fails, by the name without folders and suffix, if it is no other's. Those that
    are not found are told of. Raises UsageError if the file has no names, or of no pair both images.
    """
    if stored.names is None:
        raise UsageError(
            f"{stored.path} has no names, so that pairs cannot be found in it",
            hint="make it with 'darkside extract', or add names",
        )
    row_of = row_finder(stored.names, tuples.names, lambda name: PurePosixPath(name).stem)
    found = [row_of(name) for name in tuples.names]
    table = stored.read()
    rows = np.full((len(tuples), stored.dim), np.nan, dtype=np.float32)
    there = np.array([number is not None for number in found], dtype=np.bool_)
    rows[there] = table[[number for number in found if number is not None]]
    missing = [name for name, number in zip(tuples.names, found, strict=True) if number is None]
    both = there[tuples.query_index] & there[tuples.positive_index]
    if not both.any():
        raise UsageError(
            f"{stored.path} has no pair of {tuples.name}: images are called '{stored.names[0]}' in it, and "
            f"'{tuples.names[0]}' in the pairs"
            if stored.names
            else f"{stored.path} is empty",
            hint="extract from the folder that the names in the pairs start from",
        )
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        emit(
            Notice(
                f"{stored.path} has no descriptor of {', '.join(missing[:_NAMED])}{more}: {int(both.sum())} of "
                f"{tuples.pairs} pairs are left",
                level="warning",
            )
        )
    return rows

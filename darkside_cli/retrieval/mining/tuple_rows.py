"""Descriptors of the images of a set of tuples: computed, or found in a file by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from darkside_cli.datasets.tuples import TupleSet
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.retrieval.describe.extract import Rows, extract_array, extract_files
from darkside_cli.retrieval.describe.image_jobs import BatchDescriber, ExtractOptions, ImageJob
from darkside_cli.retrieval.describe.store import StoredDescriptors, open_descriptors

_NAMED = 3


def describe_tuples(
    tuples: TupleSet,
    describer: BatchDescriber,
    *,
    options: ExtractOptions | None = None,
    keep: Path | None = None,
    emit: Emit = ignore,
) -> Rows:
    """Describe all images of ``tuples``: (N, D) in their order, rows of NaN for broken ones, which are told of.

    ``keep`` is a descriptor file that the rows are written to: a run that was stopped goes on from there, and a second
    one with the same model and settings takes them from it.
    """
    jobs = [
        ImageJob(path, name, None if tuples.boxes is None else tuples.boxes[number])
        for number, (path, name) in enumerate(zip(tuples.paths, tuples.names, strict=True))
    ]
    label = f"{describer.name} on {tuples.name}"
    if keep is None:
        return extract_array(jobs, describer, options=options, label=label, emit=emit)
    summary = extract_files(jobs, describer, keep, options=options, label=label, emit=emit)
    rows = np.full((len(jobs), describer.dim), np.nan, dtype=np.float32)
    if summary.path is not None:
        stored = open_descriptors(summary.path)
        place = {job.name: number for number, job in enumerate(jobs)}
        rows[[place[name] for name in stored.names or ()]] = stored.read()
    return rows


def tuple_rows_of_file(tuples: TupleSet, stored: StoredDescriptors, *, emit: Emit = ignore) -> Rows:
    """Find the descriptors of the images of ``tuples`` in a file: (N, D), rows of NaN for those it does not hold.

    Rows are found by name; where that fails, by the name without folders and suffix, if it is no other's. Those that
    are not found are told of. Raises UsageError if the file has no names, or of no pair both images.
    """
    if stored.names is None:
        raise UsageError(
            f"{stored.path} has no names, so that pairs cannot be found in it",
            hint="make it with 'darkside extract', or add names",
        )
    exact = {name: number for number, name in enumerate(stored.names)}
    loose = _by_short_name(stored.names)
    own = _by_short_name(tuples.names)
    found = [
        exact.get(name, loose.get(_short(name)) if own[_short(name)] is not None else None)
        for name in tuples.names
    ]
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


def _short(name: str) -> str:
    return PurePosixPath(name).stem


def _by_short_name(names: Sequence[str]) -> dict[str, int | None]:
    """Numbers by short name; a short name that several share means none of them."""
    numbers: dict[str, int | None] = {}
    for number, name in enumerate(names):
        numbers[_short(name)] = None if _short(name) in numbers else number
    return numbers

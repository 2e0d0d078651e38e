"""What people should know before they believe a figure: missing rows, odd lengths, boxes, contradictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from darkside_cli.datasets.ground_truth import GroundTruth
from darkside_cli.errors import UsageError
from darkside_cli.events import Notice
from darkside_cli.retrieval.describe import overlap
from darkside_cli.retrieval.describe.descriptor_file import Block, DescriptorFile
from darkside_cli.retrieval.describe.tables import missing_as_nan, stretched_rows
from darkside_cli.retrieval.search.benchmark import BenchmarkRows
from darkside_cli.retrieval.search.score import EvaluationResult

_TOLD = 3


class Distractors:
    """Descriptors of further images, read as they are needed; afterwards, warnings of them."""

    def __init__(self, stored: DescriptorFile) -> None:
        self._stored = stored
        self._missing = self._stretched = 0

    def blocks(self) -> Iterator[Block]:
        """Blocks (M_i, D) in the file's order."""
        self._missing = self._stretched = 0
        for block in self._stored.blocks():
            block = missing_as_nan(block)
            self._missing += int(np.isnan(block[:, 0]).sum())
            self._stretched += stretched_rows(block)
            yield block

    def require_dim(self, dim: int, name: str) -> None:
        """Raise UsageError unless they have as many dimensions as the descriptors of ``name``."""
        if self._stored.dim != dim:
            raise UsageError(
                f"{self._stored.path} has descriptors of {self._stored.dim} dimensions, {name} of {dim}",
                hint="extract the distractors with the same model and settings",
            )

    def warnings(self) -> Iterator[Notice]:
        """Warnings of rows without a descriptor, and of such as are no directions, once all were read."""
        path, count = self._stored.path, self._stored.count
        if count == 0:
            yield _warning(f"{path} has no descriptors: there are no distractors")
        if self._missing:
            yield _warning(
                f"{path}: {self._missing} of {count} distractors have no finite descriptor and come last"
            )
        if self._stretched:
            yield _not_unit(str(path), self._stretched)


def of_rows(source: str, truth: GroundTruth, rows: BenchmarkRows) -> Iterator[Notice]:
    """Descriptors from the file ``source`` that are not of unit length, or perhaps of more than the query's box."""
    stretched = stretched_rows(rows.database) + stretched_rows(rows.queries)
    if stretched:
        yield _not_unit(source, stretched)
    if rows.whole:
        yield Notice(
            f"{truth.name} asks with parts of images; {source} has {len(rows.whole)} queries by plain names "
            f"({some(rows.whole)}): taken to be of those parts"
        )


def of_index(stored: DescriptorFile) -> Iterator[Notice]:
    """Whether what is found in a file is scored by cosines. What darkside extract makes is not looked through."""
    if not stored.metadata:
        stretched = sum(stretched_rows(block) for block in stored.blocks())
        if stretched:
            yield _not_unit(str(stored.path), stretched)


def of_truth(truth: GroundTruth) -> Iterator[Notice]:
    """Images that a published ground truth lists twice or in two groups, and queries that nothing was taken near to."""
    alone = sum(not query.groups["ok"] for query in truth.queries) if truth.within_m is not None else 0
    if alone:
        yield Notice(
            f"{truth.name}: {alone} of {len(truth.queries)} queries have no database image within "
            f"{truth.within_m:g} m: recall@k counts them as not answered, mAP and mP@k leave them out"
        )
    found = truth.contradictions
    for text in found[:_TOLD]:
        yield _warning(f"{truth.name}, {text}; scored as cirtorch's evaluation scores it")
    if len(found) > _TOLD:
        yield _warning(f"{truth.name}: and {len(found) - _TOLD} more such images")


def of_result(result: EvaluationResult) -> Iterator[Notice]:
    """Why there is no figure at all."""
    if not any(score.judged for score in result.protocols):
        yield _warning(f"{result.dataset}: no query has a right image in the ground truth: nothing to judge")


def of_images(
    truth: GroundTruth, learned_from: Mapping[str, Any], name: str = "the model"
) -> Iterator[Notice]:
    """A warning where the benchmark's images are among those that the model was trained or whitened on.

    Where none of them is asked for or right, but others of the database are, it is said, and no warning: places that
    are asked for are new to the model.
    """
    groups = (group for query in truth.queries for group in query.groups.items())
    right = {index for group, indices in groups if group != "junk" for index in indices}
    names = (*(query.name for query in truth.queries), *(truth.database[index] for index in sorted(right)))
    judged = dict.fromkeys(map(truth.image_path, names))
    others = {path for path in map(truth.image_path, truth.database) if path not in judged}
    for what, known in learned_from.items():
        if not known:
            continue
        seen, told = overlap.overlap(known, judged)
        found, asked = overlap.overlap(known, others)
        share = f"{name} was {what} on {(seen + found) / max(1, told + asked):.0%} of the pictures of {truth.name}"
        if seen or (found and not overlap.is_whole(known)):
            yield _warning(f"{share}: the figures say little about others")
        elif found:
            yield Notice(f"{share}, but on none that is asked for or right")


def some(names: Sequence[str]) -> str:
    """First few of many names."""
    more = len(names) - _TOLD
    return ", ".join(names[:_TOLD]) + (f" and {more} more" if more > 0 else "")


def _not_unit(source: str, count: int) -> Notice:
    return _warning(
        f"{source}: {count} descriptors are not of unit length: scores are scalar products, not cosines"
    )


def _warning(text: str) -> Notice:
    return Notice(text, level="warning")

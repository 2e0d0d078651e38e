"""From descriptors and a ground truth to the figures of the papers: mAP, mP@k, recall@k."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from darkside_cli.datasets.catalog import TestSet
from darkside_cli.datasets.ground_truth import GroundTruth, Query
from darkside_cli.errors import UsageError
from darkside_cli.metrics.protocols import ProtocolScore, score_ranks
from darkside_cli.retrieval.describe.tables import Descriptors
from darkside_cli.retrieval.search.index import scan


@dataclass(frozen=True)
class TopImage:
    """One image of a query's list: ``index`` counts the database, then the distractors.

    ``name`` is None for a distractor; ``group`` is "easy", "ok", "junk"..., or None for a wrong answer.
    """

    index: int
    name: str | None
    score: float
    group: str | None


@dataclass(frozen=True)
class EvaluationResult:
    """Figures of one set of descriptors on one benchmark; all metrics are in 0 to 1.

    ``protocols`` has one score for each protocol of the ground truth; ``top`` the first images of each
    query's list, junk included, if they were asked for.
    """

    dataset: str
    queries: tuple[str, ...]
    database_size: int
    distractors: int
    protocols: tuple[ProtocolScore, ...]
    top: tuple[tuple[TopImage, ...], ...] | None = None

    def protocol(self, name: str) -> ProtocolScore:
        """Score by the protocol called ``name``. Raises KeyError if there is none."""
        return {score.protocol: score for score in self.protocols}[name]

    def to_document(self, *, per_query: bool = False) -> dict[str, Any]:
        """Give what :func:`json.dump` takes; NaN (nothing to judge) becomes None."""
        return {
            "dataset": self.dataset,
            "queries": len(self.queries),
            "database": self.database_size,
            "distractors": self.distractors,
            "protocols": {
                score.protocol: self._protocol_document(score, per_query) for score in self.protocols
            },
        }

    def _protocol_document(self, score: ProtocolScore, per_query: bool) -> dict[str, Any]:
        document: dict[str, Any] = {
            "mAP": _number(score.mean_average_precision),
            "mP": {
                str(k): _number(value) for k, value in zip(score.kappas, score.mean_precisions, strict=True)
            },
            "recall": {str(k): _number(value) for k, value in zip(score.kappas, score.recalls, strict=True)},
            "queries_judged": score.judged,
        }
        if per_query:
            document["per_query"] = [
                {"name": name, "AP": _number(ap), "P": [_number(value) for value in precisions]}
                for name, ap, precisions in zip(
                    self.queries, score.average_precisions, score.precisions, strict=True
                )
            ]
        return document


def score(
    database: Descriptors,
    queries: Descriptors,
    ground_truth: GroundTruth,
    *,
    distractors: Iterable[Descriptors] | None = None,
    kappas: Sequence[int] | None = None,
    top: int = 0,
    block: int | None = None,
    device: str | torch.device = "cpu",
) -> EvaluationResult:
    """Search the database with every query and judge the lists by all protocols of ``ground_truth``.

    ``database`` (N, D) and ``queries`` (Q, D) are L2-normalised descriptors in the order of the ground truth's names;
    an image without one is a row of NaN and comes last. ``distractors`` yields blocks (M_i, D) of further images, all
    wrong, which are read as needed. ``top`` is the number of first images to report for each query. ``block`` and
    ``device`` are those of :func:`darkside_cli.retrieval.search.index.scan`, which says how equal scores are ordered
    and what memory it takes.

    Raises UsageError if the descriptors do not fit the ground truth or one another.
    """
    for descriptors, names, what in (
        (database, ground_truth.database, "database images"),
        (queries, ground_truth.queries, "queries"),
    ):
        if len(descriptors) != len(names):
            raise UsageError(
                f"{ground_truth.name} has {len(names)} {what}, but there are {len(descriptors)} descriptors",
                hint="extract the images in the order of the ground truth",
            )
    found = scan(
        queries,
        database,
        listed=[query.listed() for query in ground_truth.queries],
        k=top,
        more=distractors,
        block=block,
        device=device,
    )
    ranks = []
    for query, own in zip(ground_truth.queries, found.ranks, strict=True):
        groups, start = {}, 0
        for group, indices in query.groups.items():
            groups[group] = own[start : start + len(indices)]
            start += len(indices)
        ranks.append(groups)
    lists = zip(ground_truth.queries, found.top_indices.tolist(), found.top_scores.tolist(), strict=True)
    return EvaluationResult(
        dataset=ground_truth.name,
        queries=tuple(query.name for query in ground_truth.queries),
        database_size=len(ground_truth.database),
        distractors=found.scanned - len(ground_truth.database),
        protocols=tuple(score_ranks(ranks, protocol, kappas) for protocol in ground_truth.protocols),
        top=tuple(_top_images(ground_truth, *each) for each in lists) if top else None,
    )


def _top_images(
    truth: GroundTruth, query: Query, indices: Sequence[int], scores: Sequence[float]
) -> tuple[TopImage, ...]:
    # What is right and junk at once counts as right: of an image's groups the first one holds.
    group_of = {image: group for group, own in reversed(list(query.groups.items())) for image in own}
    names, count = truth.database, len(truth.database)
    return tuple(
        TopImage(index, names[index] if index < count else None, value, group_of.get(index))
        for index, value in zip(indices, scores, strict=True)
    )


@dataclass(frozen=True)
class ScoreLine:
    """One line of the table of results; figures in percent, None where nothing was judged or published."""

    model: str
    dataset: str
    protocol: str
    mean_average_precision: float | None
    published: float | None
    precisions: tuple[float | None, ...]
    recalls: tuple[float | None, ...]
    queries: int
    database: int

    @property
    def difference(self) -> float | None:
        """Points above the published figure."""
        if self.published is None or self.mean_average_precision is None:
            return None
        return self.mean_average_precision - self.published

    def document(self) -> dict[str, Any]:
        """Give what :func:`json.dump` takes."""
        return {**asdict(self), "difference": self.difference}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ScoreLine:
        """A line from what :meth:`document` gave."""
        values: dict[str, Any] = {each.name: document[each.name] for each in fields(cls)}
        for name in ("precisions", "recalls"):
            values[name] = tuple(values[name])
        return cls(**values)


def score_lines(
    model: str, result: EvaluationResult, *, entry: TestSet | None, published: float | None
) -> Iterator[ScoreLine]:
    """One line for each protocol; ``published`` stands beside the protocol that it is by."""
    for score in result.protocols:
        beside = entry is not None and entry.published_protocol == score.protocol and not result.distractors
        yield ScoreLine(
            model=model,
            dataset=f"{result.dataset}+{result.distractors}" if result.distractors else result.dataset,
            protocol=score.protocol,
            mean_average_precision=_percent(score.mean_average_precision),
            published=published if beside else None,
            precisions=tuple(map(_percent, score.mean_precisions)),
            recalls=tuple(map(_percent, score.recalls)),
            queries=score.counted,
            database=result.database_size,
        )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else 100 * value

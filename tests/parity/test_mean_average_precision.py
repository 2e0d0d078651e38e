"""The reference's mean average precisions: from given rankings, and from stored descriptors of two test sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden import DATA, Case, load_case
from ranks import ranks_in_list

from darkside_cli.datasets.ground_truth import GroundTruth
from darkside_cli.interop.ground_truth import from_published, read_ground_truth
from darkside_cli.metrics.protocols import ProtocolScore, average_precision, score_ranks
from darkside_cli.retrieval.search.index import scan
from darkside_cli.retrieval.search.score import score

TEST_SETS = ("roxford5k", "247tokyo1k")


def numbers(values: Any) -> np.ndarray:
    """Numbers of a JSON file, with null for NaN."""
    return np.array(values, dtype=object).astype(np.float64)


def truth_of(entries: list[dict[str, Any]], database: int) -> GroundTruth:
    names = {"imlist": [f"db{i}" for i in range(database)], "qimlist": [f"q{i}" for i in range(len(entries))]}
    return from_published({**names, "gnd": entries}, name="golden")


def score_rankings(
    rankings: np.ndarray, truth: GroundTruth, kappas: tuple[int, ...]
) -> dict[str, ProtocolScore]:
    """Scores by protocol of rankings (M, Q), database indices from first to last, perhaps cut short."""
    ranks = [
        {group: ranks_in_list(ranking, np.array(own)) for group, own in query.groups.items()}
        for query, ranking in zip(truth.queries, rankings.T, strict=True)
    ]
    return {protocol.name: score_ranks(ranks, protocol, kappas) for protocol in truth.protocols}


def compare(case: Case, found: ProtocolScore, expected: dict[str, Any]) -> None:
    close = case.assert_close
    close(np.array(found.mean_average_precision), numbers(expected["map"]))
    close(np.array(found.average_precisions), numbers(expected["aps"]))
    close(np.array(found.mean_precisions), numbers(expected["mean_precision_at_k"]))
    if "precision_at_k" in expected:
        close(np.array(found.precisions), numbers(expected["precision_at_k"]))


@pytest.fixture(scope="module")
def case() -> Case:
    return load_case("mean_average_precision")


def test_revisited(case: Case) -> None:
    rankings, kappas = case.arrays["ranks"], tuple(case.values["kappas"])
    truth = truth_of(case.values["revisited_gnd"], len(rankings))
    found = score_rankings(rankings, truth, kappas)
    assert found.keys() == case.values["protocols"].keys()
    for name, expected in case.values["protocols"].items():
        compare(case, found[name], expected)
        averages, every = case.values["revisited"]["averages"], case.values["revisited"]["aps"]
        case.assert_close(np.array(found[name].mean_average_precision), numbers(averages[f"map_{name}"]))
        case.assert_close(np.array(found[name].average_precisions), numbers(every[f"ap_{name}"]))


def test_ok_and_junk(case: Case) -> None:
    rankings, expected = case.arrays["ranks"], case.values["ok"]
    truth = truth_of(case.values["ok_gnd"], len(rankings))
    found = score_rankings(rankings, truth, tuple(case.values["kappas"]))
    compare(case, found["ok"], {**expected, "map": expected["averages"]["map"], "aps": expected["aps"]["ap"]})


def test_rankings_cut_short(case: Case) -> None:
    expected = case.values["truncated"]
    rankings, queries = case.arrays["ranks"], expected["queries"]
    truth = truth_of([case.values["ok_gnd"][query] for query in queries], len(rankings))
    found = score_rankings(rankings[: expected["rows"], queries], truth, tuple(case.values["kappas"]))
    compare(case, found["ok"], expected)


def test_average_precision_alone(case: Case) -> None:
    for example in case.values["average_precision"]:
        found = average_precision(np.array(example["positions"], dtype=int), example["nres"])
        case.assert_close(np.array(found), numbers(example["ap"]))


@pytest.fixture(scope="module")
def evaluation() -> Case:
    return load_case("evaluation")


def read_truth(name: str) -> GroundTruth:
    return read_ground_truth(DATA / "files" / "test" / name / f"gnd_{name}.pkl")


@pytest.mark.parametrize("name", TEST_SETS)
def test_averages_from_stored_descriptors(evaluation: Case, name: str) -> None:
    database, queries = (evaluation.arrays[f"{name}.{part}"].T for part in ("database", "queries"))
    result = score(database, queries, read_truth(name))
    expected = evaluation.values[name]
    for found in result.protocols:
        suffix = "" if found.protocol == "ok" else f"_{found.protocol}"
        mean, every = (
            expected["averages"][f"map{suffix}"],
            [row[f"ap{suffix}"] for row in expected["per_query"]],
        )
        evaluation.assert_close(np.array(found.mean_average_precision), numbers(mean), "averages")
        evaluation.assert_close(np.array(found.average_precisions), numbers(every), "averages")
    assert len(expected["averages"]) == len(result.protocols)


@pytest.mark.parametrize("name", TEST_SETS)
def test_ranks_from_stored_descriptors(evaluation: Case, name: str) -> None:
    database, queries = (evaluation.arrays[f"{name}.{part}"].T for part in ("database", "queries"))
    expected = evaluation.arrays[f"{name}.ranks"].T
    found = scan(queries, database, k=len(database)).top_indices
    assert found.shape == expected.shape
    scores = queries.astype(np.float64) @ database.T.astype(np.float64)
    # Where the order differs, the two images must score alike to what float32 sums can tell apart.
    near = 1e-6
    differ = found != expected
    there, here = (np.take_along_axis(scores, order, axis=1) for order in (expected, found))
    assert (np.abs(there - here)[differ] < near).all()
    assert np.sort(found, axis=1).tolist() == np.sort(expected, axis=1).tolist()

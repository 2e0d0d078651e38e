"""Anchors and hard negatives of an epoch against the recorded ones, random draws included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import Case, load_case
from torch import Tensor

from darkside_cli.datasets.tuples import TupleSet
from darkside_cli.metrics.ranking import IntArray
from darkside_cli.retrieval.mining.config import MiningConfig
from darkside_cli.retrieval.mining.draws import TorchDraws
from darkside_cli.retrieval.mining.hard_tuples import MinedTuples, Role, mine


@pytest.fixture(scope="module")
def case() -> Case:
    return load_case("mining")


@pytest.fixture(scope="module")
def tuples(case: Case) -> TupleSet:
    names = tuple(map(str, range(len(case.arrays["cluster"]))))
    paths = tuple(map(Path, names))
    arrays = (case.arrays[key] for key in ("cluster", "qidxs", "pidxs"))
    return TupleSet("mining", names, paths, *arrays)


def config_of(run: Mapping[str, Any]) -> MiningConfig:
    params = {key: None if value == "inf" else value for key, value in run["params"].items()}
    ours = {
        "nnum": "negatives",
        "qsize": "anchors",
        "poolsize": "negative_pool",
        "qpool_size": "anchor_pool",
        "mark_easy": "easy_share",
    }
    return MiningConfig(
        anchor_choice=run["kind"], **{ours.get(key, key): value for key, value in params.items()}
    )


def run_names() -> list[str]:
    return sorted(load_case("mining").values["runs"])


def mine_run(case: Case, tuples: TupleSet, run: Mapping[str, Any], device: str = "cpu") -> MinedTuples:
    rows = torch.from_numpy(case.arrays["descriptors"].T.copy()).to(device)

    def describe(images: IntArray, role: Role) -> Tensor:
        assert len(set(images.tolist())) == len(images)
        return rows[torch.from_numpy(images)]

    draws = TorchDraws(torch.Generator().manual_seed(run["torch_seed"]), data_passes=False)
    return mine(tuples, describe, config_of(run), draws=draws)


def check(case: Case, run: Mapping[str, Any], found: MinedTuples) -> None:
    assert case.entry["tolerance"]["indices"] == "exact"
    assert found.anchors.tolist() == run["qidxs"]
    assert found.positives.tolist() == run["pidxs"]
    assert found.negatives.tolist() == run["nidxs"]
    logged = {
        "average_new_query_max_score": found.similarities,
        "average_negative_distance": found.distances.reshape(-1),
    }
    assert run["lengths"] == {name: len(values) for name, values in logged.items() if len(values)}
    for name, expected in run["logged"].items():
        case.assert_close(logged[name], np.array(expected), "logged")
    if run["anchor_labels"] == "all anc":
        assert found.easy is None
    else:
        assert found.easy is not None
        assert ["anc-easy" if easy else "anc-hard" for easy in found.easy] == run["anchor_labels"]


@pytest.mark.parametrize("name", run_names())
def test_epoch(case: Case, tuples: TupleSet, name: str) -> None:
    run = case.values["runs"][name]
    check(case, run, mine_run(case, tuples, run))


def test_the_global_stream_is_the_same(case: Case, tuples: TupleSet) -> None:
    run = next(run for run in case.values["runs"].values() if run["kind"] == "diverse")
    rows = torch.from_numpy(case.arrays["descriptors"].T.copy())
    before = torch.get_rng_state()
    try:
        torch.manual_seed(run["torch_seed"])
        draws = TorchDraws(data_passes=False)
        check(case, run, mine(tuples, lambda i, _: rows[torch.from_numpy(i)], config_of(run), draws=draws))
    finally:
        torch.set_rng_state(before)


@pytest.mark.gpu
@pytest.mark.parametrize("name", run_names())
def test_epoch_on_a_gpu(case: Case, tuples: TupleSet, name: str) -> None:
    run = case.values["runs"][name]
    check(case, run, mine_run(case, tuples, run, "cuda"))

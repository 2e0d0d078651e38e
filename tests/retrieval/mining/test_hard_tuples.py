"""Mining as a whole: what is described how often, in which order draws are made, broken images, small sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from obvious_mining import exact_rows, obvious_anchors, obvious_negatives
from torch import Tensor

from darkside_cli.config.load import resolve
from darkside_cli.datasets.tuples import TupleSet
from darkside_cli.errors import ConfigError, UsageError
from darkside_cli.events import Event, Notice
from darkside_cli.metrics.ranking import IntArray
from darkside_cli.retrieval.mining.config import MiningConfig
from darkside_cli.retrieval.mining.draws import TorchDraws
from darkside_cli.retrieval.mining.hard_tuples import Role, mine

CONFIG = MiningConfig(anchors=6, anchor_pool=15, negatives=3, negative_pool=30)


class Recorder:
    """Draws that note what was asked for."""

    def __init__(self, seed: int = 0) -> None:
        self._draws = TorchDraws(torch.Generator().manual_seed(seed), data_passes=False)
        self.asked: list[object] = []

    def permutation(self, count: int) -> IntArray:
        self.asked.append(("permutation", count))
        return self._draws.permutation(count)

    def below(self, bound: int) -> int:
        self.asked.append("below")
        return self._draws.below(bound)

    def data_pass(self) -> None:
        self.asked.append("pass")


def make_tuples(seed: int = 0, images: int = 40, places: int = 8, pairs: int = 25) -> TupleSet:
    rng = np.random.default_rng(seed)
    names = tuple(f"{i}.jpg" for i in range(images))
    clusters = rng.integers(0, places, images)
    query = rng.integers(0, images, pairs)
    positive = np.array([rng.choice(np.flatnonzero(clusters == clusters[q])) for q in query])
    return TupleSet("some places", names, tuple(map(Path, names)), clusters, query, positive)


def describer(
    rows: np.ndarray, asked: list[tuple[Role, list[int]]] | None = None
) -> Callable[[IntArray, Role], Tensor]:
    table = torch.from_numpy(rows)

    def describe(images: IntArray, role: Role) -> Tensor:
        if asked is not None:
            asked.append((role, images.tolist()))
        return table[torch.from_numpy(images)]

    return describe


def test_order_of_draws_and_what_is_described() -> None:
    tuples, rows = make_tuples(), exact_rows(np.random.default_rng(1), 40, 8)
    asked: list[tuple[Role, list[int]]] = []
    draws = Recorder()
    mined = mine(tuples, describer(rows, asked), CONFIG, draws=draws)
    assert draws.asked == [
        ("permutation", 25), "pass", *["below"] * 5, ("permutation", 40), "pass", "pass",
    ]  # fmt: skip
    # Anchors are not described again when negatives are looked for, and images of several pairs once.
    assert [role for role, _ in asked] == ["anchor", "negative"]
    stream = TorchDraws(torch.Generator().manual_seed(0), data_passes=False)
    pool = tuples.query_index[stream.permutation(25)[:15]]
    assert asked[0][1] == list(dict.fromkeys(pool.tolist()))
    assert len(asked[1][1]) == 30
    assert len(mined) == 6
    np.testing.assert_array_equal(mined.anchors, tuples.query_index[mined.pairs])
    np.testing.assert_array_equal(mined.positives, tuples.positive_index[mined.pairs])
    assert mined.images(2) == [mined.anchors[2], mined.positives[2], *mined.negatives[2]]

    draws = Recorder()
    asked.clear()
    mine(tuples, describer(rows, asked), replace(CONFIG, anchor_choice="random"), draws=draws)
    assert draws.asked == [("permutation", 25), ("permutation", 40), "pass", "pass"]
    assert [role for role, _ in asked] == ["anchor", "negative"]

    draws = Recorder()
    asked.clear()
    mined = mine(
        tuples, describer(rows, asked), replace(CONFIG, anchor_choice="random", negatives=0), draws=draws
    )
    assert draws.asked == [("permutation", 25)]
    assert asked == []
    assert mined.negatives.shape == mined.distances.shape == (6, 0)


def test_without_shuffling_nothing_is_drawn() -> None:
    tuples, rows = make_tuples(), exact_rows(np.random.default_rng(1), 40, 8)
    draws = Recorder()
    mined = mine(tuples, describer(rows), replace(CONFIG, shuffle=False), draws=draws)
    assert set(draws.asked) == {"pass"}
    assert mined.pairs[0] == 0
    assert mined.pairs.max() < 15
    assert mined.negatives.max() < 30


@given(seed=st.integers(0, 2**31), diverse=st.booleans(), shuffle=st.booleans(), negatives=st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_equal_to_the_obvious_way(seed: int, diverse: bool, shuffle: bool, negatives: int) -> None:
    tuples, rows = make_tuples(seed), exact_rows(np.random.default_rng(seed), 40, 5)
    config = replace(
        CONFIG, anchor_choice="diverse" if diverse else "random", shuffle=shuffle, negatives=negatives
    )
    draws = TorchDraws(torch.Generator().manual_seed(seed))
    order = draws.permutation(25) if shuffle else np.arange(25)
    if diverse:
        draws.data_pass()
        pool = order[:15]
        chosen, _ = obvious_anchors(rows[tuples.query_index[pool]], 6, 0.2, 0.8, draws if shuffle else None)
        pairs = pool[chosen]
    else:
        pairs = order[:6]
    images = draws.permutation(40) if shuffle and negatives else np.arange(40)
    images = images[:30]
    anchors = tuples.query_index[pairs]
    expected = obvious_negatives(
        rows[anchors], tuples.clusters[anchors], rows[images], tuples.clusters[images], negatives
    )
    mined = mine(tuples, describer(rows), config, draws=TorchDraws(torch.Generator().manual_seed(seed)))
    assert mined.pairs.tolist() == pairs.tolist()
    assert (
        mined.negatives.tolist() == images[np.array(expected, dtype=np.int64)].reshape(6, negatives).tolist()
    )
    difference = rows[anchors][:, None].astype(np.float64) - rows[mined.negatives] + 1e-6
    np.testing.assert_allclose(mined.distances, np.linalg.norm(difference, axis=2), rtol=1e-5, atol=1e-6)


def test_negatives_were_never_taken_near_their_anchor() -> None:
    """Every image is a place of its own, one each 10 m: without positions the hardest negatives are neighbours."""
    rows = torch.nn.functional.normalize(torch.tensor([[20.0, float(n)] for n in range(20)]), dim=1).numpy()
    names = tuple(f"{n}.jpg" for n in range(20))
    line = TupleSet("line", names, tuple(map(Path, names)), np.arange(20), np.arange(19), np.arange(1, 20))
    config = replace(CONFIG, anchors=19, anchor_choice="random", negatives=2, negative_pool=None)
    where = np.stack([10.0 * np.arange(20), np.zeros(20)], axis=1)
    for tuples, nearest in ((line, 1), (replace(line, positions=where, apart_m=25), 3)):
        mined = mine(tuples, describer(rows), config, draws=Recorder())
        assert np.abs(mined.negatives - mined.anchors[:, None]).min() == nearest


def test_broken_images_are_passed_over() -> None:
    tuples, rows = make_tuples(), exact_rows(np.random.default_rng(1), 40, 8)
    broken = [int(tuples.query_index[0]), 3, 17]
    rows[broken] = np.nan
    told: list[Event] = []
    mined = mine(tuples, describer(rows), CONFIG, draws=Recorder(), emit=told.append)
    assert len(mined) == 6
    assert not set(broken) & {*mined.anchors.tolist(), *mined.negatives.reshape(-1).tolist()}
    assert any(isinstance(event, Notice) and "have no descriptor" in event.message for event in told)
    rows[:] = np.nan
    for choice in ("diverse", "random"):
        with pytest.raises(UsageError, match="described as anchors has a descriptor"):
            mine(tuples, describer(rows), replace(CONFIG, anchor_choice=choice), draws=Recorder())


def test_small_sets() -> None:
    tuples, rows = make_tuples(), exact_rows(np.random.default_rng(1), 40, 8)
    told: list[Event] = []
    mined = mine(tuples, describer(rows), MiningConfig(), draws=Recorder(), emit=told.append)
    assert sorted(mined.pairs.tolist()) == list(range(25))
    assert [event.message for event in told if isinstance(event, Notice)] == [
        "some places has 25 pairs: an epoch has as many tuples, not 2000"
    ]
    few = replace(tuples, clusters=tuples.clusters % 2)
    with pytest.raises(UsageError, match=r"shows only 1 \("):
        mine(few, describer(rows), CONFIG, draws=Recorder())
    none = replace(tuples, query_index=tuples.query_index[:0], positive_index=tuples.positive_index[:0])
    with pytest.raises(UsageError, match="no two images of one place"):
        mine(none, describer(rows), CONFIG, draws=Recorder())


def test_easy_tuples() -> None:
    names = tuple("abcdef")
    tuples = TupleSet("x", names, tuple(map(Path, names)), np.array([0, 0, 1, 1, 2, 2]), [0, 2, 4], [1, 3, 5])
    angles = np.deg2rad([0, 50, 0, 10, 0, np.nan])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    asked: list[tuple[Role, list[int]]] = []
    config = MiningConfig(anchors=3, anchor_choice="random", negatives=0, easy_share=0.5, shuffle=False)
    mined = mine(tuples, describer(rows, asked), config, draws=Recorder())
    assert mined.easy is not None
    assert mined.easy.tolist() == [False, True, False]  # half of three, rounded down: the 10 degrees
    assert [role for role, _ in asked] == ["anchor", "positive"]
    more = mine(tuples, describer(rows), replace(config, easy_share=1.0), draws=Recorder())
    assert more.easy is not None
    assert more.easy.all()


def test_configurations_that_contradict_themselves() -> None:
    with pytest.raises(ValueError, match="11 anchors cannot be chosen from a pool of 10"):
        MiningConfig(anchors=11, anchor_pool=10)
    with pytest.raises(ValueError, match="all anchors"):
        MiningConfig(anchors=None)
    assert MiningConfig(anchors=11, anchor_pool=10, anchor_choice="random").anchors == 11
    assert MiningConfig(anchors=None, anchor_pool=None).anchors is None


def test_options_as_people_give_them(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('anchors = 7\nanchor_choice = "random"\neasy_share = 0.4\n')
    given = resolve(MiningConfig, file=tmp_path / "x.toml", overrides=["negative_pool=none"]).value
    assert given == MiningConfig(anchors=7, anchor_choice="random", easy_share=0.4, negative_pool=None)
    for wrong in ("anchor_choice=divers", "similar_exclude=1.5", "anchors=20000"):
        with pytest.raises(ConfigError):
            resolve(MiningConfig, overrides=[wrong])

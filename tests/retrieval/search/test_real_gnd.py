"""The real ground truths of revisited Oxford and Paris, and a small one over real photographs.

They are read from ``../shared/data/real`` beside the repository, or from where DARKSIDE_REAL_DATA points, and
left out where neither exists. The figures are those written beside the files, which two other programs agree
on.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from darkside_cli.datasets.ground_truth import GroundTruth
from darkside_cli.interop.ground_truth import read_ground_truth
from darkside_cli.metrics.protocols import score_ranks
from darkside_cli.retrieval.search.benchmark import ground_truth_from_places
from darkside_cli.retrieval.search.score import score

REAL = Path(
    os.environ.get(
        "DARKSIDE_REAL_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data" / "real"
    )
)

pytestmark = pytest.mark.skipif(
    not (REAL / "gnd").is_dir(),
    reason="no real ground truths in ../shared/data/real; DARKSIDE_REAL_DATA says where",
)

# Images in the database; totals of easy, hard and junk; mAP in percent, easy, medium and hard, of the list in
# the order of the database and in the reverse order.
PUBLISHED = {
    "roxford5k": (
        4993,
        (3029, 2497, 1356),
        (0.947192, 1.711396, 0.867938),
        (0.940009, 1.656396, 0.904014),
    ),
    "rparis6k": (
        6322,
        (6874, 10350, 7153),
        (1.723624, 4.083332, 2.514963),
        (1.633287, 3.953629, 2.480496),
    ),
}


@pytest.fixture(scope="module", params=PUBLISHED)
def truth(request: pytest.FixtureRequest) -> GroundTruth:
    return read_ground_truth(REAL / "gnd" / f"gnd_{request.param}.pkl")


def test_contents(truth: GroundTruth) -> None:
    size, totals, _, _ = PUBLISHED[truth.name]
    assert truth.graded
    assert len(truth.database) == size
    assert len(truth.queries) == 70
    assert tuple(sum(len(query.groups[g]) for query in truth.queries) for g in truth.groups) == totals
    assert all(query.box is not None for query in truth.queries)


def test_lists_in_the_order_of_the_database(truth: GroundTruth) -> None:
    size, _, forward, backward = PUBLISHED[truth.name]
    for expected, rank_of in ((forward, np.arange(size)), (backward, np.arange(size)[::-1])):
        ranks = [
            {group: rank_of[list(own)] for group, own in query.groups.items()} for query in truth.queries
        ]
        found = [score_ranks(ranks, protocol) for protocol in truth.protocols]
        percent = [100 * protocol.mean_average_precision for protocol in found]
        assert percent == pytest.approx(expected, abs=5e-7)  # six digits are written
        easy = sum(bool(query.groups["easy"]) for query in truth.queries)
        assert found[0].judged == easy == (68 if truth.name == "roxford5k" else 70)


def test_search_gives_the_same_lists(truth: GroundTruth) -> None:
    size, _, forward, backward = PUBLISHED[truth.name]
    falling = np.linspace(1, 0, size, dtype=np.float32)[:, None]
    queries = np.ones((len(truth.queries), 1), np.float32)
    for expected, database in ((forward, falling), (backward, falling[::-1])):
        result = score(database, queries, truth, block=1024)
        percent = [100 * protocol.mean_average_precision for protocol in result.protocols]
        assert percent == pytest.approx(expected, abs=5e-7)
    # Equal scores stand in the order of the database.
    result = score(np.ones_like(falling), queries, truth)
    percent = [100 * protocol.mean_average_precision for protocol in result.protocols]
    assert percent == pytest.approx(forward, abs=5e-7)


def test_small_ground_truth_is_what_the_folders_say() -> None:
    written = read_ground_truth(REAL / "gnd" / "gnd_realmini.pkl", images=REAL)
    assert read_ground_truth(REAL / "gnd" / "gnd_realmini.json", images=REAL) == written
    made = ground_truth_from_places(
        REAL / "places", queries=("night", "dusk"), distractors=[REAL / "day"], name="realmini"
    )
    assert made.database == written.database
    assert made.queries == written.queries
    assert all(made.image_path(name).is_file() for name in made.database)
    assert all(written.image_path(query.name).is_file() for query in written.queries)


def test_small_ground_truth_by_day() -> None:
    written = read_ground_truth(REAL / "gnd" / "gnd_realmini_dayday.pkl", images=REAL)
    made = ground_truth_from_places(REAL / "places", queries="day", distractors=[REAL / "day"])
    assert made.database == written.database
    judged = [query for query in made.queries if query.groups["ok"]]
    assert {query.name: query.groups for query in judged} == {
        query.name: query.groups for query in written.queries
    }

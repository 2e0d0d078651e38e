"""Sets of tuples: what belongs together, broken files, validation splits, pairs all round a place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.datasets.tuples import TupleSet, chosen_by_name, split_off, spread_pairs, without_broken
from darkside_cli.errors import UsageError
from darkside_cli.events import Event, ItemFailed, Notice

MakeImage = Callable[..., Path]


def make(
    clusters: list[int], pairs: list[tuple[int, int]], folder: Path = Path(), **more: object
) -> TupleSet:
    names = tuple(f"{i}.jpg" for i in range(len(clusters)))
    query, positive = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return TupleSet(
        "set",
        names,
        tuple(folder / name for name in names),
        np.array(clusters),
        query,
        positive,
        **more,  # type: ignore[arg-type]
    )


def test_what_does_not_belong_together() -> None:
    with pytest.raises(UsageError, match="not equally many"):
        TupleSet("x", ("a",), (Path("a"), Path("b")), np.zeros(1), np.zeros(0), np.zeros(0))
    with pytest.raises(UsageError, match="not equally many"):
        TupleSet("x", ("a",), (Path("a"),), np.zeros(2), np.zeros(0), np.zeros(0))
    with pytest.raises(UsageError, match="queries and positives"):
        TupleSet("x", ("a",), (Path("a"),), np.zeros(1), np.zeros(1), np.zeros(0))
    for wrong in (-1, 1):
        with pytest.raises(UsageError, match="not there"):
            TupleSet("x", ("a",), (Path("a"),), np.zeros(1), np.zeros(1), np.array([wrong]))


def test_part_of_a_set() -> None:
    tuples = make(
        [0, 0, 1, 1, 0], [(0, 1), (1, 4), (2, 3), (4, 0)], boxes=(None, (0, 0, 2, 2), None, None, None)
    )
    part = tuples.keep(np.array([True, False, True, True, True]))
    assert part.names == ("0.jpg", "2.jpg", "3.jpg", "4.jpg")
    assert part.paths == tuple(map(Path, part.names))
    assert part.clusters.tolist() == [0, 1, 1, 0]
    assert list(zip(part.query_index.tolist(), part.positive_index.tolist(), strict=True)) == [(1, 2), (3, 0)]
    assert part.boxes == (None,) * 4
    assert tuples.keep(np.array([False, True, False, False, False])).boxes == ((0, 0, 2, 2),)
    assert (len(tuples), tuples.pairs, len(part), part.pairs) == (5, 4, 4, 2)


def test_facts_change_with_the_set() -> None:
    tuples = make([0, 0, 1], [(0, 1)])
    facts = tuples.describe()
    assert {key: facts[key] for key in ("name", "images", "places", "pairs")} == {
        "name": "set", "images": 3, "places": 2, "pairs": 1,
    }  # fmt: skip
    prints = {
        each.describe()["fingerprint"]
        for each in (tuples, make([0, 0, 2], [(0, 1)]), make([0, 0, 1], [(1, 0)]))
    }
    assert len(prints) == 3
    assert make([0, 0, 1], [(0, 1)]).describe() == facts


def test_broken_images_are_named(tmp_path: Path, make_image: MakeImage) -> None:
    tuples = make([0, 0, 0, 1, 1], [(0, 1), (1, 2), (0, 2), (3, 4)], tmp_path)
    for path in tuples.paths[:3]:
        make_image(path)
    tuples.paths[1].write_bytes(b"nothing of the kind")
    (tmp_path / "4.jpg").mkdir()
    told: list[Event] = []
    kept = without_broken(tuples, emit=told.append)
    assert kept.names == ("0.jpg", "2.jpg")
    assert (kept.query_index.tolist(), kept.positive_index.tolist()) == ([0], [1])
    failed = {event.source.name: event.reason for event in told if isinstance(event, ItemFailed)}
    assert failed.keys() == {"1.jpg", "3.jpg", "4.jpg"}
    assert failed["3.jpg"] == "no such file"
    assert [event.message for event in told if isinstance(event, Notice)] == [
        "3 of 5 images of set are passed over, and 3 of 4 pairs with them"
    ]
    tuples.paths[0].unlink()
    with pytest.raises(UsageError, match="no pair of set is left: 4 of 5 images cannot be read"):
        without_broken(tuples)


def test_sound_sets_stay_as_they_are(tmp_path: Path, make_image: MakeImage) -> None:
    tuples = make([0, 0], [(0, 1)], tmp_path)
    for path in tuples.paths:
        make_image(path)
    told: list[Event] = []
    assert without_broken(tuples, emit=told.append).names == tuples.names
    assert told == []


def many(places: int, per_place: int = 3) -> TupleSet:
    clusters = [place for place in range(places) for _ in range(per_place)]
    pairs = [(place * per_place, place * per_place + 1) for place in range(places)]
    return make(clusters, pairs, places=tuple(f"place {i}" for i in range(places)))


@given(
    places=st.integers(2, 40), share=st.floats(0.01, 0.99), seed=st.integers(0, 5), fewest=st.integers(1, 3)
)
@settings(max_examples=60, deadline=None)
def test_validation_takes_whole_places(places: int, share: float, seed: int, fewest: int) -> None:
    tuples = many(places)
    if places < 2 * fewest:
        with pytest.raises(UsageError, match=f"{places} places, too few"):
            split_off(tuples, share, seed=seed, fewest_places=fewest)
        return
    rest, part = split_off(tuples, share, seed=seed, fewest_places=fewest)
    assert not set(rest.clusters.tolist()) & set(part.clusters.tolist())
    assert sorted(rest.names + part.names) == sorted(tuples.names)
    assert rest.pairs + part.pairs == tuples.pairs
    assert min(rest.pairs, part.pairs) >= fewest


def test_other_places_do_not_move_a_place() -> None:
    share, of_few, of_many = 0.3, many(60), many(200)
    few, lots = (split_off(each, share)[1] for each in (of_few, of_many))
    assert set(few.clusters.tolist()) == {place for place in lots.clusters.tolist() if place < 60}
    assert 0.2 < len(lots) / len(of_many) < 0.4
    assert split_off(of_few, share, seed=1)[1].names != few.names


def test_splits_that_cannot_be() -> None:
    for share in (0.0, 1.0):
        with pytest.raises(UsageError, match="cannot be kept"):
            split_off(many(5), share)
    with pytest.raises(UsageError, match="1 places, too few"):
        split_off(many(1), 0.5)


@given(size=st.integers(1, 30), positives=st.integers(1, 8))
@settings(deadline=None)
def test_pairs_all_round_a_place(size: int, positives: int) -> None:
    group = list(range(100, 100 + size))
    queries, found = spread_pairs([group, [7]], positives)
    each = min(positives, size - 1)
    assert queries.tolist() == [image for image in group for _ in range(each)]
    pairs = set(zip(queries.tolist(), found.tolist(), strict=True))
    assert len(pairs) == len(queries)
    assert all(query != other and other in group for query, other in pairs)
    # every image is a positive as often as any other
    assert set(np.bincount(found, minlength=100 + size)[100:].tolist()) <= {each}


def test_pairs_are_far_apart_in_the_list() -> None:
    _, found = spread_pairs([list(range(10))], 4)
    assert found[:4].tolist() == [2, 4, 6, 8]


# Which images are chosen


def test_chosen_by_name() -> None:
    """MD5 of "a" is 0cc175b9c0f1b6a831c399e269772661: 0x2661 / 65536 = 0.1499."""
    assert chosen_by_name("a", 0.15)
    assert not chosen_by_name("a", 0.149)
    assert chosen_by_name("some/folder.x/a.jpg", 0.15)


def test_about_the_share() -> None:
    chosen = sum(chosen_by_name(f"image_{i}", 0.25) for i in range(4000))
    assert abs(chosen - 1000) < 150


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_whoever_is_chosen_at_a_ratio_is_chosen_at_every_higher_one(name: str, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert chosen_by_name(name, low) <= chosen_by_name(name, high)
    assert chosen_by_name(name, 1.0)
    assert not chosen_by_name(name, 0.0)

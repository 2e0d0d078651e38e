"""Epochs of mined tuples: what is in a batch, resuming inside of one, damaged images, shares of processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stub_tuples import MEAN, STD, flat_places
from torch import Tensor

from darkside_cli.datasets.tuples import TupleSet
from darkside_cli.errors import ImageError, UsageError
from darkside_cli.events import Event, ImageReady, ItemFailed, Notice
from darkside_cli.retrieval.mining.config import MiningConfig
from darkside_cli.retrieval.mining.draws import TorchDraws
from darkside_cli.retrieval.mining.hard_tuples import Role, mine
from darkside_cli.retrieval.mining.tuple_data import TupleBatch, TupleData, validation_tuples
from darkside_cli.retrieval.mining.tuple_images import ImageDescriber, TupleImages, ahead
from darkside_cli.training.distributed import Ranks

MINING = MiningConfig(anchors=6, anchor_pool=10, negatives=2, negative_pool=15)


def describe(images: Tensor) -> Tensor:
    """Means of the channels, of unit length."""
    means = images.mean(dim=(2, 3)) + 0.01
    return means / means.norm(dim=1, keepdim=True)


@pytest.fixture
def tuples(tmp_path: Path) -> TupleSet:
    """Eight places of three images; no two images are alike."""
    rng = np.random.default_rng(0)
    colours = [[tuple(rng.integers(0, 256, 3).tolist()) for _ in range(3)] for _ in range(8)]
    return flat_places(tmp_path / "flat", colours)  # type: ignore[arg-type]


def images_of(tuples: TupleSet, **options: Any) -> TupleImages:
    return TupleImages(tuples, size_px=8, mean=MEAN, std=STD, **options)


def make(
    tuples: TupleSet,
    *,
    events: list[Event] | None = None,
    work: Callable[[Tensor], Tensor] = describe,
    **options: Any,
) -> TupleData:
    emit = events.append if events is not None else (lambda event: None)
    rows = ImageDescriber(images_of(tuples), work, workers=2, emit=emit)
    settings: dict[str, Any] = {"seed": 3, "batch_size": 4, "workers": 2, **options}
    return TupleData(rows, settings.pop("mining", MINING), emit=emit, **settings)


def numbers_of(batch: TupleBatch, tuples: TupleSet) -> list[list[int]]:
    """Numbers of the images of a batch, told by their colours."""
    table = {}
    for number in range(len(tuples)):
        with suppress(ImageError):
            colour = images_of(tuples).load(number, "negative")[:, 0, 0]
            table[tuple(colour.tolist())] = number
    return [[table[tuple(image[:, 0, 0].tolist())] for image in images] for images in batch.tuples]


def test_an_epoch_is_what_mining_gives_in_the_order_drawn(tuples: TupleSet) -> None:
    data = make(tuples)
    draws = TorchDraws.of_epoch(3, 1)
    images = images_of(tuples)

    def rows(numbers: np.ndarray, role: Role) -> Tensor:
        return torch.cat([describe(images.load(n, role)[None]) for n in numbers.tolist()])

    mined = mine(tuples, rows, MINING, draws=draws)
    order = draws.tuple_order(len(mined))
    batches = list(data.epoch(1))
    assert data.batches(1) == len(batches) == 2
    assert [len(batch.tuples) for batch in batches] == [4, 2]
    found = [numbers for batch in batches for numbers in numbers_of(batch, tuples)]
    assert found == [mined.images(number) for number in order]


def test_an_epoch_begins_anywhere(tuples: TupleSet) -> None:
    data = make(tuples, batch_size=2)
    whole = [numbers_of(batch, tuples) for batch in data.epoch(0)]
    assert len(whole) == 3
    for start in range(3):
        assert [numbers_of(batch, tuples) for batch in data.epoch(0, start=start)] == whole[start:]


def test_every_epoch_is_mined_anew_with_the_network_as_it_is(tuples: TupleSet) -> None:
    described = []

    def counting(images: Tensor) -> Tensor:
        described.append(len(images))
        return describe(images)

    data = make(tuples, work=counting)
    first = [numbers_of(batch, tuples) for batch in data.epoch(0)]
    once = sum(described)
    assert once > 15
    assert [numbers_of(batch, tuples) for batch in data.epoch(0)] == first
    assert sum(described) == once  # that epoch is mined already
    assert [numbers_of(batch, tuples) for batch in data.epoch(1)] != first
    assert sum(described) > once


def test_inside_of_an_epoch_it_goes_on_with_what_was_mined(tuples: TupleSet) -> None:
    """The network has moved on since: mining again would give other tuples."""
    data = make(tuples, batch_size=2)
    whole = [numbers_of(batch, tuples) for batch in data.epoch(2)]

    def other(images: Tensor) -> Tensor:
        return describe(1 - images)

    again = make(tuples, batch_size=2, work=other)
    again.load_state(data.state())
    assert [numbers_of(batch, tuples) for batch in again.epoch(2, start=1)] == whole[1:]
    assert [numbers_of(batch, tuples) for batch in make(tuples, batch_size=2, work=other).epoch(2)] != whole
    again.load_state({})
    assert again.mined is None
    with pytest.raises(ValueError, match="other images"):
        again.load_state({"epoch": 0, "images": torch.tensor([[24, 1]])})


def test_two_processes_share_each_batch(tuples: TupleSet) -> None:
    one = make(tuples, batch_size=4)
    whole = [numbers_of(batch, tuples) for batch in one.epoch(0)]
    parts = []
    for rank in range(2):
        part = make(tuples, batch_size=2, ranks=Ranks(rank, 2))
        part.load_state(one.state())  # as real processes have it, which mine together
        assert part.batches(0) == one.batches(0)
        parts.append([numbers_of(batch, tuples) for batch in part.epoch(0)])
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    with pytest.raises(UsageError, match="too few for 7 processes"):
        make(tuples, ranks=Ranks(0, 7))


def test_damaged_images_are_told_of_once_and_others_stand_in(tuples: TupleSet) -> None:
    """Half of the images of the places turn out to be damaged when they are decoded."""
    for place in range(3):
        for number in (0, 1):
            tuples.paths[3 * place + number].write_bytes(b"no picture")
    events: list[Event] = []
    data = make(tuples, events=events, mining=MiningConfig(anchors=24, anchor_pool=24, negatives=2))
    assert data.size == 24
    broken = {0, 1, 3, 4, 6, 7}
    for epoch in range(2):
        batches = list(data.epoch(epoch))
        assert [len(batch.tuples) for batch in batches] == [4] * 6
        seen = {number for batch in batches for numbers in numbers_of(batch, tuples) for number in numbers}
        assert not seen & broken
    told = [event.source for event in events if isinstance(event, ItemFailed)]
    assert sorted(told) == sorted(tuples.paths[number] for number in broken)
    warnings = [event.message for event in events if isinstance(event, Notice) and event.level == "warning"]
    assert any("stand in" in message for message in warnings)


def test_damaged_anchors_that_mining_does_not_look_at(tuples: TupleSet) -> None:
    tuples.paths[4].write_bytes(b"no picture")
    mining = MiningConfig(anchors=None, anchor_choice="random", negatives=0)
    data = make(tuples, mining=mining)
    seen = {n for batch in data.epoch(0) for numbers in numbers_of(batch, tuples) for n in numbers}
    assert seen == set(range(24)) - {4}


def test_an_image_that_vanishes_during_the_epoch_is_an_error_with_its_name(tuples: TupleSet) -> None:
    data = make(tuples)
    list(data.epoch(0))
    for path in tuples.paths:
        path.unlink()
    with pytest.raises(ImageError, match=r"p\d/\d\.png"):
        list(data.epoch(0))


def test_threads_end_when_an_epoch_is_left(tuples: TupleSet) -> None:
    before = threading.active_count()
    batches = make(tuples, batch_size=1).epoch(0)
    next(iter(batches))
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_rows_do_not_depend_on_the_threads(tuples: TupleSet) -> None:
    order = np.array([5, 1, 23, 0, 9])
    expected = torch.cat([describe(images_of(tuples).load(n, "negative")[None]) for n in order.tolist()])
    for workers in (1, 4):
        for batch_size in (1, 2, None):
            rows = ImageDescriber(images_of(tuples), describe, workers=workers, batch_size=batch_size)
            torch.testing.assert_close(rows(order, "negative"), expected, rtol=1e-6, atol=1e-6)


def test_broken_images_are_rows_of_nan(tuples: TupleSet) -> None:
    tuples.paths[1].write_bytes(b"no picture")
    events: list[Event] = []
    rows = ImageDescriber(images_of(tuples), describe, workers=2, emit=events.append)
    found = rows(np.array([0, 1, 2]), "negative")
    assert found.isnan().any(dim=1).tolist() == [False, True, False]
    assert rows(np.array([1]), "negative").isnan().all()
    assert len([event for event in events if isinstance(event, ItemFailed)]) == 1
    assert rows.unreadable(np.array([0, 1, 2, 3])) == {1}
    rows(np.array([0, 1, 2]), "negative", label="a pool")
    ready = [event for event in events if isinstance(event, ImageReady)]
    assert [(event.source, event.target) for event in ready] == [(tuples.paths[n], None) for n in (0, 2)]


def test_validation_tuples_by_hand(tuples: TupleSet) -> None:
    """Every pair has its tuple; negatives are the most similar images of other places, one a place."""
    rows = ImageDescriber(images_of(tuples), describe, workers=2)
    plain = MiningConfig(anchors=None, anchor_choice="random", negatives=2, negative_pool=None, shuffle=False)
    anchors, positives, negatives = validation_tuples(rows, plain)
    table = rows(np.arange(24), "negative")
    torch.testing.assert_close(anchors, table[tuples.query_index])
    torch.testing.assert_close(positives, table[tuples.positive_index])
    for number, query in enumerate(tuples.query_index.tolist()):
        scores = table @ table[query]
        ranked = sorted((n for n in range(24) if n // 3 != query // 3), key=lambda n: -scores[n].item())
        places: dict[int, int] = {}
        for n in ranked:
            places.setdefault(n // 3, n)
        torch.testing.assert_close(negatives[number], table[list(places.values())[:2]])


def test_validation_without_negatives(tuples: TupleSet) -> None:
    rows = ImageDescriber(images_of(tuples), describe, workers=2)
    plain = MiningConfig(anchors=None, anchor_choice="random", negatives=0, negative_pool=None, shuffle=False)
    anchors, positives, negatives = validation_tuples(rows, plain)
    assert (len(anchors), len(positives), negatives.shape) == (24, 24, (24, 0, 3))


def test_results_come_in_order_and_not_too_far_ahead() -> None:
    from concurrent.futures import ThreadPoolExecutor

    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return number

    with ThreadPoolExecutor(3) as pool:
        results = ahead(pool, work, ((n,) for n in range(50)), 5)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        results.close()
    assert max(begun) <= 8

"""Unpaired images: what an epoch is made of depends on the seed alone, whoever makes it and from wherever."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from handmade_images import image_pixels
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.unpaired import UnpairedBatch, UnpairedConfig, UnpairedImages
from darkside_cli.datasets.unpaired_order import (
    count_batches,
    draw_order,
    draw_pairs,
    generator_for,
    share_of,
)
from darkside_cli.errors import UsageError
from darkside_cli.events import Event, ItemFailed
from darkside_cli.images.settings import AugmentConfig

MakeSet = Callable[..., Path]


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Five day and three night images of different sizes, larger than 24 pixels."""
    for name, sizes in {
        "day": [(48, 40), (40, 48), (64, 30), (33, 35), (50, 50)],
        "night": [(45, 37), (37, 45), (60, 60)],
    }.items():
        (tmp_path / name).mkdir()
        for number, (width, height) in enumerate(sizes):
            pixels = image_pixels(height, width, seed=number + (name == "night") * 100)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


def images(
    folder: Path,
    *,
    seed: int = 3,
    rank: int = 0,
    ranks: int = 1,
    heard: list[Event] | None = None,
    **config: Any,
) -> UnpairedImages:
    values: dict[str, Any] = {"size": 11, "batch_size": 2, "crop_px": (24, 16), "workers": 2, **config}
    return UnpairedImages(
        UnpairedConfig(day=folder / "day", night=folder / "night", **values),
        seed=seed,
        rank=rank,
        ranks=ranks,
        root=DataRoot(folder / "root", "test"),
        emit=(lambda _: None) if heard is None else heard.append,
    )


def stacked(batches: list[UnpairedBatch]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat([each.day for each in batches]), torch.cat([each.night for each in batches])


def assert_same(one: list[UnpairedBatch], other: list[UnpairedBatch]) -> None:
    for a, b in zip(stacked(one), stacked(other), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


# Order


def test_pairs_are_drawn_as_numpy_draws_them() -> None:
    state = np.random.get_state()
    np.random.seed(12)
    day, night = np.random.randint(9, size=20), np.random.randint(4, size=20)
    np.random.set_state(state)
    ours = draw_pairs(9, 4, 20, seed=12)
    np.testing.assert_array_equal(ours[0], day)
    np.testing.assert_array_equal(ours[1], night)


def test_order_is_that_of_a_shuffling_loader() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        loader = torch.utils.data.DataLoader(range(30), shuffle=True)  # type: ignore[arg-type]
        expected = [int(each) for each in loader]
    assert draw_order(30, seed=5).tolist() == expected


def test_global_generators_are_left_alone(sets: Path) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    list(images(sets, augment=AugmentConfig(flip=True, rotate_deg=5, day_colour=0.1)).epoch(0))
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])
    assert before[2] == random.getstate()


def test_generators_depend_on_their_key_alone() -> None:
    """By a hash whose value is the same everywhere."""
    assert generator_for(1, 2, 3).random() == generator_for(1, 2, 3).random()
    assert generator_for(1, 2, 3).random() != generator_for(1, 23).random()
    text = b"5/0/day"
    expected = random.Random(int.from_bytes(text + hashlib.sha512(text).digest(), "big"))
    assert generator_for(5, 0, "day").random() == expected.random()


@given(size=st.integers(1, 60), batch_size=st.integers(1, 7), ranks=st.integers(1, 5), data=st.data())
def test_shares_make_up_the_batch(size: int, batch_size: int, ranks: int, data: st.DataObject) -> None:
    if size < ranks:
        assert count_batches(size, batch_size, ranks) == 0
        return
    batches = count_batches(size, batch_size, ranks)
    shares = [[share_of(b, size, batch_size, rank, ranks) for rank in range(ranks)] for b in range(batches)]
    seen = [position for batch in shares for share in batch for position in share]
    # Every pair once and in order, but for what the last batch cannot share out evenly.
    assert seen == list(range(size - (size % (batch_size * ranks)) % ranks))
    for batch in shares:
        assert len({len(share) for share in batch}) == 1
        assert 1 <= len(batch[0]) <= batch_size
    assert all(len(batch[0]) == batch_size for batch in shares[:-1])
    # The first process of two, with B, has the first half of the batch of one with 2 B.
    if ranks == 2 and batches:
        b = data.draw(st.integers(0, batches - 1))
        whole = share_of(b, size, batch_size * 2, 0, 1)
        assert [*shares[b][0], *shares[b][1]] == list(whole)[: 2 * len(shares[b][0])]


# Batches


def test_batches(sets: Path) -> None:
    data = images(sets)
    batches = list(data.epoch(0))
    assert data.batches(0) == 6 == len(batches)
    assert [len(each) for each in batches] == [2, 2, 2, 2, 2, 1]
    for batch in batches:
        for tensor in (batch.day, batch.night):
            assert tensor.shape == (len(batch), 3, 16, 24)
            assert tensor.dtype == torch.float32
            assert -1 <= tensor.min() < tensor.max() <= 1


def test_what_is_in_a_batch(tmp_path: Path) -> None:
    """An image of the crop's size is taken as it is: x / 255 is (x - 0.5) / 0.5 of [0, 1], channels first."""
    for name, colour in {"day": (255, 0, 51), "night": (0, 102, 255)}.items():
        (tmp_path / name).mkdir()
        Image.new("RGB", (24, 16), colour).save(tmp_path / name / "a.png")
    (batch,) = images(tmp_path, size=1).epoch(0)
    assert batch.day[0, :, 3, 5].tolist() == pytest.approx([1, -1, -0.6], abs=1e-6)
    assert batch.night[0, :, 3, 5].tolist() == pytest.approx([-1, -0.2, 1], abs=1e-6)


def test_epochs_and_seeds_differ(sets: Path) -> None:
    data = images(sets)
    one, again, next_epoch = (stacked(list(data.epoch(e)))[0] for e in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, next_epoch)
    # As published: what is drawn depends on seed + epoch. Crops, though, are those of the epoch.
    assert not torch.equal(one, stacked(list(images(sets, seed=4).epoch(0)))[0])


@settings(deadline=None, max_examples=15)
@given(
    start=st.integers(0, 5), workers=st.integers(0, 3), prefetch=st.integers(1, 5), cache=st.integers(0, 1)
)
def test_wherever_it_starts_and_whoever_makes_it(
    tmp_path_factory: pytest.TempPathFactory, start: int, workers: int, prefetch: int, cache: int
) -> None:
    folder = tmp_path_factory.mktemp("sets")
    for name in ("day", "night"):
        (folder / name).mkdir()
        for number in range(3):
            path = folder / name / f"{number}.png"
            Image.fromarray(image_pixels(30 + number, 40 - number, seed=number)).save(path)
    augmented = AugmentConfig(flip=True, aspect=0.2, rotate_deg=8, day_gamma=0.3)
    for config in ({}, {"share_crop": False}, {"augment": augmented}):
        whole = list(images(folder, workers=0, **config).epoch(2))  # type: ignore[arg-type]
        made = images(folder, workers=workers, prefetch=prefetch, cache_mb=cache, **config)  # type: ignore[arg-type]
        assert_same(list(made.epoch(2, start=start)), whole[start:])


@pytest.mark.parametrize("ranks", [2, 3])
def test_processes_together_make_the_batch_of_one(sets: Path, ranks: int) -> None:
    """Two processes with batch B train on what one does with 2 B."""
    whole = list(images(sets, batch_size=2 * ranks, size=4 * ranks + ranks).epoch(1))
    parts = [
        list(images(sets, rank=rank, ranks=ranks, size=4 * ranks + ranks).epoch(1)) for rank in range(ranks)
    ]
    assert len(whole) == 3
    for number, batch in enumerate(whole):
        assert_same([batch], [part[number] for part in parts])


def test_start_decodes_nothing_before_it(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = images(sets, cache_mb=0, workers=0)
    decoded = []
    make = UnpairedImages._decode
    monkeypatch.setattr(
        UnpairedImages,
        "_decode",
        lambda self, path: decoded.append(path) or make(self, path),  # type: ignore[func-returns-value]
    )
    assert len(list(data.epoch(0, start=5))) == 1
    assert len(decoded) == 2


def test_images_are_decoded_once(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = images(sets, cache_mb=1, workers=0)
    decoded = []
    make = UnpairedImages._decode
    monkeypatch.setattr(
        UnpairedImages,
        "_decode",
        lambda self, path: decoded.append(path) or make(self, path),  # type: ignore[func-returns-value]
    )
    for epoch in range(4):
        list(data.epoch(epoch))
    assert len(decoded) == len(set(decoded)) <= 8


def test_only_so_much_is_made_ahead(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = UnpairedImages._make
    monkeypatch.setattr(
        UnpairedImages,
        "_make",
        lambda *values: made.append(values[1].position) or make(*values),  # type: ignore[func-returns-value]
    )
    batches = images(sets, size=100, prefetch=3, workers=2).epoch(0)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert max(made) < 2 * 3
    assert not [t for t in threading.enumerate() if t.name.startswith("darkside-pictures")]


def test_shared_crops_come_from_one_place(tmp_path: Path) -> None:
    """Both images show their own row and column: in a pair of one size they are cut at one place."""
    y, x = np.mgrid[0:60, 0:80].astype(np.uint8)
    for name in ("day", "night"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.stack([y, x, y], axis=-1)).save(tmp_path / name / "a.png")
    shared = stacked(list(images(tmp_path, size=8).epoch(0)))
    assert torch.equal(*shared)
    apart = stacked(list(images(tmp_path, size=8, share_crop=False).epoch(0)))
    assert not torch.equal(*apart)
    assert torch.unique(shared[0][:, 0, 0, 0]).numel() > 3


@settings(deadline=None, max_examples=25)
@given(
    crop=st.tuples(st.integers(4, 70), st.integers(4, 70)),
    sizes=st.lists(st.tuples(st.integers(1, 80), st.integers(1, 80)), min_size=2, max_size=2),
    scale=st.tuples(st.floats(0.05, 3), st.floats(0.05, 3)).map(sorted).map(tuple),
    augment=st.sampled_from([AugmentConfig(), AugmentConfig(aspect=0.4, rotate_deg=30, perspective=0.2)]),
    share=st.booleans(),
)
def test_any_size_gives_crops(
    tmp_path_factory: pytest.TempPathFactory, crop: Any, sizes: Any, scale: Any, augment: Any, share: bool
) -> None:
    folder = tmp_path_factory.mktemp("sets")
    for name, (width, height) in zip(("day", "night"), sizes, strict=True):
        (folder / name).mkdir()
        Image.fromarray(image_pixels(height, width)).save(folder / name / "a.png")
    data = images(folder, crop_px=crop, scale=scale, augment=augment, share_crop=share, size=2, workers=0)
    (batch,) = data.epoch(0)
    assert batch.day.shape == batch.night.shape == (2, 3, crop[1], crop[0])
    assert torch.isfinite(batch.day).all()
    assert batch.day.abs().max() <= 1


def test_small_images_enlarge_themselves_alone(tmp_path: Path) -> None:
    """Beside a tiny day image, of a night image whose red grows by one a pixel, crops still do so."""
    for name in ("day", "night"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (10, 10)).save(tmp_path / "day" / "a.png")
    ramp = np.zeros((60, 80, 3), dtype=np.uint8)
    ramp[..., 0] = np.arange(80)
    Image.fromarray(ramp).save(tmp_path / "night" / "a.png")
    (batch,) = images(tmp_path, size=1, scale=(1.0, 1.0)).epoch(0)
    steps = (batch.night[0, 0] * 127.5).diff(dim=1)
    torch.testing.assert_close(steps, torch.ones_like(steps), rtol=0, atol=1e-4)


def test_one_stream_of_crops(sets: Path) -> None:
    """In the order of loading: scale, row, column of each pair, from one generator that others may use between."""
    asked: list[int] = []

    def stream(epoch: int) -> random.Random:
        asked.append(epoch)
        return random.Random(7)

    config = UnpairedConfig(
        day=sets / "day", night=sets / "night", size=4, batch_size=2, crop_px=(24, 16), share_crop=True
    )
    data = UnpairedImages(config, seed=0, crop_stream=stream)
    assert_same(list(data.epoch(1)), list(data.epoch(1)))
    assert asked == [1, 1]
    with pytest.raises(ValueError, match="begins at its start"):
        data.epoch(0, start=1)
    augmented = UnpairedConfig(day=sets / "day", night=sets / "night", augment=AugmentConfig(aspect=0.1))
    with pytest.raises(ValueError, match="do not go together"):
        UnpairedImages(augmented, seed=0, crop_stream=stream)


# Broken images


def test_broken_images_are_named_once_and_replaced(sets: Path) -> None:
    whole = (sets / "day" / "1.png").read_bytes()
    (sets / "day" / "1.png").write_bytes(whole[: len(whole) // 2])  # its header is sound
    heard: list[Event] = []
    data = images(sets, size=40, heard=heard)
    first = [list(data.epoch(epoch)) for epoch in range(2)]
    failed = [event for event in heard if isinstance(event, ItemFailed)]
    assert [event.source.name for event in failed] == ["1.png"]
    assert "cut short" in failed[0].reason
    # Whoever makes it, with and without having met the broken one before, puts the same in its place.
    fresh = images(sets, size=40, workers=0, cache_mb=0)
    assert_same(first[1], list(fresh.epoch(1)))
    assert_same(first[1][7:], list(images(sets, size=40, workers=3).epoch(1, start=7)))
    parts = [list(images(sets, size=40, batch_size=1, rank=rank, ranks=2).epoch(1)) for rank in range(2)]
    assert_same(first[1], [each for pair in zip(*parts, strict=True) for each in pair])


def test_half_of_them_broken_is_an_error(sets: Path) -> None:
    for number in range(2):
        path = sets / "night" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:-60])
    data = images(sets, size=40)
    with pytest.raises(UsageError, match="2 of 3 night pictures cannot be read"):
        list(data.epoch(0))
    assert not [t for t in threading.enumerate() if t.name.startswith("darkside-pictures")]


def test_all_broken_ends(sets: Path) -> None:
    for path in (sets / "night").iterdir():
        path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UsageError, match="night picture"):
        list(images(sets, size=40, workers=0).epoch(0))


# What it is called with


def test_too_few_pairs_for_the_processes(sets: Path) -> None:
    with pytest.raises(UsageError, match="2 pairs an epoch are too few for 3 processes"):
        images(sets, size=2, ranks=3)
    with pytest.raises(ValueError, match="rank 1 of 1"):
        images(sets, rank=1)


def test_facts(sets: Path) -> None:
    facts = images(sets).describe()
    assert facts["day"] | {"fingerprint": ""} == {
        "pictures": 5, "unusable": 0, "smallest_px": 30, "largest_px": 64, "fingerprint": ""
    }  # fmt: skip
    (sets / "day" / "4.png").rename(sets / "day" / "5.png")
    assert images(sets).describe()["day"]["fingerprint"] != facts["day"]["fingerprint"]
    assert images(sets).describe()["night"] == facts["night"]


def test_batch_goes_to_devices() -> None:
    batch = UnpairedBatch(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
    moved = batch.to(torch.device("meta"), non_blocking=True)
    assert moved.day.device.type == moved.night.device.type == "meta"
    assert len(moved) == 2


@pytest.mark.gpu
def test_batch_is_pinned() -> None:
    batch = UnpairedBatch(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)).pin_memory()
    assert batch.day.is_pinned()
    assert batch.night.is_pinned()
    assert batch.to("cuda", non_blocking=True).night.sum() == 96

"""Translations on disk: made once, the same bits, bounded, and not in the way when something is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from darkside_cli.errors import UsageError
from darkside_cli.events import Event, Notice
from darkside_cli.images.colour import FloatImage, Pixels
from darkside_cli.retrieval.mining import night_cache
from darkside_cli.retrieval.mining.night_cache import CachedNight, NightCache

ONE = 4 * 3 * 3 * 4  # bytes of one image


class Counting:
    """Darkens by a third, which no 16 bits hold, and counts how often."""

    costly = True

    def __init__(
        self, fingerprint: str = "a" * 64, change: Callable[[FloatImage], FloatImage] = lambda x: x
    ) -> None:
        self.fingerprint, self.calls, self._change = fingerprint, 0, change

    def __call__(self, day: Pixels, name: str) -> FloatImage | None:
        self.calls += 1
        return None if name == "none" else self._change(day.astype(np.float32) / np.float32(3 * 255))


def day(seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (4, 3, 3)).astype(np.uint8)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_each_image_is_made_once(tmp_path: Path) -> None:
    maker = Counting()
    first = NightCache(tmp_path, 1 << 20)
    made = [first(maker, day(seed), f"{seed}") for seed in range(3)]
    again = NightCache(tmp_path, 1 << 20)
    for seed, image in enumerate(made):
        np.testing.assert_array_equal(again(maker, day(seed), f"{seed}"), image)
    assert (maker.calls, first.made, again.made) == (3, 3, 0)
    assert first.size == again.size == sum(path.stat().st_size for path in files(tmp_path))


def test_another_generator_or_image_is_another_image(tmp_path: Path) -> None:
    cache = NightCache(tmp_path, 1 << 20)
    makers = [Counting("a" * 64), Counting("b" * 64)]
    for maker in makers:
        cache(maker, day(0), "x")
        cache(maker, day(0).transpose(1, 0, 2), "x")
        cache(maker, day(1), "x")
    assert [maker.calls for maker in makers] == [3, 3]
    assert len(files(tmp_path)) == 6


def test_it_makes_no_difference_whether_an_image_is_kept(tmp_path: Path) -> None:
    with_room, without = NightCache(tmp_path / "a", 1 << 20), NightCache(tmp_path / "b", 0)
    for _ in range(2):
        np.testing.assert_array_equal(with_room(Counting(), day(0), "x"), without(Counting(), day(0), "x"))
    assert without.made == 2
    assert not (tmp_path / "b").exists()


def test_the_limit_holds_and_what_came_first_stays(tmp_path: Path) -> None:
    events: list[Event] = []
    size = files_size(tmp_path / "probe")
    cache, maker = NightCache(tmp_path / "x", 2 * size + 10, emit=events.append), Counting()
    for seed in (0, 1, 2, 3, 0, 1, 2):
        assert cache(maker, day(seed), f"{seed}") is not None
    assert len(files(tmp_path / "x")) == 2
    assert maker.calls == 5
    assert cache.size <= 2 * size + 10
    told = [event.message for event in events if isinstance(event, Notice)]
    assert len(told) == 1
    assert "as many as they may" in told[0]


def files_size(folder: Path) -> int:
    NightCache(folder, 1 << 20)(Counting(), day(0), "x")
    return files(folder)[0].stat().st_size


def test_images_of_other_generators_give_way_the_oldest_first(tmp_path: Path) -> None:
    size = files_size(tmp_path / "probe")
    old, newer, own = (Counting(letter * 64) for letter in "abc")
    NightCache(tmp_path / "x", 1 << 20)(old, day(0), "x")
    os.utime(next((tmp_path / "x").iterdir()), (1, 1))
    NightCache(tmp_path / "x", 1 << 20)(newer, day(0), "x")
    cache = NightCache(tmp_path / "x", 2 * size + 10)
    cache(own, day(0), "x")
    assert len(files(tmp_path / "x")) == 2
    cache(newer, day(0), "x")
    cache(old, day(0), "x")
    assert (old.calls, newer.calls) == (2, 1)


def test_images_that_are_read_are_not_the_oldest(tmp_path: Path) -> None:
    size = files_size(tmp_path / "probe")
    read, unread, own = (Counting(letter * 64) for letter in "abc")
    for maker in (read, unread):
        NightCache(tmp_path / "x", 1 << 20)(maker, day(0), "x")
    for place in (tmp_path / "x").iterdir():
        os.utime(place, (1, 1))
    cache = NightCache(tmp_path / "x", 2 * size + 10)
    cache(read, day(0), "x")
    cache(own, day(0), "x")
    cache(read, day(0), "x")
    cache(unread, day(0), "x")
    assert (read.calls, unread.calls) == (1, 2)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no picture"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: bytes) -> None:
    cache, maker = NightCache(tmp_path, 1 << 20), Counting()
    made = cache(maker, day(0), "x")
    path = files(tmp_path)[0]
    path.write_bytes(damage)
    np.testing.assert_array_equal(cache(maker, day(0), "x"), made)
    np.testing.assert_array_equal(np.load(path), made)
    assert maker.calls == 2


def test_a_file_of_other_numbers_is_none_of_ours(tmp_path: Path) -> None:
    cache, maker = NightCache(tmp_path, 1 << 20), Counting()
    made = cache(maker, day(0), "x")
    for other in (
        np.zeros((4, 3)),
        np.full((4, 3, 3), np.nan, dtype=np.float32),
        np.zeros(3, dtype=np.float32),
    ):
        np.save(files(tmp_path)[0], other)
        np.testing.assert_array_equal(cache(maker, day(0), "x"), made)


def test_a_disk_that_is_full_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    monkeypatch.setattr(night_cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    cache = NightCache(tmp_path, 1 << 30, emit=events.append)
    for seed in range(3):
        cache(Counting(), day(seed), "x")
    assert files(tmp_path) == []
    assert ["nearly full" in event.message for event in events if isinstance(event, Notice)] == [True]


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    events: list[Event] = []
    (tmp_path / "file").write_text("no folder")
    cache = NightCache(tmp_path / "file" / "x", 1 << 30, emit=events.append)
    for seed in range(3):
        assert cache(Counting(), day(seed), "x") is not None
    assert len(events) == 1


def test_values_that_are_not_finite_are_the_generators_fault(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not finite"):
        NightCache(tmp_path, 1 << 20)(Counting(change=lambda x: x * np.nan), day(0), "x")


def test_a_kept_maker_is_a_maker(tmp_path: Path) -> None:
    maker = Counting()
    kept = CachedNight(maker, NightCache(tmp_path, 1 << 20))
    assert (kept.fingerprint, kept.costly) == (maker.fingerprint, False)
    assert kept(day(0), "none") is None
    assert kept(day(0), "x") is not None
    assert kept(day(0), "x") is not None
    assert maker.calls == 2

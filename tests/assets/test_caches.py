"""What finetune keeps below the data root is found, measured and deleted, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from darkside_cli.assets.caches import CACHES, NIGHT_CACHE, CacheState, cache_state, clear_cache
from darkside_cli.atomic import TEMPORARY_PREFIX
from darkside_cli.images.colour import FloatImage, Pixels
from darkside_cli.retrieval.mining.night_cache import NightCache


class Maker:
    """Makes night of an image by halving it."""

    costly = True

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def __call__(self, day: Pixels, name: str) -> FloatImage | None:
        return (day / np.float32(510)).astype(np.float32)


@pytest.fixture
def kept(tmp_path: Path) -> list[Path]:
    """Three translations of two generators, where finetune keeps them below the root."""
    folder = tmp_path / "cache" / "night"
    cache = NightCache(folder, 1 << 20)
    for fingerprint, name in (("a", "x"), ("a", "y"), ("b", "x")):
        cache(Maker(fingerprint), np.zeros((4, 4, 3), dtype=np.uint8), name)
    return sorted(folder.rglob("*.npy"))


def test_what_is_kept_is_counted(tmp_path: Path, kept: list[Path]) -> None:
    for each in (*kept, *(parent for path in kept for parent in path.parents if parent != tmp_path)):
        if each.is_relative_to(tmp_path):
            os.utime(each, (1_000_000_000, 1_000_000_000))
    size = sum(path.stat().st_size for path in kept)
    assert len(kept) == 3
    assert size > 3 * 4 * 4 * 3 * 4
    assert cache_state(tmp_path, NIGHT_CACHE) == CacheState(3, size, "2001-09-09T01:46:40+00:00")


def test_reading_is_using(tmp_path: Path, kept: list[Path]) -> None:
    folder = tmp_path / "cache" / "night"
    for each in (folder, *folder.rglob("*")):
        os.utime(each, (1_000_000_000, 1_000_000_000))
    NightCache(folder, 1 << 20)(Maker("b"), np.zeros((4, 4, 3), dtype=np.uint8), "x")
    assert sorted(folder.rglob("*.npy")) == kept
    used = cache_state(tmp_path, NIGHT_CACHE).last_used
    assert used is not None
    assert used > "2002"


def test_nothing_kept_is_nothing(tmp_path: Path) -> None:
    assert cache_state(tmp_path, NIGHT_CACHE) == CacheState(0, 0, None)
    assert clear_cache(tmp_path, NIGHT_CACHE) == 0
    assert list(tmp_path.iterdir()) == []


def test_all_of_it_goes(tmp_path: Path, kept: list[Path]) -> None:
    half_written = kept[0].with_name(f"{TEMPORARY_PREFIX}1-abc.npy")
    half_written.write_bytes(b"12345")
    size = sum(path.stat().st_size for path in (*kept, half_written))
    assert cache_state(tmp_path, NIGHT_CACHE).size == size
    assert clear_cache(tmp_path, NIGHT_CACHE) == size
    assert list(tmp_path.iterdir()) == []


def test_what_others_put_there_stays(tmp_path: Path, kept: list[Path]) -> None:
    folder, elsewhere = tmp_path / "cache" / "night", tmp_path / "elsewhere"
    elsewhere.mkdir()
    others = [
        folder / "notes.txt",
        folder / "mine.npy",
        kept[0].with_suffix(".txt"),
        elsewhere / kept[0].name,
        tmp_path / "cache" / "other",
    ]
    for other in others:
        other.write_bytes(b"mine")
    (folder / ("0" * 24)).mkdir()
    (folder / ("0" * 24) / "00").symlink_to(elsewhere)
    clear_cache(tmp_path, NIGHT_CACHE)
    assert [other.is_file() for other in others] == [True] * len(others)
    assert not any(path.exists() for path in kept)
    assert cache_state(tmp_path, NIGHT_CACHE).files == 0


def test_a_folder_that_leads_to_another_disk_is_cleared_there(tmp_path: Path, kept: list[Path]) -> None:
    (tmp_path / "disk").mkdir()
    folder = tmp_path / "cache" / "night"
    folder.rename(tmp_path / "disk" / "night")
    folder.symlink_to(tmp_path / "disk" / "night")
    size = sum(path.stat().st_size for path in kept)
    assert clear_cache(tmp_path, NIGHT_CACHE) == size
    assert folder.is_symlink()
    assert list((tmp_path / "disk" / "night").iterdir()) == []


def test_a_run_goes_on_when_it_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "night"
    cache, image = NightCache(folder, 1 << 20), np.zeros((4, 4, 3), dtype=np.uint8)
    before = cache(Maker("a"), image, "x")
    clear_cache(tmp_path, NIGHT_CACHE)
    assert before is not None
    again = cache(Maker("a"), image, "x")
    assert again is not None
    np.testing.assert_array_equal(again, before)
    assert cache_state(tmp_path, NIGHT_CACHE).files == 1


def test_names_are_no_assets() -> None:
    from darkside_cli.assets.entries import GROUPS
    from darkside_cli.jobs.catalog import ASSETS

    assert not set(CACHES.names(aliases=True)) & {*ASSETS.names(aliases=True), *GROUPS}

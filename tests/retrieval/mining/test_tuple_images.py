"""Network inputs of tuples: sizes, night for the anchors that the name picks, CLAHE on all, what is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stub_tuples import MEAN, STD, flat_places

from darkside_cli.datasets.tuples import TupleSet, chosen_by_name
from darkside_cli.errors import ImageError
from darkside_cli.images.colour import FloatImage, Pixels
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import apply_clahe
from darkside_cli.retrieval.mining.tuple_images import TupleImages

MakeImage = Callable[..., Path]


class Half:
    """Half of the light, two pixels higher, and a list of who was asked for."""

    costly, fingerprint = False, "half"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, day: Pixels, name: str) -> FloatImage | None:
        self.asked.append(name)
        night = day.astype(np.float32) / np.float32(510)
        return None if name.endswith("9.png") else np.concatenate([night, night[:2]])


@pytest.fixture
def tuples(tmp_path: Path) -> TupleSet:
    """Ten places of two images, grey: level 10 times the place plus the number."""
    return flat_places(tmp_path, [[(10 * place + i,) * 3 for i in range(2)] for place in range(10)])


def make(tuples: TupleSet, **options: object) -> TupleImages:
    settings: dict[str, object] = {"size_px": 8, "mean": MEAN, "std": STD, **options}
    return TupleImages(tuples, **settings)  # type: ignore[arg-type]


def test_day_by_hand(tuples: TupleSet) -> None:
    x = make(tuples).load(5, "positive")
    assert x.shape == (3, 8, 8)
    np.testing.assert_allclose(x.numpy(), 21 / 255, rtol=1e-6)
    x = make(tuples, mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0)).load(5, "negative")
    expected = [(21 / 255 - 0.5) / 0.5, 21 / 255 - 0.25, 21 / 510]
    np.testing.assert_allclose(x.numpy().mean(axis=(1, 2)), expected, rtol=1e-5)


def test_only_anchors_become_night_and_the_whole_name_picks_them(tuples: TupleSet) -> None:
    night = Half()
    images = make(tuples, night=night, share=0.5)
    picked = {n for n, name in enumerate(tuples.names) if chosen_by_name(name.replace("/", "|"), 0.5)}
    assert 0 < len(picked) < 20
    assert len({n % 2 for n in picked}) == 2  # all are called 0.png or 1.png
    for number in range(20):
        level = (10 * (number // 2) + number % 2) / 255
        anchor = images.load(number, "anchor").numpy()
        assert images.becomes_night(number, "anchor") == (number in picked)
        assert anchor.shape == ((3, 10, 8) if number in picked else (3, 8, 8))
        np.testing.assert_allclose(anchor, level / 2 if number in picked else level, rtol=1e-5, atol=1e-7)
        for role in ("positive", "negative"):
            assert not images.becomes_night(number, role)  # type: ignore[arg-type]
            np.testing.assert_allclose(images.load(number, role).numpy(), level, rtol=1e-5, atol=1e-7)  # type: ignore[arg-type]
    assert night.asked == [tuples.names[number] for number in sorted(picked)]


def test_names_of_published_images_pick_as_they_always_did(tuples: TupleSet) -> None:
    """An id of retrieval-SfM has no folder: what counts is the name itself."""
    ids = tuple(f"{n:032x}" for n in range(20))
    images = make(replace(tuples, names=ids), night=Half(), share=0.25)
    picked = [images.becomes_night(n, "anchor") for n in range(20)]
    assert picked == [chosen_by_name(name, 0.25) for name in ids]
    assert any(picked)


def test_an_image_that_has_no_night_stays_day(tuples: TupleSet) -> None:
    named = replace(tuples, names=tuple(f"{n} 9.png" for n in range(20)))
    images = make(named, night=Half(), share=1.0)
    np.testing.assert_allclose(images.load(3, "anchor").numpy(), 11 / 255, rtol=1e-5)


def test_clahe_comes_after_the_night_and_on_all(tmp_path: Path, make_image: MakeImage) -> None:
    make_image(tmp_path / "a.png", 32, 24, seed=1)
    tuples = flat_places(tmp_path / "flat", [[(1, 2, 3), (3, 4, 5)]])
    tuples = replace(tuples, paths=(tmp_path / "a.png",) * 2)
    settings = ClaheSettings(2.0, 4)
    images = make(tuples, size_px=32, night=Half(), share=1.0, clahe=settings)
    plain = make(tuples, size_px=32, night=Half(), share=1.0)
    for role in ("anchor", "positive"):
        before = plain.load(0, role).numpy().transpose(1, 2, 0)  # type: ignore[arg-type]
        after = images.load(0, role).numpy().transpose(1, 2, 0)  # type: ignore[arg-type]
        expected = apply_clahe(np.ascontiguousarray(before), settings)
        np.testing.assert_array_equal(after, expected)
        assert np.abs(after - before).max() > 0.02


def test_sizes_and_boxes(tmp_path: Path, make_image: MakeImage) -> None:
    make_image(tmp_path / "a.png", 100, 60)
    tuples = flat_places(tmp_path / "flat", [[(1, 2, 3), (3, 4, 5)]])
    tuples = replace(tuples, paths=(tmp_path / "a.png",) * 2, boxes=(None, (10.0, 10.0, 60.0, 40.0)))
    images = make(tuples, size_px=50)
    assert images.load(0, "positive").shape == (3, 30, 50)
    # The box's longest side becomes 50 * 50 / 100.
    assert images.load(1, "positive").shape == (3, 15, 25)


def test_exif_turns_images_unless_they_are_published(tmp_path: Path, make_image: MakeImage) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    make_image(tmp_path / "a.jpg", 40, 20, exif=exif)
    tuples = replace(
        flat_places(tmp_path / "flat", [[(1, 2, 3), (3, 4, 5)]]), paths=(tmp_path / "a.jpg",) * 2
    )
    assert make(tuples, size_px=40).load(0, "positive").shape == (3, 40, 20)
    assert make(tuples, size_px=40, upright=False).load(0, "positive").shape == (3, 20, 40)


def test_what_is_kept_is_the_same_and_bounded(tuples: TupleSet) -> None:
    night = Half()
    one = 3 * 8 * 8 * 4
    images = make(tuples, night=night, share=1.0, cache_bytes=3 * one)
    first = [images.load(n, "positive") for n in range(5)]
    again = [images.load(n, "positive") for n in range(5)]
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True, True, False, False]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    images.load(0, "anchor")
    images.load(0, "anchor")
    assert len(night.asked) == 2  # there was no room left for it


def test_the_same_for_another_set(tuples: TupleSet) -> None:
    night = Half()
    images = make(tuples, night=night, share=1.0, clahe=ClaheSettings(), smallest_px=5)
    part = tuples.keep(np.arange(20) >= 18)
    assert torch.equal(images.of(part).load(1, "anchor"), images.load(19, "anchor"))
    assert night.asked == [tuples.names[19]] * 2


def test_broken_and_small_images_are_named(tuples: TupleSet) -> None:
    tuples.paths[3].write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"p1/1\.png: "):
        make(tuples).load(3, "anchor")
    with pytest.raises(ImageError, match=r"p0/0\.png: 8x8 pixels are too few"):
        make(tuples, smallest_px=9).load(0, "anchor")

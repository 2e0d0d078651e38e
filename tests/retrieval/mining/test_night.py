"""What makes night: curves worked out by hand, mixing by name, ready images found by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.images.colour import FloatImage, Pixels
from darkside_cli.retrieval.mining.night import (
    ExposureNight,
    GammaNight,
    MixedNight,
    ReadyNights,
    number_of,
    plain_name,
)

MakeImage = Callable[..., Path]
GREY = np.full((2, 3, 3), 128, dtype=np.uint8)


class Constant:
    """Night of one value."""

    costly = False

    def __init__(self, value: float) -> None:
        self.value = value
        self.fingerprint = f"constant-{value}"

    def __call__(self, day: Pixels, name: str) -> FloatImage:
        return np.full(day.shape, self.value, dtype=np.float32)


def test_gamma_by_hand() -> None:
    night = GammaNight(2, 2)(GREY, "any")
    np.testing.assert_allclose(night, (128 / 255) ** 2, rtol=1e-6)
    assert night.dtype == np.float32
    # The exponent is between the two, evenly in its logarithm.
    share = number_of("a/b.jpg", "gamma")
    np.testing.assert_allclose(GammaNight(2, 8)(GREY, "a/b.jpg"), (128 / 255) ** (2 * 4**share), rtol=1e-5)


def test_exposure_by_hand() -> None:
    # 128 is (128/255 + 0.055)/1.055 to the 2.4: 0.21586 of the light; a quarter of it is 0.257584 in sRGB.
    np.testing.assert_allclose(ExposureNight(2, 2)(GREY, "any"), 0.257584, atol=2e-6)
    # White at 2^-9 of the light is on the straight part of the curve.
    white = np.full((1, 1, 3), 255, dtype=np.uint8)
    np.testing.assert_allclose(ExposureNight(9, 9)(white, "any"), 12.92 / 512, rtol=1e-5)


@given(st.text(min_size=1), st.floats(1, 10), st.floats(0, 10))
def test_nights_are_darker_images_and_always_the_same(name: str, gamma: float, stops: float) -> None:
    day = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    for maker in (GammaNight(gamma, gamma + 1), ExposureNight(stops, stops + 1)):
        night = maker(day, name)
        assert night.min() >= 0
        assert (night <= day / 255 + 1e-6).all()
        np.testing.assert_array_equal(night, maker(day, name))


def test_numbers_are_spread_and_differ_by_purpose() -> None:
    numbers = [number_of(f"image{i}", "x") for i in range(2000)]
    assert 0 <= min(numbers) < 0.01
    assert 0.99 < max(numbers) < 1
    assert abs(np.mean(numbers) - 0.5) < 0.03
    others = [number_of(f"image{i}", "y") for i in range(2000)]
    assert abs(np.corrcoef(numbers, others)[0, 1]) < 0.07


def test_equal_names_in_two_folders_are_two_images() -> None:
    assert plain_name("a/1.jpg") != plain_name("b/1.jpg")
    assert number_of("a/1.jpg", "x") != number_of("b/1.jpg", "x")
    assert number_of("a/1.jpg", "x") == number_of("a/1.png", "x")


def test_of_several_the_name_picks_one() -> None:
    mixed = MixedNight([Constant(0.1), Constant(0.2), Constant(0.3)])
    picked = [float(mixed(GREY, f"image{i}")[0, 0, 0]) for i in range(900)]  # type: ignore[index]
    assert picked == [float(mixed(GREY, f"image{i}")[0, 0, 0]) for i in range(900)]  # type: ignore[index]
    counts = [sum(abs(value - each) < 1e-6 for value in picked) for each in (0.1, 0.2, 0.3)]
    assert sum(counts) == 900
    assert min(counts) > 230
    assert mixed.fingerprint == "constant-0.1+constant-0.2+constant-0.3"
    with pytest.raises(UsageError):
        MixedNight([])


class TestReadyNights:
    def test_they_are_found_by_their_place_then_by_their_name(
        self, tmp_path: Path, make_image: MakeImage
    ) -> None:
        make_image(tmp_path / "a" / "1.png", 40, 32, seed=1)
        make_image(tmp_path / "b" / "1.jpg", 40, 32, seed=2)
        make_image(tmp_path / "only.png", 40, 32, seed=3)
        nights = ReadyNights(tmp_path, size_px=100)
        assert nights.find("a/1.jpg") == tmp_path / "a" / "1.png"
        assert nights.find("b/1.jpg") == tmp_path / "b" / "1.jpg"
        assert nights.find("c/1.jpg") is None  # two have this name
        assert nights.find("c/only.jpeg") == tmp_path / "only.png"
        assert nights(GREY, "c/1.jpg") is None
        night = nights(GREY, "a/1")
        assert night is not None
        assert night.shape == (32, 40, 3)

    def test_they_are_shrunk_as_the_day_is(self, tmp_path: Path, make_image: MakeImage) -> None:
        make_image(tmp_path / "1.png", 40, 32)
        night = ReadyNights(tmp_path, size_px=20)(GREY, "1")
        assert night is not None
        assert night.shape == (16, 20, 3)

    def test_the_fingerprint_tells_changes(self, tmp_path: Path, make_image: MakeImage) -> None:
        make_image(tmp_path / "1.png", 40, 32)
        before = ReadyNights(tmp_path, size_px=20).fingerprint
        assert ReadyNights(tmp_path, size_px=20).fingerprint == before
        make_image(tmp_path / "1.png", 44, 32)
        assert ReadyNights(tmp_path, size_px=20).fingerprint != before

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(MissingAssetError, match="no folder"):
            ReadyNights(tmp_path / "none", size_px=20)
        with pytest.raises(UsageError, match="no images"):
            ReadyNights(tmp_path, size_px=20)

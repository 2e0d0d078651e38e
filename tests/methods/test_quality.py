"""Quality while training: fixed images, scores by name, and FID where there is a library for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from stub_features import StubFeatures
from torch import Tensor

from darkside_cli.errors import ConfigError, MissingAssetError, UsageError
from darkside_cli.events import Event, ItemFailed, Notice
from darkside_cli.methods import quality
from darkside_cli.methods.quality import (
    QualityValidator,
    evenly,
    frechet_inception_distance,
    truncated_pixels,
)

MakeImage = Callable[..., Path]


@pytest.fixture
def image_paths(tmp_path: Path, make_image: MakeImage) -> tuple[list[Path], list[Path]]:
    days = [make_image(tmp_path / f"day{n}.png", 90 + n, 70, seed=n) for n in range(3)]
    nights = []
    for n in range(4):
        path = make_image(tmp_path / f"night{n}.png", 80, 80, seed=10 + n)
        Image.open(path).point(lambda value: value * 0.15).save(path)
        nights.append(path)
    return days, nights


def identity(images: Tensor) -> Tensor:
    return images


def darker(images: Tensor) -> Tensor:
    return (images + 1) * 0.15 - 1


def test_scores(image_paths: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    sizes = []

    def watched(images: Tensor) -> Tensor:
        sizes.append(tuple(images.shape))
        assert images.dtype == torch.float32
        assert -1 <= images.min() < images.max() <= 1
        assert not torch.is_grad_enabled()
        return images

    validate = QualityValidator(*image_paths)
    same = validate(watched, 1, tmp_path / "folder")
    # Sides are multiples of four, for generators that halve them twice.
    assert sizes == [(1, 3, 68, 88), (1, 3, 68, 88), (1, 3, 68, 92)]
    dark = validate(darker, 2, tmp_path / "folder")
    assert same["edge_agreement"] == pytest.approx(1, abs=1e-3)  # pixels are truncated, as published ones are
    assert dark["edge_agreement"] > 0.9
    assert dark["sliced_wasserstein"] < 0.5 * same["sliced_wasserstein"]
    assert dark["sky_darkness"] > same["sky_darkness"]
    assert set(same) == {
        "edge_agreement", "sliced_wasserstein", "lightness_distance", "mean_luminance", "luminance_inside",
        "sky_darkness", "checkerboard",
    }  # fmt: skip
    assert validate(darker, 9, tmp_path) == dark
    assert not (tmp_path / "folder").exists()


def test_images_enter_as_they_are(image_paths: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    seen = []
    validate = QualityValidator(*image_paths)
    validate(lambda images: seen.append(images.clone()) or images, 1, tmp_path)  # type: ignore[func-returns-value]
    with Image.open(image_paths[0][0]) as image:
        expected = np.asarray(image.crop((0, 0, 88, 68)))
    np.testing.assert_allclose((seen[0][0].numpy().transpose(1, 2, 0) * 0.5 + 0.5) * 255, expected, atol=1e-4)


def test_images_are_shrunk_and_limited(image_paths: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    shapes = []
    validate = QualityValidator(*image_paths, size_px=84, day_limit=2)
    validate(lambda images: shapes.append(tuple(images.shape[2:])) or images, 1, tmp_path)  # type: ignore[func-returns-value]
    assert shapes == [(64, 84), (64, 84)]


def test_broken_images_are_left_out(image_paths: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    days, nights = image_paths
    days[1].write_bytes(b"")
    Image.new("RGB", (100, 63)).save(nights[2])
    heard: list[Event] = []
    validate = QualityValidator(days, nights, emit=heard.append)
    calls = []
    validate(lambda images: calls.append(1) or images, 1, tmp_path)  # type: ignore[func-returns-value]
    assert len(calls) == 2
    assert [event.source for event in heard if isinstance(event, ItemFailed)] == [days[1], nights[2]]
    for path in days:
        path.unlink()
    with pytest.raises(UsageError, match="no day picture to measure quality with"):
        QualityValidator(days, nights)


def test_evenly() -> None:
    assert evenly(range(10), 20) == list(range(10))
    assert evenly(range(10), 5) == [0, 2, 4, 6, 8]
    assert evenly(range(10), 3) == [0, 3, 6]
    assert evenly([], 3) == []
    with pytest.raises(ValueError, match="limit"):
        evenly([1], 0)


# FID


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for torch-fidelity: its distance is the difference of mean values."""
    module = ModuleType("torch_fidelity")

    def calculate_metrics(**options: Any) -> dict[str, float]:
        torch.rand(3)  # its loader draws
        assert options["fid"] is True
        assert options["batch_size"] == 1
        means = []
        for name in ("input1", "input2"):
            items = [options[name][n] for n in range(len(options[name]))]
            assert all(item.dtype == torch.uint8 and item.shape[0] == 3 for item in items)
            means.append(torch.stack([item.float().mean() for item in items]).mean().item())
        return {"frechet_inception_distance": abs(means[0] - means[1])}

    module.calculate_metrics = calculate_metrics  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", module)
    return module


@pytest.mark.usefixtures("library")
def test_fid(image_paths: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    one, other = np.full((2, 5, 6, 3), 7, dtype=np.uint8), np.full((3, 4, 4, 3), 17, dtype=np.uint8)
    before = torch.get_rng_state()
    assert frechet_inception_distance(list(one), list(other)) == pytest.approx(10)
    assert torch.equal(torch.get_rng_state(), before)
    validate = QualityValidator(*image_paths, fid=True)
    assert validate(darker, 1, tmp_path)["fid"] < validate(identity, 1, tmp_path)["fid"]
    with pytest.raises(UsageError, match="at least two pictures"):
        QualityValidator(image_paths[0][:1], image_paths[1], fid=True)


def test_fid_without_its_weights(
    image_paths: tuple[list[Path], list[Path]], tmp_path: Path, library: ModuleType
) -> None:
    """Training goes on without the figure, and says so once."""

    def no_network(**_: Any) -> dict[str, float]:
        raise OSError("no route to host")

    library.calculate_metrics = no_network  # type: ignore[attr-defined]
    heard: list[Event] = []
    validate = QualityValidator(*image_paths, fid=True, emit=heard.append)
    for epoch in range(2):
        assert "fid" not in validate(identity, epoch, tmp_path)
    assert [event.level for event in heard if isinstance(event, Notice)] == ["warning"]


def test_fid_without_its_library(
    image_paths: tuple[list[Path], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(MissingAssetError, match="torch-fidelity") as caught:
        QualityValidator(*image_paths, fid=True)
    assert caught.value.hint == "pip install 'darkside-cli[fid]'"
    QualityValidator(*image_paths)


def one_row(*values: float) -> np.ndarray:
    """One row of one channel."""
    return np.array(values, np.float32).reshape(1, 1, -1)


def test_truncates_and_clips() -> None:
    # 0.5 * 255 = 127.5 -> 127; one level is 2 / 255 of the range
    assert truncated_pixels(one_row(-1.5, -1, 0, 1, 1.5)).tolist() == [[0, 0, 127, 255, 255]]
    assert truncated_pixels(one_row(-0.1, 0.999, 0.5), stretch="none").tolist() == [[0, 254, 127]]


def test_auto_uses_the_range_of_the_whole_image() -> None:
    assert truncated_pixels(one_row(10, 15, 20), stretch="auto").tolist() == [[0, 127, 255]]
    assert truncated_pixels(one_row(3, 3), stretch="auto").tolist() == [[0, 0]]


def test_a_number_divides() -> None:
    assert truncated_pixels(one_row(-2, -1, 0), stretch=2.0).tolist() == [[0, 63, 127]]


def test_three_channels_go_last() -> None:
    pixels = truncated_pixels(np.arange(12, dtype=np.float64).reshape(3, 2, 2) / 11, stretch="none")
    assert pixels.shape == (2, 2, 3)
    assert pixels[0, 0].tolist() == [0, 92, 185]


@pytest.mark.parametrize("stretch", ["nope", -1.0, 0])
def test_unknown_stretch(stretch: str | float) -> None:
    with pytest.raises(ConfigError, match="stretch"):
        truncated_pixels(one_row(0), stretch=stretch)


# Kernel distance


def test_kernel_distance(
    image_paths: tuple[list[Path], list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "ImageFeatures", StubFeatures)
    assert "kernel_distance" not in QualityValidator(*image_paths)(identity, 1, tmp_path)
    validate = QualityValidator(*image_paths, kernel=True)
    found = validate(darker, 1, tmp_path)["kernel_distance"]
    assert found < validate(identity, 1, tmp_path)["kernel_distance"]
    assert found == validate(darker, 2, tmp_path)["kernel_distance"]
    with pytest.raises(UsageError, match="kernel distance takes at least two pictures"):
        QualityValidator(image_paths[0][:1], image_paths[1], kernel=True)

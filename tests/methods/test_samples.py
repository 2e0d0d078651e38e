"""Sheets of samples: where every image comes to stand, what is left alone, what a sheet looks like on the disk."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from darkside_cli.methods.samples import GAP_PX, SampleWriter, sample_grid, to_pixels


def flat(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def test_every_image_stands_in_its_place() -> None:
    red, green, blue = flat(4, 6, (255, 0, 0)), flat(4, 6, (0, 255, 0)), flat(8, 5, (0, 0, 255))
    grey = np.full((8, 3), 100, np.uint8)
    sheet = np.asarray(sample_grid([(red, green), (blue, grey)]))
    g = GAP_PX
    assert sheet.shape == (4 + 8 + 3 * g, 6 + 6 + 3 * g, 3)
    expected = np.full_like(sheet, 255)
    expected[g : g + 4, g : g + 6] = red
    expected[g : g + 4, 2 * g + 6 : 2 * g + 12] = green
    expected[2 * g + 4 : 2 * g + 12, g : g + 5] = blue
    expected[2 * g + 4 : 2 * g + 12, 2 * g + 6 : 2 * g + 9] = 100
    np.testing.assert_array_equal(sheet, expected)


def test_captions_stand_above_the_images() -> None:
    rows = [(flat(20, 120, (0, 0, 255)), flat(20, 120, (0, 0, 255)))]
    plain, captioned = np.asarray(sample_grid(rows)), np.asarray(sample_grid(rows, ("day", "to night")))
    head = captioned.shape[0] - plain.shape[0]
    assert head > 8
    np.testing.assert_array_equal(captioned[head:], plain)
    ink = captioned[:head].min(axis=2) < 200
    assert ink[:, GAP_PX : GAP_PX + 60].any()  # over the first column
    assert ink[:, 120 + 2 * GAP_PX :].any()  # over the second
    assert not ink[:, 60 + GAP_PX : 120 + 2 * GAP_PX].any()
    narrow = [(flat(20, 40, (0, 0, 255)), flat(20, 40, (0, 0, 255)))]
    small = np.asarray(sample_grid(narrow, ("day", "to night")))
    assert small.shape[0] - 20 - 2 * GAP_PX < head  # smaller letters


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=0, max_size=4),
        min_size=0,
        max_size=4,
    )
)
def test_any_sizes_make_a_sheet_that_is_the_same_each_time(sizes: list[list[tuple[int, int]]]) -> None:
    rows = [[flat(h, w, (h, w, 7)) for h, w in row] for row in sizes]
    sheet = sample_grid(rows, ("a", "b"))
    assert sheet.tobytes() == sample_grid(rows, ("a", "b")).tobytes()
    columns = max(2, *(len(row) for row in sizes)) if sizes else 2
    widths = [max((row[i][1] for row in sizes if i < len(row)), default=1) for i in range(columns)]
    assert sheet.width == sum(widths) + GAP_PX * (columns + 1)


def test_pixels_of_tensors() -> None:
    images = (
        torch.tensor([-1.0, -2.0, float("nan"), 0.0, 1.0, float("inf")]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    )
    assert to_pixels(images)[0, 0, :, 0].tolist() == [0, 0, 0, 128, 255, 255]
    assert to_pixels(images.bfloat16()).dtype == np.uint8


@pytest.fixture
def images(tmp_path: Path, make_image: Callable[..., Path]) -> list[Path]:
    wide = make_image(tmp_path / "in" / "wäit.png", 200, 101)
    small = make_image(tmp_path / "in" / "small.png", 30, 41, seed=1)
    broken = tmp_path / "in" / "broken.jpg"
    broken.write_bytes(b"no picture")
    return [wide, broken, small]


def test_images_keep_their_aspect_and_size_divides_by_four(images: list[Path], tmp_path: Path) -> None:
    writer = SampleWriter(images, size_px=100, every=3)
    assert len(writer) == 2
    ((path, reason),) = writer.broken
    assert path == images[1]
    assert reason
    seen: list[Tensor] = []

    def translate(day: Tensor) -> Tensor:
        seen.append(day)
        return -day

    target = writer.write(tmp_path / "new" / "samples", 5, translate)
    assert target == tmp_path / "new" / "samples" / "epoch_0005.jpg"
    assert [tuple(each.shape) for each in seen] == [(1, 3, 48, 100), (1, 3, 40, 28)]
    assert all(each.dtype == torch.float32 and each.min() >= -1 and each.max() <= 1 for each in seen)
    with Image.open(target) as sheet:
        assert sheet.width == 2 * 100 + 3 * GAP_PX
        pixels = np.asarray(sheet).astype(int)
    top = pixels.shape[0] - (48 + 40 + 2 * GAP_PX)
    day = pixels[top : top + 48, GAP_PX : GAP_PX + 100]
    night = pixels[top : top + 48, 2 * GAP_PX + 100 : 2 * GAP_PX + 200]
    assert np.abs(day + night - 255).mean() < 6  # JPEG's share
    assert sorted(each.name for each in target.parent.iterdir()) == ["epoch_0005.jpg"]


def test_the_photograph_arrives_as_it_is(tmp_path: Path) -> None:
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3) * 5
    Image.fromarray(pixels).save(tmp_path / "p.png")
    seen: list[Tensor] = []
    SampleWriter([tmp_path / "p.png"]).write(tmp_path, 1, lambda day: seen.append(day) or day)
    expected = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=0)


def test_a_column_for_the_way_back(images: list[Path], tmp_path: Path) -> None:
    writer = SampleWriter(images[:1], size_px=100)
    nights: list[Tensor] = []

    def translate(day: Tensor) -> Tensor:
        nights.append(day - 0.5)
        return nights[-1]

    def back(night: Tensor) -> Tensor:
        assert night is nights[-1]
        return night + 0.5

    with Image.open(writer.write(tmp_path, 1, translate, back=back)) as sheet:
        assert sheet.width == 3 * 100 + 4 * GAP_PX


def test_training_is_not_disturbed(images: list[Path], tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.5), nn.BatchNorm2d(3))
    network.train()
    network[2].eval()

    def translate(day: Tensor) -> Tensor:
        random.random()
        np.random.rand()
        return network(day + 0.1 * torch.randn_like(day))

    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    expected = torch.rand(2), random.random(), np.random.rand()
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    SampleWriter(images[:1], size_px=40).write(tmp_path, 1, translate)
    assert torch.equal(torch.rand(2), expected[0])
    assert (random.random(), np.random.rand()) == expected[1:]
    assert network.training
    assert not network[2].training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_translation_that_fails_leaves_the_old_sheet(images: list[Path], tmp_path: Path) -> None:
    writer = SampleWriter(images[:1], size_px=40)
    before = writer.write(tmp_path, 1, lambda day: day).read_bytes()
    state = torch.get_rng_state()

    def fail(day: Tensor) -> Tensor:
        torch.rand(1)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        writer.write(tmp_path, 1, fail)
    assert torch.equal(torch.get_rng_state(), state)
    assert (tmp_path / "epoch_0001.jpg").read_bytes() == before
    assert writer.write(tmp_path, 1, lambda day: day).read_bytes() == before  # deterministic


def test_when_a_sheet_is_due(images: list[Path]) -> None:
    writer = SampleWriter(images, every=5)
    assert [epoch for epoch in range(1, 13) if writer.due(epoch, 12)] == [1, 5, 10, 12]
    assert not SampleWriter([images[1]]).due(1)
    with pytest.raises(ValueError, match="every is 0"):
        SampleWriter(images, every=0)

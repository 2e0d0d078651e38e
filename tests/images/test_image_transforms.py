from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darkside_cli.errors import ConfigError, ImageError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import (
    ApplyClahe,
    Compose,
    Downscale,
    Normalize,
    Pil2Numpy,
    ToTensor,
    Transform,
    apply_clahe,
    crop_and_shrink,
    descriptor_transform,
    shrink,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise_image(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_printed_as_in_the_seed_document() -> None:
    assert repr(descriptor_transform(MEAN, STD, ClaheSettings())) == (
        "Compose(\n"
        "    Pil2Numpy()\n"
        "    ApplyClahe(clip_limit=1.0, grid_size=8, colorspace=lab)\n"
        "    ToTensor()\n"
        "    Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], strict_shape=True)\n"
        ")"
    )


def test_a_pixel_by_hand() -> None:
    image = Image.new("RGB", (3, 2), (255, 51, 0))
    tensor = descriptor_transform((0.5, 0.5, 0.25), (0.5, 0.25, 0.5))(image)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    expected = torch.tensor([1.0, -1.2, -0.5]).view(3, 1, 1).expand(3, 2, 3)
    torch.testing.assert_close(tensor, expected)


def test_with_clahe() -> None:
    image = noise_image(20, 16)
    equalised = apply_clahe(np.asarray(image, np.float32) / 255, ClaheSettings(2.0, 4))
    expected = (torch.from_numpy(equalised).permute(2, 0, 1) - 0.5) / 0.25
    tensor = descriptor_transform([0.5] * 3, [0.25] * 3, ClaheSettings(2.0, 4))(image)
    torch.testing.assert_close(tensor, expected)


def test_any_mode_becomes_rgb() -> None:
    grey = Image.new("L", (2, 2), 51)
    np.testing.assert_allclose(Pil2Numpy()(grey), np.full((2, 2, 3), 0.2, np.float32))
    clear = Image.new("RGBA", (2, 2), (255, 0, 51, 0))
    np.testing.assert_allclose(Pil2Numpy()(clear)[0, 0], [1, 0, 0.2])
    deep = Image.fromarray(np.full((2, 2), 257 * 51, np.uint16))
    np.testing.assert_allclose(Pil2Numpy()(deep), np.full((2, 2, 3), 0.2, np.float32))


def test_arrays_of_bytes_are_taken_too() -> None:
    image = noise_image(5, 4)
    np.testing.assert_array_equal(Pil2Numpy()(np.asarray(image)), Pil2Numpy()(image))


def test_steps_refuse_what_is_not_theirs() -> None:
    with pytest.raises(ImageError, match="8 bits"):
        Pil2Numpy()(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ImageError, match="float image"):
        ToTensor()(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ImageError, match=r"\(3, H, W\)"):
        Normalize(MEAN, STD)(torch.zeros(1, 4, 4))
    with pytest.raises(ConfigError, match="same channels"):
        Normalize(MEAN, STD[:2])
    with pytest.raises(ConfigError, match="same channels"):
        Normalize(MEAN, (0.2, 0.2, 0.0))
    with pytest.raises(NotImplementedError):
        Transform()(noise_image(2, 2))


def test_one_channel_is_broadcast_where_shapes_are_not_strict() -> None:
    assert Normalize(MEAN, STD, strict_shape=False)(torch.zeros(1, 4, 4)).shape == (3, 4, 4)


def test_composed_steps_take_several_images_in_step() -> None:
    images = [noise_image(6, 4, 1), noise_image(8, 2, 2)]
    steps = Compose([Pil2Numpy(), ApplyClahe(1, 2), ToTensor()])
    for alone, together in zip(images, steps.apply(images), strict=True):
        assert torch.equal(steps(alone), together)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 70))
@settings(deadline=None)
def test_shrinking_never_enlarges(width: int, height: int, limit: int) -> None:
    image = noise_image(width, height)
    small = shrink(image, limit)
    assert max(small.size) == min(limit, max(image.size))
    assert image.size == (width, height)
    if max(image.size) <= limit:
        assert np.array_equal(np.asarray(small), np.asarray(image))


def test_a_fraction_of_a_pixel_counts_down() -> None:
    assert shrink(noise_image(40, 20), 20.9).size == (20, 10)
    with pytest.raises(ImageError, match=r"shrunk to 0\.5 pixels"):
        shrink(noise_image(40, 20), 0.5)


def test_a_box_keeps_the_scale_it_has_in_the_whole() -> None:
    """The whole, 100 wide, would be halved: so is the box, 40 x 20."""
    image = noise_image(100, 60)
    assert crop_and_shrink(image, 50, (10, 5, 50, 25)).size == (20, 10)
    assert crop_and_shrink(image, 50).size == (50, 30)
    assert crop_and_shrink(image, 500, (10, 5, 50, 25)).size == (40, 20)


def test_edges_of_a_box_are_rounded() -> None:
    image = noise_image(30, 30)
    part = crop_and_shrink(image, None, (1.4, 2.6, 10.6, 9.4))
    assert np.array_equal(np.asarray(part), np.asarray(image)[3:9, 1:11])
    assert np.array_equal(np.asarray(crop_and_shrink(image, None)), np.asarray(image))


def test_a_box_over_the_edge_is_filled_with_black() -> None:
    part = np.asarray(crop_and_shrink(Image.new("RGB", (4, 4), "white"), None, (2, 2, 6, 4)))
    assert part[:, :2].min() == 255
    assert part[:, 2:].max() == 0


@pytest.mark.parametrize(
    "box", [(5, 5, 5, 9), (9, 5, 5, 9), (40, 0, 50, 10), (-9, 0, 0, 5), (1.1, 1, 1.2, 3)]
)
def test_a_box_with_nothing_in_it(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ImageError, match="holds nothing"):
        crop_and_shrink(noise_image(30, 30), 20, box)


def test_downscaled_floats_lose_what_eight_bits_cannot_hold() -> None:
    """0.999 * 255 = 254.7 becomes 254, whether or not the size changes."""
    image = np.full((10, 20, 3), 0.999, np.float32)
    for size, shape in ((40, (10, 20, 3)), (10, (5, 10, 3))):
        result = Downscale(size)(image)
        assert result.shape == shape
        np.testing.assert_allclose(result, 254 / 255, rtol=1e-6)


def test_downscaled_images_stay_images() -> None:
    small = Downscale(10)(noise_image(20, 30))
    assert isinstance(small, Image.Image)
    assert small.size == (7, 10)
    assert repr(Downscale(10)) == "Downscale(size=10)"

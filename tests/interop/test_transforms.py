from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.images.crops import ScaleCrop
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.interop.transforms import clahe_of, clahe_of_metadata, parse_transforms

MEAN_STD: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.25,) * 3}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", []),
        ("pil2np | totensor", ["Pil2Numpy()", "ToTensor()"]),
        ("apply_clahe", ["ApplyClahe(clip_limit=1.0, grid_size=8, colorspace=lab)"]),
        ("apply_clahe:2:4", ["ApplyClahe(clip_limit=2.0, grid_size=4, colorspace=lab)"]),
        ("normalize", ["Normalize(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25], strict_shape=True)"]),
        (
            "pil2np|downscale:362 |square_crop",
            ["Pil2Numpy()", "Downscale(size=362)", "SquareCrop()"],
        ),
        ("scalecrop:256_128:0.8_1", ["ScaleCrop(size=[256, 128], scale=[0.8, 1.0])"]),
        ("scalecrop:256_128", ["ScaleCrop(size=[256, 128], scale=[0.5, 0.8])"]),
        ("centerscalecrop:32_24:0.75", ["CenterScaleCrop(size=[32, 24], scale=0.75)"]),
        ("centerscalecrop:32_24", ["CenterScaleCrop(size=[32, 24], scale=0.6)"]),
        ("center_crop:20_30", ["CenterCrop(size=[20, 30])"]),
    ],
)
def test_steps(text: str, shown: list[str]) -> None:
    assert [repr(step) for step in parse_transforms(text, **MEAN_STD).steps] == shown


def test_random_crops_draw_from_the_given_generator() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8))
    text = "pil2np | scalecrop:16_16:0.5_1"
    one, same, other = (
        parse_transforms(text, rng=random.Random(seed), **MEAN_STD)(image) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_sides_are_not_exchanged_unless_wanted() -> None:
    for wanted in (False, True):
        crop = parse_transforms("scalecrop:4_8", swapped_sides=wanted, **MEAN_STD).steps[0]
        assert isinstance(crop, ScaleCrop)
        assert crop.swapped is wanted


def test_misspelt_steps() -> None:
    with pytest.raises(UnknownNameError, match="unknown transform 'normalise'") as caught:
        parse_transforms("pil2np | normalise", **MEAN_STD)
    assert "normalize" in caught.value.near


@pytest.mark.parametrize(
    "text",
    ["downscale", "downscale:big", "pil2np:1", "scalecrop:4", "center_crop:4_4:2", "apply_clahe:1:2:3"],
)
def test_arguments_a_step_does_not_take(text: str) -> None:
    with pytest.raises(ConfigError, match=text.partition(":")[0]):
        parse_transforms(text, **MEAN_STD)


def test_clahe_of_a_string() -> None:
    assert clahe_of("pil2np | apply_clahe:2.0:4 | totensor | normalize") == ClaheSettings(2.0, 4)
    assert clahe_of("pil2np | totensor | normalize") is None


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"clahe": None}, None),
        ({"clahe": {"clip_limit": 2.0, "grid_size": 4}}, ClaheSettings(2.0, 4)),
        ({"gandtr": {"runtime": {"data": {"transforms": "pil2np | apply_clahe:3"}}}}, ClaheSettings(3.0)),
        ({"gandtr": {"runtime": {"data": {"transforms": "pil2np"}}}}, None),
        ({"gandtr": {"runtime": None}}, None),
        ({"gandtr": {"runtime": {"data": {"transforms": "apply_clahe:3"}}}, "clahe": None}, None),
    ],
)
def test_clahe_of_a_checkpoint(metadata: dict[str, Any], expected: ClaheSettings | None) -> None:
    assert clahe_of_metadata(metadata) == expected


def test_clahe_settings_that_are_none() -> None:
    with pytest.raises(ConfigError, match="no settings of CLAHE"):
        clahe_of_metadata({"clahe": {"clip": 2}})

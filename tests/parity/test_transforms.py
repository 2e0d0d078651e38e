"""Transforms, crops, wrappers and the choice of images against the golden cases."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import DATA, Array, load_case, to_input
from PIL import Image
from torch import nn

from darkside_cli.datasets.selection import chosen_at_random, chosen_by_name
from darkside_cli.images.clahe import lightness
from darkside_cli.images.transforms import Downscale, crop_and_shrink
from darkside_cli.interop.transforms import parse_transforms
from darkside_cli.scenario.wrappers import WrappedNetwork, parse_wrappers

IDENTITY = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NETWORK_INPUT_ATOL = 1e-5
"""The manifest's note on case clahe gives this one for ``network_input``."""


def as_float(image: Array) -> Array:
    return image.astype(np.float32) / np.float32(255)


def steps(text: str, mean_std: Any = IDENTITY, **options: Any) -> Any:
    mean, std = mean_std
    return parse_transforms(text, mean=mean, std=std, **options)


def test_clahe() -> None:
    case = load_case("clahe")
    params, arrays = case.params, case.arrays
    for i in case.numbers("image"):
        image = Image.fromarray(arrays[f"image{i}"])
        case.assert_close(lightness(as_float(arrays[f"image{i}"])), arrays[f"lightness{i}"])
        for j, clip_limit in enumerate(params["clip_limits"]):
            equalised = steps(f"pil2np | apply_clahe:{clip_limit}")(image)
            case.assert_close(equalised, arrays[f"clip{j}_image{i}"])
        coarse = steps(f"pil2np | apply_clahe:{params['grid4_clip_limit']}:4")(image)
        case.assert_close(coarse, arrays[f"clahe_grid4_{i}"])


def test_network_input() -> None:
    case = load_case("clahe")
    text = f"pil2np | apply_clahe:{case.params['clip_limits'][0]} | totensor | normalize"
    for i in case.numbers("network_input"):
        tensor = steps(text, case.params["mean_std"])(Image.fromarray(case.arrays[f"image{i}"]))
        expected = case.arrays[f"network_input{i}"]
        assert tensor.shape == expected.shape
        np.testing.assert_allclose(tensor.numpy(), expected, atol=NETWORK_INPUT_ATOL, rtol=0)


def test_images_for_retrieval() -> None:
    case = load_case("resize")
    found = 0
    for i, listed in enumerate(case.values["cases"]):
        if "file" not in listed:
            continue
        with Image.open(DATA / Path(listed["file"])) as image:
            result = crop_and_shrink(image.convert("RGB"), listed["image_size"], listed["bbx"])
        assert [result.height, result.width] == listed["output_hw"]
        np.testing.assert_array_equal(np.asarray(result), case.arrays[f"output{i}"])
        found += 1
    assert found == len(case.numbers("output"))


def test_downscale() -> None:
    case = load_case("resize")
    listed = [entry for entry in case.values["cases"] if "downscale" in entry]
    assert len(listed) == len(case.numbers("downscale_image"))
    for entry in listed:
        i, image = entry["downscale"], case.arrays[f"downscale_image{entry['downscale']}"]
        as_array = steps(f"pil2np | downscale:{entry['size']}")(Image.fromarray(image))
        case.assert_close(as_array, case.arrays[f"downscale_float{i}"], "downscale_float")
        as_image = Downscale(entry["size"])(Image.fromarray(image))
        np.testing.assert_array_equal(np.asarray(as_image), case.arrays[f"downscale_pil{i}"])


class RecordingRandom:
    """Python's generator with a list of what it was asked for. (A subclass would draw integers differently.)"""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.calls: list[list[Any]] = []

    def random(self) -> float:
        self.calls.append(["random", self._rng.random()])
        value: float = self.calls[-1][-1]
        return value

    def randint(self, low: int, high: int) -> int:
        self.calls.append(["randint", low, high, self._rng.randint(low, high)])
        value: int = self.calls[-1][-1]
        return value


def test_random_crops() -> None:
    case = load_case("scalecrop")
    found = 0
    for number, listed in enumerate(case.values["cases"]):
        if "centre" in listed:
            continue
        rng = RecordingRandom(listed["python_random_seed"])
        crop = steps(listed["transform"], rng=rng, swapped_sides=True)
        images = [as_float(case.arrays[f"image{number}_{k}"]) for k in range(listed["images"])]
        for k, result in enumerate(crop.apply(images)):
            expected = case.arrays[f"output{number}_{k}"]
            assert result.shape == expected.shape
            np.testing.assert_allclose(result, expected, atol=case.entry["tolerance"]["atol"], rtol=0)
            found += 1
        assert rng.calls == listed["random_calls"]
    assert found == sum(key.startswith("output") for key in case.arrays)


def test_centred_crops() -> None:
    case = load_case("scalecrop")
    listed = [entry for entry in case.values["cases"] if "centre" in entry]
    assert len(listed) == len(case.numbers("centre_image"))
    for entry in listed:
        i = entry["centre"]
        result = steps(entry["transform"])(as_float(case.arrays[f"centre_image{i}"]))
        expected = case.arrays[f"centre_output{i}"]
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, atol=case.entry["tolerance"]["atol"], rtol=0)


class Identity(nn.Module):
    """Gives back what it gets, and keeps it."""

    seen: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return x


def _wrapper_names() -> list[str]:
    return [name for name, value in load_case("wrappers").values.items() if isinstance(value, str)]


@pytest.mark.parametrize("name", _wrapper_names())
def test_wrappers(name: str) -> None:
    case = load_case("wrappers")
    tolerance = case.entry["tolerance"]
    has_clahe = "clahepost" in case.values[name]
    atol = (tolerance["clahepost"] if has_clahe else tolerance.get(name, tolerance))["atol"]
    network = Identity()
    wrapped = WrappedNetwork(network, parse_wrappers(case.values[name]))
    result = wrapped(to_input(case.arrays["image"]))
    for actual, kind in ((network.seen, "network_sees"), (result, "result")):
        expected = case.arrays[f"{name}.{kind}"]
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual.numpy(), expected, atol=atol, rtol=0)


def test_choice_by_name() -> None:
    listed = {k: v for k, v in load_case("wrappers").values.items() if k.startswith("ratio_pass_through")}
    assert listed
    for choice in listed.values():
        for name, chosen in choice["names"].items():
            for spelling in (name, f"a/b/{name}", f"{name}.jpg", f"some/where/{name}.png"):
                assert chosen_by_name(spelling, choice["ratio"]) == chosen, spelling


def test_choice_at_random() -> None:
    listed = load_case("wrappers").values["random_pass_through"]
    rng = random.Random(listed["python_random_seed"])
    assert [chosen_at_random(listed["probability"], rng) for _ in listed["passes"]] == listed["passes"]

"""Transforms, crops, what stands around networks and the choice of images against the golden cases."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import DATA, Array, load_case, to_input
from PIL import Image

from darkside_cli.datasets.tuples import chosen_by_name
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import Downscale, _to_lab, apply_clahe, crop_and_shrink
from darkside_cli.interop.transforms import parse_transforms
from darkside_cli.networks.edge_detectors import EdgeDetector, Hed, Rcf
from darkside_cli.scenario.values import HALF, IMAGENET

IDENTITY = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NETWORK_INPUT_ATOL = 1e-5
"""The manifest's note on case clahe gives this one for ``network_input``."""


def lightness(image: np.ndarray) -> np.ndarray:
    """Lightness of CIE LAB in [0, 1], as CLAHE takes it."""
    return _to_lab(image)[..., 0] / np.float32(100)


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


@pytest.mark.parametrize(("name", "detector"), [("pre_chain_hed", Hed), ("pre_chain_rcf", Rcf)])
def test_input_of_edge_detectors(name: str, detector: type[EdgeDetector]) -> None:
    case = load_case("wrappers")
    tolerance = case.entry["tolerance"]
    seen = detector().prepare(to_input(case.arrays["image"]))
    expected = case.arrays[f"{name}.network_sees"]
    assert seen.shape == expected.shape
    np.testing.assert_allclose(seen.numpy(), expected, atol=tolerance.get(name, tolerance)["atol"], rtol=0)


@pytest.mark.parametrize(
    ("name", "settings", "ends_as"),
    [("meanstd_post", None, IMAGENET), ("clahepost", ClaheSettings(1.0), HALF),
     ("post_chain", ClaheSettings(2.0, 4), IMAGENET)],
)  # fmt: skip
def test_what_follows_the_generator(name: str, settings: ClaheSettings | None, ends_as: Any) -> None:
    """Night images are equalised, and normalised for the retrieval network."""
    case = load_case("wrappers")
    tolerance = case.entry["tolerance"]["atol" if settings is None else "clahepost"]
    images = to_input(case.arrays["image"]).mul(0.5).add(0.5)
    if settings is not None:
        equalised = [apply_clahe(image.permute(1, 2, 0).contiguous().numpy(), settings) for image in images]
        images = torch.from_numpy(np.stack(equalised)).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in ends_as)
    atol = tolerance if settings is None else tolerance["atol"]
    np.testing.assert_allclose(
        ((images - mean) / std).numpy(), case.arrays[f"{name}.result"], atol=atol, rtol=0
    )


def test_choice_by_name() -> None:
    listed = {k: v for k, v in load_case("wrappers").values.items() if k.startswith("ratio_pass_through")}
    assert listed
    for choice in listed.values():
        for name, chosen in choice["names"].items():
            for spelling in (name, f"a/b/{name}", f"{name}.jpg", f"some/where/{name}.png"):
                assert chosen_by_name(spelling, choice["ratio"]) == chosen, spelling

"""The case ``translate``: PNG files through stored generators, and float to uint8 alone."""

from __future__ import annotations

import re
from pathlib import Path

import golden
import numpy as np
import pytest
from PIL import Image

from darkside_cli.datasets.outputs import TranslationJob
from darkside_cli.images.images import read_image
from darkside_cli.jobs.translate_files import translate_files
from darkside_cli.methods.quality import truncated_pixels
from darkside_cli.methods.translate import Translator, load_generator

CASE = golden.load_case("translate")
NETWORKS = sorted(CASE.params["networks"])
# Stricter than the manifest's "max 1 level, mean difference < 0.02 level": at most this share differs.
MAX_SHARE = 0.001


def assert_same_image(ours: np.ndarray, theirs: np.ndarray) -> None:
    """At most one level on at most 0.1 % of the values.

    The reference wrote sides rounded up to the network's multiple; ours are cropped to the input's.
    """
    height, width = ours.shape[:2]
    difference = np.abs(ours.astype(int) - theirs[:height, :width].astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= MAX_SHARE
    assert difference.mean() < 0.02


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[str, Translator]:
    path = golden.DATA / CASE.params["networks"][request.param]
    return request.param, load_generator(path, device="cpu", precision="fp32")


def test_files(network: tuple[str, Translator], tmp_path: Path) -> None:
    """The stored images, by file, come out under their relative names."""
    name, translator = network
    sources = [golden.DATA / "files" / "translate" / each for each in CASE.params["names"]]
    targets = [tmp_path / each for each in CASE.params["written_files"]]
    jobs = [TranslationJob(source, target) for source, target in zip(sources, targets, strict=True)]
    summary = translate_files(jobs, lambda: translator)
    assert (summary.done, summary.failed) == (len(jobs), 0)
    for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
        np.testing.assert_array_equal(read_image(source).pixels, CASE.arrays[f"input{i}"])
        theirs = CASE.arrays[f"{name}_output{i}"]
        assert theirs.shape[:2] == tuple(-(-side // 4) * 4 for side in CASE.arrays[f"input{i}"].shape[:2])
        assert_same_image(np.asarray(Image.open(target)), theirs)


def test_batches_give_what_single_images_give(network: tuple[str, Translator]) -> None:
    name, translator = network
    for i in CASE.numbers("input"):
        image = CASE.arrays[f"input{i}"]
        for each in translator.translate(np.stack([image, image[::-1], image]))[::2]:
            assert_same_image(each, CASE.arrays[f"{name}_output{i}"])


def test_float_to_uint8() -> None:
    """Every ``image_<stretch>`` and ``gray_image_<stretch>``, exactly."""
    stretches = {"meanstd": "normalised", "none": "none", "auto": "auto"}
    tested = 0
    for key, expected in CASE.arrays.items():
        match = re.fullmatch(r"(gray_)?image_(meanstd|none|auto|by_([0-9_]+))", key)
        if match is None:
            continue
        tensor = CASE.arrays["gray_tensor" if match[1] else "tensor"]
        stretch = float(match[3].replace("_", ".")) if match[3] else stretches[match[2]]
        np.testing.assert_array_equal(truncated_pixels(tensor, stretch=stretch), expected, err_msg=key)
        tested += 1
    assert tested >= 5


def test_the_translator_converts_as_the_float_conversion_does() -> None:
    """On the device, in torch, the last step is the same truncation."""
    from torch import Tensor, nn

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            import torch

            return torch.from_numpy(CASE.arrays["tensor"])[None]

    height, width = CASE.arrays["tensor"].shape[1:]
    out = Translator(Constant())(np.zeros((height, width, 3), np.uint8))
    np.testing.assert_array_equal(out, CASE.arrays["image_meanstd"])

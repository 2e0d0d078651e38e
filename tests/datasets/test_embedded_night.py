"""darkside-night: what the package says of it, and what it does to images it never saw."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_calls import RunCli
from PIL import Image

from darkside_cli import load_generator
from darkside_cli.cli.images import SOURCES, sample_paths
from darkside_cli.images.photometry import lab
from darkside_cli.metrics.translation import checkerboard_score, edge_agreement, luminance_statistics
from darkside_cli.networks.catalog import EMBEDDED_GENERATOR, MODELS

ENTRY = MODELS.get(EMBEDDED_GENERATOR)


def test_it_is_small_and_its_record_says_everything(tmp_path: Path) -> None:
    assert ENTRY.name == "darkside-night"
    assert ENTRY.weights.under(tmp_path).stat().st_size <= 8_000_000
    record = ENTRY.training()
    assert record["command"].startswith("darkside train-gan --preset night")
    assert record["seconds"] > 0
    assert record["scores"]["kernel_distance"] < record["scores"]["kernel_distance_of_day"] / 3
    for image in record["pictures"]:
        assert image["set"] in ("day", "night")
        assert image["source"]
        assert image["terms"]
    assert ENTRY.licence == "research use"


@pytest.mark.parametrize("size_px", [512, 1024])
def test_night_falls_on_images_it_never_saw(size_px: int) -> None:
    """On the sample photographs: the sky goes dark and is lit by nothing, structure stays, something is lit below."""
    trained_on = {image["source"] for image in ENTRY.training()["pictures"]}
    sources = SOURCES.read_text()
    assert not any(source in sources for source in trained_on)
    night = load_generator(EMBEDDED_GENERATOR, device="cpu")
    for path in sample_paths():
        with Image.open(path) as opened:
            size = [round(side * size_px / max(opened.size)) for side in opened.size]
            day = np.asarray(opened.convert("RGB").resize((size[0], size[1]), Image.Resampling.LANCZOS))
        made = night(day)
        before, after = luminance_statistics(day), luminance_statistics(made)
        assert after.sky_darkness > max(0.75, before.sky_darkness)
        assert after.mean < 0.7 * before.mean
        assert after.median < 0.4 * before.median
        assert checkerboard_score(made) < 3
        assert edge_agreement(day, made) >= 0.6
        lightness = lab(made)[..., 0]
        assert np.median(lightness[: size[1] // 8]) < 20, "the sky"
        assert np.percentile(lightness[size[1] // 3 :], 99) > 45, "something is lit"
        sky = cv2.blur(lab(made)[: size[1] // 4].astype(np.float32), (17, 17))
        assert np.median(np.hypot(sky[..., 1], sky[..., 2])) < 25, "chroma in the sky"


def test_one_day_has_many_nights() -> None:
    with Image.open(sample_paths()[0]) as opened:
        day = np.asarray(opened.convert("RGB").resize((256, 192)))
    nights = [load_generator(EMBEDDED_GENERATOR, device="cpu", seed=seed)(day) for seed in (1, 1, 2)]
    assert np.array_equal(nights[0], nights[1])
    assert np.abs(nights[0].astype(float) - nights[2]).mean() > 1


def test_translate_steps_down_to_it_and_says_so(tmp_path: Path, run_inside: RunCli) -> None:
    run_inside("samples", "-o", "day")
    done = run_inside("translate", "day", "--max-size", "64", "--device", "cpu")
    assert done.returncode == 0
    told = done.stderr.decode()
    assert told.count("darkside download hedngan") == 1
    assert "darkside-night to night" in told
    assert len(done.stdout.splitlines()) == len(sample_paths())
    named = run_inside("translate", "day", "--max-size", "64", "--model", "hedngan", "-o", "other")
    assert named.returncode == 3


@pytest.mark.slow
def test_it_is_listed_and_described(tmp_path: Path, run_inside: RunCli) -> None:
    assert b"darkside-night" in run_inside("models").stdout
    told = run_inside("models", EMBEDDED_GENERATOR).stdout.decode()
    assert "research use" in told
    assert "--preset night" in told
    assert run_inside("export", EMBEDDED_GENERATOR, "-o", "night.onnx").returncode == 0
    refused = run_inside("export", EMBEDDED_GENERATOR, "-o", "night.pth")
    assert refused.returncode == 2
    assert b"darkside-night" not in run_inside("download", "--list").stdout

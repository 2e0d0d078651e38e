"""darkside-mini: what the package says of it, and what it does to images it never saw."""

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
    weights = ENTRY.weights.under(tmp_path)
    assert weights.stat().st_size <= 8_000_000
    record = ENTRY.training()
    assert record["command"].startswith("darkside train-gan --preset mini")
    assert record["seconds"] > 0
    assert record["machine"]
    for image in record["pictures"]:
        assert image["name"]
        assert image["set"] in ("day", "night")
        assert image["source"]
        assert image["terms"]
    if any(image["research_only"] for image in record["pictures"]):
        assert ENTRY.licence == "research use"


@pytest.mark.parametrize("size_px", [512, 1024])
def test_night_falls_on_images_it_never_saw(size_px: int) -> None:
    """On the sample photographs: the sky goes dark, structure stays, nothing glows, no checkerboard, no blotches."""
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
        assert after.mean < 0.4 * before.mean
        assert checkerboard_score(made) < 3
        assert edge_agreement(day, made) >= 0.75
        by_day, at_night = lab(day), lab(made)
        dark = by_day[..., 0] < 25
        glowing = at_night[..., 0][dark] > by_day[..., 0][dark] + 5
        assert glowing.mean() < 0.01, "branches and outlines of roofs"
        sky = cv2.blur(at_night[: size[1] // 3].astype(np.float32), (17, 17))
        assert np.hypot(sky[..., 1], sky[..., 2]).max() < 25, "chroma in the sky"


def test_its_record_has_the_scores_of_images_it_never_saw() -> None:
    scores = ENTRY.training()["scores"]
    assert scores["edge_agreement"] >= 0.6
    assert scores["luminance_inside"] >= 0.7
    assert scores["sky_darkness"] > 0.85


def test_translate_steps_down_to_it_and_says_so(tmp_path: Path, run_inside: RunCli) -> None:
    run_inside("samples", "-o", "day")
    done = run_inside("translate", "day", "--max-size", "64", "--device", "cpu")
    assert done.returncode == 0
    told = done.stderr.decode()
    assert told.count("darkside download hedngan") == 1
    assert "darkside-mini to night" in told
    assert len(done.stdout.splitlines()) == len(sample_paths())
    named = run_inside("translate", "day", "--max-size", "64", "--model", "hedngan", "-o", "other")
    assert named.returncode == 3


@pytest.mark.slow
def test_it_is_listed_and_described(tmp_path: Path, run_inside: RunCli) -> None:
    assert b"darkside-mini" in run_inside("models").stdout
    told = run_inside("models", EMBEDDED_GENERATOR).stdout.decode()
    assert "research use" in told
    assert "--preset mini" in told
    assert run_inside("export", EMBEDDED_GENERATOR, "-o", "mini.onnx").returncode == 0
    refused = run_inside("export", EMBEDDED_GENERATOR, "-o", "mini.pth")
    assert refused.returncode == 2
    assert b"gandtr does not have" in refused.stderr
    assert b"darkside-mini" not in run_inside("download", "--list").stdout

"""darkside-mini: what the package says of it, and what it does to images it never saw."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from darkside_cli import load_generator
from darkside_cli.cli.images import SOURCES, sample_paths
from darkside_cli.images.photometry import lab
from darkside_cli.metrics.translation import checkerboard_score, edge_agreement, luminance_statistics
from darkside_cli.networks.catalog import MODELS

MINI = "darkside-mini"
ENTRY = MODELS.get(MINI)


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
    night = load_generator(MINI, device="cpu")
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

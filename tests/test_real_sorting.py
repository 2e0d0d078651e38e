"""Sorting and loading of real photographs, where they are (see test_real_photos.py)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.datasets.unpaired import UnpairedConfig, UnpairedImages
from darkside_cli.images.images import read_rgb
from darkside_cli.images.photometry import measure_file
from darkside_cli.metrics.translation import NightReference, checkerboard_score, edge_agreement

PHOTOS = Path(os.environ.get("DARKSIDE_REAL_PHOTOS", Path(__file__).parents[2] / "shared" / "data" / "real"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (PHOTOS / "places").is_dir(), reason="the real photographs are not on this machine"
    ),
]


def images(light: str) -> list[Path]:
    folders = [PHOTOS / light, *sorted(PHOTOS.glob(f"places/*/{light}"))]
    return [image.path for image in expand_inputs(folders, recursive=False, exclude=None)]


def test_sorting_is_as_good_as_it_says() -> None:
    """What the docstring of images/photometry.py says of these photographs."""
    measures = {light: [measure_file(path) for path in images(light)] for light in ("day", "night")}
    right = sum((m.score > 0.5) == (light == "night") for light, of in measures.items() for m in of)
    total = sum(map(len, measures.values()))
    assert right >= 0.96 * total
    wrong = sum(m.light not in (light, "dusk") for light, of in measures.items() for m in of)
    assert wrong <= 0.03 * total
    undecided = sum(m.light == "dusk" for of in measures.values() for m in of)
    assert undecided <= 0.06 * total


def test_training_on_them(tmp_path: Path) -> None:
    for light in ("day", "night"):
        (tmp_path / f"{light}.txt").write_text("".join(f"{path}\n" for path in images(light)))
    config = UnpairedConfig(
        day=tmp_path / "day.txt", night=tmp_path / "night.txt", size=60, batch_size=8, crop_px=128
    )
    batches = list(UnpairedImages(config, seed=0, root=DataRoot(tmp_path, "test")).epoch(0))
    assert sum(map(len, batches)) == 60
    assert np.mean([batch.day.mean().item() for batch in batches]) > -0.3
    assert np.mean([batch.night.mean().item() for batch in batches]) < -0.4


def test_scores_of_real_images() -> None:
    days, nights = (
        [np.asarray(read_rgb(path, max_size_px=384)) for path in images(light)[:12]]
        for light in ("day", "night")
    )
    for day in days:
        assert edge_agreement(day, (day * 0.15).astype(np.uint8)) > 0.98
    others = [
        edge_agreement(one[:200, :200], other[:200, :200])
        for one, other in zip(days, nights, strict=False)
        if min(*one.shape[:2], *other.shape[:2]) >= 200
    ]
    assert np.mean(others) < 0.05
    assert np.exp(np.mean([np.log(checkerboard_score(each)) for each in days + nights])) < 1.2
    low, high = NightReference.of(nights).central_means()
    assert 0 < low < high < 0.25

"""darkside-mini: what the package says of it, and what it does to pictures it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests_support import RunCli

from darkside_cli import load_generator
from darkside_cli.data.samples import SOURCES, sample_paths
from darkside_cli.evaluation.translation import checkerboard_score, edge_agreement, luminance_statistics
from darkside_cli.models.catalog import EMBEDDED_GENERATOR, MODELS

ENTRY = MODELS.get(EMBEDDED_GENERATOR)


def test_it_is_small_and_its_record_says_everything(tmp_path: Path) -> None:
    weights = ENTRY.weights.under(tmp_path)
    assert weights.stat().st_size <= 8_000_000
    record = ENTRY.training()
    assert record["command"].startswith("darkside train-gan --preset mini")
    assert record["seconds"] > 0
    assert record["machine"]
    for picture in record["pictures"]:
        assert picture["name"]
        assert picture["set"] in ("day", "night")
        assert picture["source"]
        assert picture["terms"]
    if any(picture["research_only"] for picture in record["pictures"]):
        assert ENTRY.licence == "research use"


def test_night_falls_on_pictures_it_never_saw() -> None:
    """The sky goes dark, structure stays, no checkerboard: on the sample photographs, which it was not trained on."""
    trained_on = {picture["source"] for picture in ENTRY.training()["pictures"]}
    sources = SOURCES.read_text()
    assert not any(source in sources for source in trained_on)
    night = load_generator(EMBEDDED_GENERATOR, device="cpu")
    agreements = []
    for path in sample_paths():
        with Image.open(path) as opened:
            opened.thumbnail((512, 512))
            day = np.asarray(opened.convert("RGB"))
        made = night(day)
        before, after = luminance_statistics(day), luminance_statistics(made)
        assert after.sky_darkness > max(0.6, before.sky_darkness)
        assert after.mean < 0.5 * before.mean
        assert checkerboard_score(made) < 6
        agreements.append(edge_agreement(day, made))
    # 0.604 on the sixteen pictures of the record, more than 0.5 on every one of these four.
    assert ENTRY.training()["scores"]["edge_agreement"] >= 0.6
    assert min(agreements) >= 0.5
    assert np.mean(agreements) >= 0.56


def test_translate_steps_down_to_it_and_says_so(tmp_path: Path, run_cli: RunCli) -> None:
    run_cli("samples", "-o", "day")
    done = run_cli("translate", "day", "--max-size", "64", "--device", "cpu")
    assert done.returncode == 0
    told = done.stderr.decode()
    assert told.count("darkside download hedngan") == 1
    assert "darkside-mini to night" in told
    assert len(done.stdout.splitlines()) == len(sample_paths())
    named = run_cli("translate", "day", "--max-size", "64", "--model", "hedngan", "-o", "other")
    assert named.returncode == 3


@pytest.mark.slow
def test_it_is_listed_and_described(tmp_path: Path, run_cli: RunCli) -> None:
    assert b"darkside-mini" in run_cli("models").stdout
    told = run_cli("models", EMBEDDED_GENERATOR).stdout.decode()
    assert "research use" in told
    assert "--preset mini" in told
    assert run_cli("export", EMBEDDED_GENERATOR, "-o", "mini.pth").returncode == 0
    assert b"darkside-mini" not in run_cli("download", "--list").stdout

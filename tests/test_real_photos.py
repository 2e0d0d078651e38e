"""Real photographs, where they are: night images asked against day images of the same places, and all others.

They are not part of the project (``../shared/data/real`` beside it, or DARKSIDE_REAL_PHOTOS names another folder of
that structure: ``places/<place>/{day,night,dusk}`` and ``day/``); without them these tests skip.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import golden
import pytest
import torch
from cli_calls import RunCli

PHOTOS = Path(os.environ.get("DARKSIDE_REAL_PHOTOS", Path(__file__).parents[2] / "shared" / "data" / "real"))
SUFFIXES = {".jpg", ".jpeg", ".png"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (PHOTOS / "places").is_dir(), reason="the real photographs are not on this machine"
    ),
]


def count(*patterns: str) -> int:
    return sum(p.suffix.lower() in SUFFIXES for pattern in patterns for p in PHOTOS.glob(pattern))


def test_night_queries_against_day_photographs(run_cli: RunCli, tmp_path: Path) -> None:
    """The whole way on real files. What the figure is depends on the weights at hand; here they are random ones."""
    content = torch.load(golden.DATA / "files/checkpoints/embed_vgg16.pth", weights_only=True)
    content["model_state"] = {key: value.clone() for key, value in content["model_state"].items()}
    golden.fill_(content["model_state"], 1)
    torch.save(content, tmp_path / "embed.pth")
    done = run_cli(
        "evaluate", "--model", "embed.pth", "--no-whiten", "--scales", "ss", "--image-size", "256", "--json",
        "--dataset", PHOTOS / "places", "--distractor-images", PHOTOS / "day", "--gallery", "real.html",
        timeout_s=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["results"][0]
    assert result["queries"] == count("places/*/night/*") - unanswered()
    assert result["database"] == count("places/*/day/*", "day/*")
    figures = result["protocols"]["ok"]
    # Random features tell images apart by colour and texture alone, yet an answer at random would give some 0.02.
    assert 0.02 < figures["mAP"] <= 1
    assert figures["recall"]["10"] >= figures["recall"]["5"] >= figures["recall"]["1"]
    page = (tmp_path / "real.html").read_text()
    assert page.count("<section") == result["queries"]


def unanswered() -> int:
    """Night photographs of places that have none by day."""
    places = [place for place in (PHOTOS / "places").iterdir() if not list(place.glob("day/*"))]
    return sum(len(list(place.glob("night/*"))) for place in places)


def test_translating_them_all(run_cli: RunCli, tmp_path: Path, generator_file: Path) -> None:
    """Every photograph is read and comes out in its size; nothing is written beside them."""
    done = run_cli(
        "translate", "--model", generator_file, "-r", PHOTOS / "day", PHOTOS / "places", "-o", "out", "--jsonl",
        "--max-size", "160", timeout_s=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == count("day/**/*", "places/**/*")

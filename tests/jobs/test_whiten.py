"""``darkside_cli.whiten``: a whitening from Python; what a request refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_descriptor import DIM, write_small_descriptor

import darkside_cli
from darkside_cli.errors import MissingAssetError, UnknownNameError, UsageError
from darkside_cli.events import Event, ImageReady, ItemFailed, Notice
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.jobs.whiten import WhitenRequest

MakeImage = Callable[..., Path]


@pytest.fixture
def places(tmp_path: Path, make_image: MakeImage) -> Path:
    for number in range(4):
        make_image(tmp_path / "places" / f"p{number // 2}" / f"{number}.png", 40, 32, seed=number)
    (tmp_path / "places" / "p0" / "bad.jpg").write_bytes(b"broken")
    return tmp_path / "places"


def test_from_python(places: Path, tmp_path: Path) -> None:
    model = write_small_descriptor(tmp_path / "net.safetensors", whitened=False)
    events: list[Event] = []
    result = darkside_cli.whiten(places, model=model, scales="ss", dim=6, device="cpu", emit=events.append)
    assert result.file == tmp_path / "net_whitening.safetensors"
    assert (result.failed, result.whitening.in_dim, result.whitening.out_dim) == (1, DIM, 6)
    assert (read_whitening(result.file).projection == result.whitening.projection).all()
    document = result.document()
    assert (document["file"], document["method"], document["pairs"]) == (str(result.file), "lw", 4)
    assert [event.source.name for event in events if isinstance(event, ItemFailed)] == ["bad.jpg"]
    assert len([event for event in events if isinstance(event, ImageReady)]) == 4
    said = [event.message for event in events if isinstance(event, Notice)]
    assert said[-1] == f"whitening of {DIM} to 6 dimensions, learned from 4 pairs and 4 images of places"

    with pytest.raises(UsageError, match="is there already"):
        darkside_cli.whiten(places, model=model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "places"}, "give either --model or --descriptors"),
        ({"data": "places", "model": "m", "descriptors": "d.h5"}, "give either --model or --descriptors"),
        ({"descriptors": "d.h5"}, "nothing to learn from"),
        ({"model": "m.pth", "method": "pca"}, "nothing to learn from"),
        ({"data": "places", "model": "m.pth", "shrink": 3}, "--shrink K is of --method pca"),
        ({"data": "places", "model": "m.pth", "balance": 0.5}, "--balance is of --method pca"),
        ({"descriptors": "d.h5", "method": "pca", "balance": 0.5}, "--balance needs to know places"),
        ({"data": "places", "descriptors": "d.h5"}, "no file to write is named"),
        ({"data": "places", "descriptors": "d.h5", "output": "w.npy"}, "is no name for a whitening"),
        ({"data": "places", "model": "m.pth", "output": "w.pkl", "format": "safetensors"}, "is no name"),
        ({"data": "places", "model": "m.pth", "dim": 0}, "dim must be at least 1"),
        ({"data": "places", "model": "m.pth", "scales": "big"}, "big"),
        ({"data": "places", "model": "m.pth", "clahe": "much"}, "no settings of CLAHE"),
    ],
)
def test_what_a_request_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        WhitenRequest(**options)


def test_names_are_judged_before_what_is_missing(tmp_path: Path) -> None:
    common: dict[str, Any] = {"data_dir": tmp_path, "output": tmp_path / "w.pkl"}
    with pytest.raises(UnknownNameError, match="training data"):
        darkside_cli.whiten("retrieval-sfm-120", descriptors=tmp_path / "none.h5", **common)
    with pytest.raises(MissingAssetError, match=r"none\.h5"):
        darkside_cli.whiten("retrieval-sfm-120k", descriptors=tmp_path / "none.h5", **common)
    with pytest.raises(UsageError, match="unknown option 'sclaes'"):
        darkside_cli.whiten("places", model="m.pth", sclaes="ss")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"model": "a/net.pth"}, "a/net_whitening.safetensors"),
        ({"model": "a/net.pth", "format": "pkl"}, "a/net_lw.pkl"),
        ({"model": "net.pth", "output": "w"}, "w.safetensors"),
        ({"model": "net.pth", "output": "w", "format": "pkl"}, "w.pkl"),
        ({"model": "net.pth", "output": "w.pkl"}, "w.pkl"),
    ],
)
def test_the_file_that_is_written(options: dict[str, Any], name: str) -> None:
    assert WhitenRequest(data="places", **options).file == Path(name)

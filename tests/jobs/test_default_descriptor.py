"""Which descriptor is taken where none is named, and what is said of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_descriptor import WHITENED, small_whitening, write_small_descriptor

import darkside_cli
from darkside_cli.errors import MissingAssetError
from darkside_cli.events import Event, Notice
from darkside_cli.networks.catalog import EMBEDDED_DESCRIPTOR, MODELS
from darkside_cli.networks.locate import default_descriptor
from darkside_cli.networks.model_entry import WeightFile
from darkside_cli.networks.weights import save_whitening


@pytest.fixture(autouse=True)
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small descriptor in the place of the embedded one: its weights and its whitening are two files."""
    monkeypatch.setenv("DARKSIDE_HOME", str(tmp_path / "home"))
    weights = write_small_descriptor(tmp_path / "package" / "weights.safetensors", whitened=False)
    whitening = save_whitening(tmp_path / "package" / "of_it.safetensors", small_whitening())
    files = tuple(
        WeightFile(path=str(path), urls=(), role=role, embedded=True)
        for path, role in ((weights, "weights"), (whitening, "whitening"))
    )
    entry = replace(
        MODELS.get("gem_resnet101_hedngan"), name=EMBEDDED_DESCRIPTOR, files=files, scores={}, aliases=()
    )
    monkeypatch.setitem(MODELS._entries, EMBEDDED_DESCRIPTOR, entry)
    return weights


def test_the_embedded_one_describes_finds_and_is_scored(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    for place in ("a", "b"):
        for time in ("day", "night"):
            make_image(
                tmp_path / "places" / place / time / "0.png", 96, 96, seed=len(place + time) + ord(place)
            )
    events: list[Event] = []
    index = tmp_path / "x.h5"
    made = darkside_cli.extract(
        tmp_path / "places", output=index, recursive=True, image_size=96, emit=events.append
    )
    assert (made.model, made.dim, made.images) == (EMBEDDED_DESCRIPTOR, WHITENED, 4)
    (said,) = (
        each.message for each in events if isinstance(each, Notice) and EMBEDDED_DESCRIPTOR in each.message
    )
    assert "no published descriptor is on this machine" in said

    found = darkside_cli.search(tmp_path / "places" / "a" / "night" / "0.png", index=index)
    assert found.model == EMBEDDED_DESCRIPTOR
    scored = darkside_cli.evaluate(dataset=str(tmp_path / "places"), image_size=96)
    assert [line.model for line in scored.lines] == [EMBEDDED_DESCRIPTOR]


def test_in_memory_it_is_the_default_too(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=f"using the small {EMBEDDED_DESCRIPTOR} that comes with darkside"):
        describer = darkside_cli.load_descriptor(device="cpu")
    assert (describer.name, describer.dim) == (EMBEDDED_DESCRIPTOR, WHITENED)


def test_in_memory_a_published_one_that_is_here_is_taken_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, whitening = (file.path for file in MODELS.get(EMBEDDED_DESCRIPTOR).files)
    entry = replace(
        MODELS.get("gem_vgg16_hedngan"),
        files=(
            WeightFile(path=weights, urls=()),
            WeightFile(path=whitening, urls=(), role="whitening"),
        ),
    )
    monkeypatch.setitem(MODELS._entries, "gem_vgg16_hedngan", entry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert darkside_cli.load_descriptor(device="cpu").name == "gem_vgg16_hedngan"


def test_a_published_one_that_is_here_comes_first(tmp_path: Path) -> None:
    for name in ("gem_vgg16_hedngan", "gem_vgg16_cyclegan"):
        for file in MODELS.get(name).files:
            file.under(tmp_path).parent.mkdir(exist_ok=True)
            file.under(tmp_path).write_bytes(b"x")
    chosen, said = default_descriptor(tmp_path)
    assert chosen == "gem_vgg16_cyclegan"  # 74.0, the other has 73.5
    assert chosen in said


def test_without_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(MODELS._entries, EMBEDDED_DESCRIPTOR)
    with pytest.raises(MissingAssetError, match="no descriptor is named"):
        darkside_cli.extract(tmp_path, output=tmp_path / "x.h5")

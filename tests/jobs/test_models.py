"""What published models and single checkpoints are, as Python gets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from golden import DATA
from small_descriptor import write_small_descriptor

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import CheckpointError, MissingAssetError, UnknownNameError, UsageError
from darkside_cli.jobs.models import DescribedModel, ModelsRequest, describe_model, list_models


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path / "data", "test")


def describe(root: DataRoot, model: str, **options: Any) -> DescribedModel:
    return describe_model(ModelsRequest(data_dir=root.path, model=model, **options))


def test_the_published_models(root: DataRoot) -> None:
    listed = {each.entry.name: each for each in list_models(root)}
    assert listed["hedngan"].state == "missing"
    assert listed["hedngan"].document().keys() >= {"name", "kind", "scores", "state", "size_bytes"}


def test_a_generator_with_its_layers(root: DataRoot, generator_file: Path, tmp_path: Path) -> None:
    found = describe(root, str(generator_file), size=64, graph=tmp_path / "net.dot", layers=True)
    assert (found.facts["kind"], found.facts["size_px"], found.entry) == ("generator", 64, None)
    assert found.layers is not None
    assert sum(layer.n_parameters for layer in found.layers) == found.facts["parameters"]
    assert (tmp_path / "net.dot").is_file()
    document = found.document()
    assert list(document)[-3:] == ["metadata", "graph", "layers"]
    assert "layers" not in describe(root, str(generator_file), size=64).document()


def test_a_descriptor_and_a_whitening(root: DataRoot, tmp_path: Path) -> None:
    model = write_small_descriptor(tmp_path / "net.safetensors")
    assert describe(root, str(model), size=64).document().keys() >= {
        "dimensions",
        "pooling",
        "whitenings",
    }
    whitening = str(DATA / "files" / "whitening_vgg16.pkl")
    found = describe(root, whitening)
    assert (found.facts["kind"], found.facts["dimensions_out"]) == ("whitening", 96)
    with pytest.raises(CheckpointError):
        describe(root, whitening, layers=True)


def test_what_cannot_be_described(root: DataRoot, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="hedgnan"):
        describe(root, "hedgnan")
    with pytest.raises(UsageError):
        describe(root, "hedngan", graph=tmp_path / "net.xyz")


def test_where_weights_of_timm_are_not_here_the_way_out_is_one_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("timm")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingAssetError) as caught:
        describe_model(ModelsRequest(model="timm:test_vit.r160_in1k", data_dir=tmp_path))
    assert "run again" not in (caught.value.hint or "")
    assert "darkside extract PHOTOS --model timm:test_vit.r160_in1k --download" in (caught.value.hint or "")

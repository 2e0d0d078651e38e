"""What published models and single checkpoints are, as Python gets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden import DATA
from small_descriptor import write_small_descriptor

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import CheckpointError, UnknownNameError, UsageError
from darkside_cli.jobs.models import describe_model, list_models


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path / "data", "test")


def test_the_published_models(root: DataRoot) -> None:
    listed = {each.entry.name: each for each in list_models(root)}
    assert listed["hedngan"].state == "missing"
    assert listed["hedngan"].document().keys() >= {"name", "kind", "scores", "state", "size_bytes"}


def test_a_generator_with_its_layers(root: DataRoot, generator_file: Path, tmp_path: Path) -> None:
    found = describe_model(str(generator_file), root, size_px=64, graph=tmp_path / "net.dot", layers=True)
    assert (found.facts["kind"], found.facts["size_px"], found.entry) == ("generator", 64, None)
    assert found.layers is not None
    assert sum(layer.n_parameters for layer in found.layers) == found.facts["parameters"]
    assert (tmp_path / "net.dot").is_file()
    document = found.document()
    assert list(document)[-3:] == ["metadata", "graph", "layers"]
    assert "layers" not in describe_model(str(generator_file), root, size_px=64).document()


def test_a_descriptor_and_a_whitening(root: DataRoot, tmp_path: Path) -> None:
    model = write_small_descriptor(tmp_path / "net.safetensors")
    assert describe_model(str(model), root, size_px=64).document().keys() >= {
        "dimensions",
        "pooling",
        "whitenings",
    }
    whitening = str(DATA / "files" / "whitening_vgg16.pkl")
    found = describe_model(whitening, root)
    assert (found.facts["kind"], found.facts["dimensions_out"]) == ("whitening", 96)
    with pytest.raises(CheckpointError):
        describe_model(whitening, root, layers=True)


def test_what_cannot_be_described(root: DataRoot, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="hedgnan"):
        describe_model("hedgnan", root)
    with pytest.raises(UsageError):
        describe_model("hedngan", root, graph=tmp_path / "net.xyz")

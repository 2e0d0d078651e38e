"""Descriptors by name and by path, with the whitening that belongs to them, or an error that says what to do."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_descriptor import BACKBONE, DIM, WHITENED, small_network, small_whitening, write_small_descriptor

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import CheckpointError, ConfigError, MissingAssetError, UnknownNameError, UsageError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.networks import catalog
from darkside_cli.networks.weights import save_whitening
from darkside_cli.retrieval.describe.load import load_descriptor, load_model
from darkside_cli.retrieval.describe.scales import PAPER_SCALES, parse_scales

GOLDEN = Path(__file__).parents[2] / "parity" / "data" / "files"


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path / "root", "test")


def assert_whitens_with(model: Any, seed: int, dim: int = WHITENED) -> None:
    expected = small_whitening(seed=seed).layer().projection[:dim]
    assert model.whitening is not None
    torch.testing.assert_close(model.whitening.projection, expected)


@pytest.mark.parametrize(
    ("text", "scales"),
    [
        ("ms", PAPER_SCALES),
        ("ss", (1.0,)),
        ("1,0.7071,0.5", PAPER_SCALES),
        ("1, 0.70710678, 0.5", PAPER_SCALES),
        ("1.0", (1.0,)),
        ("2,0.7,0.71", (2.0, 0.7, 0.71)),
    ],
)
def test_scales(text: str, scales: tuple[float, ...]) -> None:
    assert parse_scales(text) == scales


@pytest.mark.parametrize("text", ["", "mss", "1,", "1,x", "0", "1,-1", "inf", "nan", "1;2"])
def test_no_scales(text: str) -> None:
    with pytest.raises(ConfigError, match="no scales"):
        parse_scales(text)


@pytest.mark.parametrize("text", ["1e9", "8.1", "1,0.001", "1e-30", ",".join(["1"] * 17)])
def test_scales_beyond_their_bounds(text: str) -> None:
    with pytest.raises(ConfigError, match=r"each is from 0\.01 to 8|there are 1 to 16, not 17"):
        parse_scales(text)


def test_whitening_beside_a_checkpoint(tmp_path: Path, root: DataRoot) -> None:
    path = write_small_descriptor(tmp_path / "net.safetensors", clahe={"clip_limit": 2.0, "grid_size": 4})
    loaded = load_model(path, root=root)
    assert_whitens_with(loaded.model, seed=0)
    assert not loaded.model.training
    assert loaded.model.dim == WHITENED
    assert loaded.entry is None
    assert loaded.name == str(path)
    assert "clip_limit=2.0, grid_size=4" in str(loaded.model.transform)
    assert loaded.metadata == {
        "model": str(path),
        "backbone": BACKBONE,
        "pooling": "gem",
        "scales": list(PAPER_SCALES),
        "whiten": True,
        "reduced_to": None,
        "clahe": True,
    }
    reduced = load_model(str(path), root=root, dim=7, scales=(1.0,), clahe=ClaheSettings(3.0, 5))
    assert_whitens_with(reduced.model, seed=0, dim=7)
    assert reduced.metadata["reduced_to"] == 7
    assert reduced.metadata["clahe"] == {"clip_limit": 3.0, "grid_size": 5}
    assert "clip_limit=3.0, grid_size=5" in str(reduced.model.transform)
    assert "Clahe" not in str(load_model(path, root=root, clahe=False).model.transform)


def test_another_whitening_and_none(tmp_path: Path, root: DataRoot) -> None:
    path = write_small_descriptor(tmp_path / "net.safetensors")
    other = save_whitening(tmp_path / "other.safetensors", small_whitening(seed=5))
    loaded = load_model(path, root=root, whiten=other)
    assert_whitens_with(loaded.model, seed=5)
    assert loaded.metadata["whiten"] == str(other)
    plain = load_model(path, root=root, whiten=False)
    assert plain.model.whitening is None
    assert (plain.model.dim, plain.metadata["whiten"]) == (DIM, False)
    # gandtr's name for the file beside
    (tmp_path / "net_whitening.safetensors").unlink()
    numbers = small_whitening(seed=3)
    (tmp_path / "net_lw.pkl").write_bytes(pickle.dumps({"m": numbers.mean[:, None], "P": numbers.projection}))
    assert_whitens_with(load_model(path, root=root).model, seed=3)


def test_no_whitening_to_be_found(tmp_path: Path, root: DataRoot) -> None:
    path = write_small_descriptor(tmp_path / "net.safetensors", whitened=False)
    with pytest.raises(MissingAssetError, match="no whitening") as caught:
        load_model(path, root=root)
    assert "--no-whiten" in str(caught.value.hint)
    own = write_small_descriptor(tmp_path / "own.safetensors", whitened=False, whitening=True)
    model = load_model(own, root=root).model
    assert model.whitening is None
    assert model.network.whiten is not None
    with pytest.raises(ConfigError):
        load_model(own, root=root, dim=3)


def cirtorch_file(path: Path, whitenings: dict[str, dict[str, int]]) -> Path:
    """A network file of cirtorch's with whitenings inside, made from seeds."""
    network = small_network()
    inside = {
        dataset: {
            kind: {"m": small_whitening(seed=seed).mean[:, None], "P": small_whitening(seed=seed).projection}
            for kind, seed in by_kind.items()
        }
        for dataset, by_kind in whitenings.items()
    }
    meta = {
        "architecture": BACKBONE,
        "pooling": "gem",
        "local_whitening": False,
        "regional": False,
        "whitening": False,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "outputdim": DIM,
        "Lw": inside,
    }
    torch.save({"meta": meta, "state_dict": network.state_dict()}, path)
    return path


def test_whitening_inside_a_file_of_cirtorchs(tmp_path: Path, root: DataRoot) -> None:
    path = cirtorch_file(tmp_path / "net.pth", {"retrieval-SfM-120k": {"ss": 1, "ms": 2}})
    assert_whitens_with(load_model(path, root=root).model, seed=2)
    assert_whitens_with(load_model(path, root=root, scales=(1.0,)).model, seed=1)
    assert "Clahe" not in str(load_model(path, root=root).model.transform)
    both = {"retrieval-SfM-30k": {"ss": 3, "ms": 4}, "retrieval-SfM-120k": {"ss": 1, "ms": 2}}
    assert_whitens_with(load_model(cirtorch_file(tmp_path / "two.pth", both), root=root).model, seed=2)
    ambiguous = cirtorch_file(tmp_path / "three.pth", {"a": {"ms": 1}, "b": {"ms": 2}})
    with pytest.raises(ConfigError, match="a/ms, b/ms") as caught:
        load_model(ambiguous, root=root)
    assert "--whitening" in str(caught.value.hint)


def test_published_models_by_name(root: DataRoot) -> None:
    published = catalog.MODELS.get("gem_vgg16_hedngan")
    with pytest.raises(MissingAssetError, match="weights of 'gem_vgg16_hedngan'") as caught:
        load_model("gem_vgg16_hedngan", root=root)
    assert str(root.path) in str(caught.value.hint)
    root.weights.mkdir(parents=True)
    embed = root / published.weights.path
    embed.write_bytes((GOLDEN / "checkpoints" / "embed_vgg16.pth").read_bytes())
    with pytest.raises(MissingAssetError, match="the whitening of 'gem_vgg16_hedngan'") as caught:
        load_model("gem_vgg16_hedngan", root=root)
    assert "_lw.pkl" in str(caught.value.hint)
    assert "--no-whiten" in str(caught.value.hint)
    assert load_model("gem_vgg16_hedngan", root=root, whiten=False).model.dim == 512
    whitening = next(root / file.path for file in published.files if file.role == "whitening")
    whitening.write_bytes((GOLDEN / "whitening_vgg16.pkl").read_bytes())
    loaded = load_model("gem_vgg16_hedngan", root=root)
    assert loaded.entry is published
    assert (loaded.name, loaded.metadata["model"]) == ("gem_vgg16_hedngan", "gem_vgg16_hedngan")
    assert loaded.model.dim == 96
    assert "clip_limit=1.0" in str(loaded.model.transform)


def test_what_is_no_descriptor(tmp_path: Path, root: DataRoot) -> None:
    with pytest.raises(UnknownNameError, match="unknown model"):
        load_model("gem_vgg16_hedgnan", root=root)
    with pytest.raises(UsageError, match="of the kind 'generator'"):
        load_model("hedngan", root=root)
    with pytest.raises(CheckpointError, match="is a generator"):
        load_model(GOLDEN / "checkpoints" / "generator_instance.pth", root=root)
    with pytest.raises(UsageError, match="is a folder"):
        load_model(tmp_path, root=root)
    path = write_small_descriptor(tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="the whitening takes 2048 dimensions"):
        load_model(path, root=root, whiten=GOLDEN / "whitening_resnet101.pkl")
    with pytest.raises(ConfigError):
        load_model(path, root=root, dim=WHITENED + 1)


def test_at_work_on_a_device(tmp_path: Path, root: DataRoot) -> None:
    path = write_small_descriptor(tmp_path / "net.safetensors")
    describer = load_descriptor(path, root=root, device="cpu", precision="auto", dim=6)
    assert (describer.name, describer.dim, describer.precision) == (str(path), 6, "fp32")
    assert describer.metadata["model"] == str(path)
    rows = describer.submit(torch.rand(2, 3, 64, 64)).result()
    assert rows.shape == (2, 6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    with pytest.raises(UsageError, match="fp16 does not work on the CPU"):
        load_descriptor(path, root=root, device="cpu", precision="fp16")

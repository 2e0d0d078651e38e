"""Descriptors as ONNX files equal PyTorch's: poolings, scales, whitening, sizes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from golden import fill_, weights_module
from onnx_files import read_metadata

from darkside_cli.errors import UsageError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import descriptor_transform
from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
from darkside_cli.networks.weights import Whitening
from darkside_cli.retrieval.describe.descriptor import DescriptorModel
from darkside_cli.retrieval.describe.export import TOLERANCES, export_descriptor

SIZES = [(1, 64, 64), (2, 75, 118), (1, 131, 66)]
DIM = 12


def model(*, scales: Any = (1.0, 2**-0.5, 0.5), whiten: bool = True, **config: Any) -> DescriptorModel:
    made = RetrievalNetConfig(**{"backbone": "alexnet", **config})
    network = fill_(RetrievalNet(made).eval(), 3)
    numbers = weights_module().whitening(DIM, made.dim, 5)
    return DescriptorModel(
        network,
        scales=scales,
        whitening=Whitening(numbers["m"], numbers["P"]) if whiten else None,
        transform=descriptor_transform(made.mean, made.std, ClaheSettings(2.0, 4)),
    ).eval()


def run(path: Path, images: torch.Tensor) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["descriptor"], {"image": images.numpy()})[0])


def assert_equal(path: Path, reference: DescriptorModel, sizes: Any = SIZES) -> None:
    for batch, height, width in sizes:
        x = torch.randn(batch, 3, height, width)
        with torch.inference_mode():
            expected = reference(x).numpy()
        assert expected.shape == (batch, reference.dim)
        np.testing.assert_allclose(run(path, x), expected, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"pooling": "gem"},
        {"pooling": "gem", "whiten": False},
        {"pooling": "gem", "scales": (1.0,)},
        {"pooling": "gem", "scales": (1.0, 0.8)},
        {"pooling": "gemmp"},
        {"pooling": "mac"},
        {"pooling": "spoc", "local_whitening": True, "whitening": True, "whiten": False},
        {"backbone": "resnet18"},
    ],
    ids=lambda options: "-".join(f"{key}={value}" for key, value in options.items()),
)
def test_any_batch_and_size(options: dict[str, Any], tmp_path: Path) -> None:
    made = model(**options)
    result = export_descriptor(made, tmp_path / "d.onnx", name="mine")
    assert result.difference is not None
    assert result.difference <= 2e-6
    assert_equal(result.path, made)


@pytest.mark.parametrize("options", [{"pooling": "rmac"}, {"regional": True}], ids=["rmac", "regional"])
def test_regions_need_a_size(options: dict[str, Any], tmp_path: Path) -> None:
    made = model(**options)
    with pytest.raises(UsageError, match="depend on the image's size") as caught:
        export_descriptor(made, tmp_path / "d.onnx", name="mine")
    assert "--size" in str(caught.value.hint)
    assert not any(tmp_path.iterdir())
    result = export_descriptor(made, tmp_path / "d.onnx", name="mine", size_px=(96, 143))
    assert_equal(result.path, made, [(1, 96, 143), (3, 96, 143)])


def test_half_precision_is_the_backbones(tmp_path: Path) -> None:
    made = model()
    result = export_descriptor(made, tmp_path / "d.onnx", name="mine", precision="fp16")
    assert result.difference is not None
    assert 1e-6 < result.difference < TOLERANCES["fp16"]
    assert result.size_bytes < 0.6 * sum(value.nbytes for value in made.state_dict().values())
    assert made.network.features[0].weight.dtype == torch.float32


def test_too_small_a_size(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"50x80 pixels are too small at the scale 0\.5") as caught:
        export_descriptor(model(), tmp_path / "d.onnx", name="mine", size_px=(80, 50))
    assert caught.value.hint == "it needs 31 pixels a side"
    with pytest.raises(UsageError, match="30x80 pixels are too small: "):
        export_descriptor(model(scales=(1.0,)), tmp_path / "d.onnx", name="mine", size_px=(80, 30))


def test_metadata_says_what_it_is_and_how_images_are_prepared(tmp_path: Path) -> None:
    made = model()
    facts = read_metadata(export_descriptor(made, tmp_path / "d.onnx", name="mine", check=False).path)
    assert facts == {
        "name": "mine",
        "kind": "descriptor",
        "architecture": "retrieval_net",
        "config": {
            **asdict(made.network.config),
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "dim": DIM,
        "scales": [1.0, 2**-0.5, 0.5],
        "whitened": True,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "clahe": {"clip_limit": 2.0, "grid_size": 4},
        "transform": repr(made.transform),
        "colour_order": "rgb",
        "precision": "fp32",
    }


@pytest.mark.parametrize(
    ("backbone", "pooling"),
    [("efficientnet_lite0", "gem"), ("timm:test_efficientnet", "gem"), ("timm:test_vit", "cls")],
)
def test_lite_networks_and_timms(backbone: str, pooling: str, tmp_path: Path) -> None:
    if backbone.startswith("timm"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    network = RetrievalNet(RetrievalNetConfig.of(backbone, pooling=pooling)).eval()
    made = DescriptorModel(network, scales=(1.0, 0.5)).eval()
    path, size = tmp_path / "x.onnx", None
    if backbone == "timm:test_vit":
        with pytest.raises(UsageError, match="the tokens of x depend on the image's size"):
            export_descriptor(made, path, name="x")
        size = (75, 118)
    export_descriptor(made, path, name="x", size_px=size)
    assert_equal(path, made, SIZES if size is None else [(2, *size)])


@pytest.mark.slow
def test_networks_that_see_images_resized(tmp_path: Path) -> None:
    """At three scales, none of which is the size that the network takes."""
    pytest.importorskip("timm")
    torch.manual_seed(0)
    network = RetrievalNet(RetrievalNetConfig.of("timm:test_maxvit")).eval()
    made = DescriptorModel(network).eval()
    path, size = tmp_path / "x.onnx", (90, 143)
    for precision in ("fp32", "fp16"):
        result = export_descriptor(made, path, name="x", size_px=size, precision=precision)
        assert result.difference is not None
        assert result.difference <= TOLERANCES[precision]
        if precision == "fp32":
            assert_equal(path, made, [(2, *size)])


@pytest.mark.slow
def test_rotations_of_a_transformer(tmp_path: Path) -> None:
    """EVA-02 reckons them of the size of the image, which torch's exporter writes wrongly."""
    pytest.importorskip("timm")
    torch.manual_seed(0)
    network = RetrievalNet(RetrievalNetConfig.of("timm:eva02_tiny_patch14_224")).eval()
    made = DescriptorModel(network, scales=(1.0, 0.5)).eval()
    path, size = tmp_path / "x.onnx", (56, 98)
    result = export_descriptor(made, path, name="x", size_px=size)
    assert result.difference is not None
    assert result.difference <= TOLERANCES["fp32"]
    assert_equal(path, made, [(2, *size)])

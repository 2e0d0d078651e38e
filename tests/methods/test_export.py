"""Generators as ONNX files equal PyTorch's, at sizes they were not traced with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from golden import fill_
from onnx_files import read_metadata

from darkside_cli.errors import CheckpointError, UsageError
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.methods.export import TOLERANCES, export_generator
from darkside_cli.networks.configs import RelightGeneratorConfig, ResnetGeneratorConfig, UnetGeneratorConfig
from darkside_cli.networks.edge_detectors import Hed, HedConfig
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.layers import initialise
from darkside_cli.networks.relight import RelightGenerator
from darkside_cli.networks.unet import UnetGenerator
from darkside_cli.networks.weights import Checkpoint, build_network, save_checkpoint

CONFIGS = {
    "instance": ResnetGeneratorConfig(ngf=4, n_blocks=2),
    "batch": ResnetGeneratorConfig(ngf=4, n_blocks=2, norm="batch", dropout=True),
    "antialias": ResnetGeneratorConfig(ngf=4, n_blocks=1, antialias_down=True, antialias_up=True),
    "replicate": ResnetGeneratorConfig(ngf=4, n_blocks=1, padding="replicate"),
    "zero": ResnetGeneratorConfig(ngf=4, n_blocks=1, padding="zero", in_channels=1, out_channels=2),
}


def checkpoint(folder: Path, config: ResnetGeneratorConfig, **metadata: Any) -> Checkpoint:
    network = fill_(ResnetGenerator(config), 3)
    path = save_checkpoint(
        folder / "g.safetensors", network, architecture="resnet_generator", config=config, metadata=metadata
    )
    return open_checkpoint(path)


def run(path: Path, images: torch.Tensor) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["translated"], {"image": images.numpy()})[0])


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_any_batch_and_size(config: ResnetGeneratorConfig, tmp_path: Path) -> None:
    made = checkpoint(tmp_path, config)
    result = export_generator(made, tmp_path / "g.onnx")
    assert result.difference is not None
    assert result.difference <= 2e-5
    assert len({each.shape for each in result.compared}) == 4
    network = build_network(made)
    torch.manual_seed(0)  # two pixels a side in the middle: what is normalised there may be close to nothing
    for shape in [(1, 8, 8), (2, 33, 18), (1, 70, 101), (1, 61, 97), (1, 5, 30), (3, 1, 9)]:
        x = torch.rand(shape[0], config.in_channels, *shape[1:]) * 2 - 1
        night = run(result.path, x)
        assert night.shape == (shape[0], config.out_channels, *shape[1:])
        np.testing.assert_allclose(night, as_the_command_line_does(network, x), atol=2e-5)


def as_the_command_line_does(network: Any, x: torch.Tensor) -> np.ndarray[Any, Any]:
    """Padded by the last row and column to what the network takes, and cropped."""
    height, width = x.shape[2:]

    def surplus(side: int) -> int:
        return (
            -(-max(side, network.input_minimum_px) // network.input_multiple) * network.input_multiple - side
        )

    sides = ((0, 0), (0, 0), (0, surplus(height)), (0, surplus(width)))
    padded = torch.from_numpy(np.pad(x.numpy(), sides, mode="edge"))
    with torch.inference_mode():
        return np.asarray(network(padded)[..., :height, :width])


def test_a_network_that_rounds_a_lot_is_held_against_float64(tmp_path: Path) -> None:
    """As the original begins: nothing has tamed its values yet, and float32 itself is 1e-4 from float64."""
    config = ResnetGeneratorConfig(ngf=4, n_blocks=9, norm="batch")
    network = initialise(ResnetGenerator(config), "kaiming")
    path = save_checkpoint(
        tmp_path / "g.safetensors", network, architecture="resnet_generator", config=config, metadata={}
    )
    result = export_generator(open_checkpoint(path), tmp_path / "g.onnx")
    assert result.difference is not None
    assert result.pytorch is not None
    assert TOLERANCES["fp32"] < result.difference < 4 * result.pytorch
    assert result.path.is_file()


@pytest.mark.parametrize("config", [CONFIGS["instance"], CONFIGS["batch"]], ids=["instance", "batch"])
def test_half_precision(config: ResnetGeneratorConfig, tmp_path: Path) -> None:
    made = checkpoint(tmp_path, config)
    whole = export_generator(made, tmp_path / "32.onnx")
    half = export_generator(made, tmp_path / "16.onnx", precision="fp16")
    assert half.tolerance == TOLERANCES["fp16"]
    assert whole.difference is not None
    assert half.difference is not None
    assert whole.difference < 1e-4 < half.difference < TOLERANCES["fp16"]
    weights = [each for each in onnx.load(str(half.path)).graph.initializer if len(each.dims) == 4]
    assert {each.data_type for each in weights} == {onnx.TensorProto.FLOAT16}
    assert read_metadata(half.path)["precision"] == "fp16"


def test_one_size_only(tmp_path: Path) -> None:
    made = checkpoint(tmp_path, CONFIGS["instance"])
    result = export_generator(made, tmp_path / "g.onnx", size_px=(21, 34))
    assert [each.shape for each in result.compared] == [(1, 21, 34), (2, 21, 34)]
    assert run(result.path, torch.zeros(3, 3, 21, 34)).shape == (3, 3, 21, 34)
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        run(result.path, torch.zeros(1, 3, 24, 36))


def test_a_unet_takes_any_sides(tmp_path: Path) -> None:
    config = UnetGeneratorConfig(num_downs=5, ngf=2)
    network = fill_(UnetGenerator(config), 3)
    path = save_checkpoint(
        tmp_path / "u.safetensors", network, architecture="unet_generator", config=config, metadata={}
    )
    made = open_checkpoint(path)
    result = export_generator(made, tmp_path / "u.onnx")
    assert result.difference is not None
    assert result.difference <= 2e-5
    network = build_network(made)
    for size in [(32, 160), (61, 97), (7, 40)]:
        x = torch.rand(2, 3, *size) * 2 - 1
        night = run(result.path, x)
        assert night.shape == x.shape
        np.testing.assert_allclose(night, as_the_command_line_does(network, x), atol=2e-5)
    facts = read_metadata(result.path)
    assert (facts["input_multiple"], facts["input_minimum_px"]) == (1, 1)
    fixed = export_generator(made, tmp_path / "f.onnx", size_px=(64, 40))
    assert run(fixed.path, torch.zeros(1, 3, 64, 40)).shape == (1, 3, 64, 40)
    with pytest.raises(UsageError, match="no images of 0x64 pixels"):
        export_generator(made, tmp_path / "n.onnx", size_px=(64, 0))
    assert not (tmp_path / "n.onnx").exists()


def test_a_relighting_generator_takes_images_smaller_and_larger_than_it_works_at(tmp_path: Path) -> None:
    config = RelightGeneratorConfig(width=4, levels=2, working_px=48)
    network = RelightGenerator(config)
    network.draw_weights(0)
    with torch.no_grad():
        network.out.weight.mul_(20)
    path = save_checkpoint(
        tmp_path / "g.safetensors", network, architecture="relight_generator", config=config
    )
    result = export_generator(open_checkpoint(path), tmp_path / "g.onnx")
    for shape in [(1, 1), (30, 48), (49, 20), (101, 230), (3, 200)]:
        x = torch.rand(2, 3, *shape) * 2 - 1
        with torch.no_grad():
            wanted = network.eval()(x)
        np.testing.assert_allclose(run(result.path, x), wanted.numpy(), atol=5e-5)


def test_metadata_says_what_it_is(tmp_path: Path, generator_file: Path) -> None:
    made = checkpoint(
        tmp_path, CONFIGS["batch"], mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 3.0], direction="night2day"
    )
    facts = read_metadata(export_generator(made, tmp_path / "g.onnx", name="mine", check=False).path)
    assert facts == {
        "name": "mine",
        "kind": "generator",
        "architecture": "resnet_generator",
        "config": asdict(CONFIGS["batch"]),
        "direction": "night2day",
        "mean": [0.1, 0.2, 0.3],
        "std": [1.0, 2.0, 3.0],
        "colour_order": "rgb",
        "input_multiple": 1,
        "input_minimum_px": 1,
        "precision": "fp32",
    }
    facts = read_metadata(export_generator(open_checkpoint(generator_file), tmp_path / "h.onnx").path)
    assert (facts["name"], facts["mean"], facts["std"]) == ("generator_instance.pth", [0.5] * 3, [0.5] * 3)


def test_another_network_is_refused(tmp_path: Path) -> None:
    config = HedConfig()
    made = Checkpoint(tmp_path / "hed.pth", "state-dict", "hed", config, dict(Hed(config).state_dict()), {})
    with pytest.raises(CheckpointError, match="edge-detector, not a generator"):
        export_generator(made, tmp_path / "g.onnx")

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from darkside_cli.errors import CheckpointError, UsageError
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.configs import ResnetGeneratorConfig
from darkside_cli.networks.discriminator import PatchDiscriminator
from darkside_cli.networks.edge_detectors import Hed
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.inspect import LayerSummary, describe, first_tensor
from darkside_cli.networks.patch_sample import PatchSampleMlp, PatchSampleMlpConfig
from darkside_cli.networks.recognise import expected_shapes
from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
from darkside_cli.networks.weights import Checkpoint
from darkside_cli.registry import resolve


class Stub(nn.Module):
    """Three layers, one of them used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.norm = nn.BatchNorm2d(2)
        self.last = nn.Linear(2, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.up(self.twice(self.twice(self.first(x)))))
        return self.last(y.mean((2, 3)))


def test_stub_by_hand() -> None:
    summary = describe(Stub(), size_px=8)
    assert summary.layers == (
        # 8*8 positions * 4 channels * 3*3*3 taps; 108 weights + 4 biases
        LayerSummary("first", "Conv2d", (1, 4, 8, 8), 112, 6912),
        # 8*8*4 * 3*3*2 taps (two groups); 4*2*9 weights
        LayerSummary("twice", "Conv2d", (1, 4, 8, 8), 72, 4608),
        LayerSummary("twice", "Conv2d", (1, 4, 8, 8), 0, 4608),
        # each of 8*8*4 inputs goes to 2 channels * 2*2 taps; 4*2*4 weights + 2 biases
        LayerSummary("up", "ConvTranspose2d", (1, 2, 16, 16), 34, 2048),
        LayerSummary("norm", "BatchNorm2d", (1, 2, 16, 16), 4, 0),
        LayerSummary("last", "Linear", (1, 5), 15, 10),
    )
    assert summary.architecture == "Stub"
    assert summary.config is None
    assert summary.size_px == 8
    assert summary.n_parameters == 112 + 72 + 34 + 4 + 15
    assert summary.size_bytes == 4 * (summary.n_parameters + 4) + 8
    assert summary.macs == 6912 + 2 * 4608 + 2048 + 10


def test_generator_by_hand() -> None:
    """The nine-block generator at 256 px: 11.4 million parameters, 49.6 GMACs."""
    summary = describe(ResnetGenerator(), size_px=256)
    pixels = 256 * 256
    macs = pixels * 64 * 3 * 49  # 7x7, 3 to 64
    macs += pixels // 4 * 128 * 64 * 9 + pixels // 16 * 256 * 128 * 9  # halvings
    macs += 18 * pixels // 16 * 256 * 256 * 9  # two convolutions in each of nine blocks
    macs += pixels // 16 * 256 * 128 * 9 + pixels // 4 * 128 * 64 * 9  # doublings
    macs += pixels * 3 * 64 * 49
    assert summary.macs == macs
    assert summary.n_parameters == 11_378_179
    assert summary.architecture == "resnet_generator"
    assert summary.config == ResnetGeneratorConfig()
    assert summary.layers[-1] == LayerSummary("model.27", "Tanh", (1, 3, 256, 256), 0, 0)


def test_cost_grows_with_the_area() -> None:
    small, large = (describe(ResnetGenerator(ResnetGeneratorConfig(ngf=4)), size) for size in (64, 128))
    assert large.macs == 4 * small.macs
    assert large.n_parameters == small.n_parameters


@pytest.mark.parametrize("name", ARCHITECTURES.names())
def test_every_architecture(name: str) -> None:
    with torch.device("meta"):
        module = resolve(ARCHITECTURES.get(name).target)()
    summary = describe(module)
    state = module.state_dict()
    assert summary.architecture == name
    assert summary.macs > 0 or not summary.layers  # a formula has none
    if summary.layers:
        assert summary.n_parameters == sum(layer.n_parameters for layer in summary.layers)
    assert summary.size_bytes == sum(value.numel() * value.element_size() for value in state.values())
    buffers = [name for name, _ in module.named_buffers() if name in state]
    assert summary.n_parameters == sum(value.numel() for key, value in state.items() if key not in buffers)


def test_checkpoint_needs_no_weights() -> None:
    config = ResnetGeneratorConfig(ngf=4, n_blocks=1)
    checkpoint = Checkpoint(Path("x"), "gandtr", "resnet_generator", config, {})
    assert describe(checkpoint, 64) == describe(ResnetGenerator(config), 64)
    shapes = expected_shapes("resnet_generator", config)
    assert describe(checkpoint, 64).n_parameters == sum(
        torch.Size(shape).numel() for shape in shapes.values()
    )


def test_head_takes_feature_maps() -> None:
    summary = describe(PatchSampleMlp(PatchSampleMlpConfig(channels=(3, 5), dim=4)))
    assert [(layer.type, layer.output_shape) for layer in summary.layers[:2]] == [
        ("Linear", (256, 4)),
        ("ReLU", (256, 4)),
    ]
    assert summary.macs == 256 * (3 * 4 + 4 * 4 + 5 * 4 + 4 * 4)


def test_channels_come_from_the_configuration() -> None:
    summary = describe(ResnetGenerator(ResnetGeneratorConfig(in_channels=1, ngf=4, n_blocks=1)), 32)
    assert summary.layers[0].output_shape == (1, 1, 38, 38)


def test_module_is_left_as_it_is() -> None:
    module = Stub().train()
    module.norm.eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    describe(module, 8)
    assert torch.equal(torch.rand(2), expected), "nothing random was drawn"
    assert module.training
    assert module.up.training
    assert not module.norm.training
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())
    for key, value in module.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, before[key])


def test_large_images_cost_nothing() -> None:
    """A 16384 px image would take HED's first layer alone 68 GB and minutes."""
    describe(Hed(), 64)  # torch loads what it needs for the meta device
    start = time.perf_counter()
    summary = describe(Hed(), 16384)
    assert time.perf_counter() - start < 60
    assert summary.macs == pytest.approx(20.05e9 * (16384 / 256) ** 2, rel=0.001)


def test_sizes_that_do_not_work() -> None:
    with pytest.raises(UsageError, match="resnet_generator cannot take images of 3x3 pixels"):
        describe(ResnetGenerator(ResnetGeneratorConfig(ngf=1)), 3)
    with pytest.raises(UsageError, match="Hed cannot find edges in 8x8 pixels"):
        describe(Hed(), 8)
    with pytest.raises(UsageError) as caught:
        describe(PatchDiscriminator(), 16)
    assert caught.value.message.endswith(
        "cannot take images of 16x16 pixels: its layers leave nothing of them"
    )
    module = PatchDiscriminator()
    with pytest.raises(UsageError):
        describe(module, 4)
    assert not any(each._forward_hooks for each in module.modules()), (
        "hooks are taken off after a failure, too"
    )


class Broken(nn.Module):
    """Fails for images of every size."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.zeros(5, 7, 9, device=x.device)


def test_what_fails_at_every_size_is_not_called_too_small() -> None:
    with pytest.raises(CheckpointError, match="Broken cannot be followed through its layers: ") as caught:
        describe(Broken(), 64)
    assert "size" in caught.value.message, "torch's own words"
    assert "leave nothing" not in caught.value.message


@pytest.mark.parametrize("local", [False, True])
def test_networks_with_whitening_layers(local: bool) -> None:
    config = RetrievalNetConfig(backbone="squeezenet1_1", local_whitening=local, whitening=True)
    assert describe(RetrievalNet(config), 64).layers[-1].output_shape == (1, 512)


def test_name_may_be_given() -> None:
    assert describe(Stub(), 8, architecture="mine").architecture == "mine"


def test_first_tensor() -> None:
    one = torch.zeros(1)
    assert first_tensor(([], (one, torch.ones(2)))) is one
    with pytest.raises(ValueError, match="a dict holds no tensor"):
        first_tensor({})

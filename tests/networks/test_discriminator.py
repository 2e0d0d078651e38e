from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import noise
from torch import nn

from darkside_cli.networks.configs import PatchDiscriminatorConfig, PixelDiscriminatorConfig
from darkside_cli.networks.discriminator import (
    PatchDiscriminator,
    PixelDiscriminator,
    recognise,
    recognise_pixel,
)


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def test_a_score_by_hand() -> None:
    network = PatchDiscriminator(
        PatchDiscriminatorConfig(in_channels=1, ndf=1, n_layers=1, norm="batch")
    ).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.0)
            module.weight.data[:, 0, 1, 1] = 1.0  # picks the pixel at (stride * i, stride * j)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    image = torch.arange(-32.0, 32.0).view(1, 1, 8, 8)
    scores = network(image)
    # One halving, 8 -> 4, and two convolutions that take one pixel each, 4 -> 3 -> 2. What is left is every
    # second pixel of the upper left, which has passed two leaky ReLUs of slope 0.2 as a negative number.
    assert scores.shape == (1, 1, 2, 2)
    torch.testing.assert_close(scores[0, 0], torch.tensor([[-32.0, -30.0], [-16.0, -14.0]]) * 0.04)


@pytest.mark.parametrize(("n_layers", "patch_px"), [(1, 16), (2, 34), (3, 70)])
def test_each_score_sees_the_patch_of_the_paper(n_layers: int, patch_px: int) -> None:
    config = PatchDiscriminatorConfig(ndf=1, n_layers=n_layers, norm="batch")
    network = PatchDiscriminator(config).eval()
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    image = noise(1, 3, 160, 160).abs().requires_grad_()
    scores = network(image)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert image.grad is not None
    touched = image.grad.abs().sum((0, 1)) > 0
    assert touched.any(0).sum() == patch_px
    assert touched.any(1).sum() == patch_px


def test_scores_of_the_training_crop() -> None:
    network = PatchDiscriminator(PatchDiscriminatorConfig(ndf=1)).eval()
    assert network(noise(2, 3, 256, 256)).shape == (2, 1, 30, 30)


def test_widths_stop_at_eight_times_the_first() -> None:
    shapes = shapes_of(PatchDiscriminator(PatchDiscriminatorConfig(ndf=2, n_layers=5)))
    assert [shape[0] for shape in shapes.values() if len(shape) == 4] == [2, 4, 8, 16, 16, 16, 1]


def test_antialiased_layers_blur_after_every_halving_convolution() -> None:
    network = PatchDiscriminator(PatchDiscriminatorConfig(ndf=1, antialias=True)).eval()
    names = [type(module).__name__ for module in network.model]
    assert [i for i, name in enumerate(names) if name == "BlurDownsample"] == [2, 6, 10]
    # A 4x4 convolution takes one pixel, the blur halves and rounds up: 64, 63 32, 31 16, 15 8, then 7 and 6.
    assert network(noise(1, 3, 64, 64)).shape == (1, 1, 6, 6)


@settings(deadline=None, max_examples=40)
@given(
    config=st.builds(
        PatchDiscriminatorConfig,
        in_channels=st.integers(1, 6),
        ndf=st.integers(1, 5),
        n_layers=st.integers(1, 6),
        norm=st.sampled_from(["instance", "batch"]),
        antialias=st.booleans(),
    )
)
def test_patch_configuration_is_recognised(config: PatchDiscriminatorConfig) -> None:
    shapes = shapes_of(PatchDiscriminator(config))
    assert (recognise(shapes), recognise_pixel(shapes)) == (config, None)


@settings(deadline=None, max_examples=20)
@given(
    config=st.builds(
        PixelDiscriminatorConfig,
        in_channels=st.integers(1, 6),
        ndf=st.integers(1, 5),
        norm=st.sampled_from(["instance", "batch"]),
    )
)
def test_pixel_configuration_is_recognised(config: PixelDiscriminatorConfig) -> None:
    shapes = shapes_of(PixelDiscriminator(config))
    assert (recognise(shapes), recognise_pixel(shapes)) == (None, config)


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"model.0.weight": (64, 3, 4, 4), "model.2.weight": (128, 64, 4, 4)},
        {"model.model.0.weight": (64, 3, 4, 4)},
        {"features.0.weight": (64, 3, 3, 3)},
        {"net.0.weight": (64, 3, 1, 1)},
    ],
)
def test_others_are_not_recognised(shapes: dict[str, tuple[int, ...]]) -> None:
    assert recognise(shapes) is None
    assert recognise_pixel(shapes) is None


def test_pixel_scores_move_with_their_pixels() -> None:
    torch.manual_seed(0)
    network = PixelDiscriminator(PixelDiscriminatorConfig(ndf=3, norm="batch")).eval()
    image = noise(1, 3, 4, 5)
    torch.testing.assert_close(network(image.flip(2, 3)), network(image).flip(2, 3))
    assert network(image).shape == (1, 1, 4, 5)
    assert "net.5.bias" not in network.state_dict()


@pytest.mark.parametrize(
    "network",
    [
        PatchDiscriminator(PatchDiscriminatorConfig(ndf=2)),
        PixelDiscriminator(PixelDiscriminatorConfig(ndf=2)),
    ],
)
def test_gradients_reach_every_parameter_and_the_image(network: nn.Module) -> None:
    image = noise(2, 3, 48, 48).requires_grad_()
    network(image).square().sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name

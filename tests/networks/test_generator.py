from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import noise
from torch import Tensor, nn

from darkside_cli.errors import ConfigError
from darkside_cli.networks.configs import ResnetGeneratorConfig
from darkside_cli.networks.generator import ResidualBlock, ResnetGenerator, feature_channels, recognise

TINY = ResnetGeneratorConfig(ngf=2, n_blocks=1)
NORM_8, RELU_9 = 8, 9  # of the plain encoder

configs = st.builds(
    ResnetGeneratorConfig,
    in_channels=st.integers(1, 4),
    out_channels=st.integers(1, 4),
    ngf=st.integers(1, 4),
    n_blocks=st.integers(1, 12),
    norm=st.sampled_from(["instance", "batch"]),
    antialias_down=st.booleans(),
    antialias_up=st.booleans(),
    dropout=st.booleans(),
    padding=st.sampled_from(["reflect", "zero"]),
)


def seeded(config: ResnetGeneratorConfig) -> ResnetGenerator:
    torch.manual_seed(0)
    return ResnetGenerator(config).eval()


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def test_output_by_hand_when_the_last_convolution_only_has_a_bias() -> None:
    generator = seeded(TINY)
    last = generator.model[-2]
    nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([0.0, 0.5, -2.0])
    output = generator(noise(1, 3, 8, 8))
    expected = torch.tensor([0.0, math.tanh(0.5), math.tanh(-2.0)]).view(1, 3, 1, 1)
    torch.testing.assert_close(output, expected.expand(1, 3, 8, 8))


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
def test_residual_block_without_weights_is_the_identity(padding: str) -> None:
    block = ResidualBlock(2, ResnetGeneratorConfig(padding=padding))
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = noise(1, 2, 3, 4)
    assert torch.equal(block(x), x)


def test_padding_of_the_residual_blocks_shows_at_their_border_only() -> None:
    outputs = []
    for padding in ("reflect", "replicate", "zero"):
        block = ResidualBlock(1, ResnetGeneratorConfig(padding=padding, norm="batch")).eval()
        for parameter in block.parameters():
            nn.init.ones_(parameter)
        for norm in (module for module in block.modules() if isinstance(module, nn.BatchNorm2d)):
            nn.init.zeros_(norm.bias)
        outputs.append(block(torch.arange(49.0).view(1, 1, 7, 7))[0, 0])
    reflect, replicate, zero = outputs
    for other in (replicate, zero):
        assert torch.equal(other[2:5, 2:5], reflect[2:5, 2:5])
        assert not torch.equal(other[0], reflect[0])
    assert not torch.equal(replicate[0], zero[0])


@settings(deadline=None, max_examples=25)
@given(height=st.integers(5, 21), width=st.integers(5, 21), down=st.booleans(), up=st.booleans())
def test_sides_are_rounded_up_to_multiples_of_four(height: int, width: int, down: bool, up: bool) -> None:
    generator = seeded(ResnetGeneratorConfig(ngf=1, n_blocks=1, antialias_down=down, antialias_up=up))
    output = generator(noise(2, 3, height, width))
    assert output.shape == (2, 3, math.ceil(height / 4) * 4, math.ceil(width / 4) * 4)
    assert output.abs().max() <= 1


@settings(deadline=None, max_examples=60)
@given(config=configs)
def test_configuration_is_recognised_from_the_shapes(config: ResnetGeneratorConfig) -> None:
    with torch.device("meta"):
        shapes = shapes_of(ResnetGenerator(config))
    assert recognise(shapes) == config


def test_recognition_ignores_stray_running_statistics_and_order() -> None:
    shapes = shapes_of(seeded(TINY))
    stray = {"model.2.running_mean": (2,), "model.2.running_var": (2,), "model.2.num_batches_tracked": ()}
    assert recognise(dict(reversed({**shapes, **stray}.items()))) == TINY


@pytest.mark.parametrize("shapes", [{}, {"model.1.weight": (64, 3, 7, 7)}, {"model.0.weight": (64, 3, 4, 4)}])
def test_other_networks_are_not_recognised(shapes: dict[str, tuple[int, ...]]) -> None:
    assert recognise(shapes) is None


def test_unknown_block_layout_is_not_recognised() -> None:
    shapes = {
        key.replace("conv_block.5", "conv_block.9"): shape for key, shape in shapes_of(seeded(TINY)).items()
    }
    assert recognise(shapes) is None


def test_dropout_moves_the_second_convolution_of_a_block_and_works_in_train_mode_only() -> None:
    generator = seeded(ResnetGeneratorConfig(ngf=2, n_blocks=1, dropout=True))
    assert {"model.10.conv_block.1.weight", "model.10.conv_block.6.weight"} <= set(generator.state_dict())
    x = noise(1, 3, 16, 16)
    assert torch.equal(generator(x), generator(x))
    generator.train()
    assert not torch.equal(generator(x), generator(x))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_gradients_reach_every_parameter_and_the_input(norm: str) -> None:
    generator = seeded(ResnetGeneratorConfig(ngf=2, n_blocks=2, norm=norm)).train()
    x = noise(2, 3, 12, 12).requires_grad_()
    (generator(x) * noise(2, 3, 12, 12)).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if name.endswith("weight"):
            assert parameter.grad.abs().sum() > 0, name


def all_outputs(generator: ResnetGenerator, x: Tensor) -> list[Tensor]:
    """Output of every module, none overwritten by the next."""
    outputs = []
    for module in generator.model:
        x = module(x.clone())
        outputs.append(x.clone())
    return outputs


def test_features_are_the_outputs_of_the_modules() -> None:
    generator = seeded(TINY)
    x = noise(1, 3, 8, 12)
    expected = all_outputs(generator, x)
    layers = [0, 1, 3, 4, 6, 7, 9, 10, 11]
    for layer, feature in zip(layers, generator.features(x, layers), strict=True):
        assert torch.equal(feature, expected[layer]), layer
    for layer in range(len(generator.model)):
        assert torch.equal(generator.features(x, [layer])[0], expected[layer]), layer


def test_norm_before_a_relu_is_seen_rectified_unless_it_is_the_last_layer_asked_for() -> None:
    generator = seeded(TINY)
    x = noise(1, 3, 8, 12)
    plain = all_outputs(generator, x)[NORM_8]
    assert plain.min() < 0
    among_others, _ = generator.features(x, [NORM_8, 10])
    assert torch.equal(among_others, plain.clamp(min=0))
    *_, last = generator.features(x, [4, NORM_8])
    assert torch.equal(last, plain)
    with_relu = generator.features(x, [NORM_8, RELU_9])
    assert torch.equal(with_relu[0], with_relu[1])


@pytest.mark.parametrize("layers", [[2, 5, 8, 12], [8], [8, 9], [0, 4, 8]])
def test_features_do_not_depend_on_relus_being_in_place(layers: list[int]) -> None:
    in_place = seeded(ResnetGeneratorConfig(ngf=2, n_blocks=3))
    copied = seeded(ResnetGeneratorConfig(ngf=2, n_blocks=3))
    for module in copied.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    gradients = []
    for generator in (in_place, copied):
        x = noise(1, 3, 12, 12).requires_grad_()
        features = generator.features(x, layers)
        sum((feature * noise(*feature.shape)).sum() for feature in features).backward()
        gradients.append((x.grad, [feature.detach() for feature in features]))
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.slow
def test_features_keep_the_convention_when_compiled() -> None:
    generator = seeded(TINY)
    x = noise(1, 3, 8, 12)
    compiled: Any = torch.compile(lambda images: generator.features(images, [4, 8, 10]), backend="aot_eager")
    for got, expected in zip(compiled(x), generator.features(x, [4, 8, 10]), strict=True):
        torch.testing.assert_close(got, expected)


def test_features_stop_after_the_last_layer() -> None:
    generator = seeded(TINY)
    ran = []
    for index, module in enumerate(generator.model):
        module.register_forward_hook(lambda *_, index=index: ran.append(index))
    generator.features(noise(1, 3, 8, 8), [0, 6])
    assert ran == list(range(7))


@pytest.mark.parametrize("layers", [[], [4, 4], [8, 4], [-1, 4], [0, 100]])
def test_impossible_feature_layers(layers: list[int]) -> None:
    with pytest.raises(ConfigError, match="increasing numbers from 0 to 19"):
        seeded(TINY).features(noise(1, 3, 8, 8), layers)


@settings(deadline=None, max_examples=20)
@given(config=configs)
def test_feature_channels_are_those_of_the_features(config: ResnetGeneratorConfig) -> None:
    generator = seeded(config)
    layers = range(len(generator.model))
    features = generator.features(noise(1, config.in_channels, 8, 8), layers)
    assert feature_channels(config, layers) == tuple(feature.shape[1] for feature in features)


def test_feature_channels_of_cut() -> None:
    assert feature_channels(ResnetGeneratorConfig(), [0, 4, 8, 12, 16]) == (3, 128, 256, 256, 256)
    with pytest.raises(ConfigError, match="no module 28"):
        feature_channels(ResnetGeneratorConfig(), [28])


@pytest.mark.parametrize(
    ("field", "value"),
    [("ngf", 0), ("n_blocks", "9"), ("in_channels", True), ("norm", "layer"), ("padding", "wrap")],
)
def test_bad_configuration_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        ResnetGeneratorConfig(**{field: value})

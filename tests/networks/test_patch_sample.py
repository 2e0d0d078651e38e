from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import noise
from torch import Tensor, nn

from darkside_cli.errors import ConfigError
from darkside_cli.networks.configs import ResnetGeneratorConfig
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.patch_sample import PatchSampleMlp, PatchSampleMlpConfig, recognise


def identity_head(channels: int) -> PatchSampleMlp:
    head = PatchSampleMlp(PatchSampleMlpConfig(channels=(channels,), dim=channels))
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.eye_(module.weight)
            nn.init.zeros_(module.bias)
    return head


def test_patches_by_hand() -> None:
    feature = torch.zeros(2, 2, 2, 3)
    feature[0, :, 0, 1] = torch.tensor([3.0, 4.0])  # image 0, position 1
    feature[0, :, 1, 2] = torch.tensor([0.0, 2.0])  # image 0, position 5
    feature[1, :, 0, 1] = torch.tensor([1.0, 0.0])
    feature[1, :, 1, 2] = torch.tensor([-5.0, 1.0])  # the ReLU between the layers drops the -5
    (vectors,), (positions,) = identity_head(2)([feature], positions=[torch.tensor([5, 1])])
    expected = torch.tensor([[0.0, 1.0], [0.6, 0.8], [0.0, 1.0], [1.0, 0.0]])
    torch.testing.assert_close(vectors, expected, atol=1e-6, rtol=0)
    assert positions.tolist() == [5, 1]


def test_a_zero_feature_stays_zero() -> None:
    (vectors,), _ = identity_head(3)([torch.zeros(1, 3, 2, 2)])
    assert torch.equal(vectors, torch.zeros(4, 3))


@settings(deadline=None, max_examples=30)
@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    num_patches=st.integers(1, 40),
    batch=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_drawn_positions(height: int, width: int, num_patches: int, batch: int, seed: int) -> None:
    head = PatchSampleMlp(PatchSampleMlpConfig(channels=(2, 3), dim=4))
    features = [noise(batch, 2, height, width), noise(batch, 3, 2 * height, width)]

    def draw() -> tuple[list[Tensor], list[Tensor]]:
        return head(features, num_patches, generator=torch.Generator().manual_seed(seed))

    vectors, positions = draw()
    for feature, vector, where in zip(features, vectors, positions, strict=True):
        cells = feature.shape[2] * feature.shape[3]
        assert len(set(where.tolist())) == len(where) == min(num_patches, cells)
        assert 0 <= where.min() <= where.max() < cells
        assert vector.shape == (batch * len(where), 4)
        torch.testing.assert_close(vector.norm(dim=1), torch.ones(len(vector)), atol=1e-4, rtol=0)
    again, same = draw()
    given_positions, _ = head(features, positions=positions)
    for i in range(2):
        assert torch.equal(positions[i], same[i])
        assert torch.equal(vectors[i], again[i])
        assert torch.equal(vectors[i], given_positions[i])


def test_positions_without_a_generator_come_from_torchs_own() -> None:
    head = identity_head(2)
    torch.manual_seed(3)
    _, (first,) = head([noise(1, 2, 8, 8)], 16)
    torch.manual_seed(3)
    assert torch.equal(first, torch.randperm(64)[:16])


@settings(deadline=None, max_examples=15)
@given(
    ngf=st.integers(1, 3),
    antialias=st.booleans(),
    layers=st.sets(st.integers(0, 16), min_size=1, max_size=5).map(sorted),
)
def test_head_fits_the_generator_without_a_forward_pass(ngf: int, antialias: bool, layers: list[int]) -> None:
    config = ResnetGeneratorConfig(ngf=ngf, n_blocks=4, antialias_down=antialias, antialias_up=antialias)
    head = PatchSampleMlp(PatchSampleMlpConfig.for_generator(config, layers, dim=5))
    vectors, _ = head(ResnetGenerator(config).eval().features(noise(2, 3, 8, 8), layers), 3)
    assert [len(vector) for vector in vectors] == [6] * len(layers)


def test_gradients_reach_every_parameter_and_the_features() -> None:
    head = PatchSampleMlp(PatchSampleMlpConfig(channels=(3,), dim=8))
    feature = noise(1, 3, 4, 4).requires_grad_()
    (vectors,), _ = head([feature], positions=[torch.tensor([0, 7])])
    (vectors * noise(*vectors.shape)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
    assert feature.grad is not None
    assert feature.grad.flatten(2).abs().sum((0, 1)).nonzero().flatten().tolist() == [0, 7]


def test_wrong_numbers_of_layers_are_refused() -> None:
    head = identity_head(2)
    feature = noise(1, 2, 2, 2)
    with pytest.raises(ValueError, match="has 1 layers"):
        head([feature, feature])
    with pytest.raises(ValueError, match="has 1 layers"):
        head([feature], positions=[])


@settings(deadline=None, max_examples=30)
@given(channels=st.lists(st.integers(1, 9), min_size=1, max_size=12), dim=st.integers(1, 9))
def test_configuration_is_recognised_from_the_shapes(channels: list[int], dim: int) -> None:
    config = PatchSampleMlpConfig(channels=tuple(channels), dim=dim)
    state = PatchSampleMlp(config).state_dict()
    assert recognise({key: tuple(tensor.shape) for key, tensor in state.items()}) == config


@pytest.mark.parametrize(
    "shapes", [{}, {"mlp_1.0.weight": (4, 4)}, {"mlp_0.0.weight": (4,)}, {"model.0.weight": (4, 3, 4, 4)}]
)
def test_others_are_not_recognised(shapes: dict[str, tuple[int, ...]]) -> None:
    assert recognise(shapes) is None


def test_configuration_takes_lists_and_refuses_nothing_and_nonsense() -> None:
    assert PatchSampleMlpConfig(channels=[1, 2]) == PatchSampleMlpConfig(channels=(1, 2))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least one"):
        PatchSampleMlpConfig(channels=())
    with pytest.raises(ConfigError, match=r"channels\[1\]"):
        PatchSampleMlpConfig(channels=(1, 0))

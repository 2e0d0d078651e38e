from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from darkside_cli.errors import CheckpointError, ConfigError, ImageError, UsageError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import descriptor_transform
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.networks.configs import ResnetGeneratorConfig
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
from darkside_cli.networks.weights import Whitening, save_checkpoint
from darkside_cli.retrieval.describe.descriptor import DescriptorModel
from darkside_cli.retrieval.describe.scales import PAPER_SCALES

DIM = 256


def small_network(**options: Any) -> RetrievalNet:
    """AlexNet's dimensions, but what it describes are colours: 3 channels, repeated, at half the size."""
    torch.manual_seed(0)
    network = RetrievalNet(RetrievalNetConfig(backbone="alexnet", **options)).eval()
    weight = torch.rand(DIM, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    convolution = nn.Conv2d(3, DIM, 1, stride=2, bias=False)
    convolution.weight = nn.Parameter(weight)
    network.features = nn.Sequential(convolution, nn.ReLU())
    return network


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2))


def whitening(dim: int = DIM) -> Whitening:
    rng = np.random.default_rng(0)
    return Whitening(rng.normal(size=dim) / 20, rng.normal(size=(dim // 4, dim)))


def test_power_mean_by_hand() -> None:
    """Descriptors of three scales, each from an image made smaller apart; p = 3."""
    network = small_network()
    x = images(2, 3, 80, 101)
    with torch.no_grad():
        alone = []
        for scale, size in ((1, (80, 101)), (PAPER_SCALES[1], (56, 71)), (0.5, (40, 50))):
            smaller = nn.functional.interpolate(
                x, scale_factor=scale, mode="bilinear", align_corners=False, antialias=False
            )
            assert smaller.shape[-2:] == size
            alone.append(network(smaller))
        mean = (sum(d**3 for d in alone) / 3) ** (1 / 3)
        expected = mean / mean.norm(dim=1, keepdim=True)
        torch.testing.assert_close(DescriptorModel(network)(x), expected)


@pytest.mark.parametrize("options", [{"whitening": True}, {"pooling": "mac"}, {"pooling": "gemmp"}])
def test_plain_mean_where_there_is_no_exponent(options: dict[str, Any]) -> None:
    network = small_network(**options)
    x = images(1, 3, 80, 80)
    with torch.no_grad():
        halved = nn.functional.interpolate(x, scale_factor=0.5, mode="bilinear")
        mean = (network(x) + network(halved)) / 2
        model = DescriptorModel(network, scales=(1, 0.5))
        torch.testing.assert_close(model(x), mean / mean.norm())


def test_a_single_scale_is_left_as_it_is() -> None:
    network = small_network()
    x = images(2, 3, 40, 50)
    with torch.no_grad():
        assert torch.equal(DescriptorModel(network, scales=[1])(x), network(x))
        other = DescriptorModel(network, scales=[0.8])(x)
        torch.testing.assert_close(other.norm(dim=1), torch.ones(2))


def test_whitened_and_cut() -> None:
    network, learned = small_network(), whitening()
    x = images(2, 3, 64, 64)
    with torch.no_grad():
        before = DescriptorModel(network)(x).double().numpy()
        for dim in (None, 64, 7, 1):
            model = DescriptorModel(network, whitening=learned, dim=dim)
            turned = (before - learned.mean) @ learned.projection[:dim].T
            expected = turned / (np.linalg.norm(turned, axis=1, keepdims=True) + 1e-6)
            assert model.dim == expected.shape[1]
            np.testing.assert_allclose(model(x).numpy(), expected, atol=1e-5)


def test_images_of_a_batch_do_not_mix() -> None:
    model = DescriptorModel(small_network(), whitening=whitening())
    x = images(3, 3, 70, 66)
    with torch.no_grad():
        torch.testing.assert_close(model(x), torch.cat([model(image[None]) for image in x]))


def test_black_images_have_no_direction() -> None:
    """MAC of nothing is zero; the mean of zeros is not divided by zero."""
    model = DescriptorModel(small_network(pooling="mac"))
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 64)).abs().max() == 0


def test_state_holds_the_whitening_and_goes_to_a_file() -> None:
    model = DescriptorModel(small_network(), whitening=whitening(), dim=5)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other = DescriptorModel(small_network(), whitening=Whitening(np.zeros(DIM), np.ones((5, DIM))))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    x = images(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(x), other(x))


def test_as_the_seed_document_uses_it() -> None:
    model = DescriptorModel(
        small_network(), transform=descriptor_transform([0.5] * 3, [0.5] * 3, ClaheSettings())
    )
    image = Image.new("RGB", (70, 64), (90, 60, 30))
    with torch.no_grad():
        descriptor = model(model.transform(image).unsqueeze(0))
    assert descriptor.shape == (1, DIM)
    assert "ApplyClahe(clip_limit=1.0, grid_size=8, colorspace=lab)" in str(model.transform)


def test_the_transform_is_the_networks_own() -> None:
    model = DescriptorModel(small_network(mean=(0.1, 0.2, 0.3), std=(1, 1, 2)))
    assert "Normalize(mean=[0.1, 0.2, 0.3], std=[1.0, 1.0, 2.0]" in repr(model.transform)
    assert "Clahe" not in repr(model.transform)


def test_too_small_at_the_smallest_scale() -> None:
    """31 pixels are enough for AlexNet: 62 at half the size, of which 61 are too few."""
    model = DescriptorModel(small_network())
    with torch.no_grad():
        model(images(1, 3, 62, 62))
        with pytest.raises(ImageError, match="45x30 pixels are too few for alexnet"):
            model(images(1, 3, 61, 90))


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (64, 64)])
def test_what_is_no_batch_of_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"not \(.*64, 64\).*unsqueeze\(0\)"):
        DescriptorModel(small_network())(torch.zeros(shape))


@pytest.mark.parametrize("scales", [(), (0,), (1, -1), (1, math.inf), (math.nan,)])
def test_scales_that_cannot_be(scales: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="scales must be positive"):
        DescriptorModel(small_network(), scales=scales)


def test_what_does_not_belong_together() -> None:
    network = small_network()
    with pytest.raises(CheckpointError, match="takes 8 dimensions, alexnet gives 256"):
        DescriptorModel(network, whitening=whitening(8))
    with pytest.raises(ConfigError, match="65 dimensions are not to be had"):
        DescriptorModel(network, whitening=whitening(), dim=65)
    with pytest.raises(ConfigError, match="without a whitening"):
        DescriptorModel(network, dim=64)
    assert DescriptorModel(network, dim=DIM).dim == DIM


@pytest.mark.parametrize("clahe", [True, False, ClaheSettings(3.0, 4)])
@pytest.mark.parametrize("recorded", [None, {"clip_limit": 2.0, "grid_size": 16}])
def test_from_a_file(recorded: dict[str, Any] | None, clahe: ClaheSettings | bool, tmp_path: Path) -> None:
    config = RetrievalNetConfig(backbone="squeezenet1_1", mean=(0.1, 0.2, 0.3))
    torch.manual_seed(0)
    network = RetrievalNet(config).eval()
    path = save_checkpoint(
        tmp_path / "x.safetensors",
        network,
        architecture="retrieval_net",
        config=config,
        metadata={"clahe": recorded},
    )
    model = DescriptorModel.from_checkpoint(open_checkpoint(path), scales=(1, 0.5), clahe=clahe)
    settings = (
        clahe
        if isinstance(clahe, ClaheSettings)
        else ClaheSettings(**recorded)
        if recorded and clahe
        else None
    )
    assert repr(model.transform) == repr(descriptor_transform(config.mean, config.std, settings))
    assert not model.training
    x = images(1, 3, 64, 48)
    with torch.no_grad():
        assert torch.equal(model(x), DescriptorModel(network, scales=(1, 0.5))(x))


def test_a_generator_is_no_descriptor(tmp_path: Path) -> None:
    config = ResnetGeneratorConfig(ngf=2, n_blocks=1)
    path = save_checkpoint(
        tmp_path / "x.safetensors", ResnetGenerator(config), architecture="resnet_generator", config=config
    )
    with pytest.raises(CheckpointError, match="is a generator, not a descriptor"):
        DescriptorModel.from_checkpoint(open_checkpoint(path))


def test_gradients_reach_the_exponent_through_all_scales() -> None:
    network = small_network()
    DescriptorModel(network)(images(1, 3, 64, 64))[0, :9].sum().backward()
    power = network.aggregation_power()
    assert power is not None
    assert power.grad is not None
    assert power.grad.abs().item() > 0


def test_shown_with_its_scales() -> None:
    assert "scales=[1.0, 0.7071, 0.5]" in repr(DescriptorModel(small_network()))

"""Backbones made ready for the CPU give what torch gives, for VGGs and ResNets as for all others."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch
from torch import nn
from torchvision.models.resnet import Bottleneck, conv1x1

from darkside_cli.kernels.dispatch import ChannelsLast, fast_features
from darkside_cli.kernels.fast_parts import folded
from darkside_cli.kernels.fast_resnet import FastResNet
from darkside_cli.kernels.fast_vgg import FastVgg
from darkside_cli.networks.backbones import build_features


def randomised(module: nn.Module) -> nn.Module:
    """Norms with statistics and scales of their own, as trained ones have; eval mode."""
    generator = torch.Generator().manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean = torch.randn(norm.num_features, generator=generator) / 10
            norm.running_var = torch.rand(norm.num_features, generator=generator) + 0.5
            with torch.no_grad():
                norm.weight.uniform_(0.3, 0.6, generator=generator)
                norm.bias.normal_(0, 0.1, generator=generator)
    return module.eval()


def vgg(*, norm: bool = False, last_pooled: bool = False) -> nn.Sequential:
    torch.manual_seed(0)

    def layer(channels: int, out: int) -> list[nn.Module]:
        norms: list[nn.Module] = [nn.BatchNorm2d(out)] if norm else []
        return [nn.Conv2d(channels, out, 3, padding=1, bias=not norm), *norms, nn.ReLU(inplace=True)]

    pool = nn.MaxPool2d(2, 2)
    modules = [*layer(3, 8), *layer(8, 6), pool, *layer(6, 12), *layer(12, 12), pool, *layer(12, 5)]
    return nn.Sequential(*modules, *([pool] if last_pooled else []))


def resnet() -> nn.Sequential:
    torch.manual_seed(0)

    def stage(channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
        out = 4 * width
        shortcut = nn.Sequential(conv1x1(channels, out, stride), nn.BatchNorm2d(out))
        return nn.Sequential(
            Bottleneck(channels, width, stride, shortcut),
            *(Bottleneck(out, width) for _ in range(blocks - 1)),
        )

    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        stage(8, 4, 3, 1),
        stage(16, 6, 2, 2),
        stage(24, 8, 1, 2),
        stage(32, 8, 3, 2),
    )


def assert_same(features: nn.Module, fast: nn.Module, *shape: int) -> None:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = copy.deepcopy(features).double()(x.double())
        actual = fast(x)
    assert actual.dtype == torch.float32
    assert (actual.double() - expected).abs().max() < 3e-6 * expected.abs().max()


@pytest.mark.parametrize(
    "size", [(1, 3, 64, 96), (2, 3, 37, 51), (1, 3, 4, 4), (1, 3, 5, 131), (3, 3, 33, 32)]
)
@pytest.mark.parametrize("kind", ["vgg", "vgg_bn", "vgg_pooled", "resnet"])
def test_same_as_torch(kind: str, size: tuple[int, ...]) -> None:
    features = {
        "vgg": vgg,
        "vgg_bn": lambda: vgg(norm=True),
        "vgg_pooled": lambda: vgg(last_pooled=True),
        "resnet": resnet,
    }[kind]()
    if kind == "vgg_pooled":  # smaller maps are pooled away
        size = (*size[:2], *(max(8, side) for side in size[2:]))
    randomised(features)
    fast = fast_features(features)
    assert isinstance(fast, FastResNet if kind == "resnet" else FastVgg)
    assert_same(features, fast, *size)


def test_sizes_may_change_from_call_to_call() -> None:
    for features in (vgg(), randomised(resnet())):
        fast = fast_features(features)  # type: ignore[arg-type]
        for size in ((1, 3, 64, 64), (1, 3, 33, 80), (1, 3, 70, 20), (1, 3, 64, 64)):
            assert_same(features, fast, *size)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("vgg16", FastVgg),
        ("vgg19_bn", FastVgg),
        ("resnet50", FastResNet),
        ("vgg11", ChannelsLast),  # pools right behind its first convolution
        ("resnet18", ChannelsLast),
        ("resnext50_32x4d", ChannelsLast),
        ("squeezenet1_1", ChannelsLast),
    ],
)
def test_published_backbones(name: str, kind: type[nn.Module]) -> None:
    torch.manual_seed(1)  # the rounding of some weights is twice that of others
    features = build_features(name)
    randomised(features)
    fast = fast_features(features)
    assert isinstance(fast, kind)
    assert_same(features, fast, 1, 3, 77, 101)


def test_the_module_given_stays_as_it_is() -> None:
    for make in (vgg, resnet):
        features = make().train()
        before = copy.deepcopy(features.state_dict())
        fast = fast_features(features)
        assert features.training
        with torch.no_grad():
            fast(torch.randn(1, 3, 20, 20))
            for key, value in features.state_dict().items():
                assert torch.equal(value, before[key])
            x = torch.randn(1, 3, 20, 20)
            y = fast(x)
            for parameter in features.parameters():
                parameter.zero_()
            assert torch.equal(fast(x), y)


def test_in_inference_mode_and_out_of_it_and_copied() -> None:
    fast = fast_features(vgg())
    x = torch.randn(1, 3, 20, 24)
    with torch.inference_mode():
        first = fast(x)
        assert torch.equal(fast(x.clone()), first)
    assert torch.equal(fast(x), first)
    assert not fast(x).requires_grad
    assert torch.equal(copy.deepcopy(fast)(x), first)
    assert torch.equal(pickle.loads(pickle.dumps(fast))(x), first)


def test_two_threads_take_turns() -> None:
    fast = fast_features(randomised(resnet()))  # type: ignore[arg-type]
    images = [torch.randn(1, 3, 40 + 8 * i, 56) for i in range(4)]
    expected = [fast(image) for image in images]
    results: dict[int, torch.Tensor] = {}

    def work(i: int) -> None:
        for _ in range(3):
            results[i] = fast(images[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, y in enumerate(expected):
        assert torch.equal(results[i], y)


def test_folding_by_hand() -> None:
    convolution = nn.Conv2d(1, 1, 1)
    norm = nn.BatchNorm2d(1, eps=0.0)
    with torch.no_grad():
        convolution.weight.fill_(2)
        convolution.bias.fill_(3)  # type: ignore[union-attr]
        norm.weight.fill_(10)
        norm.bias.fill_(0.5)
    norm.running_mean, norm.running_var = torch.tensor([1.0]), torch.tensor([4.0])
    weight, bias = folded(convolution, norm)
    # (2 x + 3 - 1) / 2 * 10 + 0.5
    assert (weight.item(), bias.item()) == (10.0, 10.5)
    with pytest.raises(ValueError, match="running statistics"):
        folded(convolution, nn.BatchNorm2d(1, track_running_stats=False))

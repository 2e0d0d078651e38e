from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import gaussian_noise as noise
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.kernels.row_convolution import (
    PIXELS_PER_BAND,
    DownConvolution,
    FirstConvolution,
    LastConvolution,
    Moments,
    Norm,
    RawMap,
    UpConvolution,
)

sides = st.integers(1, 40)
channel_counts = st.integers(1, 5)


def planar(x: Tensor) -> Tensor:
    return x.permute(2, 0, 1)[None].double()


def raw_map(height: int, width: int, channels: int) -> tuple[RawMap, Tensor]:
    """A map that is still to be normalised and rectified, and what it is then (1, C, H, W) float64."""
    x = RawMap(noise(height, width, channels), noise(channels, seed=1), noise(channels, seed=2))
    assert x.scale is not None
    assert x.shift is not None
    return x, planar((x.sums * x.scale + x.shift).relu())


def assert_moments(moments: Moments, values: Tensor) -> None:
    """``values`` (1, C, H, W) float64."""
    mean, variance = moments.total()
    torch.testing.assert_close(mean, values.mean((0, 2, 3)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(variance, values.var((0, 2, 3), correction=0), atol=1e-5, rtol=1e-4)


def assert_same(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours.double(), expected, atol=2e-5, rtol=1e-5)


# Maps, moments, norms


def test_map_by_hand() -> None:
    sums = torch.tensor([[[1.0, -1.0]], [[2.0, 3.0]]])
    scale, shift = torch.tensor([2.0, 1.0]), torch.tensor([-3.0, 0.5])
    out = torch.empty(2, 1, 2)
    RawMap(sums, scale, shift, relu=False).load(0, 2, out)
    assert out.tolist() == [[[-1.0, -0.5]], [[1.0, 3.5]]]
    RawMap(sums, scale, shift).load(0, 2, out)
    assert out.tolist() == [[[0.0, 0.0]], [[1.0, 3.5]]]
    RawMap(sums, None, None).load(1, 2, out[:1])
    assert out[0].tolist() == [[2.0, 3.0]]


def test_moments_by_hand() -> None:
    moments = Moments()
    moments.add(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.empty(2, 2))
    moments.add(torch.tensor([[8.0, 5.0]]), torch.empty(1, 2))
    mean, variance = moments.total()
    assert mean.tolist() == [4.0, 5.0]
    torch.testing.assert_close(variance, torch.tensor([26 / 3, 0.0], dtype=torch.float64))


def test_absent_values_do_not_count() -> None:
    values = torch.tensor([[1.0], [float("nan")], [3.0], [float("inf")]])
    moments = Moments()
    moments.add(values, torch.empty(4, 1), absent=values[1::2])
    mean, variance = moments.total()
    assert (mean.item(), variance.item()) == (2.0, 1.0)


def test_moments_of_values_far_from_zero() -> None:
    values = 3000 + noise(6000, 2) / 100  # mean of squares minus square of the mean would leave nothing
    moments = Moments()
    for part in torch.split(values, 500):
        moments.add(part.contiguous(), torch.empty(part.shape))
    _, variance = moments.total()
    torch.testing.assert_close(variance, values.double().var(0, correction=0), atol=0, rtol=1e-3)


def norms(channels: int) -> list[nn.Module | None]:
    batch = nn.BatchNorm2d(channels).eval()
    tracking = nn.InstanceNorm2d(channels, affine=True, track_running_stats=True).eval()
    affine = nn.InstanceNorm2d(channels, affine=True)
    for layer in (batch, tracking):
        layer.running_mean = noise(channels, seed=3)
        layer.running_var = noise(channels, seed=4).square()
    for layer in (batch, tracking, affine):
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    return [None, nn.InstanceNorm2d(channels), affine, batch, tracking]


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("with_bias", [True, False])
def test_norms_are_those_of_the_layers(index: int, with_bias: bool) -> None:
    layer, sums = norms(4)[index], noise(6, 7, 4)
    bias = noise(4, seed=5) if with_bias else None
    with_bias_added = sums if bias is None else sums + bias
    expected = planar(with_bias_added)
    if layer is not None:
        expected = layer.double()(expected).detach()
        layer.float()
    norm = Norm(layer, bias)
    moments = norm.moments()
    assert (moments is None) == (index not in (1, 2))
    if moments is not None:
        moments.add(sums, torch.empty_like(sums))
    out = torch.empty(6, 7, 4)
    RawMap(sums, *norm.of(moments), relu=False).load(0, 6, out)
    assert_same(planar(out), expected)


def test_unknown_norms_are_refused() -> None:
    with pytest.raises(TypeError, match="GroupNorm"):
        Norm(nn.GroupNorm(1, 4), None)


# Convolutions


def test_first_convolution_by_hand() -> None:
    layer = nn.Conv2d(1, 1, 3, bias=False)
    layer.weight.data = torch.tensor([[[[0.0, 0, 0], [1, 10, 100], [0, 0, 0]]]])
    sums = torch.empty(2, 3, 1)
    FirstConvolution(layer)(torch.tensor([[[1.0, 2, 3], [4, 5, 6]]]), sums, None)
    assert sums.flatten(1).tolist() == [[212, 321, 232], [545, 654, 565]]


@settings(deadline=None, max_examples=25)
@given(height=st.integers(4, 40), width=st.integers(4, 40), channels=channel_counts, outputs=channel_counts)
def test_first_convolution(height: int, width: int, channels: int, outputs: int) -> None:
    layer, image = nn.Conv2d(channels, outputs, 7), noise(channels, height, width)
    sums, moments = torch.empty(height, width, outputs), Moments()
    FirstConvolution(layer)(image, sums, moments)
    padded = F.pad(image[None].double(), (3, 3, 3, 3), mode="reflect")
    expected = F.conv2d(padded, layer.weight.detach().double())
    assert_same(planar(sums), expected)
    assert_moments(moments, expected)


def test_first_convolution_of_a_view_and_of_an_image_wider_than_a_band() -> None:
    layer = nn.Conv2d(2, 3, 7)
    image = noise(8, PIXELS_PER_BAND + 3, 4)[:, :, :2].permute(2, 0, 1)
    sums = torch.empty(8, PIXELS_PER_BAND + 3, 3)
    FirstConvolution(layer)(image, sums, None)
    padded = F.pad(image[None].double(), (3, 3, 3, 3), mode="reflect")
    assert_same(planar(sums), F.conv2d(padded, layer.weight.detach().double()))


@settings(deadline=None, max_examples=25)
@given(height=sides, width=sides, channels=channel_counts, outputs=channel_counts)
def test_halving(height: int, width: int, channels: int, outputs: int) -> None:
    layer = nn.Conv2d(channels, outputs, 3, stride=2, padding=1)
    x, dense = raw_map(height, width, channels)
    expected = F.conv2d(dense, layer.weight.detach().double(), stride=2, padding=1)
    sums, moments = torch.full((-(-height // 2), -(-width // 2), outputs), float("nan")), Moments()
    DownConvolution(layer)(x, sums, moments)
    assert_same(planar(sums), expected)
    assert_moments(moments, expected)


def test_doubling_by_hand() -> None:
    layer = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1, bias=False)
    layer.weight.data = torch.tensor([[[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]]])
    sums = torch.empty(2, 4, 1)
    UpConvolution(layer)(RawMap(torch.tensor([[[1.0], [10.0]]]), None, None), sums, None)
    # The kernel, once at (0, 0) and ten times at (0, 2), without its first row and column.
    assert sums[..., 0].tolist() == [[5, 6 + 40, 50, 60], [8, 9 + 70, 80, 90]]


@settings(deadline=None, max_examples=25)
@given(height=sides, width=sides, channels=channel_counts, outputs=channel_counts)
def test_doubling(height: int, width: int, channels: int, outputs: int) -> None:
    layer = nn.ConvTranspose2d(channels, outputs, 3, stride=2, padding=1, output_padding=1)
    x, dense = raw_map(height, width, channels)
    weight = layer.weight.detach().double()
    expected = F.conv_transpose2d(dense, weight, stride=2, padding=1, output_padding=1)
    sums, moments = torch.full((2 * height, 2 * width, outputs), float("nan")), Moments()
    UpConvolution(layer)(x, sums, moments)
    assert_same(planar(sums), expected)
    assert_moments(moments, expected)


@settings(deadline=None, max_examples=25)
@given(
    height=st.integers(4, 40),
    width=st.integers(4, 40),
    channels=channel_counts,
    outputs=channel_counts,
    bias=st.booleans(),
)
def test_last_convolution(height: int, width: int, channels: int, outputs: int, bias: bool) -> None:
    layer = nn.Conv2d(channels, outputs, 7, bias=bias)
    x, dense = raw_map(height, width, channels)
    image = torch.full((outputs, height, width), float("nan"))
    LastConvolution(layer)(x, image)
    layer.double()
    assert_same(image[None], layer(F.pad(dense, (3, 3, 3, 3), mode="reflect")).detach().tanh())

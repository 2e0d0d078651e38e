from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from darkside_cli.networks.layers import BlurDownsample, BlurUpsample, binomial_kernel


def test_binomial_kernels_by_hand() -> None:
    assert binomial_kernel(1) == [[1.0]]
    assert binomial_kernel(3, total=16) == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert binomial_kernel(4, total=64)[1] == [3, 9, 9, 3]
    assert sum(map(sum, binomial_kernel(4))) == 1


def test_downsampling_by_hand() -> None:
    row = torch.tensor([8.0, 0.0, 4.0, 12.0, 0.0]).expand(1, 1, 5, 5)
    # Reflected border: 0 | 8 0 4 12 0 | 12. Every second pixel of the [1 2 1] / 4 blur, the same in all rows.
    assert BlurDownsample(1)(row)[0, 0].tolist() == [[4.0, 5.0, 6.0]] * 3


def test_upsampling_by_hand() -> None:
    row = torch.tensor([0.0, 4.0]).expand(1, 1, 1, 2)
    # Repeated border: 0 | 0 4 | 4, each new pixel 3/4 of the nearer and 1/4 of the farther old one.
    assert BlurUpsample(1)(row)[0, 0].tolist() == [[0.0, 1.0, 3.0, 4.0]] * 2


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 9), width=st.integers(1, 9), channels=st.integers(1, 3))
def test_upsampling_is_bilinear_interpolation(height: int, width: int, channels: int) -> None:
    x = torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(BlurUpsample(channels)(x), expected)


@settings(deadline=None, max_examples=30)
@given(height=st.integers(2, 9), width=st.integers(2, 9))
def test_downsampling_keeps_constants_and_channels_apart(height: int, width: int) -> None:
    x = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, height, width)
    y = BlurDownsample(2)(x)
    assert y.shape == (1, 2, (height + 1) // 2, (width + 1) // 2)
    assert torch.equal(y, x[..., : y.shape[2], : y.shape[3]])


@pytest.mark.parametrize(("layer", "total"), [(BlurDownsample(3), 1.0), (BlurUpsample(3), 4.0)])
def test_state_is_the_kernel_alone(layer: torch.nn.Module, total: float) -> None:
    (name, filt), *others = layer.state_dict().items()
    assert (name, others) == ("filt", [])
    assert filt.sum((1, 2, 3)).tolist() == [total] * 3
    assert not list(layer.parameters())

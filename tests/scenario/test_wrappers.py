from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from darkside_cli.errors import ConfigError, UnknownNameError
from darkside_cli.images.clahe import ClaheSettings, apply_clahe
from darkside_cli.scenario.wrappers import (
    ClaheAfter,
    MeanStd,
    MeanStdAfter,
    MultiScale,
    PadDivisible,
    RandomPassThrough,
    RatioPassThrough,
    SwapColours,
    TupleBatch,
    Whiten,
    WrappedNetwork,
    parse_wrappers,
)

HALF = "[[0.5,0.5,0.5],[0.5,0.5,0.5]]"
UNIT = "[[0,0,0],[1,1,1]]"


class Double(nn.Module):
    """Doubles, and keeps what it saw."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return 2 * x


def test_published_strings() -> None:
    imagenet = "[[0.485,0.456,0.406],[0.229,0.224,0.225]]"
    text = f"meanstd_post:{HALF}:{imagenet},clahepost:{HALF}:1.0,cir_ratio_pass_through:0.25:anc"
    normalised = MeanStd((0.5,) * 3, (0.5,) * 3)
    assert parse_wrappers(text) == (
        MeanStdAfter(normalised, MeanStd((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ClaheAfter(normalised, ClaheSettings(1.0)),
        RatioPassThrough(0.25, "anc"),
    )
    assert parse_wrappers("cirfaketuplebatch") == (TupleBatch(),)
    assert parse_wrappers("") == parse_wrappers(None) == parse_wrappers({}) == ()


def test_mappings_are_sorted_by_their_keys() -> None:
    options = {
        "1_cirmultiscale": {"scales": True},
        "0_cirwhiten": {"whitening": "x/lw.pkl", "dimensions": None},
        "2_rgb2bgr_pre": None,
    }
    assert parse_wrappers(options) == (
        Whiten("x/lw.pkl", None),
        MultiScale((1.0, 2**-0.5, 0.5)),
        SwapColours(),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cirmultiscale", MultiScale((1.0, 2**-0.5, 0.5))),
        ("cirmultiscale:True", MultiScale((1.0, 2**-0.5, 0.5))),
        ("cirmultiscale:False", MultiScale((1.0,))),
        ("cirmultiscale:[1,0.5]", MultiScale((1.0, 0.5))),
        ("cir_random_pass_through:0.3", RandomPassThrough(0.3)),
        (" reflectpad_divisible : 16 ", PadDivisible(16)),
        (f"clahepost:{UNIT}", ClaheAfter(MeanStd((0.0,) * 3, (1.0,) * 3), ClaheSettings(1.0, 8))),
    ],
)
def test_single_wrappers(text: str, expected: Any) -> None:
    assert parse_wrappers(text) == (expected,)


def test_before_in_order_and_after_in_reverse() -> None:
    """Swapped, then to [0, 1]: 2, 1, 0 become 1.5, 1, 0.5. Doubled; the last listed of the two below acts first."""
    network = Double()
    wrappers = parse_wrappers(
        f"rgb2bgr_pre,meanstd_pre:{HALF}:{UNIT},meanstd_post:{UNIT}:[[1,1,1],[1,1,1]],meanstd_post:{UNIT}:[[0,0,0],[2,2,2]]"
    )
    x = torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1, 1)
    result = WrappedNetwork(network, wrappers)(x)
    assert network.seen.flatten().tolist() == [1.5, 1.0, 0.5]
    assert result.flatten().tolist() == [0.5, 0.0, -0.5]


def test_padding_by_hand() -> None:
    network = Double()
    x = torch.arange(6.0).view(1, 1, 2, 3)
    result = WrappedNetwork(network, [PadDivisible(4)])(x)
    assert network.seen[0, 0].tolist() == [
        [0.0, 1.0, 2.0, 2.0],
        [0.0, 1.0, 2.0, 2.0],
        [3.0, 4.0, 5.0, 5.0],
        [3.0, 4.0, 5.0, 5.0],
    ]
    assert torch.equal(result, 2 * x)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9))
@settings(deadline=None)
def test_padding_comes_off_again(height: int, width: int, divisor: int) -> None:
    network = Double()
    x = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    assert torch.equal(WrappedNetwork(network, [PadDivisible(divisor)])(x), 2 * x)
    assert all(0 <= padded - side < divisor for padded, side in zip(network.seen.shape, x.shape, strict=True))
    assert network.seen.shape[2] % divisor == network.seen.shape[3] % divisor == 0


def test_clahe_of_every_image() -> None:
    x = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    result = WrappedNetwork(nn.Identity(), parse_wrappers(f"clahepost:{HALF}:2.0:4"))(x * 2 - 1)
    for image, equalised in zip(x, result, strict=True):
        expected = apply_clahe(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), ClaheSettings(2.0, 4))
        np.testing.assert_allclose(equalised.permute(1, 2, 0).numpy(), expected * 2 - 1, atol=0.02)


def test_settings_do_not_go_around_a_network() -> None:
    with pytest.raises(ConfigError, match="MultiScale"):
        WrappedNetwork(nn.Identity(), parse_wrappers("cirmultiscale"))


def test_misspelt() -> None:
    with pytest.raises(UnknownNameError) as caught:
        parse_wrappers("rgb2bgr")
    assert "rgb2bgr_pre" in caught.value.near


@pytest.mark.parametrize(
    "wrappers",
    [
        "reflectpad_divisible",
        "reflectpad_divisible:x",
        "meanstd_pre:[[0.5]]:[[1]]",
        "meanstd_pre:[0:[1",
        "rgb2bgr_pre:1",
        {"0_cirwhiten": {"file": "x"}},
    ],
)
def test_options_a_wrapper_does_not_take(wrappers: Any) -> None:
    with pytest.raises(ConfigError, match="does not take"):
        parse_wrappers(wrappers)

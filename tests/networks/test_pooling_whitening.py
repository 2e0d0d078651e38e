from __future__ import annotations

import pytest
import torch

from darkside_cli.networks.pooling import LearnedWhitening, LocalWhitening, WhiteningProjection


def test_local_whitening_is_a_1x1_convolution() -> None:
    torch.manual_seed(0)
    layer = LocalWhitening(3, 2)
    x = torch.randn(2, 3, 4, 5)
    as_convolution = torch.nn.functional.conv2d(x, layer.weight[:, :, None, None], layer.bias)
    torch.testing.assert_close(layer(x), as_convolution)


def test_learned_whitening_runs_in_single_precision() -> None:
    torch.manual_seed(0)
    layer = LearnedWhitening(8, 8)
    x = torch.randn(3, 8)
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), exact)
    halved = layer.bfloat16()
    assert halved(x).dtype == torch.float32
    torch.testing.assert_close(halved(x), exact, atol=0.05, rtol=0.05)


def test_projection_by_hand() -> None:
    """d - m = (2, 1); P gives (2, 2, 1), of length 3."""
    mean = torch.tensor([1.0, 2.0], dtype=torch.float64)
    projection = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    layer = WhiteningProjection(mean, projection)
    torch.testing.assert_close(
        layer(torch.tensor([[3.0, 3.0]])), torch.tensor([[2.0, 2.0, 1.0]]) / (3 + 1e-6)
    )
    assert repr(layer) == "WhiteningProjection(2 -> 3)"
    assert {key: value.dtype for key, value in layer.state_dict().items()} == {
        "mean": torch.float32,
        "projection": torch.float32,
    }


def test_the_mean_itself_has_no_direction() -> None:
    layer = WhiteningProjection(torch.tensor([1.0, 2.0]), torch.eye(2))
    assert layer(torch.tensor([[1.0, 2.0]])).tolist() == [[0.0, 0.0]]


def test_projection_runs_in_single_precision() -> None:
    torch.manual_seed(0)
    layer = WhiteningProjection(torch.randn(16), torch.randn(4, 16))
    x = torch.randn(3, 16)
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), exact)
    assert layer(x.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(("mean", "projection"), [((3,), (2, 4)), ((3, 1), (2, 3)), ((3,), (3,))])
def test_shapes_that_do_not_belong_together(mean: tuple[int, ...], projection: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not make a whitening"):
        WhiteningProjection(torch.zeros(mean), torch.zeros(projection))

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import noise
from torch import nn

from darkside_cli.errors import UsageError
from darkside_cli.networks.edge_detectors import (
    EdgeDetector,
    Hed,
    HedConfig,
    Rcf,
    RcfConfig,
    bilinear_kernel,
    recognise_hed,
    recognise_rcf,
)

DETECTORS = (Hed, Rcf)


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request: pytest.FixtureRequest) -> EdgeDetector:
    torch.manual_seed(0)
    network: EdgeDetector = request.param().eval()
    return network


def without_weights(kind: type[EdgeDetector]) -> EdgeDetector:
    network = kind().eval()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    return network


def test_hed_gets_bgr_from_zero_to_one_minus_its_mean() -> None:
    image = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    expected = [0.0 - 0.40787054, 0.5 - 0.45752458, 1.0 - 0.48109378]
    assert Hed().prepare(image).flatten().tolist() == pytest.approx(expected, abs=1e-7)


def test_rcf_gets_bgr_from_zero_to_255_minus_its_mean() -> None:
    image = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    expected = [0.0 - 104.00698793, 127.5 - 116.66876762, 255.0 - 122.67891434]
    assert Rcf().prepare(image).flatten().tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
@settings(deadline=None, max_examples=8)
@given(height=st.integers(16, 40), width=st.integers(16, 40))
def test_edges_have_the_size_of_the_image_whatever_it_is(
    detector: EdgeDetector, height: int, width: int
) -> None:
    images = noise(2, 3, height, width)
    with torch.no_grad():
        edges = detector(images)
        logits = detector.logits(images)
    assert edges.shape == logits.shape == (2, 1, height, width)
    assert torch.equal(edges, torch.sigmoid(logits))
    assert torch.equal(logits, detector.bare_logits(detector.prepare(images)))


def test_smallest_image(detector: EdgeDetector) -> None:
    side = detector.SMALLEST_SIDE_PX
    with torch.no_grad():
        assert detector(noise(1, 3, side, side)).isfinite().all()
    with pytest.raises(UsageError, match=f"in 30x{side - 1} pixels") as raised:
        detector(noise(1, 3, side - 1, 30))
    assert str(side) in (raised.value.hint or "")


def test_gradients_reach_every_parameter_and_the_image(detector: EdgeDetector) -> None:
    images = noise(1, 3, 21, 18).requires_grad_()
    detector.logits(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    detector.zero_grad(set_to_none=True)


def test_gradients_reach_the_image_through_a_frozen_detector() -> None:
    network = Rcf().requires_grad_(False)
    images = noise(1, 3, 20, 20).requires_grad_()
    network(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", DETECTORS)
def test_adaptation_and_kernels_are_no_part_of_the_state(kind: type[EdgeDetector]) -> None:
    network = kind()
    assert all(key.endswith((".weight", ".bias")) for key in network.state_dict())
    assert len(list(network.buffers())) == (1 if kind is Hed else 5)


def test_hed_sums_its_weighted_side_maps() -> None:
    network = without_weights(Hed)
    for number in range(1, 6):
        network.get_parameter(f"score{number}.bias").data.fill_(number)
    network.get_parameter("fusion.0.weight").data = torch.tensor([1.0, 10.0, 100.0, 0.5, 0.25]).view(
        1, 5, 1, 1
    )
    network.get_parameter("fusion.0.bias").data.fill_(-0.5)
    logits = network.logits(noise(1, 3, 19, 33))
    torch.testing.assert_close(logits, torch.full((1, 1, 19, 33), 1 + 20 + 300 + 2 + 1.25 - 0.5))


def test_hed_interpolates_without_aligned_corners() -> None:
    network = without_weights(Hed)
    network.get_parameter("vgg1.0.weight").data[0, 0, 1, 1] = 1.0  # blue of the pixel itself ...
    network.get_parameter("vgg1.2.weight").data[0, 0, 1, 1] = 1.0
    for stage in (1, 3):
        network.get_parameter(f"vgg2.{stage}.weight").data[0, 0, 1, 1] = 1.0  # ... its maximum in 2x2 pixels
    network.get_parameter("score2.weight").data[0, 0] = 1.0
    network.get_parameter("fusion.0.weight").data[0, 1] = 1.0
    x = torch.zeros(1, 3, 16, 16)
    x[0, 0, :, :8] = 4.0
    row = network.bare_logits(x)[0, 0, 5]
    assert row.tolist() == [4.0] * 7 + [3.0, 1.0] + [0.0] * 7


def test_bilinear_kernel_by_hand() -> None:
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(bilinear_kernel(4)[0, 0], row[:, None] * row)
    for size in (4, 8, 16):
        assert bilinear_kernel(size).sum().item() == pytest.approx((size / 2) ** 2)


@pytest.mark.parametrize(
    ("stage", "first_pixels"),
    [
        (1, [1.0, 1.0, 1.0]),
        (2, [0.75, 1.0, 1.0]),  # kernel (1 3 3 1)/4 at stride 2, one pixel cropped
        (3, [0.625, 0.875, 1.0]),  # (1 3 5 7 7 5 3 1)/8 at stride 4, two pixels cropped
        (4, [0.5625, 0.6875, 0.8125, 0.9375, 1.0]),  # (1 3 .. 15 15 .. 3 1)/16 at stride 8, four cropped
        (5, [0.0625, 0.1875, 0.3125, 0.4375, 0.5625, 0.6875, 0.8125, 0.9375, 1.0]),  # the same, none cropped
    ],
)
def test_rcf_enlarges_and_crops_each_stage(stage: int, first_pixels: list[float]) -> None:
    network = without_weights(Rcf)
    network.get_parameter(f"score_dsn{stage}.bias").data.fill_(1.0)
    network.get_parameter("score_fuse.weight").data[0, stage - 1] = 1.0
    logits = network.logits(noise(1, 3, 37, 50))[0, 0]
    # A constant score map: what the deconvolution does to its border shows in every row and column alike.
    profile = torch.tensor(first_pixels)
    size = len(profile)
    torch.testing.assert_close(logits[:size, :size], profile[:, None] * profile)


def test_rcf_adds_up_the_convolutions_of_a_stage() -> None:
    network = without_weights(Rcf)
    for number in (1, 2, 3):
        network.get_parameter(f"conv3_{number}_down.bias").data.fill_(10.0**number)
    network.get_parameter("score_dsn3.weight").data.fill_(1 / 21)
    network.get_parameter("score_fuse.weight").data[0, 2] = 2.0
    assert network.logits(noise(1, 3, 32, 32))[0, 0, 16, 16].item() == pytest.approx(2220.0)


def test_recognition() -> None:
    shapes = [{key: tuple(t.shape) for key, t in kind().state_dict().items()} for kind in DETECTORS]
    assert [recognise_hed(s) for s in shapes] == [HedConfig(), None]
    assert [recognise_rcf(s) for s in shapes] == [None, RcfConfig()]
    assert recognise_hed({}) is None
    assert recognise_rcf({}) is None

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from darkside_cli.errors import UsageError
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.sobel import Sobel, SobelConfig, recognise
from darkside_cli.networks.weights import build_network, save_checkpoint

FLAT = torch.tensor(-4.0)


def step(low: float, high: float, height: int = 32, width: int = 32) -> Tensor:
    """Left half ``low``, right half ``high``, in the [-1, 1] of the networks."""
    image = torch.full((1, 3, height, width), low)
    image[..., width // 2 :] = high
    return image * 2 - 1


def test_even_images_have_no_edges() -> None:
    image = torch.full((2, 3, 16, 24), 0.3)
    torch.testing.assert_close(Sobel().logits(image), FLAT.expand(2, 1, 16, 24))


def test_one_scale_by_hand() -> None:
    detector = Sobel(SobelConfig(scales=1))
    logits = detector.logits(step(0.2, 0.6, 8, 8))[0, 0]
    # Sobel's filter over 8 gives half the step on both sides of it: 0.2, nothing elsewhere. Eight pixels are
    # one neighbourhood: mean square 0.04 * 2/8 = 0.01, mean brightness 0.4.
    reference = (0.01 + 1e-6) ** 0.5 + 0.05 * 0.4 + 0.02
    edge = -4 + 6 * ((0.04 + 1e-6) ** 0.5 - 1e-3) / reference
    expected = torch.tensor([-4.0, -4, -4, edge, edge, -4, -4, -4]).expand(8, 8)
    torch.testing.assert_close(logits, expected, atol=2e-4, rtol=1e-4)


def test_forward_is_the_sigmoid_of_the_logits() -> None:
    image = step(0.1, 0.9)
    detector = Sobel()
    torch.testing.assert_close(detector(image), torch.sigmoid(detector.logits(image)))
    assert detector(image).max() > 0.9
    assert detector(image)[..., :4].max() < 0.1


def test_edges_are_found_in_dim_light_but_not_in_black() -> None:
    detector = Sobel()
    day, dim, black = (detector(step(level, 4 * level)) for level in (0.2, 0.08, 0.002))
    assert dim.max() > 0.75
    assert (day - dim).abs().mean() < 0.03
    assert black.max() < 0.1


def test_both_directions_alike() -> None:
    image = step(0.2, 0.7)
    detector = Sobel()
    upright = detector.logits(image.transpose(2, 3)).transpose(2, 3)
    torch.testing.assert_close(upright, detector.logits(image))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(8, 50), width=st.integers(8, 50), scales=st.integers(1, 4), level=st.floats(-1, 1))
def test_any_size_and_finite_gradients(height: int, width: int, scales: int, level: float) -> None:
    image = torch.full((1, 3, height, width), level)
    image[..., 0, 0] = 1.0
    image.requires_grad_()
    logits = Sobel(SobelConfig(scales=scales, width=4)).logits(image)
    assert logits.shape == (1, 1, height, width)
    logits.sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()


def test_gradient_strengthens_the_edge() -> None:
    image = step(0.4, 0.5).requires_grad_()
    Sobel().logits(image)[..., 15:17].sum().backward()
    assert image.grad is not None
    assert image.grad[..., 16].sum() > 0 > image.grad[..., 15].sum()


def test_too_small() -> None:
    with pytest.raises(UsageError, match="Sobel cannot find edges in 9x7 pixels"):
        Sobel().logits(torch.zeros(1, 3, 7, 9))


def test_student_begins_as_its_teacher_and_learns() -> None:
    teacher = Sobel()
    student = teacher.trainable_copy()
    image = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.equal(student.logits(image), teacher.logits(image))
    assert torch.equal(
        teacher.trainable_copy().correction[0].weight,  # type: ignore[index]
        student.correction[0].weight,  # type: ignore[index]
    )
    target = teacher.logits(image).detach()
    dark = image * 0.1 - 0.9
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss = (student.logits(dark) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(teacher.logits(image), target)


def test_a_students_copy_is_a_copy() -> None:
    student = Sobel(SobelConfig(width=3))
    torch.nn.init.ones_(student.correction[-1].bias)  # type: ignore[index, arg-type]
    copy = student.trainable_copy()
    assert copy.config == student.config
    image = step(0.3, 0.6)
    assert torch.equal(copy.logits(image), student.logits(image))
    assert copy.fusion_weight is not student.fusion_weight


def test_half_precision_changes_only_the_correction() -> None:
    image = step(0.3, 0.6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = Sobel().logits(image)
    assert torch.equal(half, Sobel().logits(image))


@pytest.mark.parametrize("config", [SobelConfig(), SobelConfig(scales=2, width=5)])
def test_file_opens_again(config: SobelConfig, tmp_path) -> None:  # type: ignore[no-untyped-def]
    detector = Sobel(config)
    torch.nn.init.constant_(detector.fusion_bias, -1.0)
    shapes = {key: tuple(value.shape) for key, value in detector.state_dict().items()}
    assert recognise(shapes) == config
    path = tmp_path / "edge_student.safetensors"
    save_checkpoint(path, detector, architecture="sobel", config=config)
    opened = build_network(open_checkpoint(path))
    assert isinstance(opened, Sobel)
    image = step(0.3, 0.6)
    assert torch.equal(opened.logits(image), detector.logits(image))
    assert ARCHITECTURES.get("sobel").kind == "edge-detector"

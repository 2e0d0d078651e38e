from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tensors import noise
from torch import Tensor

from darkside_cli.networks.guided import guided_filter, solve_symmetric


def test_an_affine_change_of_colour_is_found_exactly_at_any_size() -> None:
    matrix = torch.tensor([[0.5, -0.2, 0.1], [0.0, 0.3, -0.4]])
    offset = torch.tensor([0.1, -0.3])
    small, image = noise(2, 3, 12, 15), noise(2, 3, 40, 31, seed=1)

    def change(x: Tensor) -> Tensor:
        return torch.einsum("dc,bchw->bdhw", matrix, x) + offset.view(1, 2, 1, 1)

    filtered = guided_filter(image, small, change(small), radius=2, eps=1e-7)
    torch.testing.assert_close(filtered, change(image), atol=1e-4, rtol=0)


def test_without_texture_in_the_guide_the_target_is_averaged_twice_over_the_windows() -> None:
    grey = torch.full((1, 3, 1, 7), 0.25)
    target = torch.zeros(1, 1, 1, 7)
    target[..., 3] = 9.0
    # Windows of three pixels: 3 3 3 about the spike, then 1 2 3 2 1.
    expected = torch.tensor([0.0, 1, 2, 3, 2, 1, 0]).view(1, 1, 1, 7)
    filtered = guided_filter(grey, grey, target, radius=1, eps=1e-3)
    torch.testing.assert_close(filtered, expected, atol=1e-5, rtol=0)


def by_pixel(
    guide: NDArray[np.float64], target: NDArray[np.float64], radius: int, eps: float
) -> NDArray[np.float64]:
    """Equations 14 to 16 of the paper, one window at a time: guide (h, w, 3), target (h, w) to (h, w)."""
    height, width = target.shape
    slopes, offsets = np.zeros((height, width, 3)), np.zeros((height, width))

    def window(y: int, x: int) -> tuple[slice, slice]:
        return slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)

    for y in range(height):
        for x in range(width):
            colours = guide[window(y, x)].reshape(-1, 3)
            values = target[window(y, x)].reshape(-1)
            covariance = np.cov(colours.T, bias=True) + eps * np.eye(3)
            together = (colours * values[:, None]).mean(0) - colours.mean(0) * values.mean()
            slopes[y, x] = np.linalg.solve(covariance, together)
            offsets[y, x] = values.mean() - slopes[y, x] @ colours.mean(0)
    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            slope = slopes[window(y, x)].reshape(-1, 3).mean(0)
            result[y, x] = slope @ guide[y, x] + offsets[window(y, x)].mean()
    return result


@pytest.mark.parametrize(("radius", "eps"), [(1, 1e-2), (2, 1e-3), (9, 0.1)])
def test_equals_the_paper_window_by_window(radius: int, eps: float) -> None:
    guide, target = noise(1, 3, 9, 7), noise(1, 1, 9, 7, seed=1)
    filtered = guided_filter(guide, guide, target, radius=radius, eps=eps)
    expected = by_pixel(
        guide[0].permute(1, 2, 0).double().numpy(), target[0, 0].double().numpy(), radius, eps
    )
    np.testing.assert_allclose(filtered[0, 0].numpy(), expected, atol=2e-4)


def test_between_two_sides_of_an_edge_lies_nothing_brighter_than_both() -> None:
    """The fault it is there against: an outline drawn where day has only a step from dark to light."""
    ramp = torch.tensor([-0.5] * 10 + [0.0] + [0.9] * 10)
    guide = ramp.view(1, 1, 1, -1).expand(1, 3, 21, 21)
    plain = torch.full((1, 3, 21, 21), -0.6)
    plain[..., 11:] = -0.9
    target = plain.clone()
    target[..., 10] = 1.0  # a glowing outline
    filtered = guided_filter(guide, guide, target, radius=4, eps=1e-3)
    assert filtered.max() < -0.6 + 1.6 / 3, "less than a third of its height is left"
    kept = guided_filter(guide, guide, plain, radius=4, eps=1e-3)
    assert kept.max() <= -0.58
    assert kept.min() >= -0.91


def test_half_precision_in_and_out_is_computed_in_float32() -> None:
    image, target = noise(1, 3, 16, 16), noise(1, 3, 16, 16, seed=1)
    exact = guided_filter(image, image, target, radius=2, eps=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = guided_filter(image, image, target, radius=2, eps=1e-3)
    assert torch.equal(exact, under_autocast)
    half = guided_filter(image.half(), image.half(), target.half(), radius=2, eps=1e-3)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), exact, atol=5e-3, rtol=0)


def test_gradients_reach_the_target() -> None:
    image = noise(1, 3, 5, 6).double()
    target = noise(1, 2, 5, 6, seed=1).requires_grad_()
    filtered = guided_filter(image, image, target, radius=1, eps=1e-2)
    direction = noise(1, 2, 5, 6, seed=2)
    (filtered * direction).sum().backward()
    # The filter is linear in the target, so that any other target tells the gradient.
    other = noise(1, 2, 5, 6, seed=3)
    assert target.grad is not None
    expected = (guided_filter(image, image, other, radius=1, eps=1e-2) * direction).sum()
    torch.testing.assert_close((target.grad * other).sum(), expected, atol=1e-4, rtol=1e-4)


@given(st.integers(0, 2**31), st.sampled_from([1.0, 1e-1, 1e-3]))
@settings(max_examples=50, deadline=None)
def test_systems_of_three_are_solved(seed: int, ridge: float) -> None:
    random = np.random.default_rng(seed)
    factors = random.normal(size=(5, 3, 1 if seed % 2 else 3))  # of rank 1: as in grey images
    matrices = factors @ factors.transpose(0, 2, 1) + ridge * np.eye(3)
    right = random.normal(size=(5, 3))
    upper = tuple(torch.from_numpy(matrices[:, i, j]) for i in range(3) for j in range(i, 3))
    solved = solve_symmetric(upper, tuple(torch.from_numpy(right[:, i]) for i in range(3)))  # type: ignore[arg-type]
    expected = np.linalg.solve(matrices, right[..., None])[..., 0]
    np.testing.assert_allclose(torch.stack(solved, 1).numpy(), expected, rtol=1e-8, atol=1e-9 / ridge)

"""What is computed of images as tensors, by numbers that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch

from darkside_cli.images.tensors import box_mean, luminance


def test_a_mean_is_over_what_is_inside() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3)
    assert box_mean(x, 3)[0, 0].tolist() == [[2.0, 2.5, 3.0], [3.5, 4.0, 4.5], [5.0, 5.5, 6.0]]


def test_green_is_brighter_than_red_and_red_than_blue() -> None:
    colours = torch.eye(3).view(3, 3, 1, 1)  # red, green and blue as three images of a pixel
    assert luminance(colours).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])

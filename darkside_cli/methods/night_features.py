"""Features of an ImageNet network, by which sets of images are compared: what a kernel distance is measured in."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from darkside_cli.networks.efficientnet_lite import MEAN, STD, load_imagenet

#: The network that figures are told in where no other is named, and the longest side that it sees.
NETWORK, SIDE_PX = "efficientnet_lite2", 320


class ImageFeatures:
    """Images to rows of 1280 numbers: the network's last layer, averaged over the map.

    ``network`` is a name in :data:`darkside_cli.networks.catalog.IMAGENET`. Raises MissingAssetError, with the command
    that gets it, where the package with its weights is not installed.
    """

    def __init__(self, network: str = NETWORK, *, device: torch.device | str = "cpu") -> None:
        self._network, self._device = load_imagenet(network).to(device), torch.device(device)

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Features, (1280,), of an image (H, W, 3) uint8 RGB, shrunk (Lanczos) to at most 320 px a side."""
        small = Image.fromarray(image)
        small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
        x = torch.from_numpy(np.asarray(small).transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
        y: NDArray[np.float64] = (
            self._network(((x - mean) / std).to(self._device)).mean((2, 3))[0].double().cpu().numpy()
        )
        return y


def gamma_and_tint(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The simple recipe that generators are held against: gamma 2.2 and a blue tint, (H, W, 3) uint8 to the same."""
    dark = (image.astype(np.float32) / np.float32(255)) ** np.float32(2.2)
    return np.round(dark * np.array([0.6, 0.7, 1.0], np.float32) * 255).astype(np.uint8)

"""A history of generated images, so that a discriminator does not forget what generators did before.

Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training", CVPR 2017,
section 2.3; 50 images in CycleGAN.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Keeps ``size`` images and hands out a mixture of new and old ones; 0 passes everything through.

    Draws from a random stream of its own, which begins with ``seed``.
    """

    def __init__(self, size: int, *, seed: int = 0) -> None:
        self.size = size
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._images: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._images)

    def query(self, images: Tensor) -> Tensor:
        """Give back as many images as came in, ``(B, C, H, W)``, detached.

        Image by image: until the pool is full the image is kept and returned; then, with probability one half,
        it takes the place of an old one, which is returned in its stead, and else it is returned unkept.
        """
        images = images.detach()
        if self.size == 0:
            return images
        given: list[Tensor] = []
        for image in images:
            if len(self._images) < self.size:
                self._images.append(image.clone())
                given.append(image)
            elif self._random.uniform(0, 1) > 0.5:
                place = self._random.randint(0, self.size - 1)
                given.append(self._images[place])
                self._images[place] = image.clone()
            else:
                given.append(image)
        return torch.stack(given)

    def state_dict(self) -> dict[str, Any]:
        """Images, on the CPU, and the state of the random stream."""
        version, numbers, spare = self._random.getstate()
        return {
            "images": [image.cpu() for image in self._images],
            "random": {"version": version, "numbers": list(numbers), "spare": spare},
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Go on from ``state``, with the images on ``device``."""
        self._images = [image.to(device) for image in state["images"]]
        stream = state["random"]
        self._random.setstate((stream["version"], tuple(stream["numbers"]), stream["spare"]))

"""Places of images whose network inputs and descriptors can be worked out by hand, for tests of metric learning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from darkside_cli.datasets.tuples import TupleSet, spread_pairs
from darkside_cli.networks.pooling import GeM
from darkside_cli.networks.retrieval_net import RetrievalNetConfig

MEAN, STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def write_places(
    folder: Path, places: int = 6, each: int = 3, *, sides: Sequence[tuple[int, int]] = ((24, 20),)
) -> None:
    """Write ``folder/p<place>/<number>.png``: images of a place have a pattern of its own, and some noise."""
    rng = np.random.default_rng(places)
    for place in range(places):
        pattern = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
        for number in range(each):
            width, height = sides[number % len(sides)]
            image = np.asarray(Image.fromarray(pattern).resize((width, height), Image.Resampling.BICUBIC))
            noisy = np.clip(image.astype(int) + rng.integers(-12, 13, image.shape), 0, 255)
            path = folder / f"p{place:02d}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy.astype(np.uint8)).save(path)


def flat_places(folder: Path, colours: Sequence[Sequence[tuple[int, int, int]]], side: int = 8) -> TupleSet:
    """Write one-coloured images, a list of colours for each place, and give them as tuples."""
    folder.mkdir(parents=True, exist_ok=True)
    names, clusters, groups = [], [], []
    for place, own in enumerate(colours):
        groups.append(list(range(len(names), len(names) + len(own))))
        for number, colour in enumerate(own):
            name = f"p{place}/{number}.png"
            (folder / f"p{place}").mkdir(exist_ok=True)
            Image.new("RGB", (side, side), colour).save(folder / name)
            names.append(name)
            clusters.append(place)
    queries, positives = spread_pairs(groups, 1)
    return TupleSet(
        "flat", tuple(names), tuple(folder / name for name in names), np.array(clusters), queries, positives
    )


class MeanNet(nn.Module):
    """A descriptor of three numbers: the weighted means of the channels, of unit length. It has a pooling's ``p``."""

    def __init__(self, *, norm: bool = False) -> None:
        super().__init__()
        self.config = RetrievalNetConfig(backbone="squeezenet1_1", mean=MEAN, std=STD)
        layers: list[nn.Module] = [nn.Conv2d(3, 3, 1, bias=False)]
        if norm:
            layers.append(nn.BatchNorm2d(3))
        self.features = nn.Sequential(*layers)
        self.pool = GeM(1.0)
        with torch.no_grad():
            self.features[0].weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(self.features(x))
        return pooled / pooled.norm(dim=1, keepdim=True)

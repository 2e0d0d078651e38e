"""A trained generator as what makes night for metric learning: frozen, exact, one image at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.assets.ledger import sha256_of
from darkside_cli.config.paths import DataRoot
from darkside_cli.kernels import prepare
from darkside_cli.methods.generators import open_generator, statistics
from darkside_cli.methods.translate import Sides
from darkside_cli.networks.relight import NightControls, night_code, relighting
from darkside_cli.networks.weights import build_network


class GeneratorNight:
    """Makes night with ``network``, which maps (1, 3, H, W) normalised by ``mean`` and ``std`` to the same range.

    Computes in float32; ``fingerprint`` names the weights. Sides are rounded up by the network, as published trainings
    have it: the result may be a little larger than the day image. Safe in several threads, which take turns.
    A generator that can make several nights of a day makes that which the image's name decides.
    """

    costly = True

    def __init__(
        self,
        network: nn.Module,
        *,
        fingerprint: str,
        device: torch.device | str = "cpu",
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
        name: str = "generator",
    ) -> None:
        self.name, self.fingerprint = name, fingerprint
        self._device = torch.device(device)
        self._mean, self._std = (torch.tensor(each).view(1, 3, 1, 1) for each in (mean, std))
        self._sides, self._given = Sides(network), network
        self._elsewhere: dict[torch.device, nn.Module] = {}
        self._network = prepare(network, device=self._device, precision="fp32")
        self._relighting = relighting(self._network)
        self._lock = Lock()

    def __call__(self, day: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
        """Give (H', W', 3) float32 RGB in [0, 1] for (H, W, 3) uint8 RGB."""
        height, width = day.shape[:2]
        down, right = self._sides.surplus(height, width)
        if down or right:
            day = np.pad(day, ((0, down), (0, right), (0, 0)), mode="edge")
        x = torch.from_numpy(np.ascontiguousarray(day.transpose(2, 0, 1)))[None].to(torch.float32) / 255
        x = (x - self._mean) / self._std
        with self._lock, torch.inference_mode(), torch.autocast(self._device.type, enabled=False):
            if self._relighting is not None:
                self._relighting.controls = NightControls(seed=seed_of(name))
            y = self._network(x.to(self._device)).cpu()
        if down or right:
            y = y[..., :height, :width]
        night = y * self._std + self._mean
        return np.ascontiguousarray(night[0].permute(1, 2, 0).numpy())

    def translate(self, days: Tensor, names: Sequence[str]) -> Tensor:
        """Nights (B, 3, H, W) float32 of ``days`` in [0, 1], on their device, each as its name decides."""
        device, (height, width) = days.device, days.shape[-2:]
        down, right = self._sides.surplus(height, width)
        mean, std = self._mean.to(device), self._std.to(device)
        x = (F.pad(days.to(torch.float32), (0, right, 0, down), mode="replicate") - mean) / std
        with self._lock, torch.no_grad(), torch.autocast(device.type, enabled=False):
            network = self._on(device)
            relight = relighting(network)
            if self._one_by_one(device):
                parts = []
                for each, name in zip(x, names, strict=True):
                    if relight is not None:
                        relight.controls = NightControls(seed=seed_of(name))
                    parts.append(network(each[None]))
                y = torch.cat(parts)
            elif relight is not None:
                y = relight(x, torch.cat([night_code(relight.config.code, seed_of(name)) for name in names]))
            else:
                y = network(x)
        return y[..., :height, :width] * std + mean

    def _one_by_one(self, device: torch.device) -> bool:
        """On the CPU one image at a time is fastest, and what its kernels take."""
        return device.type == "cpu"

    def _on(self, device: torch.device) -> nn.Module:
        """The network on ``device``, put there once."""
        if device == self._device:
            return self._network
        if device not in self._elsewhere:
            self._elsewhere[device] = prepare(self._given, device=device, precision="fp32")
        return self._elsewhere[device]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_elsewhere": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock())
        self._relighting = relighting(self._network)


def seed_of(name: str) -> int:
    """A seed that the image's name decides."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:6], "big")


def load_night(model: str | Path, root: DataRoot, *, device: torch.device | str = "cpu") -> GeneratorNight:
    """Load a day-to-night generator by name or path as what makes night.

    Raises MissingAssetError if its weights are not on this machine, CheckpointError if they are no generator's,
    UsageError if it goes the other way.
    """
    name, checkpoint = open_generator(model, root, to="night")
    mean, std = statistics(checkpoint)
    return GeneratorNight(
        build_network(checkpoint), fingerprint=sha256_of(checkpoint.path), device=device,
        mean=mean, std=std, name=name,
    )  # fmt: skip

"""CycleGAN: day becomes night and comes back as the same day, and the other way round.

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017.

As in the paper: least squares, a history of 50 generated images for each discriminator, cycle weight 10. Otherwise
than in the paper, as published with "Dark Side Augmentation" (ICCV 2023): no identity loss (an option), scores of 0
mean real, the first weights are ten times as large. The two cycles are propagated back one after the other, which
takes half the memory; their gradients add up before both generators step.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.losses.gan import discriminator_loss, l1_loss
from darkside_cli.methods.config import CycleGanConfig
from darkside_cli.methods.task import GanTask, make_network
from darkside_cli.training.task import Update


class CycleGanTask(GanTask):
    """Two generators, two discriminators. ``discriminator_night`` judges night images, ``_day`` day images."""

    config: CycleGanConfig

    def __init__(self, config: CycleGanConfig, *, device: torch.device | str) -> None:
        super().__init__(
            config,
            {
                "generator_day2night": make_network(config.generator),
                "generator_night2day": make_network(config.generator),
                "discriminator_night": make_network(config.discriminator),
                "discriminator_day": make_network(config.discriminator),
            },
            device=device,
            outputs=("generator_day2night", "generator_night2day"),
        )
        self.generator_night2day = self.networks["generator_night2day"]
        self.discriminator_day = self.networks["discriminator_day"]
        seed = config.trainer.seed
        self.pool_night = ImagePool(config.pool_size, seed=seed)
        self.pool_day = ImagePool(config.pool_size, seed=seed + 1)

    def train_step(self, batch: UnpairedBatch) -> Iterator[Update]:
        """Both cycles, one step of both generators; then each discriminator."""
        day, night = self.images(batch)
        weights = self.config.weights

        fake_night = self.generator_day2night(day)
        reconstructed_day = self.generator_night2day(fake_night)
        adversarial_night = weights.adversarial * self.fooling(self.discriminator_night, fake_night)
        cycle_day = weights.cycle * l1_loss(reconstructed_day, day)
        terms = {"adversarial_night": adversarial_night, "cycle_day": cycle_day}
        if weights.identity:
            terms["identity_night"] = weights.identity * l1_loss(self.generator_day2night(night), night)
        by_day = sum_of(terms)
        yield Update(by_day, (), {"generator_day2night": by_day, **terms})

        fake_day = self.generator_night2day(night)
        reconstructed_night = self.generator_day2night(fake_day)
        adversarial_day = weights.adversarial * self.fooling(self.discriminator_day, fake_day)
        cycle_night = weights.cycle * l1_loss(reconstructed_night, night)
        terms = {"adversarial_day": adversarial_day, "cycle_night": cycle_night}
        if weights.identity:
            terms["identity_day"] = weights.identity * l1_loss(self.generator_night2day(day), day)
        by_night = sum_of(terms)
        yield Update(
            by_night,
            ("generator_day2night", "generator_night2day"),
            {"generator_night2day": by_night, **terms},
        )

        pooled = self.pool_night.query(fake_night)
        of_night = discriminator_loss(*self.discriminator_losses(self.discriminator_night, night, pooled))
        yield Update(of_night, ("discriminator_night",), {"discriminator_night": of_night})

        pooled = self.pool_day.query(fake_day)
        of_day = discriminator_loss(*self.discriminator_losses(self.discriminator_day, day, pooled))
        total = by_day.detach() + by_night.detach() + of_night.detach() + of_day
        yield Update(of_day, ("discriminator_day",), {"discriminator_day": of_day, "total": total})

    def extra_state(self) -> dict[str, Any]:
        """Return the image pools with their random streams."""
        return {"pool_night": self.pool_night.state_dict(), "pool_day": self.pool_day.state_dict()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take the image pools back."""
        self.pool_night.load_state_dict(state["pool_night"], self.device)
        self.pool_day.load_state_dict(state["pool_day"], self.device)


def sum_of(terms: Mapping[str, Tensor]) -> Tensor:
    """Sum of scalars."""
    return torch.stack(list(terms.values())).sum()


class ImagePool:
    """Keeps ``size`` images and hands out a mixture of new and old ones; 0 passes everything through.

    So a discriminator does not forget what generators did before: Shrivastava et al., "Learning from Simulated and
    Unsupervised Images through Adversarial Training", CVPR 2017, section 2.3. Draws from a random
    stream of its own, which begins with ``seed``.
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

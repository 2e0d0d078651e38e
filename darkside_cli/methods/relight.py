"""Relighting: a generator that makes light learns from what ImageNet features say of a few hundred nights.

The discriminator is that of Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021. What the generator adds to
the day and takes from it (:mod:`darkside_cli.networks.relight`) is held by terms of its own
(:mod:`darkside_cli.losses.relight`): edges of the day stay, the sky is dark, lamps are small. Night images stay as they
are, and different codes make different nights; these two are looked at in every fourth step on the average, on one
image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.losses import relight as losses
from darkside_cli.losses.gan import l1_loss
from darkside_cli.methods.config import RelightConfig
from darkside_cli.methods.task import GanTask, NetworkMethod, make_network
from darkside_cli.networks.relight import RelightGenerator
from darkside_cli.networks.sky import sky_mask
from darkside_cli.training.task import Update

_SELDOM = 0.25
_VARIETY = 0.06
"""How far two nights are apart, in units of the range for codes that differ by one, from where on it is enough."""
_VARIETY_PX = 32


class RelightTask(GanTask):
    """A generator that makes light, and a discriminator."""

    config: RelightConfig

    def __init__(self, config: RelightConfig, *, device: torch.device | str) -> None:
        generator = make_network(config.generator)
        super().__init__(
            config,
            {"generator_day2night": generator, "discriminator_night": make_network(config.discriminator)},
            device=device,
        )
        assert isinstance(generator, RelightGenerator)  # noqa: S101 - the configuration takes no other kind
        self.translate_lit = NetworkMethod(generator, "night_and_light")
        self._code = generator.config.code
        self._random = torch.Generator().manual_seed(config.trainer.seed)

    def train_step(self, batch: UnpairedBatch) -> Iterator[Update]:
        """The discriminator, then the generator."""
        day, night = self.images(batch)
        code = self._draw_code(len(day))
        fake_night, light = self.translate_lit(day, code)

        discriminator = self.discriminator_update(night, fake_night)
        yield discriminator

        weights = self.config.weights
        seen, made = (day + 1) / 2, (fake_night + 1) / 2
        light = F.interpolate(light, size=day.shape[-2:], mode="bilinear")
        sky = sky_mask(seen)
        terms = {
            "adversarial": weights.adversarial * self.fooling(self.discriminator_night, fake_night),
            "edge": weights.edge * losses.lost_edges(made, seen, sky),
            "sky": weights.sky * losses.lit_sky(made, light, sky),
            "foliage": weights.foliage * (losses.foliage_mask(seen) * light.mean(1, keepdim=True)).mean(),
            "lamps": weights.lamps * losses.large_lamps(light),
            "light": weights.light * light.mean(),
        }
        if weights.identity and self._seldom():
            kept = self.translate_lit(night[:1], self._draw_code(1))[0]
            terms["identity"] = weights.identity * l1_loss(kept, night[:1]) / 2
        if weights.variety and self._seldom():
            other = self._draw_code(1)
            apart = F.avg_pool2d(self.translate_lit(day[:1], other)[0] - fake_night[:1], _VARIETY_PX)
            distance = apart.abs().mean() / 2 / (other - code[:1]).abs().mean()
            terms["variety"] = weights.variety * F.relu(_VARIETY - distance)
        loss = torch.stack(list(terms.values())).sum()
        logs = {**terms, "total": loss + discriminator.loss.detach()}
        yield Update(loss, ("generator_day2night",), logs)

    def _draw_code(self, count: int) -> Tensor:
        return torch.randn(count, self._code, generator=self._random).to(self.device)

    def _seldom(self) -> bool:
        return torch.rand((), generator=self._random).item() < _SELDOM

    def extra_state(self) -> dict[str, Tensor]:
        """Return the random stream of codes."""
        return {"random": self._random.get_state()}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the random stream back."""
        self._random.set_state(state["random"].cpu())

    def compilable(self) -> tuple[nn.Module, ...]:
        """The generator with its light, and the discriminator."""
        return (self.translate_lit, self.discriminator_night)

"""CUT: what is at a place of the night image must resemble what is at that place by day more than what is elsewhere.

Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020, with FastCUT as a variant.

One generator, whose first half also is the encoder; a discriminator; and a head that makes vectors of patches. As
published with "Dark Side Augmentation" (ICCV 2023): the identity term weighs 10, the mean of both NCE terms is taken,
the negatives come from the whole batch, scores of 0 mean real. Otherwise than published: the encoder does not run once
more for the source images, because translating them has produced the same features (with batch norm in the generator
they would differ by the statistics of the batch; CUT has instance norm). Only for mirrored images (FastCUT) it runs on
the unmirrored ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.errors import UsageError
from darkside_cli.losses.gan import patch_nce_loss
from darkside_cli.methods.config import CutConfig
from darkside_cli.methods.task import GanTask, NetworkMethod, make_network
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.layers import initialise
from darkside_cli.networks.patch_sample import PatchSampleMlp, PatchSampleMlpConfig
from darkside_cli.training.task import Update


class CutTask(GanTask):
    """A generator, a discriminator and ``patch_head``.

    Where patches are taken is drawn by :meth:`draw_positions` from a random stream of the task's own.
    """

    config: CutConfig

    def __init__(self, config: CutConfig, *, device: torch.device | str) -> None:
        generator = make_network(config.generator)
        if not isinstance(generator, ResnetGenerator):
            raise UsageError("CUT compares features of a ResNet generator", hint="generator.kind = resnet")
        layers, weights = config.nce.layers, config.nce.initialisation
        form = PatchSampleMlpConfig.for_generator(generator.config, layers, dim=config.nce.dim)
        head = PatchSampleMlp(form)
        super().__init__(
            config,
            {
                "generator_day2night": generator,
                "discriminator_night": make_network(config.discriminator),
                "patch_head": initialise(head, weights.kind, gain=weights.gain, seed=weights.seed),
            },
            device=device,
        )
        self.patch_head = head
        self.translate_and_encode = NetworkMethod(generator, "forward_with_features", list(layers))
        self.encode = NetworkMethod(generator, "features", list(layers))
        self._random = torch.Generator().manual_seed(config.trainer.seed)

    def train_step(self, batch: UnpairedBatch) -> Iterator[Update]:
        """The discriminator, then the generator together with the head."""
        config = self.config
        day, night = self.images(batch)
        # With the identity term, night images go along with the day images everywhere, behind them.
        identity = config.identity_weight > 0
        source = torch.cat([day, night]) if identity else day
        mirrored = config.flips and torch.rand((), generator=self._random).item() < 0.5
        output, features = self.translate_and_encode(source.flip(3) if mirrored else source)
        with torch.no_grad():
            if mirrored:
                features = self.encode(source)
            positions, keys = self.sample_keys([feature.detach() for feature in features])
        del features
        fake_night = output[: len(day)]

        discriminator = self.discriminator_update(night, fake_night)
        yield discriminator

        adversarial = config.weights.adversarial * self.fooling(self.discriminator_night, fake_night)
        encoded = self.encode(output)
        encoded = [feature.flip(3) for feature in encoded] if mirrored else encoded
        by_layer = self.nce_losses(encoded, positions, keys)
        nce = config.nce_weight * torch.stack(by_layer[0]).mean()
        logs = {"adversarial": adversarial}
        if identity:
            of_night = config.identity_weight * torch.stack(by_layer[1]).mean()
            nce = (nce + of_night) / 2
            logs["identity_nce"] = of_night
        loss = adversarial + nce
        logs |= {"nce": nce, "total": loss + discriminator.loss.detach()}
        yield Update(loss, ("generator_day2night", "patch_head"), logs)

    def sample_keys(self, features: Sequence[Tensor]) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Positions and vectors per layer, once for the day images and once, if there are any, for the night images."""
        positions, keys = [], []
        for part in self._parts(features):
            where = self.draw_positions(part)
            vectors, _ = self.patch_head(part, positions=where)
            positions.append(where)
            keys.append(vectors)
        return positions, keys

    def nce_losses(
        self, features: Sequence[Tensor], positions: Sequence[list[Tensor]], keys: Sequence[list[Tensor]]
    ) -> list[list[Tensor]]:
        """Mean PatchNCE per layer, once for the day images and once, if there are any, for the night images."""
        options = self.config.nce
        losses = []
        for part, where, key in zip(self._parts(features), positions, keys, strict=True):
            queries, _ = self.patch_head(part, positions=where)
            groups = 1 if options.negatives == "batch" else len(part[0])
            pairs = zip(queries, key, strict=True)
            each = (patch_nce_loss(q, k, temperature=options.temperature, groups=groups) for q, k in pairs)
            losses.append([loss.mean() for loss in each])
        return losses

    def _parts(self, features: Sequence[Tensor]) -> list[list[Tensor]]:
        """Features of the day images, and with the identity term those of the night images behind them."""
        count = 2 if self.config.identity_weight > 0 else 1
        return [list(part) for part in zip(*(feature.chunk(count) for feature in features), strict=True)]

    def draw_positions(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Where to take patches: per layer up to ``num_patches`` different cells of the row-major H_l * W_l."""
        cells = (feature.shape[2] * feature.shape[3] for feature in features)
        most = self.config.nce.num_patches
        return [torch.randperm(count, generator=self._random)[:most] for count in cells]

    def extra_state(self) -> dict[str, Any]:
        """Return the state of the random stream of positions and mirroring."""
        return {"random": self._random.get_state()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take the random stream back."""
        self._random.set_state(state["random"].cpu())

    def compilable(self) -> tuple[nn.Module, ...]:
        """The generator's two ways of running, and the discriminator."""
        return (self.translate_and_encode, self.encode, self.discriminator_night)

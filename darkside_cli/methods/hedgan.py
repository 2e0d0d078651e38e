"""HED-GAN: night must have the edges of day, to the eyes of a frozen edge detector. RCF-GAN is the same with RCF.

Mohwald et al., "Dark Side Augmentation: Generating Diverse Night Examples for Metric Learning", ICCV 2023,
https://arxiv.org/abs/2309.16351; edge detectors of Xie and Tu (HED, ICCV 2015) and Liu et al. (RCF, CVPR 2017).

One generator and one discriminator; the discriminator learns first. Weights of the generator's terms: adversarial 1,
edges 5. Nothing is otherwise than published; what costs time for nothing is left out (parameter gradients of the
detector, and of the discriminator while the generator learns).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.errors import UsageError
from darkside_cli.losses.gan import edge_loss
from darkside_cli.methods.config import AdamOptions, HedGanConfig
from darkside_cli.methods.edge_detectors import EdgeLogits
from darkside_cli.methods.task import GanTask, make_network
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.edge_detectors import EdgeDetector
from darkside_cli.registry import resolve
from darkside_cli.training.task import Update


class HedGanTask(GanTask):
    """A generator, a discriminator, and the frozen detector ``edge_teacher``."""

    config: HedGanConfig

    def __init__(
        self,
        config: HedGanConfig,
        edge_teacher: EdgeDetector,
        *,
        device: torch.device | str,
        more_networks: Mapping[str, nn.Module] | None = None,
        parameters: Mapping[str, list[dict[str, Any]]] | None = None,
        options: Mapping[str, AdamOptions] | None = None,
    ) -> None:
        super().__init__(
            config,
            {
                "generator_day2night": make_network(config.generator),
                "discriminator_night": make_network(config.discriminator),
                "edge_teacher": edge_teacher,
                **(more_networks or {}),
            },
            device=device,
            frozen=frozenset({"edge_teacher"}),
            parameters=parameters,
            options=options,
        )
        self.teacher_logits = EdgeLogits(edge_teacher)

    @classmethod
    def build(
        cls, config: HedGanConfig, *, device: torch.device | str, edge_detector: EdgeDetector | None = None
    ) -> HedGanTask:
        """Make the task; the detector is frozen and moved to ``device``. Raises UsageError without one."""
        return cls(config, needed(edge_detector, config), device=device)

    def train_step(self, batch: UnpairedBatch) -> Iterator[Update]:
        """The discriminator, then the generator."""
        day, night = self.images(batch)
        fake_night = self.generator_day2night(day)

        discriminator = self.discriminator_update(night, fake_night)
        yield discriminator

        with torch.no_grad():
            day_edges = torch.sigmoid(self.teacher_logits(day))
        night_edges = torch.sigmoid(self.teacher_logits(fake_night))
        yield self.generator_update(night, fake_night, night_edges, day_edges, discriminator.loss.detach())

    def generator_update(
        self,
        night: Tensor,
        fake_night: Tensor,
        night_edges: Tensor,
        day_edges: Tensor,
        discriminator_loss: Tensor,
    ) -> Update:
        """Train the generator to look like night and to keep the edges."""
        weights = self.config.weights
        adversarial = weights.adversarial * self.fooling(self.discriminator_night, fake_night)
        edge = weights.edge * edge_loss(night_edges, day_edges)
        loss = adversarial + edge
        logs = {"adversarial": adversarial, "edge": edge}
        if weights.identity:
            logs["identity"] = weights.identity * self.change_of_night(night)
            loss = loss + logs["identity"]
        logs["total"] = loss + discriminator_loss
        return Update(loss, ("generator_day2night",), logs)

    def change_of_night(self, night: Tensor) -> Tensor:
        """Mean absolute difference between night images and what the generator makes of them.

        Not in the paper. The generator works as it will for people: batch norm by its running statistics, which
        should be those of day images and are left alone by this pass.
        """
        self.generator_day2night.eval()
        changed = self.generator_day2night(night)
        self.generator_day2night.train()
        return F.l1_loss(changed, night)

    def compilable(self) -> tuple[nn.Module, ...]:
        """The generator, the discriminator, and the detector's logits."""
        return (self.generator_day2night, self.discriminator_night, self.teacher_logits)

    def metadata(self, name: str) -> dict[str, Any]:
        """As of every method, and which edge detector was learned from."""
        return {**super().metadata(name), "edge_detector": architecture_of(self.networks["edge_teacher"])}


def needed(edge_detector: EdgeDetector | None, config: HedGanConfig) -> EdgeDetector:
    """The detector, if there is one."""
    if edge_detector is None:
        raise UsageError(
            f"{config.method} learns from an edge detector, and none was given",
            hint="load_edge_detector(config.edge_detector, root) opens one; 'sobel' needs no weights",
        )
    return edge_detector


def architecture_of(detector: nn.Module) -> str:
    """Name of a detector's architecture."""
    return next(
        entry.name
        for entry in ARCHITECTURES
        if entry.kind == "edge-detector" and isinstance(detector, resolve(entry.target))
    )

"""HED-GAN and HED-N-GAN: night must have the edges of day, to the eyes of an edge detector.

Mohwald et al., "Dark Side Augmentation: Generating Diverse Night Examples for Metric Learning", ICCV 2023,
https://arxiv.org/abs/2309.16351; edge detectors of Xie and Tu (HED, ICCV 2015) and Liu et al. (RCF, CVPR 2017).
RCF-GAN and RCF-N-GAN are the same with RCF.

HED-GAN: one generator, one discriminator, a frozen detector; the discriminator learns first. Weights of the
generator's terms: adversarial 1, edges 5.

HED-N-GAN: a detector trained by day overlooks edges at night. So a copy of it, the student, learns from the frozen
teacher: it shall say of the day image, and of the generated night image, what the teacher says of the day image (L1 of
the logits, before the sigmoid). The generator then learns through the student as it is after its step.

Nothing is otherwise than published; left out is what costs time for nothing: the teacher and the student see each day
image once instead of twice, and no network collects gradients in a step that does not train it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.errors import UsageError
from darkside_cli.losses.gan import distillation_loss, edge_loss
from darkside_cli.methods.config import HedGanConfig, HedNGanConfig
from darkside_cli.methods.edge_detectors import make_student, student_parameter_groups
from darkside_cli.methods.network_options import AdamOptions
from darkside_cli.methods.task import GanTask, NetworkMethod, make_network
from darkside_cli.networks.edge_detectors import EdgeDetector
from darkside_cli.networks.weights import architecture_of
from darkside_cli.training.task import Update, without_parameter_gradients


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
        self.teacher_logits = NetworkMethod(edge_teacher, "logits")

    @classmethod
    def build(
        cls, config: HedGanConfig, *, device: torch.device | str, edge_detector: EdgeDetector | None = None
    ) -> HedGanTask:
        """Make the task; the detector is frozen and moved to ``device``. Raises UsageError without one."""
        if edge_detector is None:
            raise UsageError(
                f"{config.method} learns from an edge detector, and none was given",
                hint="load_edge_detector(config.edge_detector, root) opens one; 'sobel' needs no weights",
            )
        return cls(config, edge_detector, device=device)

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


class HedNGanTask(HedGanTask):
    """A generator, a discriminator, the frozen ``edge_teacher`` and the ``edge_student``, which begins as its copy."""

    config: HedNGanConfig

    def __init__(
        self, config: HedNGanConfig, edge_teacher: EdgeDetector, *, device: torch.device | str
    ) -> None:
        student = make_student(edge_teacher)
        super().__init__(
            config,
            edge_teacher,
            device=device,
            more_networks={"edge_student": student},
            parameters={"edge_student": student_parameter_groups(student, config.student)},
            options={"edge_student": config.student},
        )
        self.edge_student = student
        self.student_logits = NetworkMethod(student, "logits")

    def train_step(self, batch: UnpairedBatch) -> Iterator[Update]:
        """The discriminator, then the student, then the generator."""
        day, night = self.images(batch)
        fake_night = self.generator_day2night(day)

        discriminator = self.discriminator_update(night, fake_night)
        yield discriminator

        with torch.no_grad():
            day_logits = self.teacher_logits(day)
        weight = self.config.distillation
        student_day = weight * distillation_loss(self.student_logits(day), day_logits)
        yield Update(student_day, (), {"student_day": student_day})
        student_night = weight * distillation_loss(self.student_logits(fake_night.detach()), day_logits)
        yield Update(student_night, ("edge_student",), {"student_night": student_night})

        with without_parameter_gradients(self.edge_student):
            night_edges = torch.sigmoid(self.student_logits(fake_night))
        day_edges = torch.sigmoid(day_logits)
        yield self.generator_update(night, fake_night, night_edges, day_edges, discriminator.loss.detach())

    def compilable(self) -> tuple[nn.Module, ...]:
        """The generator, the discriminator, and the logits of both detectors."""
        return (*super().compilable(), self.student_logits)

"""HED-N-GAN: night must have the edges of day, to the eyes of a student that learns to see edges at night.

Mohwald et al., "Dark Side Augmentation: Generating Diverse Night Examples for Metric Learning", ICCV 2023,
https://arxiv.org/abs/2309.16351. RCF-N-GAN is the same with RCF.

A detector trained by day overlooks edges at night. So a copy of it, the student, learns from the frozen teacher: it
shall say of the day image, and of the generated night image, what the teacher says of the day image (L1 of the logits,
before the sigmoid). The generator then learns through the student as it is after its step. Nothing is otherwise than
published; left out is what costs time for nothing: the teacher sees each day image once instead of twice, the student
too, and no network collects gradients in a step that does not train it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.losses.gan import distillation_loss
from darkside_cli.methods.config import HedNGanConfig
from darkside_cli.methods.edge_detectors import EdgeLogits, make_student, student_parameter_groups
from darkside_cli.methods.hedgan import HedGanTask
from darkside_cli.networks.edge_detectors import EdgeDetector
from darkside_cli.training.task import Update, without_parameter_gradients


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
        self.student_logits = EdgeLogits(student)

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

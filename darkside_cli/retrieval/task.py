"""Metric learning of a descriptor, as a task for the trainer: one tuple after the other, one step a batch.

Radenović, Tolias and Chum, TPAMI 2019, section 5.1: the images of a tuple are of different sizes, so that each tuple
has its own backward pass; the gradients of a batch's tuples are *summed up* before the optimiser steps. Batch norms
keep the statistics that the network came with. What is logged is the mean over the tuples.

The softmax over a batch is the exception: its tuples are described together, in one update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Adam
from torch.optim.lr_scheduler import ExponentialLR

from darkside_cli.images.settings import ClaheSettings
from darkside_cli.inference.device import autocast, pick_precision
from darkside_cli.losses.metric_learning import batch_softmax_loss, contrastive_loss, triplet_loss
from darkside_cli.networks.retrieval_net import RetrievalNet
from darkside_cli.retrieval.config import DescriptorOptimOptions, FinetuneConfig
from darkside_cli.retrieval.mining.tuple_data import TupleBatch, TupleData
from darkside_cli.training.task import Task, Update

NETWORK = "descriptor"
LOSS = "loss"
_FUSED_ON = {"cpu", "cuda"}


Validator = Callable[[], float]
"""Gives the mean loss of the validation tuples; the network is in eval mode."""


class DescriptorTask(Task[TupleBatch]):
    """Trains ``network`` by ``config`` on ``device``.

    ``mining`` and ``validator`` may be set at any time; with a validator, the epoch of the least validation loss is
    the best. ``facts`` are JSON-able and saved with the network.
    """

    outputs = (NETWORK,)
    item = "tuple"
    reduction = "sum"

    def __init__(
        self,
        config: FinetuneConfig,
        network: RetrievalNet,
        *,
        device: torch.device | str,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.device = config, torch.device(device)
        self.precision = pick_precision(config.trainer.precision, self.device)
        self.network = network.to(self.device).train()
        self.networks = {NETWORK: self.network}
        self._norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        adam = Adam(
            parameter_groups(network, config.optim),
            lr=config.optim.lr,
            betas=config.optim.betas,
            fused=self.device.type in _FUSED_ON,
        )
        self.optimizers = {NETWORK: adam}
        self.schedulers = {NETWORK: ExponentialLR(adam, config.schedule.gamma)}
        self.mining: TupleData | None = None
        self._validator: Validator | None = None
        self._facts = dict(facts or {})

    @property
    def validator(self) -> Validator | None:
        """What measures the validation loss."""
        return self._validator

    @validator.setter
    def validator(self, validator: Validator | None) -> None:
        self._validator = validator
        self.decisive = None if validator is None else (LOSS, "min")

    def counted(self, batch: TupleBatch) -> tuple[int, int]:
        """Tuples, and the images in them."""
        return len(batch.tuples), sum(map(len, batch.tuples))

    def train_step(self, batch: TupleBatch) -> Iterator[Update]:
        """One update for each tuple, of which the last one steps."""
        if self.config.freeze_norms:
            for norm in self._norms:
                norm.eval()
        if self.config.loss.kind == "softmax":
            yield self._whole_batch(batch)
            return
        for number, images in enumerate(batch.tuples, start=1):
            descriptors = self.descriptors(images)
            loss = self.loss(descriptors)
            distances = (descriptors[1:].detach() - descriptors[:1].detach()).norm(dim=1)
            logs = {LOSS: loss, "positive_distance": distances[0]}
            if len(distances) > 1:
                logs["negative_distance"] = distances[1:].mean()
            yield Update(loss, (NETWORK,) if number == len(batch.tuples) else (), logs)

    def _whole_batch(self, batch: TupleBatch) -> Update:
        """One update for all tuples: each image is a negative of all anchors of other places."""
        width = len(batch.tuples[0])
        # Column by column: anchors, positives, first negatives ...
        images = [images[column] for column in range(width) for images in batch.tuples]
        places = torch.tensor(batch.places, device=self.device).T.flatten()
        descriptors, count = self.descriptors(images), len(batch.tuples)
        anchors, others = descriptors[:count], descriptors[count:]
        losses = batch_softmax_loss(
            anchors, others, places[:count], places[count:], self.config.loss.temperature
        )
        distances = (others[:count].detach() - anchors.detach()).norm(dim=1)
        logs = {LOSS: losses.mean(), "positive_distance": distances.mean()}
        return Update(losses.sum(), (NETWORK,), logs)

    def descriptors(self, images: Sequence[Tensor]) -> Tensor:
        """Descriptors (N, D) of images (3, H, W) of any sizes; those of one size go through the network together."""
        groups: dict[torch.Size, list[int]] = {}
        for number, image in enumerate(images):
            groups.setdefault(image.shape, []).append(number)
        parts = [self.network(torch.stack([images[n] for n in numbers])) for numbers in groups.values()]
        order = torch.tensor([number for numbers in groups.values() for number in numbers])
        return torch.cat(parts)[order.argsort().to(parts[0].device)]

    def loss(self, descriptors: Tensor) -> Tensor:
        """Loss of one tuple, a scalar, of descriptors (2 + K, D): the anchor's, the positive's, the negatives'."""
        return self.losses(descriptors[:1], descriptors[1:2], descriptors[None, 2:]).sum()

    def losses(self, anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Losses (T,) of tuples: ``anchors`` and ``positives`` (T, D), ``negatives`` (T, K, D)."""
        if self.config.loss.kind == "softmax":
            own = (anchors[:, None] * torch.cat([positives[:, None], negatives], dim=1)).sum(dim=2)
            return -(own / self.config.loss.temperature).log_softmax(dim=1)[:, 0]
        loss = contrastive_loss if self.config.loss.kind == "contrastive" else triplet_loss
        return loss(anchors, positives, negatives, self.config.margin, reduction="none")

    def describe(self, images: Tensor) -> Tensor:
        """Descriptors (B, D) of images (B, 3, H, W) by the network as it is now, in eval mode, without gradients."""
        was_training = self.network.training
        self.network.eval()
        try:
            with torch.no_grad(), autocast(self.precision, self.device):
                descriptors: Tensor = self.network(images.to(self.device, non_blocking=True))
        finally:
            self.network.train(was_training)
        return descriptors.float()

    def validate(self, epoch: int, folder: Path) -> Mapping[str, float]:  # noqa: ARG002 - no images are written
        """Ask ``validator``, if there is one."""
        return {} if self._validator is None else {LOSS: self._validator()}

    def compilable(self) -> tuple[nn.Module, ...]:
        """The backbone."""
        return (self.network.features,)

    def extra_state(self) -> dict[str, Any]:
        """What was mined for the epoch under way."""
        return {"mining": {} if self.mining is None else self.mining.state()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what was mined."""
        if self.mining is not None:
            self.mining.load_state(state["mining"])

    def metadata(self, name: str) -> dict[str, Any]:  # noqa: ARG002 - there is one network
        """What images have to go through, and how it was trained."""
        config, augment = self.network.config, self.config.augment
        clahe = clahe_settings(self.config)
        return {
            "method": "finetune",
            "mean": list(config.mean),
            "std": list(config.std),
            "clahe": None if clahe is None else asdict(clahe),
            "image_size_px": self.config.evaluation.image_size_px,
            "loss": self.config.loss.kind,
            "margin": self.config.margin,
            "augment": augment.kind,
            **self._facts,
        }


def clahe_settings(config: FinetuneConfig) -> ClaheSettings | None:
    """CLAHE that all images go through; None if none."""
    augment = config.augment
    return ClaheSettings(augment.clahe_clip, augment.clahe_grid) if augment.clahe_clip > 0 else None


def parameter_groups(network: RetrievalNet, options: DescriptorOptimOptions) -> list[dict[str, Any]]:
    """Groups of parameters: all but the pooling's, and those, with their own rate and no weight decay."""
    pooling = set(network.pool.parameters())
    groups = [
        {
            "params": [each for each in network.parameters() if each not in pooling],
            "weight_decay": options.weight_decay,
        }
    ]
    if pooling:
        own = {"params": list(network.pool.parameters()), "lr": options.lr * options.pool_factor}
        groups.append({**own, "weight_decay": 0.0})
    return groups

"""What the methods have in common as tasks: their networks, optimisers, and what becomes of the generators."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.errors import CheckpointError
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.losses.gan import adversarial_loss, discriminator_loss, generator_loss
from darkside_cli.methods.config import GanConfig
from darkside_cli.methods.network_options import AdamOptions, InitialisationOptions, NetworkOptions
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.edge_detectors import EdgeDetector
from darkside_cli.networks.layers import initialise, keep_memory_order
from darkside_cli.networks.weights import build_network
from darkside_cli.registry import resolve
from darkside_cli.training.task import Task, Update, linear_decay, without_parameter_gradients

Translate = Callable[[Tensor], Tensor]
Validator = Callable[[Translate, int, Path], Mapping[str, float]]
"""Gets what translates day images, the epoch (from 1) and a folder for images; returns scores by name."""


NetworkT = TypeVar("NetworkT", bound=nn.Module)
_FUSED_ON = {"cpu", "cuda"}


class GanTask(Task[UnpairedBatch]):
    """Base of the methods. All have ``generator_day2night`` and ``discriminator_night``.

    ``validator`` is asked by :meth:`validate`; it may be set at any time.
    """

    validator: Validator | None = None
    item = "pair"

    def __init__(
        self,
        config: GanConfig,
        networks: Mapping[str, nn.Module],
        *,
        device: torch.device | str,
        frozen: frozenset[str] = frozenset(),
        outputs: tuple[str, ...] = ("generator_day2night",),
        parameters: Mapping[str, list[dict[str, Any]]] | None = None,
        options: Mapping[str, AdamOptions] | None = None,
    ) -> None:
        """Move ``networks`` to ``device`` and give an optimiser and a schedule to each that is not ``frozen``.

        ``options`` are those of optimisers other than ``config.optim``, ``parameters`` the groups of networks that
        are not to be one group.
        """
        self.config = config
        self.device = torch.device(device)
        # Measured: on CPUs a step takes a tenth to a quarter less time channels last; it rounds otherwise, though.
        last = config.trainer.channels_last
        self.memory_format = torch.channels_last if last else torch.contiguous_format
        self.networks = dict(networks)
        self.frozen = frozen
        self.outputs = outputs
        for name, network in networks.items():
            network.to(self.device).train(name not in frozen).requires_grad_(name not in frozen)
            if last:
                keep_memory_order(network)
        self.optimizers: dict[str, Optimizer] = {}
        for name in networks:
            if name not in frozen:
                groups = (parameters or {}).get(name, [{"params": list(networks[name].parameters())}])
                self.optimizers[name] = make_adam(
                    groups, (options or {}).get(name, config.optim), self.device
                )
        epochs = config.trainer.epochs
        decay = config.schedule.decay_of(epochs)
        self.schedulers = {
            name: linear_decay(optimizer, epochs=epochs, decay_epochs=decay)
            for name, optimizer in self.optimizers.items()
        }
        self.generator_day2night = networks["generator_day2night"]
        self.discriminator_night = networks["discriminator_night"]

    @classmethod
    def build(
        cls, config: Any, *, device: torch.device | str, edge_detector: EdgeDetector | None = None
    ) -> GanTask:
        """Make the task; ``edge_detector`` is for those methods that learn from one."""
        del edge_detector
        make: Callable[..., GanTask] = cls
        return make(config, device=device)

    @abstractmethod
    def train_step(self, batch: UnpairedBatch) -> Iterator[Update]:
        """Yield the updates that a batch of day and night images makes; see :class:`Task`."""

    def counted(self, batch: UnpairedBatch) -> tuple[int, int]:
        """Pairs, and the images in them."""
        return len(batch), 2 * len(batch)

    def images(self, batch: UnpairedBatch) -> tuple[Tensor, Tensor]:
        """Day and night images of a batch in the memory order that the networks are fastest with."""
        return (
            batch.day.contiguous(memory_format=self.memory_format),
            batch.night.contiguous(memory_format=self.memory_format),
        )

    def fooling(self, discriminator: nn.Module, fake: Tensor) -> Tensor:
        """Adversarial loss of the generator that made ``fake``; ``discriminator`` collects no gradients."""
        with without_parameter_gradients(discriminator):
            return generator_loss(discriminator(fake), kind=self.config.adversarial)

    def discriminator_losses(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, Tensor]:
        """How wrong ``discriminator`` is about ``real`` images, and about ``fake`` ones (detached).

        Seen one after the other: batch norm would tell the two apart by being shown both at once.
        """
        return (
            adversarial_loss(discriminator(real), real=True, kind=self.config.adversarial),
            adversarial_loss(discriminator(fake), real=False, kind=self.config.adversarial),
        )

    def discriminator_update(self, night: Tensor, fake_night: Tensor) -> Update:
        """Train ``discriminator_night`` to tell ``night`` from ``fake_night``, which gets no gradient."""
        on_real, on_fake = self.discriminator_losses(self.discriminator_night, night, fake_night.detach())
        return Update(
            discriminator_loss(on_real, on_fake),
            ("discriminator_night",),
            {"discriminator_real": on_real, "discriminator_fake": on_fake},
        )

    def translate(self, images: Tensor) -> Tensor:
        """Make night of day: ``(B, 3, H, W)`` in [-1, 1] on any device to the same range on the task's.

        The generator works as it will for people, in eval mode; no gradients. Sides are rounded up to multiples of 4,
        but not by a guided generator.
        """
        generator = self.networks["generator_day2night"]
        was_training = generator.training
        generator.eval()
        try:
            with torch.no_grad():
                night: Tensor = generator(images.to(self.device))
        finally:
            generator.train(was_training)
        return night

    def validate(self, epoch: int, folder: Path) -> Mapping[str, float]:
        """Ask ``validator``, if there is one."""
        return {} if self.validator is None else self.validator(self.translate, epoch, folder)

    def metadata(self, name: str) -> dict[str, Any]:
        """Method, and for generators what they make of what: direction, mean and std of their images."""
        facts: dict[str, Any] = {"method": self.config.method}
        kind, _, direction = name.partition("_")
        if kind == "generator":
            facts |= {"direction": direction, "mean": [0.5] * 3, "std": [0.5] * 3}
        return facts


class NetworkMethod(nn.Module):
    """Method ``name`` of ``network`` as a module, so that it can be compiled. Shares the network's parameters.

    It takes what the method does, ``arguments`` behind that.
    """

    def __init__(self, network: nn.Module, name: str, *arguments: Any) -> None:
        super().__init__()
        self.network, self._name, self._arguments = network, name, arguments

    def forward(self, *inputs: Tensor) -> Any:
        """What the method gives."""
        return getattr(self.network, self._name)(*inputs, *self._arguments)


def make_adam(groups: list[dict[str, Any]], options: AdamOptions, device: torch.device) -> Adam:
    """Adam over parameter ``groups``, which may have settings of their own; one kernel for all where there is one."""
    return Adam(
        groups,
        lr=options.lr,
        betas=options.betas,
        weight_decay=options.weight_decay,
        fused=device.type in _FUSED_ON,
    )


def make_network(options: NetworkOptions) -> nn.Module:
    """Build the network that ``options`` describe with its first weights, on the CPU."""
    architecture = ARCHITECTURES.get(options.architecture)
    config = resolve(architecture.config)
    form = config(**{each.name: getattr(options, each.name) for each in fields(config)})
    network: nn.Module = resolve(architecture.target)(form)
    return begin(network, options.initialisation)


def begin(network: NetworkT, options: InitialisationOptions) -> NetworkT:
    """Give ``network`` its first weights: random ones, or those of a checkpoint.

    Raises MissingAssetError if there is no such checkpoint, CheckpointError if it is of another form.
    """
    if options.weights is None:
        draw = getattr(network, "draw_weights", None)
        if draw is not None:  # it has first weights of its own kind
            draw(options.seed)
            return network
        return initialise(network, options.kind, gain=options.gain, seed=options.seed)
    checkpoint = open_checkpoint(options.weights)
    own: Any = network.config
    if checkpoint.config != own:
        raise CheckpointError(
            f"{options.weights} is a {checkpoint.architecture} of another form than what is to be trained",
            hint=f"it has {checkpoint.config}, wanted is {own}",
        )
    network.load_state_dict(build_network(checkpoint).state_dict())
    return network

"""Training steps of a golden GAN case, made by our tasks; what is compared is gathered by the reference's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import golden
import torch
from torch import Tensor, nn

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.methods.catalog import METHODS
from darkside_cli.methods.config import GanConfig
from darkside_cli.methods.cut import CutTask
from darkside_cli.methods.cyclegan import CycleGanTask
from darkside_cli.methods.hedgan import HedGanTask, HedNGanTask
from darkside_cli.methods.task import GanTask
from darkside_cli.registry import resolve
from darkside_cli.training.task import Update

LOSSES = {
    "cyclegan": {
        "total": "total",
        "netG_X_total": "generator_day2night",
        "netG_X_adversarial": "adversarial_night",
        "netG_X_cycle": "cycle_day",
        "netG_Y_total": "generator_night2day",
        "netG_Y_adversarial": "adversarial_day",
        "netG_Y_cycle": "cycle_night",
        "netD_X_total": "discriminator_night",
        "netD_Y_total": "discriminator_day",
    },
    "cut": {
        "total": "total",
        "D_real": "discriminator_real",
        "D_fake": "discriminator_fake",
        "G_gan": "adversarial",
        "G_nce": "nce",
        "G_idt": "identity_nce",
    },
    "edges": {
        "total": "total",
        "D_real": "discriminator_real",
        "D_fake": "discriminator_fake",
        "G_gan": "adversarial",
        "G_hed": "edge",
        "E_real": "student_day",
        "E_fake": "student_night",
    },
}


def our_names(method: str, names: Mapping[str, Any]) -> dict[str, str]:
    """The reference's network names to ours; CycleGAN's discriminators are named for the generator they teach."""
    twins = "detector_frozen" in names
    return {
        "generator_X": "generator_day2night",
        "generator_Y": "generator_night2day",
        "discriminator_X": "discriminator_night",
        "discriminator_Y": "discriminator_day" if method == "cyclegan" else "discriminator_night",
        "featdown": "patch_head",
        "detector": "edge_student" if twins else "edge_teacher",
        "detector_frozen": "edge_teacher",
    }


def encode_as_recorded(task: CutTask) -> None:
    """Encode day and night apart, and take patches out of features with their channels last, as was recorded.

    The same to the eye of mathematics, but not to torch 2.15's instance norm on the CPU, whose gradients are wrong for
    a single image if they come in channels last: at batch size 1 that is in the golden numbers (8 % of a norm). The
    task itself gives the right ones: see tests/methods/test_cut.py.
    """
    encode = task.encode
    split: dict[str, Any] = {}

    def apart(images: Tensor) -> list[Tensor]:
        split["parts"] = [encode(part) for part in images.chunk(2)]
        split["whole"] = [torch.cat(layers) for layers in zip(*split["parts"], strict=True)]
        return split["whole"]

    original = task._parts

    def parts(features: Sequence[Tensor]) -> list[list[Tensor]]:
        if features is split.get("whole"):
            return [list(part) for part in split["parts"]]
        return original(features)

    head = task.patch_head

    def channels_last(
        features: Sequence[Tensor], positions: Sequence[Tensor]
    ) -> tuple[list[Tensor], Sequence[Tensor]]:
        vectors = []
        for index, (feature, where) in enumerate(zip(features, positions, strict=True)):
            patches = feature.permute(0, 2, 3, 1).flatten(1, 2)[:, where.long()].flatten(0, 1)
            embedded = head.get_submodule(f"mlp_{index}")(patches)
            vectors.append(embedded / (embedded.norm(dim=1, keepdim=True) + 1e-7))
        return vectors, positions

    task.encode = apart  # type: ignore[assignment]
    task._parts = parts  # type: ignore[method-assign]
    head.forward = channels_last  # type: ignore[method-assign]


@dataclass
class Step:
    """What one step showed: logs and images by the reference's names."""

    losses: dict[str, float]
    images: dict[str, Tensor]
    state: dict[str, dict[str, Tensor]]


@dataclass
class GoldenRun:
    """A run of ``case`` (``gan_<method>``), ``name`` being "batch1" and so on, in precision ``dtype``."""

    case: golden.Case
    name: str
    dtype: torch.dtype = torch.float32
    gradients: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.method = self.case.name.removeprefix("gan_")
        self.expected = self.case.values["runs"][self.name]
        self.names = our_names(self.method, self.expected["models"])
        self.task = self._task()
        self.initial = self._state()
        self.groups = {
            id(parameter): group
            for optimizer in self.task.optimizers.values()
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def _task(self) -> GanTask:
        models = self.expected["models"]
        entry = METHODS.get(self.method)
        config: GanConfig = resolve(entry.config)()

        def options(of: Any, name: str) -> Any:
            _, network = config_from_reference(models[name])
            known = asdict(network)
            shared = {key: known[key] for key in asdict(of) if key in known}
            assert known.keys() - shared.keys() <= {"in_channels", "out_channels"}
            return replace(of, **shared)

        config = replace(
            config,
            generator=options(config.generator, "generator_X"),
            discriminator=options(config.discriminator, "discriminator_Y"),
            trainer=replace(config.trainer, epochs=self.case.values["epochs"]),
        )
        detector = golden.build(models["detector"]) if "detector" in models else None
        task: GanTask = resolve(entry.target).build(config, device="cpu", edge_detector=detector)
        for theirs, seed in self.expected["network_seeds"].items():
            golden.fill_(task.networks[self.names[theirs]], seed)
        assert {self.names[theirs] for theirs in self.expected["network_seeds"]} == set(task.networks)
        for network in task.networks.values():
            network.to(self.dtype)
        if isinstance(task, CutTask):
            encode_as_recorded(task)
        return task

    def _state(self) -> dict[str, dict[str, Tensor]]:
        return {
            theirs: {
                key: value.clone()
                for key, value in self.task.networks[self.names[theirs]].state_dict().items()
                if value.is_floating_point()
            }
            for theirs in self.expected["models"]
        }

    def steps(self) -> Iterator[Step]:
        """Train, and tell after each step what it showed."""
        days, nights = (self.case.arrays[f"{self.name}.{domain}"] for domain in "XY")
        for number, (day, night) in enumerate(zip(days, nights, strict=True), start=1):
            batch = UnpairedBatch(*(golden.to_input(each).to(self.dtype) for each in (day, night)))
            with _Watch(self, batch, number) as watch:
                logs: dict[str, float] = {}
                for update in self.task.train_step(batch):
                    watch.before(update)
                    self._back_and_step(update, first=number == 1)
                    logs |= {name: value.item() for name, value in update.logs.items()}
            mapping = LOSSES.get(self.method, LOSSES["edges"])
            losses = {theirs: logs[ours] for theirs, ours in mapping.items() if ours in logs}
            yield Step(losses | watch.losses, watch.images, self._state())

    def _back_and_step(self, update: Update, *, first: bool) -> None:
        update.loss.backward()
        for name in update.optimizers:
            if first:
                network = self.task.networks[name]
                theirs = next(key for key in self.expected["models"] if self.names[key] == name)
                self.gradients |= {
                    f"{theirs}.{key}": parameter.grad.double().norm().item()
                    for key, parameter in network.named_parameters()
                    if parameter.grad is not None
                }
            self.task.optimizers[name].step()
            self.task.optimizers[name].zero_grad(set_to_none=True)


class _Watch:
    """Listens to the networks during one step, and gives CUT its patch positions."""

    def __init__(self, run: GoldenRun, batch: UnpairedBatch, number: int) -> None:
        self.task, self.batch = run.task, batch
        self.run, self.number = run, number
        self.seen: dict[str, list[Tensor]] = {}
        self.images: dict[str, Tensor] = {}
        self.losses: dict[str, float] = {}
        self.hooks: list[Any] = []

    def _listen(self, name: str, module: nn.Module, pick: Callable[[Any], Tensor] = lambda y: y) -> None:
        calls = self.seen.setdefault(name, [])
        self.hooks.append(
            module.register_forward_hook(lambda _m, _x, y: calls.append(pick(y).detach().clone()))
        )

    def __enter__(self) -> _Watch:
        task = self.task
        for name in ("generator_day2night", "generator_night2day"):
            if name in task.networks:
                self._listen(name, task.networks[name])
        if isinstance(task, HedGanTask):
            self._listen("teacher", task.teacher_logits)
        if isinstance(task, HedNGanTask):
            self._listen("student", task.student_logits)
        if isinstance(task, CutTask):
            self._listen("cut", task.translate_and_encode, lambda y: y[0])
            task.draw_positions = partial(self._positions, iter(range(2)))  # type: ignore[method-assign]
            nce_losses = type(task).nce_losses

            def watched(*args: Any) -> list[list[Tensor]]:
                by_layer = nce_losses(task, *args)
                self._nce(task, by_layer)
                return by_layer

            task.nce_losses = watched  # type: ignore[method-assign]
        return self

    def _positions(self, calls: Iterator[int], features: Any) -> list[Tensor]:
        assert isinstance(self.task, CutTask)
        prefix = f"{self.run.name}.patch_ids.step{self.number}.call{next(calls)}."
        layers = self.task.config.nce.layers
        assert len(features) == len(layers)
        arrays = self.run.case.arrays
        return [torch.from_numpy(arrays[f"{prefix}layer{layer}"]).long() for layer in layers]

    def _nce(self, task: CutTask, by_layer: list[list[Tensor]]) -> None:
        config = task.config
        for layer, day, night in zip(config.nce.layers, *by_layer, strict=True):
            identity = config.identity_weight * night.item()
            self.losses[f"G_idt_layer{layer}"] = identity
            self.losses[f"G_nce_layer{layer}"] = (config.nce_weight * day.item() + identity) / 2

    def before(self, update: Update) -> None:
        """What the student makes of the day image once it has been trained, which our step does not compute."""
        if isinstance(self.task, HedNGanTask) and "generator_day2night" in update.optimizers:
            with torch.no_grad():
                self.images["real_E_check"] = self.task.edge_student(self.batch.day)

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()
        seen = self.seen
        if isinstance(self.task, CycleGanTask):
            self.images["fake_Y"], self.images["rec_Y"] = seen["generator_day2night"]
            self.images["rec_X"], self.images["fake_X"] = seen["generator_night2day"]
        elif isinstance(self.task, CutTask):
            self.images["fake_Y"], self.images["idt_Y"] = seen["cut"][0].chunk(2)
        elif isinstance(self.task, HedGanTask):
            (self.images["fake_Y"],) = seen["generator_day2night"]
            self.images["real_E"] = torch.sigmoid(seen["teacher"][0])
            self.images["fake_E"] = torch.sigmoid(seen.get("student", seen["teacher"])[-1])

"""What the keys of a scenario's GAN training are in darkside's configuration (``methods/config.py``).

The tables below are the whole mapping. Options hold paths as :class:`PurePosixPath`, relative ones below the data
root; where everything is as published, no path is given, since our defaults mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from darkside_cli.events import Emit
from darkside_cli.registry import resolve as import_target
from darkside_cli.scenario import values
from darkside_cli.scenario.request import RunRequest
from darkside_cli.scenario.resolve import ResolvedStep
from darkside_cli.scenario.rules import (
    Rule,
    Translated,
    all_must_be,
    all_to,
    apply_rules,
    ignored,
    must_be,
    to,
)
from darkside_cli.scenario.step import Outcome
from darkside_cli.scenario.training import (
    CHECKPOINTS,
    TrainingStep,
    adam,
    outcome_of,
    planned,
    single_network,
)

PUBLISHED = {
    "day": f"{values.SFM}/dataset/train_day.txt",
    "night": f"{values.SFM}/dataset/train_night.txt",
    "images": f"{values.SFM}/ims",
}

#: Which method a training is, by its kind of epoch and the architecture of its edge detector.
METHODS = {
    ("SupervisedCycleGanEpoch", None): "cyclegan",
    ("SupervisedCUTEpoch", None): "cut",
    ("SupervisedHEDGANEpoch", "hed_interpolation"): "hedgan",
    ("SupervisedHEDGANEpoch", "rcf"): "rcfgan",
    ("SupervisedHEDNGANEpoch", "hed_interpolation"): "hedngan",
    ("SupervisedHEDNGANEpoch", "rcf"): "rcfngan",
}
EPOCHS = tuple(dict.fromkeys(epoch for epoch, _ in METHODS))


@dataclass(frozen=True, kw_only=True)
class TrainGanStep(TrainingStep):
    """Train a generator by ``method``."""

    kind, summary = "train-gan", "train the generator of {0.method}"

    method: str

    @property
    def schema(self) -> type[Any]:
        """The class of its configuration."""
        from darkside_cli.methods.catalog import METHODS

        made: type[Any] = import_target(METHODS.get(self.method).config)
        return made

    @property
    def usual(self) -> dict[str, Any]:
        """Flags without which our command would do something else."""
        return {"method": self.method}

    def execute(self, request: RunRequest, emit: Emit) -> Outcome:
        """Train a generator; a run that is there already goes on."""
        from darkside_cli.jobs import train_gan as job

        wanted = job.TrainGanRequest(model=self.method, **self.requested(request))
        return outcome_of(job.run(wanted, emit=emit))


def _network(pattern: str, ours: str, architecture: str) -> list[Rule]:
    """Rules of what every network of a GAN has."""
    initial = values.one_of({"kaiming_p2p": "kaiming", "normal_p2p": "normal"})
    return [
        *single_network(pattern, values.PLAIN_TRANSFORMS, values.HALF),
        *all_must_be(pattern, {"path": None, "model.architecture": architecture, "runtime.data": {}}),
        must_be(f"{pattern}.model.{{input_nc,output_nc}}", 3),
        to(f"{pattern}.initialize.weights", f"{ours}.initialisation.kind", initial),
        to(f"{pattern}.initialize.seed", f"{ours}.initialisation.seed", values.whole),
        to(f"{pattern}.initialize.gain", f"{ours}.initialisation.gain", values.number),
        must_be(f"{pattern}.runtime.frozen", False),
        must_be(f"{pattern}.runtime.wrappers", "", None),
    ]


_NO_VALIDATION = "training a generator uses no validation set"
_GENERATOR, _DISCRIMINATOR = "network.{generator_X,generator_Y}", "network.{discriminator_X,discriminator_Y}"
_TRAINING, _VISUAL = "learning.training", "learning.validation.visual"
_EVERY_GAN = [
    must_be("network.type", "NetworkSet"),
    *_network(_GENERATOR, "generator", "official_resnet_generator"),
    *all_to(f"{_GENERATOR}.model", "generator", {"ngf": "ngf", "n_blocks": "n_blocks"}, values.whole),
    *all_to(f"{_GENERATOR}.model", "generator", {
        "norm_layer": "norm", "use_dropout": "dropout", "padding_type": "padding"
    }),
    *all_to(f"{_GENERATOR}.model", "generator", {
        "no_antialias": "antialias_down", "no_antialias_up": "antialias_up"
    }, values.negated),
    *_network(_DISCRIMINATOR, "discriminator", "official_p2p_discriminator"),
    *all_to(f"{_DISCRIMINATOR}.model", "discriminator", {"ndf": "ndf", "n_layers": "n_layers"}, values.whole),
    to(f"{_DISCRIMINATOR}.model.norm_layer", "discriminator.norm"),
    to(f"{_DISCRIMINATOR}.model.no_antialias", "discriminator.antialias", values.negated),
    *CHECKPOINTS,
    *all_must_be(_TRAINING, {
        "criterion.normalize_weights": False,
        "optimizer.composition.type": "alternation",
        "optimizer.composition.alternate_iteration": 1,
        "scheduler.composition.type": "set",
        "scheduler.*.algorithm": "lambda_p2p",
        "epoch_iteration.data": "train",
        "epoch_iteration.criterion": "default",
    }),
    to(f"{_TRAINING}.scheduler.*.n_epochs_decay", "schedule.decay_epochs", values.whole),
    must_be(f"{_TRAINING}.epoch_iteration.type", *EPOCHS),
    must_be("learning.validation.type", "MultiCriterialValidation"),
    must_be("learning.validation.decisive_criterion", "epoch"),
    must_be(f"{_VISUAL}.type", "SingleValidation"),
    Rule(f"{_VISUAL}.frequency", lambda value: dict.fromkeys(
        ("trainer.validate_every", "samples.every"), values.whole(value)
    )),
    must_be(f"{_VISUAL}.{{network_overlay,data}}", None),
    *all_must_be(f"{_VISUAL}.criterion", {
        "type": "visual", "data.dataset.name": "InferImageList", "data.mean_std": values.HALF
    }),
    to(f"{_VISUAL}.criterion.data.dataset.image_dir", "samples.pictures", values.file_path),
    to(f"{_VISUAL}.criterion.data.transforms", "samples.size_px", values.sample_size),
    must_be("data.train.dataset.name", "RandomDomainsPair"),
    to("data.train.dataset.dataset_X", "data.day", values.file_path),
    to("data.train.dataset.dataset_Y", "data.night", values.file_path),
    to("data.train.dataset.image_dir", "data.images", values.image_folder),
    to("data.train.dataset.size", "data.size", lambda value: None if value is None else values.whole(value)),
    to("data.train.loader.batch_size", "data.batch_size", values.whole),
    ignored("data.train.loader.{num_workers,pin_memory}", "darkside chooses its threads: data.workers"),
    Rule("data.train.transforms", values.crops),
    must_be("data.train.mean_std", values.HALF),
    must_be("data.val.dataset.{image_dir,dataset}", None),
    ignored("data.val.dataset.*", _NO_VALIDATION),
    ignored("data.val.loader.*", _NO_VALIDATION),
    ignored("data.val.{transforms,mean_std}", _NO_VALIDATION),
]  # fmt: skip

_LSGAN = values.one_of({"mse": "lsgan"})
_CRITERION, _OPTIMIZERS = "learning.training.criterion", "learning.training.optimizer"
_ORDER = f"{_OPTIMIZERS}.composition.order"
_DISCRIMINATOR_LOSS = [
    must_be(f"{_CRITERION}.loss", "multihead_loss"),
    to(f"{_CRITERION}.weights.adversarial", "weights.adversarial", values.number),
    must_be(f"{_CRITERION}.adversarial.loss", "discriminator_loss"),
    to(f"{_CRITERION}.adversarial.criterion.loss", "adversarial", _LSGAN),
]
_LOSS_G, _LOSS_D = f"{_CRITERION}.{{loss_G_X,loss_G_Y}}", f"{_CRITERION}.{{loss_D_X,loss_D_Y}}"
_WEIGHTS = ("adversarial", "cycle", "identity")
_CYCLEGAN = [
    must_be(f"{_CRITERION}.loss", "cycle_loss"),
    *all_must_be(_LOSS_G, {"loss": "multihead_loss", "normalize_weights": False}),
    *all_to(f"{_LOSS_G}.weights", "weights", dict(zip(_WEIGHTS, _WEIGHTS, strict=True)), values.number),
    to(f"{_LOSS_G}.adversarial.loss", "adversarial", _LSGAN),
    must_be(f"{_LOSS_G}.{{cycle,identity}}.loss", "l1"),
    must_be(f"{_LOSS_D}.loss", "discriminator_loss"),
    to(f"{_LOSS_D}.criterion.loss", "adversarial", _LSGAN),
    must_be(_ORDER, "generator_X,generator_Y,discriminator_X,discriminator_Y"),
    *adam(f"{_OPTIMIZERS}.{{generator_X,generator_Y,discriminator_X,discriminator_Y}}", "optim"),
    to("learning.training.epoch_iteration.pool_size", "pool_size", values.whole),
]
_CUT = [
    *_DISCRIMINATOR_LOSS,
    *_network("network.featdown", "nce", "official_p2p_mlp"),
    to("network.featdown.model.nc", "nce.dim", values.whole),
    to("network.featdown.model.nce_layers", "nce.layers", values.layers),
    *all_to(f"{_CRITERION}.weights", "weights", {"nce": "nce", "identity": "identity"}, values.number),
    ignored(
        f"{_CRITERION}.identity.loss",
        "CUT compares patches of night pictures too; gandtr never uses this loss",
    ),
    *all_must_be(f"{_CRITERION}.nce", {"loss": "multilayer_patchnce_loss", "weight": 1}),
    to(f"{_CRITERION}.nce.nce_layers", "nce.layers", values.layers),
    to(f"{_CRITERION}.nce.num_patches", "nce.num_patches", values.whole),
    to(f"{_CRITERION}.nce.temperature", "nce.temperature", values.number),
    to(
        f"{_CRITERION}.nce.batch_dim_for_bmm",
        "nce.negatives",
        lambda value: "batch" if values.whole(value) == 1 else "image",
    ),
    must_be(_ORDER, "discriminator_Y,generator_X,featdown"),
    *adam(f"{_OPTIMIZERS}.{{generator_X,discriminator_Y,featdown}}", "optim"),
]

#: What a detector's input goes through, by architecture: BGR and means, as its weights expect.
DETECTOR_WRAPPERS = {
    "hed_interpolation": (
        "rgb2bgr_pre,meanstd_pre:[[0.5,0.5,0.5],[0.5,0.5,0.5]]:[[0.40787054,0.45752458,0.48109378],[1.0,1.0,1.0]]"
    ),
    "rcf": (
        "meanstd_pre:[[0.5,0.5,0.5],[0.5,0.5,0.5]]:[[0.0,0.0,0.0],[1.0,1.0,1.0]],rgb2bgr_pre,"
        "meanstd_pre:[[0.0,0.0,0.0],[255.0,255.0,255.0]]:[[104.00698793,116.66876762,122.67891434],[1.0,1.0,1.0]]"
    ),
}


def _detector(value: Any) -> dict[str, Any]:
    return {} if value is None else {"edge_detector": values.edge_detector(value)}


def _edge_gan(architecture: str, *, student: bool) -> list[Rule]:
    detectors = "network.{detector,detector_frozen}" if student else "network.detector"
    rules = [
        *_DISCRIMINATOR_LOSS,
        *single_network(detectors, values.PLAIN_TRANSFORMS, values.HALF),
        Rule(f"{detectors}.{{path,model.pretrained}}", _detector),
        *all_must_be(detectors, {
            "model.architecture": architecture,
            "initialize": False,
            "runtime.wrappers": DETECTOR_WRAPPERS[architecture],
        }),
        must_be("network.detector.runtime.frozen", not student),
        to(f"{_CRITERION}.weights.edge", "weights.edge", values.number),
        must_be(f"{_CRITERION}.edge.loss", "l1"),
        must_be(_ORDER, "discriminator_Y,generator_X,detector" if student else "discriminator_Y,generator_X"),
        *adam(f"{_OPTIMIZERS}.{{generator_X,discriminator_Y}}", "optim"),
        *_EVERY_GAN,
    ]  # fmt: skip
    return rules if not student else [
        must_be("network.detector_frozen.runtime.frozen", True),
        to(f"{_CRITERION}.weights.hed", "distillation", values.number),
        must_be(f"{_CRITERION}.hed.loss", "l1"),
        *adam(f"{_OPTIMIZERS}.detector", "student"),
        *rules,
    ]  # fmt: skip


RULES: dict[str, list[Rule]] = {
    "cyclegan": [*_CYCLEGAN, *_EVERY_GAN],
    "cut": [*_CUT, *_EVERY_GAN],
    "hedgan": _edge_gan("hed_interpolation", student=False),
    "rcfgan": _edge_gan("rcf", student=False),
    "hedngan": _edge_gan("hed_interpolation", student=True),
    "rcfngan": _edge_gan("rcf", student=True),
}

#: What the reference means where a key is missing, if that is not our default.
_IF_MISSING = {
    "network.generator_X.model.no_antialias": ("generator.antialias_down", True),
    "network.generator_X.model.no_antialias_up": ("generator.antialias_up", True),
    "network.discriminator_Y.model.no_antialias": ("discriminator.antialias", True),
}


def translate_gan(step: ResolvedStep) -> Translated:
    """The training of a generator; without a step, the reason among the problems, where it is none of the six."""
    written = step.plain()
    epoch = values.at(written, "learning.training.epoch_iteration.type")
    architecture = values.at(written, "network.detector.model.architecture")
    method = METHODS.get((epoch, architecture)) or METHODS.get((epoch, None))
    if method is None:
        detector = f" with the edge detector {architecture}" if architecture else ""
        reason = f"darkside trains by {', '.join(EPOCHS)}; this is none of them{detector}"
        result = Translated(step)
        result.refuse("learning.training.epoch_iteration.type", epoch, reason)
        return result
    result = apply_rules(step, RULES[method])
    for key, (ours, value) in _IF_MISSING.items():
        if values.at(written, key) is None and ours not in result.origins:
            result.values[ours] = value
    _leave_out_published(result.values)
    betas = {"optim.betas": [0.5, 0.999], "student.betas": [0.9, 0.999]}
    return planned(result, TrainGanStep, betas, method=method)


def _leave_out_published(found: dict[str, Any]) -> None:
    """Leave out what our defaults mean too.

    Without day, night and images our configuration means the published ones (whose sides are 1024 pixels at most,
    so that shrinking to that changes nothing), without a number of epochs of decay it means half of all.
    """
    given = {key: found.get(f"data.{key}") for key in PUBLISHED}
    if all(value is None or value == PurePosixPath(PUBLISHED[key]) for key, value in given.items()):
        for key in given:
            found.pop(f"data.{key}", None)
        if found.get("data.max_size_px") is None:
            found.pop("data.max_size_px", None)
    if found.get("schedule.decay_epochs") == found.get("trainer.epochs", 0) // 2:
        found.pop("schedule.decay_epochs", None)

"""What the keys of a scenario's GAN training are in darkside's configuration (``methods/config.py``).

The tables below are the whole mapping. Options hold paths as :class:`PurePosixPath`, relative ones below the data
root; where everything is as published, no path is given, since our defaults mean the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from darkside_cli.scenario.finetune import CHECKPOINTS
from darkside_cli.scenario.plan import TrainGanStep
from darkside_cli.scenario.resolve import ResolvedStep
from darkside_cli.scenario.rules import (
    Finding,
    Rule,
    Translated,
    apply_rules,
    into,
    must_be,
    no_matter,
    to,
    with_lists,
)
from darkside_cli.scenario.tree import dotted
from darkside_cli.scenario.values import (
    HALF,
    PLAIN_TRANSFORMS,
    SFM,
    crops,
    edge_detector,
    file_path,
    image_folder,
    layers,
    negated,
    number,
    one_of,
    sample_size,
    whole,
)

PUBLISHED = {
    "day": f"{SFM}/dataset/train_day.txt",
    "night": f"{SFM}/dataset/train_night.txt",
    "images": f"{SFM}/ims",
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

_INITIAL = {"kaiming_p2p": "kaiming", "normal_p2p": "normal"}


def _network(pattern: str, ours: str, architecture: str) -> list[Rule]:
    """Rules of what every network of a GAN has."""
    return [
        must_be(f"{pattern}.type", "SingleNetwork"),
        must_be(f"{pattern}.path", None),
        must_be(f"{pattern}.model.architecture", architecture),
        must_be(f"{pattern}.model.{{input_nc,output_nc}}", 3),
        to(f"{pattern}.initialize.weights", f"{ours}.initialisation.kind", one_of(_INITIAL)),
        to(f"{pattern}.initialize.seed", f"{ours}.initialisation.seed", whole),
        to(f"{pattern}.initialize.gain", f"{ours}.initialisation.gain", number),
        must_be(f"{pattern}.runtime.frozen", False),
        must_be(f"{pattern}.runtime.wrappers", "", None),
        must_be(f"{pattern}.runtime.data", {}),
        must_be(f"{pattern}.runtime.data.transforms", PLAIN_TRANSFORMS),
        must_be(f"{pattern}.runtime.data.mean_std", HALF),
    ]


def _adam(pattern: str, ours: str) -> list[Rule]:
    return [
        must_be(f"{pattern}.algorithm", "adam"),
        to(f"{pattern}.lr", f"{ours}.lr", number),
        to(f"{pattern}.beta1", f"{ours}.betas[0]", number),
        to(f"{pattern}.beta2", f"{ours}.betas[1]", number),
        to(f"{pattern}.weight_decay", f"{ours}.weight_decay", number),
    ]


_EVERY_GAN = [
    must_be("network.type", "NetworkSet"),
    *_network("network.{generator_X,generator_Y}", "generator", "official_resnet_generator"),
    to("network.{generator_X,generator_Y}.model.ngf", "generator.ngf", whole),
    to("network.{generator_X,generator_Y}.model.n_blocks", "generator.n_blocks", whole),
    to("network.{generator_X,generator_Y}.model.norm_layer", "generator.norm"),
    to("network.{generator_X,generator_Y}.model.no_antialias", "generator.antialias_down", negated),
    to("network.{generator_X,generator_Y}.model.no_antialias_up", "generator.antialias_up", negated),
    to("network.{generator_X,generator_Y}.model.use_dropout", "generator.dropout"),
    to("network.{generator_X,generator_Y}.model.padding_type", "generator.padding"),
    *_network("network.{discriminator_X,discriminator_Y}", "discriminator", "official_p2p_discriminator"),
    to("network.{discriminator_X,discriminator_Y}.model.ndf", "discriminator.ndf", whole),
    to("network.{discriminator_X,discriminator_Y}.model.n_layers", "discriminator.n_layers", whole),
    to("network.{discriminator_X,discriminator_Y}.model.norm_layer", "discriminator.norm"),
    to("network.{discriminator_X,discriminator_Y}.model.no_antialias", "discriminator.antialias", negated),
    *CHECKPOINTS,
    must_be("learning.training.criterion.normalize_weights", False),
    must_be("learning.training.optimizer.composition.type", "alternation"),
    must_be("learning.training.optimizer.composition.alternate_iteration", 1),
    must_be("learning.training.scheduler.composition.type", "set"),
    must_be("learning.training.scheduler.*.algorithm", "lambda_p2p"),
    to("learning.training.scheduler.*.n_epochs_decay", "schedule.decay_epochs", whole),
    must_be("learning.training.epoch_iteration.type", *EPOCHS),
    must_be("learning.training.epoch_iteration.data", "train"),
    must_be("learning.training.epoch_iteration.criterion", "default"),
    must_be("learning.validation.type", "MultiCriterialValidation"),
    must_be("learning.validation.decisive_criterion", "epoch"),
    must_be("learning.validation.visual.type", "SingleValidation"),
    into(
        "learning.validation.visual.frequency",
        lambda value: {"trainer.validate_every": whole(value), "samples.every": whole(value)},
    ),
    must_be("learning.validation.visual.{network_overlay,data}", None),
    must_be("learning.validation.visual.criterion.type", "visual"),
    must_be("learning.validation.visual.criterion.data.dataset.name", "InferImageList"),
    to("learning.validation.visual.criterion.data.dataset.image_dir", "samples.pictures", file_path),
    to("learning.validation.visual.criterion.data.transforms", "samples.size_px", sample_size),
    must_be("learning.validation.visual.criterion.data.mean_std", HALF),
    must_be("data.train.dataset.name", "RandomDomainsPair"),
    to("data.train.dataset.dataset_X", "data.day", file_path),
    to("data.train.dataset.dataset_Y", "data.night", file_path),
    to("data.train.dataset.image_dir", "data.images", image_folder),
    to("data.train.dataset.size", "data.size", lambda value: None if value is None else whole(value)),
    to("data.train.loader.batch_size", "data.batch_size", whole),
    no_matter("data.train.loader.{num_workers,pin_memory}", "darkside chooses its threads: data.workers"),
    into("data.train.transforms", crops),
    must_be("data.train.mean_std", HALF),
    must_be("data.val.dataset.{image_dir,dataset}", None),
    no_matter("data.val.dataset.*", "training a generator uses no validation set"),
    no_matter("data.val.loader.*", "training a generator uses no validation set"),
    no_matter("data.val.{transforms,mean_std}", "training a generator uses no validation set"),
]  # fmt: skip

_LSGAN = "adversarial"
_CRITERION = "learning.training.criterion"
_DISCRIMINATOR_LOSS = [
    must_be(f"{_CRITERION}.loss", "multihead_loss"),
    to(f"{_CRITERION}.weights.adversarial", "weights.adversarial", number),
    must_be(f"{_CRITERION}.adversarial.loss", "discriminator_loss"),
    to(f"{_CRITERION}.adversarial.criterion.loss", _LSGAN, one_of({"mse": "lsgan"})),
]
_OPTIMIZERS = "learning.training.optimizer"

_CYCLEGAN = [
    must_be(f"{_CRITERION}.loss", "cycle_loss"),
    must_be(f"{_CRITERION}.{{loss_G_X,loss_G_Y}}.loss", "multihead_loss"),
    must_be(f"{_CRITERION}.{{loss_G_X,loss_G_Y}}.normalize_weights", False),
    to(f"{_CRITERION}.{{loss_G_X,loss_G_Y}}.weights.adversarial", "weights.adversarial", number),
    to(f"{_CRITERION}.{{loss_G_X,loss_G_Y}}.weights.cycle", "weights.cycle", number),
    to(f"{_CRITERION}.{{loss_G_X,loss_G_Y}}.weights.identity", "weights.identity", number),
    to(f"{_CRITERION}.{{loss_G_X,loss_G_Y}}.adversarial.loss", _LSGAN, one_of({"mse": "lsgan"})),
    must_be(f"{_CRITERION}.{{loss_G_X,loss_G_Y}}.{{cycle,identity}}.loss", "l1"),
    must_be(f"{_CRITERION}.{{loss_D_X,loss_D_Y}}.loss", "discriminator_loss"),
    to(f"{_CRITERION}.{{loss_D_X,loss_D_Y}}.criterion.loss", _LSGAN, one_of({"mse": "lsgan"})),
    must_be(f"{_OPTIMIZERS}.composition.order", "generator_X,generator_Y,discriminator_X,discriminator_Y"),
    *_adam(f"{_OPTIMIZERS}.{{generator_X,generator_Y,discriminator_X,discriminator_Y}}", "optim"),
    to("learning.training.epoch_iteration.pool_size", "pool_size", whole),
]

_CUT = [
    *_DISCRIMINATOR_LOSS,
    *_network("network.featdown", "nce", "official_p2p_mlp"),
    to("network.featdown.model.nc", "nce.dim", whole),
    to("network.featdown.model.nce_layers", "nce.layers", layers),
    to(f"{_CRITERION}.weights.nce", "weights.nce", number),
    to(f"{_CRITERION}.weights.identity", "weights.identity", number),
    no_matter(f"{_CRITERION}.identity.loss", "CUT compares patches of night pictures too; gandtr never uses this loss"),
    must_be(f"{_CRITERION}.nce.loss", "multilayer_patchnce_loss"),
    to(f"{_CRITERION}.nce.nce_layers", "nce.layers", layers),
    to(f"{_CRITERION}.nce.num_patches", "nce.num_patches", whole),
    to(f"{_CRITERION}.nce.temperature", "nce.temperature", number),
    to(f"{_CRITERION}.nce.batch_dim_for_bmm", "nce.negatives", lambda value: "batch" if whole(value) == 1 else "image"),
    must_be(f"{_CRITERION}.nce.weight", 1),
    must_be(f"{_OPTIMIZERS}.composition.order", "discriminator_Y,generator_X,featdown"),
    *_adam(f"{_OPTIMIZERS}.{{generator_X,discriminator_Y,featdown}}", "optim"),
]  # fmt: skip

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
    return {} if value is None else {"edge_detector": edge_detector(value)}


def _edge_gan(architecture: str, *, student: bool) -> list[Rule]:
    detectors = "network.{detector,detector_frozen}" if student else "network.detector"
    rules = [
        *_DISCRIMINATOR_LOSS,
        must_be(f"{detectors}.type", "SingleNetwork"),
        into(f"{detectors}.path", _detector),
        must_be(f"{detectors}.model.architecture", architecture),
        into(f"{detectors}.model.pretrained", _detector),
        must_be(f"{detectors}.initialize", False),
        must_be(f"{detectors}.runtime.wrappers", DETECTOR_WRAPPERS[architecture]),
        must_be(f"{detectors}.runtime.data.transforms", PLAIN_TRANSFORMS),
        must_be(f"{detectors}.runtime.data.mean_std", HALF),
        must_be("network.detector.runtime.frozen", not student),
        to(f"{_CRITERION}.weights.edge", "weights.edge", number),
        must_be(f"{_CRITERION}.edge.loss", "l1"),
    ]  # fmt: skip
    order = "discriminator_Y,generator_X"
    if student:
        rules += [
            must_be("network.detector_frozen.runtime.frozen", True),
            to(f"{_CRITERION}.weights.hed", "distillation", number),
            must_be(f"{_CRITERION}.hed.loss", "l1"),
            *_adam(f"{_OPTIMIZERS}.detector", "student"),
        ]
        order += ",detector"
    return [
        *rules,
        must_be(f"{_OPTIMIZERS}.composition.order", order),
        *_adam(f"{_OPTIMIZERS}.{{generator_X,discriminator_Y}}", "optim"),
    ]


RULES: dict[str, list[Rule]] = {
    "cyclegan": [*_CYCLEGAN, *_EVERY_GAN],
    "cut": [*_CUT, *_EVERY_GAN],
    "hedgan": [*_edge_gan("hed_interpolation", student=False), *_EVERY_GAN],
    "rcfgan": [*_edge_gan("rcf", student=False), *_EVERY_GAN],
    "hedngan": [*_edge_gan("hed_interpolation", student=True), *_EVERY_GAN],
    "rcfngan": [*_edge_gan("rcf", student=True), *_EVERY_GAN],
}

#: What the reference means where a key is missing, if that is not our default.
_IF_MISSING = {
    "network.generator_X.model.no_antialias": ("generator.antialias_down", True),
    "network.generator_X.model.no_antialias_up": ("generator.antialias_up", True),
    "network.discriminator_Y.model.no_antialias": ("discriminator.antialias", True),
}


def translate_gan(step: ResolvedStep) -> tuple[TrainGanStep | None, Translated]:
    """The training of a generator; None, with the reason among the problems, where it is none of the six."""
    values = step.plain()
    epoch = _value_at(values, "learning.training.epoch_iteration.type")
    architecture = _value_at(values, "network.detector.model.architecture")
    method = METHODS.get((epoch, architecture)) or METHODS.get((epoch, None))
    if method is None:
        detector = f" with the edge detector {architecture}" if architecture else ""
        reason = f"darkside trains by {', '.join(EPOCHS)}; this is none of them{detector}"
        where = f"{dotted(step.path)}.learning.training.epoch_iteration.type"
        return None, Translated(problems=[Finding(where, str(step.place), epoch, reason)])
    result = apply_rules(step.parameters, RULES[method], dotted(step.path))
    for key, (ours, value) in _IF_MISSING.items():
        if _value_at(values, key) is None and ours not in result.sources:
            result.values[ours] = value
    run = result.take("run")
    _leave_out_published(result.values)
    options = with_lists(result.values, {"optim.betas": [0.5, 0.999], "student.betas": [0.9, 0.999]})
    made = TrainGanStep(
        name=step.name,
        path=dotted(step.path),
        function=step.function,
        method=method,
        options=options,
        run=run,
    )
    return made, result


def _value_at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _leave_out_published(values: dict[str, Any]) -> None:
    """Leave out what our defaults mean too.

    Without day, night and images our configuration means the published ones (whose sides are 1024 pixels at most,
    so that shrinking to that changes nothing), without a number of epochs of decay it means half of all.
    """
    given = {key: values.get(f"data.{key}") for key in PUBLISHED}
    if all(value is None or value == PurePosixPath(PUBLISHED[key]) for key, value in given.items()):
        for key in given:
            values.pop(f"data.{key}", None)
        if values.get("data.max_size_px") is None:
            values.pop("data.max_size_px", None)
    if values.get("schedule.decay_epochs") == values.get("trainer.epochs", 0) // 2:
        values.pop("schedule.decay_epochs", None)

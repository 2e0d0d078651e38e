"""What the keys of a scenario's fine-tuning are in darkside's configuration (``retrieval/config.py``).

The table below is the whole mapping; options are dotted keys of that configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from darkside_cli.events import Emit
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
from darkside_cli.scenario.step import Outcome, Weights, generator
from darkside_cli.scenario.training import (
    CHECKPOINTS,
    TrainingStep,
    adam,
    outcome_of,
    planned,
    single_network,
)


@dataclass(frozen=True, kw_only=True)
class FinetuneStep(TrainingStep):
    """Train a descriptor. ``generator`` makes night of a share of the anchors; None: none does."""

    kind = "finetune"
    #: Whitening and evaluation are steps of their own in a scenario.
    alone = {"whitening.kind": "none", "evaluation.datasets": []}  # noqa: RUF012 - nobody changes it

    generator: Weights | None

    @property
    def schema(self) -> type[Any]:
        """The class of its configuration."""
        from darkside_cli.retrieval.config import FinetuneConfig

        return FinetuneConfig

    def flags(self, root: Path) -> dict[str, Any]:
        """Options as flags for ``config.load.resolve``, paths below the data root."""
        if self.generator is None:
            return {**super().flags(root), "augment.kind": "none"}
        models = [generator(self.generator, root)]
        return {**super().flags(root), "augment.kind": "generator", "augment.models": models}

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"fine-tune {self.options.get('backbone', 'a descriptor')}, night by {self.generator}"

    def execute(self, request: RunRequest, emit: Emit) -> Outcome:
        """Fine-tune a descriptor; a run that is there already goes on."""
        from darkside_cli.jobs import finetune as job

        return outcome_of(job.run(job.FinetuneRequest(**self.requested(request)), emit=emit))


def night_options(value: Any) -> dict[str, Any]:
    """Options (``augment.share``, ``augment.clahe_clip`` …) of the wrappers around the generator.

    They say which anchors go through it; behind it its normalisation becomes ImageNet's, and CLAHE follows. Raises
    ValueError for other wrappers.
    """
    options: dict[str, Any] = {}
    seen = []
    half, imagenet = (str(each).replace(" ", "") for each in (values.HALF, values.IMAGENET))
    for name, arguments in values.wrappers_of(value):
        if not isinstance(arguments, list):
            raise ValueError("only wrappers in a text are translated here")
        seen.append(name)
        given = [str(each).replace(" ", "") for each in arguments]
        if name == "clahepost" and 1 <= len(given) <= 3 and given[0] == half:
            options["augment.clahe_clip"] = values.number(given[1]) if len(given) > 1 else 1.0
            options["augment.clahe_grid"] = values.whole(given[2]) if len(given) > 2 else 8
        elif name == "cir_ratio_pass_through" and given[1:] == ["anc"]:
            options["augment.share"] = values.number(given[0])
        elif name != "meanstd_post" or given != [half, imagenet]:
            raise ValueError(f"{':'.join([name, *given])} is not translated")
    if seen != ["meanstd_post", "clahepost", "cir_ratio_pass_through"]:
        raise ValueError(
            "only meanstd_post, clahepost and cir_ratio_pass_through, in this order, are translated"
        )
    return options


def _database_name(value: Any) -> str:
    """A published training set; as the reference knows no others, its name may be written in any case."""
    if not isinstance(value, str):
        raise ValueError("this is not the name of a training set")
    return value.lower()


def _database_file(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    found = values.database(value)
    return {"data.database": found.lower()} if isinstance(found, str) else {"data.file": found}


_EMBED = "network.embed"
_TRAINING = "learning.training"
FINETUNE = [
    must_be("network.type", "CirSequentialNetwork"),
    must_be("network.sequence", "augment,embed"),
    must_be("network.augment.type", "SingleNetwork"),
    to("network.augment.path", "generator", values.weights),
    must_be("network.augment.runtime.frozen", True),
    Rule("network.augment.runtime.wrappers", night_options),
    must_be("network.augment.runtime.data", "load_from_checkpoint"),
    *single_network(_EMBED, values.CLAHE_TRANSFORMS, values.IMAGENET),
    *all_must_be(_EMBED, {"path": None, "model.architecture": "cirnet", "initialize": False}),
    *all_must_be(f"{_EMBED}.runtime", {"frozen": False, "wrappers": "cirfaketuplebatch"}),
    to(f"{_EMBED}.model.cir_architecture", "backbone"),
    to(f"{_EMBED}.model.pooling", "pooling"),
    to(f"{_EMBED}.model.pretrained", "init", lambda value: "imagenet" if values.boolean(value) else "random"),
    must_be(f"{_EMBED}.model.{{local_whitening,regional,whitening}}", False),
    *CHECKPOINTS,
    to(f"{_TRAINING}.criterion.loss", "loss.kind"),
    to(f"{_TRAINING}.criterion.margin", "loss.margin", values.number),
    *adam(f"{_TRAINING}.optimizer", "optim"),
    must_be(f"{_TRAINING}.scheduler.algorithm", "gamma"),
    to(f"{_TRAINING}.scheduler.gamma", "schedule.gamma", values.number),
    *all_must_be(f"{_TRAINING}.epoch_iteration", {
        "type": "SupervisedEpoch", "data": "train", "criterion": "default", "batch_average": False, "fakebatch": True
    }),
    *all_must_be("learning.validation", {
        "type": "SingleValidation", "data": "val", "criterion": "default", "network_overlay": None
    }),
    to("learning.validation.frequency", "trainer.validate_every", values.whole),
    *all_must_be("data.train.dataset", {"name": "CirDiverseAnchors", "split": "train"}),
    *all_must_be("data.val.dataset", {"name": "CirTuples", "split": "val"}),
    to("data.{train,val}.dataset.dataset", "data.database", _database_name),
    Rule("data.{train,val}.dataset.dataset_pkl", _database_file),
    to("data.{train,val}.dataset.image_dir", "data.images", values.image_folder),
    to("data.{train,val}.dataset.image_size", "data.image_size_px", values.whole),
    *all_to("data.train.dataset", "mining", {
        "query_size": "anchors", "qpool_size": "anchor_pool", "pool_size": "negative_pool"
    }, values.whole_or_all),
    to("data.{train,val}.dataset.neg_num", "mining.negatives", values.whole),
    to("data.train.dataset.similar_exclude", "mining.similar_exclude", values.number),
    to("data.train.dataset.similar_include", "mining.similar_include", values.number),
    must_be("data.val.dataset.{query_size,pool_size}", float("inf"), None),
    to("data.train.loader.batch_size", "data.batch_size", values.whole),
    must_be("data.val.loader.batch_size", 1),
    ignored("data.{train,val}.loader.{num_workers,pin_memory}", values.LOADERS),
    ignored("data.test.dataset.*", "fine-tuning itself uses no test set"),
]  # fmt: skip


def translate_finetune(step: ResolvedStep) -> Translated:
    """The training of a descriptor."""
    result = apply_rules(step, FINETUNE)
    found = result.values
    published = found.get("data.images") == PurePosixPath(f"{values.SFM}/ims")
    if published and not isinstance(found.get("data.file"), PurePosixPath):
        del found["data.images"]  # our default
    night = found.pop("generator", None)
    return planned(result, FinetuneStep, {"optim.betas": [0.9, 0.999]}, generator=night)

"""What the keys of a scenario's fine-tuning are in darkside's configuration (``retrieval/config.py``).

The table below is the whole mapping; options are dotted keys of that configuration.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from darkside_cli.scenario.plan import FinetuneStep
from darkside_cli.scenario.resolve import ResolvedStep
from darkside_cli.scenario.rules import (
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
    CLAHE_TRANSFORMS,
    HALF,
    IMAGENET,
    LOADERS,
    SFM,
    database,
    file_path,
    image_folder,
    number,
    weights,
    whole,
    whole_or_all,
    wrappers_of,
)

_REPORTS = "darkside reports by time, and always writes its page"
#: Rules of what every training has, a generator's too.
CHECKPOINTS = [
    to("learning.checkpoints.directory", "run", file_path),
    to("learning.checkpoints.store_every", "trainer.store_every", whole),
    to("learning.checkpoints.checkpoint_every", "trainer.checkpoint_every", whole),
    must_be("learning.checkpoints.directory_epoch_regex", None),
    must_be("learning.type", "TrainValLearning"),
    must_be("learning.training.type", "EpochTraining"),
    to("learning.training.epochs", "trainer.epochs", whole),
    to("learning.training.seed", "trainer.seed", whole),
    no_matter(
        "learning.training.deterministic", "darkside's training repeats itself bit for bit on one machine"
    ),
    no_matter("output.debug", "darkside has --verbose and --debug"),
    no_matter("output.learning.progress.{print_each,print_each_val}", _REPORTS),
    no_matter("output.learning.{progress,htmlreport}", _REPORTS),
    no_matter("output.learning.htmlreport.*", _REPORTS),
]


def night_options(value: Any) -> dict[str, Any]:
    """Options (``augment.share``, ``augment.clahe_clip`` …) of the wrappers around the generator.

    They say which anchors go through it; behind it its normalisation becomes ImageNet's, and CLAHE follows. Raises
    ValueError for other wrappers.
    """
    options: dict[str, Any] = {}
    seen = []
    for name, arguments in wrappers_of(value):
        if not isinstance(arguments, list):
            raise ValueError("only wrappers in a text are translated here")
        seen.append(name)
        given = [_spaceless(each) for each in arguments]
        if name == "meanstd_post" and given == [_spaceless(HALF), _spaceless(IMAGENET)]:
            continue
        if name == "clahepost" and 1 <= len(given) <= 3 and given[0] == _spaceless(HALF):
            options["augment.clahe_clip"] = number(given[1]) if len(given) > 1 else 1.0
            options["augment.clahe_grid"] = whole(given[2]) if len(given) > 2 else 8
            continue
        if name == "cir_ratio_pass_through" and given[1:] == ["anc"]:
            options["augment.share"] = number(given[0])
            continue
        raise ValueError(f"{':'.join([name, *given])} is not translated")
    if seen != ["meanstd_post", "clahepost", "cir_ratio_pass_through"]:
        raise ValueError(
            "only meanstd_post, clahepost and cir_ratio_pass_through, in this order, are translated"
        )
    return options


def _spaceless(value: Any) -> str:
    return str(value).replace(" ", "")


def _pretrained(value: Any) -> str:
    if not isinstance(value, bool):
        raise ValueError("this is neither true nor false")
    return "imagenet" if value else "random"


def _database_name(value: Any) -> str:
    """A published training set; as the reference knows no others, its name may be written in any case."""
    if not isinstance(value, str):
        raise ValueError("this is not the name of a training set")
    return value.lower()


def _database_file(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    found = database(value)
    return {"data.database": found.lower()} if isinstance(found, str) else {"data.file": found}


_EMBED = "network.embed"
_TRAINING = "learning.training"
FINETUNE = [
    must_be("network.type", "CirSequentialNetwork"),
    must_be("network.sequence", "augment,embed"),
    must_be("network.{augment,embed}.type", "SingleNetwork"),
    to("network.augment.path", "generator", weights),
    must_be("network.augment.runtime.frozen", True),
    into("network.augment.runtime.wrappers", night_options),
    must_be("network.augment.runtime.data", "load_from_checkpoint"),
    must_be(f"{_EMBED}.path", None),
    must_be(f"{_EMBED}.model.architecture", "cirnet"),
    to(f"{_EMBED}.model.cir_architecture", "backbone"),
    to(f"{_EMBED}.model.pooling", "pooling"),
    to(f"{_EMBED}.model.pretrained", "init", _pretrained),
    must_be(f"{_EMBED}.model.{{local_whitening,regional,whitening}}", False),
    must_be(f"{_EMBED}.initialize", False),
    must_be(f"{_EMBED}.runtime.frozen", False),
    must_be(f"{_EMBED}.runtime.wrappers", "cirfaketuplebatch"),
    must_be(f"{_EMBED}.runtime.data.transforms", CLAHE_TRANSFORMS),
    must_be(f"{_EMBED}.runtime.data.mean_std", IMAGENET),
    *CHECKPOINTS,
    to(f"{_TRAINING}.criterion.loss", "loss.kind"),
    to(f"{_TRAINING}.criterion.margin", "loss.margin", number),
    must_be(f"{_TRAINING}.optimizer.algorithm", "adam"),
    to(f"{_TRAINING}.optimizer.lr", "optim.lr", number),
    to(f"{_TRAINING}.optimizer.beta1", "optim.betas[0]", number),
    to(f"{_TRAINING}.optimizer.beta2", "optim.betas[1]", number),
    to(f"{_TRAINING}.optimizer.weight_decay", "optim.weight_decay", number),
    must_be(f"{_TRAINING}.scheduler.algorithm", "gamma"),
    to(f"{_TRAINING}.scheduler.gamma", "schedule.gamma", number),
    must_be(f"{_TRAINING}.epoch_iteration.type", "SupervisedEpoch"),
    must_be(f"{_TRAINING}.epoch_iteration.data", "train"),
    must_be(f"{_TRAINING}.epoch_iteration.criterion", "default"),
    must_be(f"{_TRAINING}.epoch_iteration.batch_average", False),
    must_be(f"{_TRAINING}.epoch_iteration.fakebatch", True),
    must_be("learning.validation.type", "SingleValidation"),
    must_be("learning.validation.data", "val"),
    must_be("learning.validation.criterion", "default"),
    must_be("learning.validation.network_overlay", None),
    to("learning.validation.frequency", "trainer.validate_every", whole),
    must_be("data.train.dataset.name", "CirDiverseAnchors"),
    must_be("data.val.dataset.name", "CirTuples"),
    to("data.{train,val}.dataset.dataset", "data.database", _database_name),
    into("data.{train,val}.dataset.dataset_pkl", _database_file),
    to("data.{train,val}.dataset.image_dir", "data.images", image_folder),
    to("data.{train,val}.dataset.image_size", "data.image_size_px", whole),
    must_be("data.train.dataset.split", "train"),
    must_be("data.val.dataset.split", "val"),
    to("data.train.dataset.query_size", "mining.anchors", whole_or_all),
    to("data.train.dataset.qpool_size", "mining.anchor_pool", whole_or_all),
    to("data.train.dataset.pool_size", "mining.negative_pool", whole_or_all),
    to("data.{train,val}.dataset.neg_num", "mining.negatives", whole),
    to("data.train.dataset.similar_exclude", "mining.similar_exclude", number),
    to("data.train.dataset.similar_include", "mining.similar_include", number),
    must_be("data.val.dataset.{query_size,pool_size}", float("inf"), None),
    to("data.train.loader.batch_size", "data.batch_size", whole),
    must_be("data.val.loader.batch_size", 1),
    no_matter("data.{train,val}.loader.{num_workers,pin_memory}", LOADERS),
    no_matter("data.test.dataset.*", "fine-tuning itself uses no test set"),
]  # fmt: skip


def translate_finetune(step: ResolvedStep) -> tuple[FinetuneStep, Translated]:
    """The training of a descriptor."""
    result = apply_rules(step.parameters, FINETUNE, dotted(step.path))
    published = result.values.get("data.images") == PurePosixPath(f"{SFM}/ims")
    if published and not isinstance(result.values.get("data.file"), PurePosixPath):
        del result.values["data.images"]  # our default
    run, generator = result.take("run"), result.take("generator")
    options = with_lists(result.values, {"optim.betas": [0.9, 0.999]})
    return FinetuneStep(
        name=step.name,
        path=dotted(step.path),
        function=step.function,
        generator=generator,
        options=options,
        run=run,
    ), result

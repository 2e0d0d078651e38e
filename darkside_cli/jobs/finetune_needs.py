"""What a fine-tuning names and needs: looked at before anything is got or loaded, then got where that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import UnknownNameError
from darkside_cli.events import Emit
from darkside_cli.jobs.checks import Absences, check_generator, check_model, check_path
from darkside_cli.jobs.needs import (
    advising,
    missing_test_sets,
    obtain,
    obtain_model,
    obtain_tuples,
    open_assets,
)
from darkside_cli.jobs.request import Getting

if TYPE_CHECKING:
    from darkside_cli.retrieval.config import FinetuneConfig
    from darkside_cli.retrieval.mining.config import NightOptions


def generators_of(augment: NightOptions) -> tuple[str, ...]:
    """Generators that are used, by name or path."""
    return augment.models if augment.kind == "generator" and augment.share else ()


def check_names(config: FinetuneConfig, root: DataRoot) -> None:
    """See that all that ``config`` names can be meant, and that paths are there.

    Raises UsageError and ConfigError first, then MissingAssetError.
    """
    from darkside_cli.datasets.catalog import check_test_set, check_training_data
    from darkside_cli.retrieval.config import INITS
    from darkside_cli.retrieval.describe.scales import parse_scales
    from darkside_cli.retrieval.training_sets import check_init, open_tuples, whitening_spec

    absences, data, augment = Absences(), config.data, config.augment
    for scales in (config.whitening.scales, config.evaluation.scales):
        parse_scales(scales)
    absences(check_init, config.init, config.backbone)
    if config.init not in INITS:
        absences(_check_beginning, root, config.init)
    for model in generators_of(augment):
        absences(check_generator, root, model, to="night")
    whitening: tuple[Any, ...] = whitening_spec(config) or ()
    learned = {"train": data.spec, "val": data.validation if config.validates else None}
    for spec in (*(spec for spec in learned.values() if spec is not None), *whitening[:1]):
        absences(check_training_data, spec)
    for dataset in config.evaluation.datasets or ():
        absences(check_test_set, dataset)
    for split, spec in learned.items():
        if spec is not None and Path(spec).is_dir():
            # A folder without places is a mistake, whatever else is missing.
            near = data.positive_dist_m
            open_tuples(spec, root, split=split, part=data.part, lone=data.views > 0, within_m=near)
    night_images = augment.images if augment.kind == "images" else None
    for path in (data.images, *whitening[1:], night_images, *data.photographs):
        absences(check_path, path, "folder")
    absences.tell()


def _check_beginning(root: DataRoot, init: str) -> None:
    """See that ``init`` is a descriptor to begin with. Raises as check_model does, with the words of ``--init`` too."""
    from darkside_cli.jobs.fields import descriptor_names
    from darkside_cli.retrieval.config import INITS

    try:
        check_model(root, init, kind="descriptor")
    except UnknownNameError as error:
        raise UnknownNameError(
            "weights to begin with", init, [*INITS, *descriptor_names()], extra_hint="a path is taken too"
        ) from error


def obtain_all(request: Getting, config: FinetuneConfig, *, emit: Emit) -> None:
    """See that what a run needs is here: data, features to begin with, generators, test sets. No more is asked for.

    What can be made is made; what is published is downloaded where that was asked for, else MissingAssetError.
    """
    from darkside_cli.networks.configs import LITE_BACKBONES
    from darkside_cli.retrieval.config import INITS
    from darkside_cli.retrieval.training_sets import imagenet_asset, need_of, tuple_needs

    trains_on_published = need_of(config.data.spec) is not None
    advice = "give your own with --data" if trains_on_published else "--whitening none"
    assets, needs = open_assets(request).assets, tuple_needs(config)
    # What is made here comes last: that takes its time, and would be for nothing where something else is missing.
    made = [need for need in needs if assets.get(need.entry.asset).made_by]
    with advising(advice):
        obtain_tuples(request, [need for need in needs if need not in made], emit=emit)
    if config.init == "imagenet" and config.backbone not in LITE_BACKBONES:
        with advising("begin with --init torchvision, random or a file"):
            obtain(request, [imagenet_asset(config.backbone)], emit=emit)
    elif config.init in INITS and config.init != "random":
        from darkside_cli.retrieval.initial import published_file

        published_file(config, request.root, download=request.download and not request.offline)
    for model in generators_of(config.augment):
        with advising("take another generator, --night-images, or --augment none"):
            obtain_model(request, model, kind="generator", emit=emit)
    with advising(advice):
        obtain_tuples(request, made, emit=emit)
    missing = missing_test_sets(request.root, config.evaluation.datasets or ())
    if missing:
        obtain(request, missing, emit=emit)

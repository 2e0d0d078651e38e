"""What ``darkside finetune`` has to have on this machine before it begins, and only that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from darkside_cli.cli.obtain import obtain, obtain_model, open_assets
from darkside_cli.cli.session import Session
from darkside_cli.cli.tuple_assets import obtain_tuples
from darkside_cli.errors import MissingAssetError
from darkside_cli.jobs.checks import Absences, check_generator, check_model, check_path

if TYPE_CHECKING:
    from darkside_cli.retrieval.config import FinetuneConfig
    from darkside_cli.retrieval.training_sets import TupleNeed


def obtain_for(session: Session, config: FinetuneConfig, *, download: bool) -> None:
    """See that what the run needs is here: data, features to begin with, generators, test sets. No more is asked for.

    Raises MissingAssetError for what is not here and not to be had.
    """
    from darkside_cli.datasets.catalog import TEST_SETS
    from darkside_cli.datasets.tuple_sets import asset_of
    from darkside_cli.retrieval.training_sets import imagenet_asset, need_of, tuple_needs

    trains_on_published = need_of(config.data.spec) is not None
    advice = "give your own with --data" if trains_on_published else "--whitening none"
    # What is made here comes last: that takes its time, and would be for nothing where something else is missing.
    assets = open_assets(session).assets
    fetched: list[TupleNeed] = []
    made: list[TupleNeed] = []
    for need in tuple_needs(config):
        (made if assets.get(asset_of(need.name)).made_by else fetched).append(need)
    with _also(advice):
        obtain_tuples(session, fetched, download=download)
    if config.init == "imagenet":
        with _also("begin with --init torchvision, random or a file"):
            obtain(session, [imagenet_asset(config.backbone)], download=download)
    elif config.init == "torchvision":
        from darkside_cli.retrieval.initial import torchvision_file

        torchvision_file(config.backbone, download=download and not session.offline)
    if config.augment.kind == "generator" and config.augment.share:
        for model in config.augment.models:
            with _also("take another generator, --night-images, or --augment none"):
                obtain_model(session, model, kind="generator", download=download)
    with _also(advice):
        obtain_tuples(session, made, download=download)
    wanted = [TEST_SETS.get(each) for each in config.evaluation.datasets or () if each in TEST_SETS]
    root = session.root.path
    missing = [
        entry.name
        for entry in wanted
        if entry.made or not (entry.ground_truth(root).is_file() and entry.images(root).is_dir())
    ]
    if missing:
        obtain(session, missing, download=download)


def check_for(session: Session, config: FinetuneConfig) -> None:
    """See that all that the run names can be meant, and that paths are there, before anything is got or loaded.

    Raises UsageError and ConfigError first, then MissingAssetError.
    """
    from darkside_cli.datasets.catalog import check_test_set
    from darkside_cli.datasets.tuple_sets import check_training_data
    from darkside_cli.retrieval.config import INITS
    from darkside_cli.retrieval.describe.scales import parse_scales
    from darkside_cli.retrieval.training_sets import imagenet_asset, validates, whitening_spec

    absences, data, augment = Absences(), config.data, config.augment
    for scales in (config.whitening.scales, config.evaluation.scales):
        parse_scales(scales)
    if config.init == "imagenet":
        imagenet_asset(config.backbone)
    elif config.init not in INITS:
        with absences:
            check_model(session.root, config.init, kind="descriptor")
    for model in augment.models if augment.kind == "generator" and augment.share else ():
        with absences:
            check_generator(session.root, model, to="night")
    whitening = whitening_spec(config)
    specs = [data.spec, data.validation if validates(config) else None, whitening[0] if whitening else None]
    for spec in specs:
        if spec is not None:
            with absences:
                check_training_data(spec)
    for dataset in config.evaluation.datasets or ():
        with absences:
            check_test_set(dataset)
    for path in (
        data.images,
        whitening[1] if whitening else None,
        augment.images if augment.kind == "images" else None,
    ):
        with absences:
            check_path(path, "folder")
    absences.tell()


@contextmanager
def _also(advice: str) -> Iterator[None]:
    """Add another way out to what is said of missing assets."""
    try:
        yield
    except MissingAssetError as error:
        raise MissingAssetError(error.message, hint=f"{error.hint}; or {advice}") from error

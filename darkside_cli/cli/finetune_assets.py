"""What ``darkside finetune`` has to have on this machine before it begins, and only that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from darkside_cli.cli.obtain import obtain, obtain_model
from darkside_cli.cli.session import Session
from darkside_cli.cli.tuple_assets import obtain_tuples
from darkside_cli.errors import MissingAssetError

if TYPE_CHECKING:
    from darkside_cli.retrieval.config import FinetuneConfig


def obtain_for(session: Session, config: FinetuneConfig, *, download: bool) -> None:
    """See that what the run needs is here: data, features to begin with, generators, test sets. No more is asked for.

    Raises MissingAssetError for what is not here and not to be had.
    """
    from darkside_cli.data.test_sets import TEST_SETS
    from darkside_cli.retrieval.initial import imagenet_asset, torchvision_file
    from darkside_cli.retrieval.needs import need_of, tuple_needs

    trains_on_published = need_of(config.data.spec) is not None
    with _also("give your own with --data" if trains_on_published else "--whitening none"):
        obtain_tuples(session, tuple_needs(config), download=download)
    if config.init == "imagenet":
        with _also("begin with --init torchvision, random or a file"):
            obtain(session, [imagenet_asset(config.backbone)], download=download)
    elif config.init == "torchvision":
        torchvision_file(config.backbone, download=download and not session.offline)
    if config.augment.kind == "generator" and config.augment.share:
        for model in config.augment.models:
            with _also("take another generator, --night-images, or --augment none"):
                obtain_model(session, model, kind="generator", download=download)
    wanted = [TEST_SETS.get(each) for each in config.evaluation.datasets or () if each in TEST_SETS]
    root = session.root.path
    missing = [
        entry.name
        for entry in wanted
        if entry.made or not (entry.ground_truth(root).is_file() and entry.images(root).is_dir())
    ]
    if missing:
        obtain(session, missing, download=download)


@contextmanager
def _also(advice: str) -> Iterator[None]:
    """Add another way out to what is said of missing assets."""
    try:
        yield
    except MissingAssetError as error:
        raise MissingAssetError(error.message, hint=f"{error.hint}; or {advice}") from error

"""What a fine-tuning works on: tuples to train and validate on, pairs for the whitening, test sets, night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from darkside_cli.assets.caches import NIGHT_CACHE
from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.catalog import TEST_SETS, published_name
from darkside_cli.datasets.lone_images import with_photographs, with_views
from darkside_cli.datasets.tuples import TupleSet, split_off, without_broken
from darkside_cli.datasets.utm import part_of
from darkside_cli.errors import MissingAssetError, UnknownNameError, UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.images.settings import default_threads
from darkside_cli.retrieval.config import FinetuneConfig, TupleDataConfig
from darkside_cli.retrieval.mining.config import MiningConfig
from darkside_cli.retrieval.mining.night import ExposureNight, GammaNight, MixedNight, NightMaker, ReadyNights
from darkside_cli.retrieval.mining.night_cache import CachedNight, NightCache
from darkside_cli.retrieval.search.benchmark import Benchmark, open_benchmark, require_images
from darkside_cli.retrieval.training_sets import open_tuples, whitening_spec

#: Share of the places that is kept back for validation where nobody says, and from how many places on.
VALIDATION_SHARE, FEWEST_PLACES = 0.1, 12
#: Places to validate on need not be as many as a tuple shows: with fewer, its tuples have fewer negatives.
_FEWEST_KEPT = 3
_MOST_THREADS = 16


@dataclass(frozen=True)
class FinetuneSets:
    """Sets of one run; ``benchmarks`` by what they were called. ``workers`` is how many threads decode."""

    training: TupleSet
    validation: TupleSet | None
    whitening: TupleSet | None
    whitening_upright: bool
    benchmarks: dict[str, Benchmark]
    workers: int


def is_published(spec: str) -> bool:
    """Whether ``spec`` is a published set or database: their images are used as stored, whatever their EXIF says."""
    return published_name(spec) is not None or Path(spec).suffix.lower() == ".pkl"


def open_sets(config: FinetuneConfig, root: DataRoot, *, emit: Emit = ignore) -> FinetuneSets:
    """Open all sets of ``config``; broken images are named and left out.

    Raises MissingAssetError for what is not on this machine, UsageError for what cannot be learned from.
    """
    training, validation = training_sets(config, root, emit=emit)
    whitening, upright = _whitening_set(config, training, root, emit)
    workers = config.data.workers or default_threads(_MOST_THREADS)
    return FinetuneSets(training, validation, whitening, upright, _benchmarks(config, root), workers)


def training_sets(
    config: FinetuneConfig, root: DataRoot, *, emit: Emit = ignore
) -> tuple[TupleSet, TupleSet | None]:
    """Tuples to train on, and those to validate on, if there are any.

    Without a set of its own, validation has the part that a database has for it; else some places are kept back, of
    small sets none unless a share is asked for. Where nothing is validated (``trainer.validate_every`` 0), a set or
    part for it need not be there.
    """
    data = config.data
    training = _usable(_open(data.spec, data, root, split="train"), emit)
    _warn_of_other_parts(data.spec, training, emit)
    fewest = min(config.mining.negatives + 1, _FEWEST_KEPT)
    if data.validation is not None:
        return training, _validation(data.validation, config, root, emit)
    if is_published(data.spec) or part_of(Path(data.spec), "val") is not None:
        try:
            own = _open(data.spec, data, root, split="val")
        except UnknownNameError:
            pass
        else:
            if own.describe()["fingerprint"] != training.describe()["fingerprint"] and own.name.endswith(
                "/val"
            ):
                return training, _validation(data.spec, config, root, emit)
    if data.validation_share == 0:
        return training, None
    places = _places_with_pairs(training)
    if data.validation_share is None and places < FEWEST_PLACES:
        emit(
            Notice(
                f"{training.name} has pairs of {places} place{'s' * (places != 1)}, which are all trained on: with "
                f"fewer than {FEWEST_PLACES} none are kept back for validation (--validation names other ones)"
            )
        )
        return training, None
    share = VALIDATION_SHARE if data.validation_share is None else data.validation_share
    rest, kept_back = split_off(training, share, seed=config.trainer.seed, fewest_places=fewest)
    emit(
        Notice(
            f"{kept_back.pairs} pairs of {kept_back.describe()['places']} places are kept back for validation, "
            f"{rest.pairs} are trained on"
        )
    )
    return rest, kept_back


def mining_of(mining: MiningConfig, tuples: TupleSet, *, emit: Emit = ignore) -> MiningConfig:
    """``mining`` with no more negatives than ``tuples`` has other places, which is told.

    Raises UsageError where there is one place alone.
    """
    most = tuples.fewest_others()
    if mining.negatives <= most:
        return mining
    if most < 1:
        raise UsageError(
            f"{tuples.name} shows one place: a network learns to tell places apart, which takes two or more",
            hint="give a folder with a folder of pictures for each place",
        )
    emit(
        Notice(
            f"{tuples.name} has {most + 1} places: tuples have {most} negative{'s' * (most > 1)}, one a place, not "
            f"{mining.negatives}"
        )
    )
    return replace(mining, negatives=most)


def _warn_of_other_parts(spec: str, training: TupleSet, emit: Emit) -> None:
    """Tell where a folder has no part to train on, so that the parts for validation and for tests are trained on."""
    folder = Path(spec)
    inside = (path.relative_to(folder).parts for path in training.paths if path.is_relative_to(folder))
    parts = {"/".join(names[: 2 if names[0] == "images" else 1]) for names in inside}
    if (
        training.positions is None
        or not parts
        or {each.rpartition("/")[2] for each in parts} - {"test", "val"}
    ):
        return
    named = " and ".join(str(folder / part) for part in sorted(parts))
    emit(
        Notice(
            f"{spec} has no folder train, so {named} {'are' if len(parts) > 1 else 'is'} trained on: figures on "
            "these pictures will say little about others",
            level="warning",
        )
    )


def _places_with_pairs(tuples: TupleSet) -> int:
    return len(np.unique(tuples.clusters[tuples.query_index]))


def _open(spec: str, data: TupleDataConfig, root: DataRoot, *, split: str) -> TupleSet:
    wanted = split if is_published(spec) or Path(spec).is_dir() else None
    tuples = open_tuples(
        spec,
        root,
        split=wanted,
        images=data.images,
        positives=data.positives,
        part=data.part,
        lone=data.views > 0,
        within_m=data.positive_dist_m,
    )
    if split == "train":
        tuples = with_photographs(tuples, data.photographs)
    return with_views(tuples, data.views)


def _validation(spec: str, config: FinetuneConfig, root: DataRoot, emit: Emit) -> TupleSet | None:
    """The set ``spec``, its part for validation; None if it is neither used nor there."""
    if config.validates:
        return _usable(_open(spec, config.data, root, split="val"), emit)
    try:  # what a run is of does not depend on whether it validates: it may begin to
        return _usable(_open(spec, config.data, root, split="val"), ignore)
    except UnknownNameError:
        raise
    except (MissingAssetError, UsageError):
        return None


def _usable(tuples: TupleSet, emit: Emit) -> TupleSet:
    return without_broken(tuples.require_pairs(), emit=emit)


def _whitening_set(
    config: FinetuneConfig, training: TupleSet, root: DataRoot, emit: Emit
) -> tuple[TupleSet | None, bool]:
    if config.whitening.kind == "none":
        return None, True
    found = whitening_spec(config)
    if found is None:
        return training, not is_published(config.data.spec)
    (spec, images), data = found, config.data
    tuples = open_tuples(spec, root, images=images, positives=data.positives, within_m=data.positive_dist_m)
    return _usable(tuples, emit), not is_published(spec)


def _benchmarks(config: FinetuneConfig, root: DataRoot) -> dict[str, Benchmark]:
    names = config.evaluation.datasets
    if names is None:
        # The set's own, if it has some (not those to choose settings by), and the published ones.
        own = published_name(config.data.database)
        here = [
            entry.name
            for entry in TEST_SETS
            if (entry.published_protocol or own in (entry.name, entry.images_of))
            and entry.ground_truth(root.path).is_file()
            and entry.images(root.path).is_dir()
        ]
        return {name: open_benchmark(name, root) for name in here}
    found = {}
    for name in names:
        found[name] = open_benchmark(name, root)
        require_images(found[name])
    return found


def night_of(
    config: FinetuneConfig, generators: Sequence[NightMaker], root: DataRoot, *, emit: Emit = ignore
) -> NightMaker | None:
    """What makes night for anchors by ``config.augment``; None for nothing. Translations are kept on disk.

    Raises UsageError if generators are wanted and there are none.
    """
    options = config.augment
    if options.kind == "none" or options.share == 0:
        return None
    if options.kind == "gamma":
        return GammaNight(*options.gamma)
    if options.kind == "exposure":
        return ExposureNight(*options.stops)
    if options.kind == "images":
        if options.images is None:
            raise MissingAssetError("there is no folder of night images", hint="name it with --night-images")
        return ReadyNights(options.images, size_px=config.data.image_size_px)
    if not generators:
        raise UsageError("there is no generator", hint="name one with --model, or --augment none")
    folder = options.cache or root / NIGHT_CACHE.folder
    cache = NightCache(folder, int(options.cache_gb * 1e9), emit=emit)
    kept = [CachedNight(maker, cache) if maker.costly else maker for maker in generators]
    return kept[0] if len(kept) == 1 else MixedNight(kept)

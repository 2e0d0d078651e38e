"""Sets of training tuples by what users call them: how they are opened, and which published ones a fine-tuning needs.

Free of heavy imports.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from darkside_cli.assets.catalog import DATA
from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.catalog import TRAINING_SETS, TrainingSet, check_training_data, published_name
from darkside_cli.errors import ConfigError, MissingAssetError, UnknownNameError
from darkside_cli.networks.configs import LITE_BACKBONES, OWN_BACKBONES, TIMM
from darkside_cli.retrieval.config import FinetuneConfig

if TYPE_CHECKING:
    from darkside_cli.datasets.tuples import TupleSet

#: What the name of a published set's pairs for whitening ends in.
_FOR_WHITENING = "-whiten"


@dataclass(frozen=True)
class TupleNeed:
    """A published set that will be opened: its ``name``, and which parts (``splits``) of it; None: it has none.

    ``with_images`` is whether its images are needed, too; not where the user has them in a folder elsewhere.
    """

    name: str
    splits: tuple[str | None, ...] = (None,)
    with_images: bool = True

    @property
    def entry(self) -> TrainingSet:
        """What is known of the set."""
        return TRAINING_SETS.get(self.name)


def need_of(
    spec: str, splits: tuple[str | None, ...] = (None,), *, with_images: bool = True
) -> TupleNeed | None:
    """What opening ``spec`` needs of the published sets; None if it is a path."""
    name = published_name(spec)
    return None if name is None or Path(spec).exists() else TupleNeed(name, splits, with_images)


def whitening_spec(config: FinetuneConfig) -> tuple[str, Path | None] | None:
    """What the whitening is learned from, and where its images are if they are elsewhere.

    None: from the training data, or there is to be none.
    """
    options, data = config.whitening, config.data
    if options.kind == "none":
        return None
    spec = options.database
    if spec is None:
        spec = f"{published_name(data.database)}{_FOR_WHITENING}"
        if published_name(spec) is None:
            return None
    return spec, options.images or (data.images if published_name(spec) is not None else None)


def tuple_needs(config: FinetuneConfig) -> list[TupleNeed]:
    """All published sets that the fine-tuning of ``config`` opens, by name."""
    data = config.data
    own_part = config.validates and data.validation is None
    here = data.images is None
    found = [need_of(data.spec, ("train", "val") if own_part else ("train",), with_images=here)]
    if config.validates and data.validation is not None:
        found.append(need_of(data.validation, ("val",), with_images=here))
    whitening = whitening_spec(config)
    if whitening is not None:
        found.append(need_of(whitening[0], with_images=whitening[1] is None))
    return [need for need in found if need is not None]


def check_init(init: str, backbone: str) -> None:
    """See that the weights to begin with that have the name ``init`` may be those of ``backbone``.

    Raises ConfigError, and for networks that timm does not have UnknownNameError.
    """
    of_timm = backbone.startswith(TIMM)
    if of_timm:
        from darkside_cli.networks.timm_backbones import check_name  # which loads torch

        check_name(backbone)
    ways = "random, or a file"
    if of_timm and init in ("imagenet", "torchvision"):
        raise ConfigError(f"--init {init} has no weights of {backbone}", hint=f"--init timm, {ways}")
    if init == "timm" and not of_timm:
        raise ConfigError(
            f"--init timm has no weights of {backbone}", hint=f"networks of timm are {TIMM}NAME"
        )
    if init == "torchvision" and backbone in OWN_BACKBONES:
        ways = f"imagenet, {ways}" if backbone in LITE_BACKBONES else ways
        raise ConfigError(f"--init torchvision has no weights of {backbone}", hint=f"--init {ways}")
    if init == "imagenet" and backbone not in LITE_BACKBONES:
        imagenet_asset(backbone)


def imagenet_asset(backbone: str) -> str:
    """Name of the asset with published features of ``backbone``. Raises ConfigError if there are none."""
    name = f"imagenet-{backbone}"
    if name not in DATA:
        known = [each.removeprefix("imagenet-") for each in DATA.names() if each.startswith("imagenet-")]
        raise ConfigError(
            f"there are no published ImageNet features of {backbone}, only of {', '.join(known)}",
            hint="--init torchvision, random, or a file",
        )
    return name


def open_tuples(
    spec: str | Path,
    root: DataRoot,
    *,
    split: str | None = None,
    images: Path | None = None,
    positives: int | None = None,
    part: str | None = None,
    lone: bool = False,
    within_m: float | None = None,
) -> TupleSet:
    """Open a published set by name, its file (``.pkl``), a list (``.csv``, ``.json``) or a folder.

    A folder has images whose names say where they were taken, of which those within ``within_m`` metres are positives
    (default: 25; see :mod:`darkside_cli.datasets.utm_tuples`), or a folder for each place. ``split`` ("train", "val")
    chooses a part of a published training set, or of such a folder; ``images`` is where the images are, if not
    where they usually are; ``positives`` how many an image gets at most where nobody names them (default: 4). Of a
    folder, ``part`` and ``lone`` are as in :func:`darkside_cli.datasets.tuples.tuples_of_folder`; of a list, ``lone``
    lets all images be alone in their places. Files of images are not looked at
    (see :func:`darkside_cli.datasets.tuples.without_broken`).

    Raises MissingAssetError if it is not on this machine, UnknownNameError for a split that does not exist or what is
    neither a name nor a path, UsageError and CheckpointError for what cannot be learned from.
    """
    from darkside_cli.datasets.tuple_lists import SUFFIXES, tuples_of_list
    from darkside_cli.datasets.tuples import POSITIVES, tuples_of_folder
    from darkside_cli.datasets.utm import POSITIVE_DIST_M
    from darkside_cli.datasets.utm_tuples import tuples_of_utm
    from darkside_cli.interop.training_db import SPLITS, read_training_db

    positives = POSITIVES if positives is None else positives
    if split is not None and split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    check_training_data(spec)
    path = Path(spec)
    name = published_name(spec)
    if name is not None and not path.exists():
        known = TRAINING_SETS.get(name)
        path = known.database_file(root.train(""))
        if not path.is_file():
            raise MissingAssetError(
                f"{name} is not on this machine: there is no {path}",
                hint=f"darkside download {known.asset}",
            )
        images = images or known.images(root.train(""))
    if path.is_dir():
        near = POSITIVE_DIST_M if within_m is None else within_m
        if part is None:
            utm = tuples_of_utm(path, split=split, positives=positives, within_m=near, lone=lone)
            if utm is not None:
                return utm
        return tuples_of_folder(path, positives=positives, part=part, lone=lone)
    if path.suffix.lower() in SUFFIXES:
        return tuples_of_list(path, images=images, positives=positives, lone=lone)
    return read_training_db(path, split=split, images=images)

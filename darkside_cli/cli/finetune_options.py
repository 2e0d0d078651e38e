"""Options of ``darkside finetune`` alone; what commands that train share is in ``cli/training.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darkside_cli.cli import options


def _generators() -> list[str]:
    from darkside_cli.networks.catalog import MODELS

    return [entry.name for entry in MODELS if entry.kind == "generator"]


def _backbones() -> tuple[str, ...]:
    from darkside_cli.networks.names import BACKBONES

    return BACKBONES


def _inits() -> tuple[str, ...]:
    from darkside_cli.retrieval.config import INITS

    return INITS


def _augmentations() -> tuple[str, ...]:
    from darkside_cli.retrieval.config import AUGMENTATIONS

    return AUGMENTATIONS


def _sets() -> list[str]:
    from darkside_cli.datasets.tuple_sets import PUBLISHED

    return list(PUBLISHED)


def _test_sets() -> list[str]:
    from darkside_cli.datasets.catalog import TEST_SETS

    return TEST_SETS.names(aliases=True)


Model = Annotated[
    list[str] | None,
    options.choice(
        "model",
        _generators,
        "--model",
        "-m",
        help="Generator that turns anchors to night: by name, a checkpoint or a run folder; may be given several "
        "times, which mixes them [default: hedngan].",
        metavar="NAME|PATH",
        open_ended=True,
        show_default=False,
        rich_help_panel=options.MAIN,
    ),
]
Backbone = Annotated[
    str | None,
    options.choice(
        "backbone",
        _backbones,
        "--backbone",
        "-b",
        help="Convolutional part, as torchvision calls it: vgg16, resnet101, … [default: vgg16].",
        show_default=False,
        rich_help_panel=options.MAIN,
    ),
]
Init = Annotated[
    str | None,
    options.choice(
        "weights to begin with",
        _inits,
        help="Weights to begin with: imagenet (published features), torchvision, random, a model or a file "
        "[default: imagenet].",
        metavar="NAME|PATH",
        open_ended=True,
        show_default=False,
        rich_help_panel=options.MAIN,
    ),
]
Data = Annotated[
    str | None,
    options.choice(
        "training data",
        _sets,
        help="What to learn from: a folder with a folder for each place, a list of images and places or of pairs "
        "(.csv, .json), a database (.pkl) [default: retrieval-sfm-120k].",
        metavar="NAME|PATH",
        open_ended=True,
        show_default=False,
        rich_help_panel=options.DATA,
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder that names in a list or database start from.",
        show_default=False,
        rich_help_panel=options.DATA,
    ),
]
Validation = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|PATH",
        help="What to validate on, likewise (default: a database's own part, else some places are kept back).",
        show_default=False,
        rich_help_panel=options.DATA,
    ),
]
Augment = Annotated[
    str | None,
    options.choice(
        "augmentation",
        _augmentations,
        help="Night for anchors: generator, images (ready ones), gamma, exposure (darkened without learning), "
        "or none, the baseline [default: generator].",
        show_default=False,
        rich_help_panel=options.MAIN,
    ),
]
NightImages = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Ready night images, named as the day ones are, instead of a generator.",
        show_default=False,
        rich_help_panel=options.DATA,
    ),
]
Whitening = Annotated[
    str | None,
    options.choice(
        "whitening",
        lambda: ("lw", "pca", "none"),
        help="Whitening to learn afterwards: lw, pca or none [default: lw].",
        show_default=False,
        rich_help_panel=options.MAIN,
    ),
]
WhitenOn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|PATH",
        help="What to learn it from (default: as published, or the training data).",
        show_default=False,
        rich_help_panel=options.DATA,
    ),
]
Dataset = Annotated[
    list[str] | None,
    options.choice(
        "data set",
        _test_sets,
        "--dataset",
        "-d",
        help="Test set to evaluate on, by name or path; may be given several times (default: those that are here).",
        metavar="NAME|PATH",
        open_ended=True,
        show_default=False,
        rich_help_panel=options.MAIN,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        min=8,
        help="Longest side of training images in pixels.",
        show_default=False,
        rich_help_panel=options.DATA,
    ),
]

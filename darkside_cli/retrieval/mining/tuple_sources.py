"""From what a user calls training data, a name, a folder or a file, to images of places and pairs of them."""

from __future__ import annotations

from pathlib import Path

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.tuple_folders import tuples_of_folder
from darkside_cli.datasets.tuple_lists import SUFFIXES, tuples_of_list
from darkside_cli.datasets.tuple_sets import (
    asset_of,
    check_training_data,
    database_file,
    images_folder,
    published_name,
)
from darkside_cli.datasets.tuples import POSITIVES, TupleSet
from darkside_cli.errors import MissingAssetError, UnknownNameError
from darkside_cli.interop.training_db import SPLITS, read_training_db


def open_tuples(
    spec: str | Path,
    root: DataRoot,
    *,
    split: str | None = None,
    images: Path | None = None,
    positives: int = POSITIVES,
) -> TupleSet:
    """Open a published set by name, its file (``.pkl``), a list (``.csv``, ``.json``) or a folder of places.

    ``split`` ("train", "val") chooses a part of a published training set; ``images`` is where the images are, if not
    where they usually are; ``positives`` how many an image gets at most
    where nobody names them. Files of images are not looked at
    (see :func:`darkside_cli.datasets.tuples.without_broken`).

    Raises MissingAssetError if it is not on this machine, UnknownNameError for a split that does not exist or what is
    neither a name nor a path, UsageError and CheckpointError for what cannot be learned from.
    """
    if split is not None and split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    check_training_data(spec)
    path = Path(spec)
    name = published_name(spec)
    if name is not None and not path.exists():
        path = database_file(root.train(""), name)
        if not path.is_file():
            raise MissingAssetError(
                f"{name} is not on this machine: there is no {path}",
                hint=f"darkside download {asset_of(name)}",
            )
        images = images or images_folder(root.train(""), name)
    if path.is_dir():
        return tuples_of_folder(path, positives=positives)
    if path.suffix.lower() in SUFFIXES:
        return tuples_of_list(path, images=images, positives=positives)
    return read_training_db(path, split=split, images=images)

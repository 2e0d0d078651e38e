"""Data sets that are known by name: unpaired day and night images, training tuples, test sets, and where they are.

Free of heavy imports. ``train`` is the folder of training data (``DataRoot.train``), ``root`` the data root.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkside_cli.errors import MissingAssetError, UnknownNameError, UsageError
from darkside_cli.images.formats import is_image_name
from darkside_cli.registry import Entry, Registry

_SFM = "retrieval-SfM-120k"
_WHITEN, _WHITEN_30K = "retrieval-SfM-120k-whiten", "retrieval-SfM-30k-whiten"
_IMAGES = "ims"

# Unpaired images


@dataclass(frozen=True, kw_only=True)
class UnpairedLists(Entry):
    """Lists ``dataset/train_{day,night}.txt`` in ``folder`` (below ``DataRoot.train``), of images in its ``ims``.

    ``assets`` are the names by which ``darkside download`` brings lists and images.
    """

    folder: str
    assets: tuple[str, ...]

    def list_file(self, train: Path, what: str) -> Path:
        """List of ``what``, "day" or "night"."""
        return train / self.folder / "dataset" / f"train_{what}.txt"

    def images(self, train: Path) -> Path:
        """Folder of the images."""
        return train / self.folder / _IMAGES


UNPAIRED_LISTS: Registry[UnpairedLists] = Registry(
    "unpaired pictures",
    (
        UnpairedLists(
            name="retrieval-sfm-120k",
            summary="the published lists of day and night photographs",
            folder=_SFM,
            assets=("day-night-lists", "retrieval-sfm-120k"),
        ),
        UnpairedLists(
            name="nightfall", summary="the embedded synthetic city", folder="nightfall", assets=("nightfall",)
        ),
    ),
)
PUBLISHED_LISTS = UNPAIRED_LISTS.get("retrieval-sfm-120k")


def lists_of(source: Path | None) -> UnpairedLists | None:
    """The lists that ``source`` names, the published ones if it is None; None if it is a path.

    A file or folder that is there comes before a name, whose case does not matter.
    """
    if source is None:
        return PUBLISHED_LISTS
    name = str(source).lower()
    return UNPAIRED_LISTS.get(name) if name in UNPAIRED_LISTS and not source.exists() else None


def check_source(source: Path | None, what: str) -> None:
    """See that ``source`` names lists, or is a folder or a list of ``what`` ("day", "night") images that is there.

    Raises UsageError if it is not.
    """
    if lists_of(source) is not None or source is None or source.is_dir():
        return
    if not source.is_file():
        raise UsageError(f"there is no list or folder {source}", hint=f"check --{what}")
    if is_image_name(source.name):
        raise UsageError(f"{source} is a picture", hint=f"--{what} takes a folder, or a text file of names")


# Training tuples


@dataclass(frozen=True, kw_only=True)
class TrainingSet(Entry):
    """A published set of training tuples.

    ``database`` is its file as ``darkside download`` puts it, ``also_at`` where cirtorch has it, both relative to the
    folder of training data. ``asset`` is the name by which it is downloaded, where that is another one. The images
    come with the set ``images_of``, or with its own asset.
    """

    database: str
    also_at: str | None = None
    asset: str = ""
    images_of: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "asset", self.asset or self.name)

    @property
    def image_asset(self) -> str:
        """Name by which ``darkside download`` brings the images."""
        return self.images_of or self.asset

    def database_file(self, train: Path) -> Path:
        """Its database: where cirtorch has it, if it is there and only there."""
        places = [train / path for path in (self.database, self.also_at) if path]
        return next((path for path in places if path.is_file()), places[0])

    def images(self, train: Path) -> Path:
        """Folder of the images: beside its database, or with the set they come with."""
        own = self.database_file(train).parent / _IMAGES
        if self.images_of is None or own.is_dir():
            return own
        return (train / TRAINING_SETS.get(self.images_of).database).parent / _IMAGES


def _training(name: str, summary: str, database: str, **more: Any) -> TrainingSet:
    return TrainingSet(name=name, summary=summary, database=f"{database}.pkl", **more)


TRAINING_SETS: Registry[TrainingSet] = Registry(
    "training data",
    (
        _training(
            "retrieval-sfm-120k",
            "Retrieval-SfM 120k (Radenovic et al., TPAMI 2019), training and validation",
            f"{_SFM}/{_SFM}",
        ),
        _training(
            "retrieval-sfm-120k-whiten",
            "Its pairs that published whitenings were learned from",
            f"{_WHITEN}/{_WHITEN}",
            also_at=f"{_SFM}/{_WHITEN}.pkl",
            images_of="retrieval-sfm-120k",
        ),
        _training(
            "retrieval-sfm-30k-whiten",
            "Fewer such pairs",
            f"{_WHITEN_30K}/{_WHITEN_30K}",
            also_at=f"retrieval-SfM-30k/{_WHITEN_30K}.pkl",
            asset="retrieval-sfm-30k",
            images_of="retrieval-sfm-120k",
        ),
        _training("nightfall", "The embedded synthetic city, training and validation", "nightfall/nightfall"),
        _training(
            "nightfall-whiten", "Its pairs for a whitening", "nightfall/nightfall-whiten", asset="nightfall"
        ),
    ),
)


def published_name(spec: str | Path) -> str | None:
    """Name in ``TRAINING_SETS`` that ``spec`` is, whatever its case; None if it is none."""
    name = str(spec).lower()
    return name if name in TRAINING_SETS else None


def check_training_data(spec: str | Path) -> None:
    """See that ``spec`` is a published set of tuples by name, or a path that is there.

    Raises UnknownNameError for what is neither a name nor a path, MissingAssetError for a path that leads nowhere.
    """
    if published_name(spec) is None:
        hint = "or name a folder of places, a .csv, .json or .pkl file"
        _check_path(str(spec), TRAINING_SETS, Path(spec), hint)


def _check_path(spec: str, known: Registry[TrainingSet] | Registry[TestSet], path: Path, hint: str) -> None:
    if path.exists():
        return
    if path.suffix or len(path.parts) > 1:
        raise MissingAssetError(f"there is no file or folder {path}", hint="check the path")
    raise UnknownNameError(known.what, spec, known.names(aliases=True), extra_hint=hint)


# Test sets


@dataclass(frozen=True, kw_only=True)
class TestSet(Entry):
    """One test set.

    ``folder`` is its name under ``data/test``; ``images_of`` the set whose images it shares, where its own ``jpg``
    (a link) is missing. ``published_protocol`` is what the published mAP of a model is by; ``made`` sets are made here
    when they are first asked for.
    """

    __test__ = False  # not a test, whatever pytest thinks of the name

    folder: str
    images_of: str = ""
    published_protocol: str = ""
    made: bool = False

    def ground_truth(self, root: Path) -> Path:
        """Path of the ground truth under ``root``."""
        return root / "data" / "test" / self.folder / f"gnd_{self.folder}.pkl"

    def images(self, root: Path) -> Path:
        """Folder of the images under ``root``: its own if it is there, else the one it shares."""
        folders = [root / "data" / "test" / name / "jpg" for name in (self.folder, self.images_of) if name]
        return next((folder for folder in folders if folder.is_dir()), folders[0])


def _test(name: str, summary: str, *aliases: str, folder: str = "", of: str = "", by: str = "") -> TestSet:
    return TestSet(
        name=name, aliases=aliases, summary=summary, folder=folder or name, images_of=of, published_protocol=by,
        made=name.startswith("nightfall"),
    )  # fmt: skip


_TOKYO = "24/7 Tokyo (Torii et al., CVPR 2015), queries by day and night"
_REVISITED = "(Radenovic et al., CVPR 2018)"
_CITY = "The embedded synthetic city, asked by night and answered by day"
TEST_SETS: Registry[TestSet] = Registry(
    "data set",
    (
        _test("tokyo247", _TOKYO, "247tokyo1k", "tokyo", folder="247tokyo1k", by="ok"),
        _test("roxford5k", f"Revisited Oxford {_REVISITED}", "roxford", "roxf", of="oxford5k", by="medium"),
        _test("rparis6k", f"Revisited Paris {_REVISITED}", "rparis", "rpar", of="paris6k", by="medium"),
        _test("oxford5k", "Oxford Buildings (Philbin et al., CVPR 2007), the older protocol"),
        _test("paris6k", "Paris Buildings (Philbin et al., CVPR 2008), the older protocol"),
        _test("nightfall", _CITY),
        _test(
            "nightfall-day", "The same asked by day, from the same spots: what night costs", of="nightfall"
        ),
        _test("nightfall-val", "Other places of the embedded city, to choose settings by"),
        _test("nightfall-val-day", "Those asked by day", of="nightfall-val"),
    ),
)


def check_test_set(spec: str) -> None:
    """See that ``spec`` is a test set by name, or a path that is there.

    Raises UnknownNameError for a misspelt name, MissingAssetError for a path that leads nowhere.
    """
    if spec not in TEST_SETS:
        _check_path(spec, TEST_SETS, Path(spec).expanduser(), "a folder or a ground truth file will do too")

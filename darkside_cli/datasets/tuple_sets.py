"""Published sets of training tuples by name: where their files are. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from darkside_cli.errors import MissingAssetError, UnknownNameError

_SFM = "retrieval-SfM-120k"
_WHITEN, _WHITEN_30K = "retrieval-SfM-120k-whiten", "retrieval-SfM-30k-whiten"
_IMAGES = "ims"

PUBLISHED = {
    "retrieval-sfm-120k": f"{_SFM}/{_SFM}.pkl",
    "retrieval-sfm-120k-whiten": f"{_WHITEN}/{_WHITEN}.pkl",
    "retrieval-sfm-30k-whiten": f"{_WHITEN_30K}/{_WHITEN_30K}.pkl",
    "nightfall": "nightfall/nightfall.pkl",
    "nightfall-whiten": "nightfall/nightfall-whiten.pkl",
}
"""Database files, relative to the folder of training data (``DataRoot.train``), as ``darkside download`` puts them."""

#: Where cirtorch has them.
_ALSO_AT = {
    "retrieval-sfm-120k-whiten": f"{_SFM}/{_WHITEN}.pkl",
    "retrieval-sfm-30k-whiten": f"retrieval-SfM-30k/{_WHITEN_30K}.pkl",
}
#: Sets of which the images come with another one.
_IMAGES_OF = {"retrieval-sfm-120k-whiten": _SFM, "retrieval-sfm-30k-whiten": _SFM}
_ASSETS = {"retrieval-sfm-30k-whiten": "retrieval-sfm-30k", "nightfall-whiten": "nightfall"}

WHITENING = "retrieval-sfm-120k-whiten"
"""The set that published whitenings were learned from."""


def published_name(spec: str | Path) -> str | None:
    """Name in ``PUBLISHED`` that ``spec`` is, whatever its case; None if it is none."""
    name = str(spec).lower()
    return name if name in PUBLISHED else None


def asset_of(name: str) -> str:
    """Name by which ``darkside download`` brings the published set ``name``."""
    return _ASSETS.get(name, name)


def image_asset_of(name: str) -> str:
    """Name by which ``darkside download`` brings the images of the published set ``name``."""
    return _IMAGES_OF[name].lower() if name in _IMAGES_OF else asset_of(name)


def database_file(train: Path, name: str) -> Path:
    """Database of the published set ``name`` below ``train``: where cirtorch has it, if it is there and only there."""
    own, other = train / PUBLISHED[name], _ALSO_AT.get(name)
    return train / other if other is not None and not own.is_file() and (train / other).is_file() else own


def images_folder(train: Path, name: str) -> Path:
    """Folder of the images of the published set ``name``: beside its database, or with the set they come with."""
    own = database_file(train, name).parent / _IMAGES
    return own if name not in _IMAGES_OF or own.is_dir() else train / _IMAGES_OF[name] / _IMAGES


def check_training_data(spec: str | Path) -> None:
    """See that ``spec`` is a published set by name, or a path that is there.

    Raises UnknownNameError for what is neither a name nor a path, MissingAssetError for a path that leads nowhere.
    """
    path = Path(spec)
    if published_name(spec) is not None or path.exists():
        return
    if path.suffix or len(path.parts) > 1:
        raise MissingAssetError(f"there is no file or folder {path}", hint="check the path")
    raise UnknownNameError(
        "training data",
        str(spec),
        PUBLISHED,
        extra_hint="or name a folder of places, a .csv, .json or .pkl file",
    )

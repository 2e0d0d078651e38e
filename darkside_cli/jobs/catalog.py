"""Everything that ``darkside download`` can bring: published models and data sets, in one registry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.assets.catalog import DATA
from darkside_cli.assets.entries import Asset, RemoteFile, State
from darkside_cli.errors import DarksideError
from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.model_entry import ModelEntry
from darkside_cli.registry import Registry

if TYPE_CHECKING:
    from darkside_cli.assets.download_options import Options
    from darkside_cli.assets.store import AssetStore

_NEEDED_BY = {
    "generator": ("translate --model {name}", "finetune --model {name}"),
    "descriptor": ("extract --model {name}", "evaluate --model {name}"),
    "edge-detector": ("train-gan --model {name}gan", "train-gan --model {name}ngan"),
}
_GROUPS = {"descriptor": ("weights", "eval"), "edge-detector": ("weights", "train")}


def _of_model(model: ModelEntry) -> Asset:
    return Asset(
        name=model.name,
        aliases=model.aliases,
        summary=model.summary,
        groups=() if model.by_name_only else _GROUPS.get(model.kind, ("weights",)),
        files=tuple(
            RemoteFile(path=file.path, urls=file.urls, sha256=file.sha256 or "", size=file.size_bytes)
            for file in model.files
        ),
        needed_by=tuple(command.format(name=model.name) for command in _NEEDED_BY[model.kind]),
        licence=f"{model.licence} ({model.licence_note})" if model.licence_note else model.licence,
        citation=model.paper,
        source=model.source,
    )


ASSETS: Registry[Asset] = Registry(
    "asset", (*(_of_model(model) for model in MODELS if not (model.embedded or model.install)), *DATA)
)


def open_store(root: str | PathLike[str], options: Options | None = None) -> AssetStore:
    """Open the assets under the data root ``root``; nothing is created or fetched by that."""
    from darkside_cli.assets.store import AssetStore

    return AssetStore(Path(root), ASSETS, options, read_names, wrong_content)


def asset_document(asset: Asset, state: State) -> dict[str, Any]:
    """Everything the registry knows of ``asset``, and what of it is on this machine."""
    return {
        "name": asset.name,
        "aliases": list(asset.aliases),
        "summary": asset.summary,
        "groups": list(asset.groups),
        "state": state.status,
        "size_bytes": state.size,
        "images": state.images,
        "lacking": list(state.lacking),
        "published_bytes": asset.published_size,
        "requires": list(asset.requires),
        "needed_by": list(asset.needed_by),
        "licence": asset.licence,
        "citation": asset.citation,
        "source": asset.source,
        "by_hand": asset.by_hand,
        "files": [asdict(file) for file in asset.files],
        "images_folder": next(
            (part.folder for part in (asset.images, asset.loose) if part is not None), None
        ),
        "archives": [asdict(archive) for archive in asset.images.archives] if asset.images else [],
        "links": [asdict(link) for link in asset.links],
    }


def read_names(path: Path) -> Iterable[str]:
    """Names of the images that a ground truth, a training database or a list (``.txt``, one a line) names.

    Raises CheckpointError for a pickle that is damaged or unsafe.
    """
    if path.suffix == ".txt":
        return path.read_text(encoding="utf-8").split()
    from darkside_cli.interop.safe_pickle import load_pickle

    return list(_names_in(load_pickle(path)))


def wrong_content(path: Path, name: str) -> str | None:
    """Say why the pickle ``name``, at ``path``, is not what is published under that name; None if it may be.

    A ground truth has names and answers, a training database tuples, a whitening a mean and a projection. Files of
    other kinds, which are judged by their form, are not looked into. Nothing in the file can run.
    """
    name = name.rpartition("/")[2]
    if not name.endswith(".pkl"):
        return None
    from darkside_cli.interop.safe_pickle import load_pickle

    try:
        data = load_pickle(path)
    except DarksideError as error:
        reason = error.message.removeprefix(f"{path} ")
        return (
            reason.replace("was", "is", 1) if reason.startswith("was refused") else f"is refused: it {reason}"
        )
    keys: tuple[str, ...]
    if name.startswith("gnd_"):
        what, keys = "ground truth", ("imlist", "qimlist", "gnd")
        parts = [data]
    elif name.startswith("retrieval-"):
        what, keys = "database of training tuples", ("cids", "qidxs", "pidxs")
        parts = [data]
        if isinstance(data, dict) and "cids" not in data:  # one for each split
            parts = [part for part in data.values() if isinstance(part, dict)]
    else:
        what, keys = "whitening", ("m", "P")
        parts = [data]
    whole = parts and all(isinstance(part, dict) and all(key in part for key in keys) for part in parts)
    if not whole:
        return f"is a pickle, but no {what}: it has no {', '.join(keys)}"
    return None if all(_filled(part[keys[0]]) for part in parts) else f"is an empty {what}"


def _filled(value: Any) -> bool:
    return hasattr(value, "__len__") and len(value) > 0


def _names_in(data: Any) -> Iterable[str]:
    if not isinstance(data, dict):
        return
    for key in ("imlist", "qimlist", "cids"):  # the first two are a ground truth's, the last a database's
        yield from (str(name) for name in data.get(key, ()))
    for part in ("train", "val"):
        yield from _names_in(data.get(part))

"""Everything that ``darkside download`` can bring: published models and data sets, in one registry."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.data.catalog import DATA
from darkside_cli.data.entries import Asset
from darkside_cli.models.catalog import MODELS, ModelEntry
from darkside_cli.registry import Registry
from darkside_cli.remote import RemoteFile

if TYPE_CHECKING:
    from darkside_cli.data.download import Options
    from darkside_cli.data.store import AssetStore

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
    "asset", (*(_of_model(model) for model in MODELS if not model.embedded), *DATA)
)


def open_store(root: str | PathLike[str], options: Options | None = None) -> AssetStore:
    """Open the assets under the data root ``root``; nothing is created or fetched by that."""
    from darkside_cli.data.store import AssetStore

    return AssetStore(Path(root), ASSETS, options, read_names)


def read_names(path: Path) -> Iterable[str]:
    """Names of the images that a ground truth, a training database or a list (``.txt``, one a line) names.

    Raises CheckpointError for a pickle that is damaged or unsafe.
    """
    if path.suffix == ".txt":
        return path.read_text(encoding="utf-8").split()
    from darkside_cli.compat.safe_pickle import load_pickle

    return list(_names_in(load_pickle(path)))


def _names_in(data: Any) -> Iterable[str]:
    if not isinstance(data, dict):
        return
    for key in ("imlist", "qimlist", "cids"):  # the first two are a ground truth's, the last a database's
        yield from (str(name) for name in data.get(key, ()))
    for part in ("train", "val"):
        yield from _names_in(data.get(part))

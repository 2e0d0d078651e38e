"""For commands that open published sets of training tuples: gets what of these is needed, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from darkside_cli.cli.obtain import obtain, obtain_assets, open_assets
from darkside_cli.cli.session import Session

if TYPE_CHECKING:
    from darkside_cli.assets.entries import Asset
    from darkside_cli.assets.store import AssetStore
    from darkside_cli.retrieval.training_sets import TupleNeed


def obtain_tuples(session: Session, needs: Sequence[TupleNeed], *, download: bool) -> None:
    """Make sure that the databases of ``needs`` are on this machine, and most of the images that they name.

    Of an asset only these are asked for: no other databases, and its images not if the needed ones are there, whoever
    brought them, or are in a folder of the user's. Single images that are missing are told when sets are opened.
    Raises what :func:`~darkside_cli.cli.obtain.obtain` raises.
    """
    from darkside_cli.datasets.tuple_sets import asset_of, image_asset_of

    store = open_assets(session)
    made = {asset_of(need.name) for need in needs if store.assets.get(asset_of(need.name)).made_by}
    published = [need for need in needs if asset_of(need.name) not in made]
    if made:
        obtain(session, sorted(made), download=download)
    # Once more when the databases are there: they say which images are needed.
    for _ in range(2):
        parts = _missing_parts(session, store, published)
        if parts:
            obtain_assets(session, store, parts, download=download)
    used = {asset_of(need.name) for need in published}
    used |= {image_asset_of(need.name) for need in published if need.with_images}
    if used:
        store.ledger.touch(*sorted(used))


def _missing_parts(session: Session, store: AssetStore, needs: Sequence[TupleNeed]) -> list[Asset]:
    """What is missing, as assets that are nothing else."""
    from darkside_cli.datasets.tuple_sets import asset_of, image_asset_of

    parts: dict[str, Asset] = {}
    for need in needs:
        asset = store.assets.get(asset_of(need.name))
        files = tuple(file for file in asset.files if store.inventory.file(file).status != "complete")
        if files:
            found = parts.get(asset.name, _nothing_of(asset))
            parts[asset.name] = replace(found, files=tuple(dict.fromkeys((*found.files, *files))))
        asset = store.assets.get(image_asset_of(need.name))
        if asset.images is not None and need.with_images and _lacks_images(session, store, need, asset):
            parts[asset.name] = replace(parts.get(asset.name, _nothing_of(asset)), images=asset.images)
    return list(parts.values())


def _nothing_of(asset: Asset) -> Asset:
    return replace(asset, files=(), images=None, links=(), requires=())


def _lacks_images(session: Session, store: AssetStore, need: TupleNeed, asset: Asset) -> bool:
    """Whether the set of images of ``asset`` is not complete, and lacks more than half of those that are needed."""
    from darkside_cli.datasets.tuple_sets import asset_of, database_file
    from darkside_cli.errors import DarksideError
    from darkside_cli.retrieval.training_sets import open_tuples

    if store.state(replace(_nothing_of(asset), images=asset.images)).status == "complete":
        return False
    if not database_file(session.root.train(""), need.name).is_file():
        # Which ones are needed is not known. A database alone is small; so it comes first where others know images.
        return asset_of(need.name) == asset.name
    try:
        sets = [open_tuples(need.name, session.root, split=split) for split in need.splits]
    except DarksideError:
        return False  # told when the set is opened
    return any(sum(path.is_file() for path in each.paths) * 2 < len(each) for each in sets)

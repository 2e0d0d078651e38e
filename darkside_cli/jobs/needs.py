"""What a job has to have on this machine: looked for, made, and downloaded where that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import DarksideError, MissingAssetError
from darkside_cli.events import Emit, Notice
from darkside_cli.jobs.request import Getting, Request
from darkside_cli.units import human_size

if TYPE_CHECKING:
    from darkside_cli.assets.entries import Asset
    from darkside_cli.assets.store import AssetStore, Got
    from darkside_cli.networks.model_entry import PackageFile
    from darkside_cli.retrieval.training_sets import TupleNeed


def open_assets(request: Request, **changes: Any) -> AssetStore:
    """Open the asset store of a request: its data root, its ``offline``, the mirrors of the environment."""
    from darkside_cli.assets.download_options import Options
    from darkside_cli.assets.mirrors import read_mirrors
    from darkside_cli.jobs.catalog import open_store

    changes.setdefault("mirrors", read_mirrors())
    return open_store(
        request.root, Options(offline=request.offline, why_offline=request.why_offline, **changes)
    )


def obtain(request: Getting, names: Sequence[str], *, emit: Emit, size: str = "") -> None:
    """Make sure that the assets called ``names`` are on this machine.

    What is missing is fetched with ``request.download``; what is made here is made without asking, in the ``size`` of
    that name where nothing of it is here yet. Raises MissingAssetError, which names what is missing, its size as far
    as it is known, and the command that gets it.
    """
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.configs import TIMM
    from darkside_cli.networks.locate import locate

    for name in names:
        if name.startswith(TIMM):
            from darkside_cli.networks.raw import parse_timm, timm_weights

            backbone, _ = parse_timm(name)
            timm_weights(backbone, request.root, download=request.download and not request.offline)
        elif name in MODELS and MODELS.get(name).install:
            locate(name, request.root)  # or it says what to install
    names = [
        name for name in names if not (name.startswith(TIMM) or (name in MODELS and MODELS.get(name).install))
    ]
    if names:
        store = open_assets(request)
        obtain_assets(request, store, store.select(names), emit=emit, size=size)


def obtain_assets(
    request: Getting, store: AssetStore, assets: Sequence[Asset], *, emit: Emit, size: str = ""
) -> None:
    """:func:`obtain` for ``assets`` themselves, which may be parts of those that have names."""
    missing = [asset for asset in assets if store.state(asset).status != "complete"]
    for asset in [each for each in missing if each.made_by]:
        # What is here keeps its size: only a city that is not begun is made in the one that is wanted.
        new = size and not store.state(asset).images
        _raise_first((open_assets(request, size=size) if new else store).get([asset], emit))
    missing = [asset for asset in missing if not asset.made_by]
    if missing:
        if request.offline or not request.download:
            raise missing_error(store, missing)
        _raise_first(store.get(missing, emit))
    store.ledger.touch(*(asset.name for asset in assets))


def obtain_model(request: Getting, model: str, *, kind: str | None, emit: Emit) -> None:
    """Make sure that the model called ``model``, which may also be a path, is on this machine: see :func:`obtain`.

    Raises what :func:`~darkside_cli.networks.locate.locate` raises for misspelt names, paths that lead
    nowhere and models of another kind.
    """
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.locate import is_name, locate

    try:
        locate(model, request.root, kind=kind)
    except MissingAssetError:
        if not is_name(model):
            raise
    here = model in MODELS and (MODELS.get(model).embedded or stand_in(request.root, model))
    if is_name(model) and not here:
        obtain(request, [model], emit=emit)


def stand_in(root: str | PathLike[str], model: str) -> PackageFile | None:
    """The package whose weights are used for a published ``model`` that is not under ``root``; else None."""
    from darkside_cli.networks.catalog import MODELS

    found = MODELS.get(model).weights.here(root)
    return found[1] if found is not None else None


def obtain_descriptor(request: Getting, model: str, *, whitening: bool, emit: Emit) -> None:
    """Make sure that the published descriptor called ``model`` is here, ``whitening`` included where that is needed.

    Paths, and names of other things, are not looked at: whoever loads them says what is wrong. Raises what
    :func:`obtain` raises.
    """
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.configs import TIMM
    from darkside_cli.networks.locate import missing_files

    if model.startswith(TIMM):
        obtain(request, [model], emit=emit)
    if model not in MODELS or MODELS.get(model).kind != "descriptor":
        return
    missing = missing_files(MODELS.get(model), request.root.path)
    if any(whitening or file.role != "whitening" for file in missing):
        obtain(request, [MODELS.get(model).name], emit=emit)


def missing_models(root: DataRoot, names: Iterable[str]) -> list[str]:
    """Published models among ``names`` that are not here, and all of timm's: whoever gets those looks for them.

    Paths are not looked at.
    """
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.configs import TIMM
    from darkside_cli.networks.locate import state_on_disk

    names = list(names)
    entries = [MODELS.get(name) for name in names if name in MODELS]
    missing = [entry.name for entry in entries if state_on_disk(entry, root.path) != "ready"]
    return missing + [name for name in names if name.startswith(TIMM)]


def missing_test_sets(root: DataRoot, names: Iterable[str], *, with_images: bool = True) -> list[str]:
    """Published test sets among ``names`` that are not here, ``with_images`` or their ground truths alone.

    Those that are made here are always among them: whoever makes them knows whether they are whole.
    """
    from darkside_cli.datasets.catalog import TEST_SETS

    entries = [TEST_SETS.get(name) for name in names if name in TEST_SETS]
    return [
        entry.name
        for entry in entries
        if entry.made
        or not entry.ground_truth(root.path).is_file()
        or (with_images and not entry.images(root.path).is_dir())
    ]


def default_generator(request: Getting) -> tuple[str, Notice | None]:
    """The generator where none is named, and what to say of the choice.

    See :func:`darkside_cli.networks.locate.default_generator`; with ``download`` the published one may be got.
    """
    from darkside_cli.networks import catalog, locate

    if request.download:
        return catalog.PUBLISHED_GENERATOR, None
    name, said = locate.default_generator(request.root)
    return name, Notice(said) if said is not None else None


def default_descriptor(request: Getting, *, emit: Emit) -> str:
    """The descriptor where none is named, which is told; with ``download`` the published one may be got.

    Raises what :func:`darkside_cli.networks.locate.default_descriptor` raises.
    """
    from darkside_cli.networks import catalog, locate

    if request.download:
        return catalog.PUBLISHED_DESCRIPTOR
    name, said = locate.default_descriptor(request.root)
    emit(Notice(said))
    return name


def obtain_tuples(request: Getting, needs: Sequence[TupleNeed], *, emit: Emit) -> None:
    """Make sure that the databases of ``needs`` are on this machine, and most of the images that they name.

    Of an asset only these are asked for: no other databases, and its images not if the needed ones are there, whoever
    brought them, or are in a folder of the user's. Single images that are missing are told when sets are opened.
    Raises what :func:`obtain` raises.
    """
    store = open_assets(request)
    made = {need.entry.asset for need in needs if store.assets.get(need.entry.asset).made_by}
    published = [need for need in needs if need.entry.asset not in made]
    if made:
        obtain(request, sorted(made), emit=emit)
    # Once more when the databases are there: they say which images are needed.
    for _ in range(2):
        parts = _missing_parts(request, store, published)
        if parts:
            obtain_assets(request, store, parts, emit=emit)
    used = {need.entry.asset for need in published}
    used |= {need.entry.image_asset for need in published if need.with_images}
    if used:
        store.ledger.touch(*sorted(used))


def _missing_parts(request: Request, store: AssetStore, needs: Sequence[TupleNeed]) -> list[Asset]:
    """What is missing, as assets that are nothing else."""
    parts: dict[str, Asset] = {}
    for need in needs:
        asset = store.assets.get(need.entry.asset)
        files = tuple(file for file in asset.files if store.inventory.file(file).status != "complete")
        if files:
            found = parts.get(asset.name, _nothing_of(asset))
            parts[asset.name] = replace(found, files=tuple(dict.fromkeys((*found.files, *files))))
        asset = store.assets.get(need.entry.image_asset)
        if asset.images is not None and need.with_images and _lacks_images(request, store, need, asset):
            parts[asset.name] = replace(parts.get(asset.name, _nothing_of(asset)), images=asset.images)
    return list(parts.values())


def _nothing_of(asset: Asset) -> Asset:
    return replace(asset, files=(), images=None, links=(), requires=())


def _lacks_images(request: Request, store: AssetStore, need: TupleNeed, asset: Asset) -> bool:
    """Whether the set of images of ``asset`` is not complete, and lacks more than half of those that are needed."""
    from darkside_cli.retrieval.training_sets import open_tuples

    if store.state(replace(_nothing_of(asset), images=asset.images)).status == "complete":
        return False
    if not need.entry.database_file(request.root.train("")).is_file():
        # Which ones are needed is not known. A database alone is small; so it comes first where others know images.
        return need.entry.asset == asset.name
    try:
        sets = [open_tuples(need.name, request.root, split=split) for split in need.splits]
    except DarksideError:
        return False  # told when the set is opened
    return any(sum(path.is_file() for path in each.paths) * 2 < len(each) for each in sets)


def missing_error(store: AssetStore, missing: Sequence[Asset]) -> MissingAssetError:
    """What is said of ``missing``: their files, their sizes, and the command that gets them."""
    options = store.downloads.options
    parts = []
    for asset in missing:
        size = asset.published_size
        lacking = ", ".join(path.rpartition("/")[2] for path in store.state(asset).lacking[:3])
        parts.append(f"{asset.name} ({lacking}; {human_size(size) if size else 'size unknown'})")
    names = " ".join(asset.name for asset in missing)
    return MissingAssetError(
        f"not in {store.root}: {', '.join(parts)}",
        hint=f"darkside download {names}"
        + (f" ({options.why_offline})" if options.offline else ", or run this command again with --download"),
        assets=missing,
    )


def _raise_first(got: Got) -> None:
    failed = next(iter(got.failed.values()), None)
    if failed is not None:
        raise failed


@contextmanager
def advising(advice: str, note: str = "") -> Iterator[None]:
    """Add a ``note`` and another way out to what is said of missing assets."""
    try:
        yield
    except MissingAssetError as error:
        hint = f"{error.hint}{note}; or {advice}"
        raise MissingAssetError(error.message, hint=hint, assets=error.assets) from error

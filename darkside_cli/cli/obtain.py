"""For commands that need assets: offer what is missing, and get it when told to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli.errors import say
from darkside_cli.cli.session import Session
from darkside_cli.errors import MissingAssetError
from darkside_cli.events import Notice
from darkside_cli.jobs.request import DATA
from darkside_cli.units import human_size

if TYPE_CHECKING:
    from darkside_cli.assets.entries import Asset
    from darkside_cli.assets.store import AssetStore, Got

#: The option of every command that calls :func:`obtain`.
Download = Annotated[
    bool,
    typer.Option(
        "--download",
        help="Get published weights and data first if they are missing.",
        rich_help_panel=DATA,
    ),
]


def open_assets(session: Session, **changes: Any) -> AssetStore:
    """Open the asset store of this call: its data root, its ``--offline``, the mirrors of the environment."""
    from darkside_cli.assets.download import Options
    from darkside_cli.assets.mirrors import read_mirrors
    from darkside_cli.jobs.catalog import open_store

    changes.setdefault("mirrors", read_mirrors())
    return open_store(
        session.root, Options(offline=session.offline, why_offline=session.why_offline, **changes)
    )


def obtain(session: Session, names: Sequence[str], *, download: bool = False, size: str = "") -> None:
    """Make sure that the assets called ``names`` are on this machine.

    What is missing is fetched with ``download``, or after a yes where a person sits at a terminal; what is made
    here is made without asking, in the ``size`` of that name where nothing of it is here yet. Raises
    MissingAssetError, which names what is missing, its size as far as it is known, and the command that gets it.
    """
    store = open_assets(session)
    obtain_assets(session, store, store.select(names), download=download, size=size)


def obtain_assets(
    session: Session, store: AssetStore, assets: Sequence[Asset], *, download: bool, size: str = ""
) -> None:
    """:func:`obtain` for ``assets`` themselves, which may be parts of those that have names."""
    missing = [asset for asset in assets if store.state(asset).status != "complete"]
    made = [asset for asset in missing if asset.made_by]
    missing = [asset for asset in missing if not asset.made_by]
    for asset in made:
        # What is here keeps its size: only a city that is not begun is made in the one that is wanted.
        new = size and not store.state(asset).images
        _raise_first(fetch(session, open_assets(session, size=size) if new else store, [asset]))
    if missing:
        if session.offline or not (download or _agreed(store, missing)):
            raise _missing(session, store, missing)
        _raise_first(fetch(session, store, missing))
    store.ledger.touch(*(asset.name for asset in assets))


def obtain_model(session: Session, model: str, *, kind: str, download: bool) -> None:
    """Make sure that the model called ``model``, which may also be a path, is on this machine: see :func:`obtain`.

    Raises what :func:`~darkside_cli.networks.locate.locate` raises for misspelt names, paths that lead
    nowhere and models of another kind.
    """
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.locate import locate

    try:
        locate(model, session.root, kind=kind)
    except MissingAssetError:
        if model not in MODELS:
            raise
    if model in MODELS and not MODELS.get(model).embedded:
        obtain(session, [model], download=download)


def default_generator(session: Session, *, download: bool) -> tuple[str, Notice | None]:
    """The generator where none is named, and what to say of the choice.

    See :func:`darkside_cli.networks.locate.default_generator`; with ``download`` the published one may be got.
    """
    from darkside_cli.networks import catalog, locate

    if download:
        return catalog.PUBLISHED_GENERATOR, None
    name, said = locate.default_generator(session.root)
    return name, Notice(said) if said is not None else None


def fetch(
    session: Session, store: AssetStore, assets: Sequence[Asset], *, keep_archives: bool = False
) -> Got:
    """Get ``assets`` and show how it goes: bytes of those that are downloaded, pictures of those that are made here."""
    from darkside_cli.assets.store import Got
    from darkside_cli.cli.progress import TransferRenderer

    made = [asset for asset in assets if asset.made_by]
    others = [asset for asset in assets if not asset.made_by]
    got = Got((), {})
    if others:
        with TransferRenderer(quiet=session.quiet, verbose=session.verbose) as renderer:
            got = store.get(others, renderer.emit, keep_archives=keep_archives)
    if made:
        with session.progress() as progress:
            more = store.get(made, progress.emit)
        got = Got(got.complete + more.complete, {**got.failed, **more.failed})
    return got


def _raise_first(got: Got) -> None:
    failed = next(iter(got.failed.values()), None)
    if failed is not None:
        raise failed


def _agreed(store: AssetStore, missing: Sequence[Asset]) -> bool:
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    plan = store.plan(missing)
    size = (
        human_size(plan.needed) + (" or more" if plan.unknown else "") if plan.needed else "of unknown size"
    )
    for asset in missing:
        say(f"missing: {asset.name}: {asset.summary}; licence: {asset.licence}")
    return typer.confirm(f"Download it now ({size}) to {store.root}?", default=True, err=True)


def _missing(session: Session, store: AssetStore, missing: Sequence[Asset]) -> MissingAssetError:
    parts = []
    for asset in missing:
        size = asset.published_size
        lacking = ", ".join(path.rpartition("/")[2] for path in store.state(asset).lacking[:3])
        parts.append(f"{asset.name} ({lacking}; {human_size(size) if size else 'size unknown'})")
    names = " ".join(asset.name for asset in missing)
    return MissingAssetError(
        f"not in {store.root}: {', '.join(parts)}",
        hint=f"darkside download {names}"
        + (f" ({session.why_offline})" if session.offline else ", or run this command again with --download"),
    )

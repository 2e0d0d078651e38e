"""``darkside cache``: what the data folder holds, and keeping it in order."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.download import _verify, asset_names
from darkside_cli.cli.errors import EXIT_DONE, say
from darkside_cli.cli.obtain import open_assets
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UnknownNameError, UsageError
from darkside_cli.units import human_size

if TYPE_CHECKING:
    from darkside_cli.data.store import AssetStore

ACTIONS = ("list", "verify", "rm", "prune", "forget")


def _complete(incomplete: str) -> list[str]:
    return [*(action for action in ACTIONS if action.startswith(incomplete)), *asset_names(incomplete)]


def cache(
    session: Session,
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION",
            help="list, verify, rm (delete assets), prune (delete leftovers), forget (drop recorded digests).",
            autocompletion=lambda incomplete: [a for a in ACTIONS if a.startswith(incomplete)],
            show_default=False,
        ),
    ] = "list",
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAMES...",
            help="Assets (or groups); for forget also paths in the data folder.",
            autocompletion=_complete,
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted, delete nothing.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Show what the data folder holds, check it, and delete from it.

    Without an action it lists what is there; cache rm tokyo247 deletes one asset, and cache prune what a
    killed run or an unpacked archive left behind.
    """
    if action not in ACTIONS:
        raise UnknownNameError("action", action, ACTIONS)
    store = open_assets(session)
    if action == "list":
        return _list(session, store, names or [], json=json)
    if action == "verify":
        return _verify(session, store, store.select(names or []), json=json)
    if action == "prune":
        if names:
            raise UsageError("prune takes no names", hint="darkside cache rm NAMES deletes assets")
        return _prune(session, store, yes=yes, dry_run=dry_run, json=json)
    if not names:
        raise UsageError(f"{action} needs names", hint="darkside cache shows what is there")
    if action == "forget":
        return _forget(store, names)
    return _remove(session, store, names, yes=yes, dry_run=dry_run, json=json)


def _list(session: Session, store: AssetStore, names: Sequence[str], *, json: bool) -> int:
    from darkside_cli.data.disk import free_bytes
    from darkside_cli.data.upkeep import last_used, leftovers

    assets = store.select(names) if names else list(store.assets)
    rows = [(asset, state) for asset in assets if (state := store.state(asset)).status != "missing" or names]
    used = sum(state.size for _, state in rows)
    rest = sum(item.size for item in leftovers(store))
    free = free_bytes(store.root)
    if json:
        session.output.json(
            {
                "data_dir": store.root,
                "used_bytes": used,
                "leftover_bytes": rest,
                "free_bytes": free,
                "assets": [
                    {
                        "name": asset.name,
                        "state": state.status,
                        "size_bytes": state.size,
                        "images": state.images,
                        "lacking": list(state.lacking),
                        "last_used": last_used(store, asset),
                    }
                    for asset, state in rows
                ],
            }
        )
        return EXIT_DONE
    session.output.table(
        ("name", "here", "size", "images", "last used", "lacking"),
        [
            (
                asset.name,
                state.status,
                human_size(state.size),
                f"{state.images:,}" if state.images is not None else "-",
                last_used(store, asset) or "-",
                ", ".join(state.lacking[:3]) or "-",
            )
            for asset, state in rows
        ],
        title=f"data folder: {store.root} ({session.root.origin})",
    )
    if not session.quiet:
        more = f", {human_size(rest)} of leftovers (darkside cache prune)" if rest else ""
        say(f"{human_size(used)} in {store.root}{more}; {human_size(free)} free")
    return EXIT_DONE


def _remove(
    session: Session, store: AssetStore, names: Sequence[str], *, yes: bool, dry_run: bool, json: bool
) -> int:
    from darkside_cli.data.entries import GROUPS
    from darkside_cli.data.upkeep import dependents, kept_images, removable, remove

    # What an asset requires stays: others may use it, and nobody asked for it to go.
    chosen = {a.name for n in names for a in (store.select([n]) if n in GROUPS else [store.assets.get(n)])}
    named = [asset for asset in store.assets if asset.name in chosen and store.state(asset).size]
    for asset in named:
        folder = kept_images(store, asset)
        if folder is not None:
            say(f"the images of {asset.name} in {folder} were not put there by darkside and stay")
    assets = [asset for asset in named if removable(store, asset)]
    total = sum(removable(store, asset) for asset in assets)
    for asset in assets:
        users = [name for name in dependents(store, asset) if name not in chosen]
        if users:
            say(f"warning: {', '.join(users)} will no longer work without {asset.name}")
    words = ", ".join(asset.name for asset in assets)
    if not assets or dry_run or not _confirmed(f"Delete {words} ({human_size(total)})?", yes=yes):
        freed = 0
    else:
        freed = sum(remove(store, asset) for asset in assets)
    removed = [asset.name for asset in assets]
    return _tell_freed(session, removed, freed if freed else total, done=bool(freed), json=json)


def _prune(session: Session, store: AssetStore, *, yes: bool, dry_run: bool, json: bool) -> int:
    from darkside_cli.data.upkeep import leftovers, prune

    found = leftovers(store)
    total = sum(item.size for item in found)
    if not json:
        for item in found:
            say(f"{item.what}: {item.path} ({human_size(item.size)})")
    question = f"Delete these {len(found)} leftovers ({human_size(total)})?"
    done = bool(found) and not dry_run and _confirmed(question, yes=yes)
    if done:
        prune(found)
    return _tell_freed(session, [str(item.path) for item in found], total, done=done, json=json)


def _tell_freed(session: Session, items: Sequence[str], size: int, *, done: bool, json: bool) -> int:
    if json:
        session.output.json({"deleted": done, "items": list(items), "bytes": size})
    elif not session.quiet:
        say(f"{human_size(size)} {'freed' if done else 'could be freed' if items else 'to free'}")
    return EXIT_DONE


def _confirmed(question: str, *, yes: bool) -> bool:
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("deleting needs a yes", hint="say --yes, or --dry-run to see what would go")
    return typer.confirm(question, default=False, err=True)


def _forget(store: AssetStore, names: Sequence[str]) -> int:
    """Drop the recorded digests of assets, or of single files by their path in the data folder."""
    known = store.ledger.read().files
    paths: list[str] = []
    for name in names:
        if name in known:
            paths.append(name)
        else:
            asset = store.assets.get(
                name, extra_hint="or a path as darkside download --verify --json tells it"
            )
            archives = asset.images.archives if asset.images is not None else ()
            paths += [path for file in (*asset.files, *archives) for path in (file.path, *file.also_at)]
    gone = [path for path in paths if path in known]
    store.ledger.forget(*gone)
    say(f"forgot the digests of {len(gone)} files: {', '.join(gone) or 'none were recorded'}")
    return EXIT_DONE


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "cache")(cache)

"""``darkside cache``: what the data folder holds, and keeping it in order."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
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
    from darkside_cli.assets.caches import Cache, CacheState
    from darkside_cli.assets.entries import Asset, State
    from darkside_cli.assets.store import AssetStore

ACTIONS = ("list", "verify", "rm", "prune", "forget")


def _complete(incomplete: str) -> list[str]:
    from darkside_cli.assets.caches import CACHES

    own = [name for name in (*ACTIONS, *CACHES.names()) if name.startswith(incomplete)]
    return [*own, *asset_names(incomplete)]


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
            help="Assets (or groups), or night-cache; for forget also paths in the data folder.",
            autocompletion=_complete,
            show_default=False,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Delete without asking.", rich_help_panel=options.MAIN)
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what would be deleted, delete nothing.", rich_help_panel=options.MAIN
        ),
    ] = False,
    json: options.Json = False,
) -> int:
    """Show what the data folder holds, check it, and delete from it.

    Without an action it lists what is there; cache rm tokyo247 deletes one asset, cache rm night-cache the
    translations that finetune keeps, and cache prune what a killed run or an unpacked archive left behind.
    """
    if action not in ACTIONS:
        raise UnknownNameError("action", action, ACTIONS)
    store = open_assets(session)
    named, caches = _split(store, names or [])
    if action in ("verify", "forget") and caches:
        raise UsageError(
            f"{caches[0].name} has no digests to {action}",
            hint=f"darkside cache rm {caches[0].name} deletes it",
        )
    if action == "list":
        return _list(session, store, named, caches, json=json)
    if action == "verify":
        return _verify(session, store, store.select(named), json=json)
    if action == "prune":
        if names:
            raise UsageError("prune takes no names", hint="darkside cache rm NAMES deletes assets")
        return _prune(session, store, yes=yes, dry_run=dry_run, json=json)
    if not names:
        raise UsageError(f"{action} needs names", hint="darkside cache shows what is there")
    if action == "forget":
        return _forget(store, names)
    return _remove(session, store, named, caches, yes=yes, dry_run=dry_run, json=json)


def _split(store: AssetStore, names: Sequence[str]) -> tuple[list[str], list[Cache]]:
    """Tell names of caches from all others. Raises UnknownNameError for what is nearly the name of a cache."""
    from darkside_cli.assets.caches import CACHES
    from darkside_cli.assets.entries import GROUPS

    others = [name for name in names if name not in CACHES]
    for name in others:
        if name not in store.assets and name not in GROUPS and get_close_matches(name, CACHES.names(), 1):
            raise UnknownNameError(
                "asset", name, [*store.assets.names(aliases=True), *GROUPS, *CACHES.names()]
            )
    return others, [CACHES.get(name) for name in dict.fromkeys(names) if name in CACHES]


def _list(
    session: Session, store: AssetStore, names: Sequence[str], named: Sequence[Cache], *, json: bool
) -> int:
    from darkside_cli.assets.caches import CACHES, cache_state
    from darkside_cli.assets.disk import free_bytes
    from darkside_cli.assets.upkeep import last_used, leftovers

    everything = not names and not named
    assets = list(store.assets) if everything else store.select(names)
    rows = [
        (asset, state)
        for asset in assets
        if (state := store.state(asset)).status != "missing" or not everything
    ]
    caches = [
        (cache, kept)
        for cache in (CACHES if everything else named)
        if (kept := cache_state(store.root, cache)).files or not everything
    ]
    used = sum(state.size for _, state in rows) + sum(kept.size for _, kept in caches)
    rest = sum(item.size for item in leftovers(store))
    free = free_bytes(store.root)
    if json:
        document = {
            "data_dir": store.root,
            "used_bytes": used,
            "leftover_bytes": rest,
            "free_bytes": free,
            "assets": [_asset_facts(asset, state, last_used(store, asset)) for asset, state in rows],
            "caches": [_cache_facts(store, cache, kept) for cache, kept in caches],
        }
        session.output.json(document)
        return EXIT_DONE
    session.output.table(
        ("name", "here", "size", "images", "last used", "remarks"),
        [
            *(_asset_cells(asset, state, last_used(store, asset)) for asset, state in rows),
            *(_cache_cells(cache, kept) for cache, kept in caches),
        ],
        title=f"data folder: {store.root} ({session.root.origin})",
    )
    if not (rows or caches or rest or session.quiet):
        say(
            f"the data folder {store.root} ({session.root.origin}) is empty; {human_size(free)} free; "
            "darkside download --list shows what there is"
        )
    elif not session.quiet:
        more = f", {human_size(rest)} of leftovers (darkside cache prune)" if rest else ""
        say(f"{human_size(used)} in {store.root}{more}; {human_size(free)} free")
    return EXIT_DONE


def _asset_facts(asset: Asset, state: State, used: str | None) -> dict[str, Any]:
    return {
        "name": asset.name,
        "state": state.status,
        "size_bytes": state.size,
        "images": state.images,
        "lacking": list(state.lacking),
        "last_used": used,
    }


def _cache_facts(store: AssetStore, cache: Cache, kept: CacheState) -> dict[str, Any]:
    return {
        "name": cache.name,
        "summary": cache.summary,
        "path": store.root / cache.folder,
        "files": kept.files,
        "size_bytes": kept.size,
        "last_used": kept.last_used,
    }


def _asset_cells(asset: Asset, state: State, used: str | None) -> tuple[str, ...]:
    images = f"{state.images:,}" if state.images is not None else "-"
    remarks = f"lacks {', '.join(state.lacking[:3])}" if state.lacking else "-"
    return asset.name, state.status, human_size(state.size), images, used or "-", remarks


def _cache_cells(cache: Cache, kept: CacheState) -> tuple[str, ...]:
    here = "kept" if kept.files else "empty"
    return cache.name, here, human_size(kept.size), f"{kept.files:,}", kept.last_used or "-", cache.summary


def _remove(
    session: Session,
    store: AssetStore,
    names: Sequence[str],
    named_caches: Sequence[Cache],
    *,
    yes: bool,
    dry_run: bool,
    json: bool,
) -> int:
    from darkside_cli.assets.caches import cache_state, clear_cache
    from darkside_cli.assets.entries import GROUPS
    from darkside_cli.assets.upkeep import dependents, kept_images, removable, remove

    # What an asset requires stays: others may use it, and nobody asked for it to go.
    chosen = {a.name for n in names for a in (store.select([n]) if n in GROUPS else [store.assets.get(n)])}
    named = [asset for asset in store.assets if asset.name in chosen and store.state(asset).size]
    for asset in named:
        folder = kept_images(store, asset)
        if folder is not None:
            say(f"the images of {asset.name} in {folder} were not put there by darkside and stay")
    assets = [asset for asset in named if removable(store, asset)]
    caches = [cache for cache in named_caches if cache_state(store.root, cache).files]
    total = sum(removable(store, asset) for asset in assets)
    total += sum(cache_state(store.root, cache).size for cache in caches)
    for asset in assets:
        users = [name for name in dependents(store, asset) if name not in chosen]
        if users:
            say(f"warning: {', '.join(users)} will no longer work without {asset.name}")
    removed = [each.name for each in (*assets, *caches)]
    question = f"Delete {', '.join(removed)} ({human_size(total)})?"
    agreed = not dry_run and (not removed or _confirmed(question, yes=yes))
    freed = 0
    if agreed:
        _forget_gone(store, [asset for asset in store.assets if asset.name in chosen and asset not in assets])
        freed = sum(remove(store, asset) for asset in assets)
        freed += sum(clear_cache(store.root, cache) for cache in caches)
    return _tell_freed(session, removed, freed if freed else total, done=bool(freed), json=json)


def _forget_gone(store: AssetStore, assets: Sequence[Asset]) -> None:
    """Drop the recorded digests of files that somebody else has deleted: they would be held against the next ones."""
    from darkside_cli.assets.upkeep import recorded_paths

    known = store.ledger.read().files
    recorded = [path for asset in assets for path in recorded_paths(asset) if path in known]
    gone = [path for path in recorded if not (store.root / path).exists()]
    if gone:
        store.ledger.forget(*gone)
        say(f"forgot the digests of {len(gone)} files that are gone: {', '.join(gone)}")


def _prune(session: Session, store: AssetStore, *, yes: bool, dry_run: bool, json: bool) -> int:
    from darkside_cli.assets.upkeep import leftovers, prune

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
    from darkside_cli.assets.upkeep import recorded_paths

    known = store.ledger.read().files
    ours = {path for asset in store.assets for path in recorded_paths(asset)}
    paths: list[str] = []
    for name in names:
        if name in known or name in ours:
            paths.append(name)
        else:
            asset = store.assets.get(
                name, extra_hint="or a path as darkside download --verify --json tells it"
            )
            paths += recorded_paths(asset)
    gone = [path for path in paths if path in known]
    if gone:
        store.ledger.forget(*gone)
    say(f"forgot the digests of {len(gone)} files: {', '.join(gone) or 'none were recorded'}")
    return EXIT_DONE


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "cache")(cache)

"""What the data folder holds, and what may be deleted from it: assets, caches, leftovers, recorded digests.

Nothing is deleted before :meth:`Removal.apply` is called, so that a person can be asked in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from darkside_cli.assets.caches import CACHES, Cache, CacheState, cache_state, clear_cache
from darkside_cli.assets.entries import GROUPS, Asset, State
from darkside_cli.errors import UnknownNameError, UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.jobs.download import asset_names
from darkside_cli.jobs.needs import open_assets
from darkside_cli.jobs.request import Request, ask

if TYPE_CHECKING:
    from darkside_cli.assets.store import AssetStore
    from darkside_cli.assets.upkeep import Leftover

ACTIONS = ("list", "verify", "rm", "prune", "forget")


def cache_names() -> list[str]:
    """Names of the actions, which may be left out, of caches, and of all assets and groups."""
    return [*ACTIONS, *CACHES.names(), *asset_names()]


@dataclass(frozen=True, kw_only=True)
class CacheRequest(Request):
    """What to do with the data folder."""

    action: str = ask(
        "list, verify, rm (delete assets), prune (delete leftovers), forget (drop recorded digests).",
        "list",
        argument=True,
        metavar="ACTION",
        kind="action",
        choices_from=ACTIONS,
        show_default=False,
    )
    names: tuple[str, ...] = ask(
        "Assets (or groups), or night-cache; for forget also paths in the data folder.",
        (),
        argument=True,
        metavar="NAMES...",
        choices_from=cache_names,
        open_ended=True,
    )
    yes: bool = ask("Delete without asking.", False, short="-y")
    dry_run: bool = ask("Say what would be deleted, delete nothing.", False)

    positional: ClassVar[str | None] = "names"

    def check(self) -> None:
        """Raise UsageError for names that the action does not take, UnknownNameError for nearly a cache's name."""
        known = [*asset_names(), *CACHES.names()]
        for name in self.names:
            if name not in known and name not in CACHES and get_close_matches(name, CACHES.names(), 1):
                raise UnknownNameError("asset", name, known)
        if self.action in ("verify", "forget") and self.caches:
            name = self.caches[0].name
            hint = f"darkside cache rm {name} deletes it"
            raise UsageError(f"{name} has no digests to {self.action}", hint=hint)
        if self.action == "prune" and self.names:
            raise UsageError("prune takes no names", hint="darkside cache rm NAMES deletes assets")
        if self.action in ("rm", "forget") and not self.names:
            raise UsageError(f"{self.action} needs names", hint="darkside cache shows what is there")

    @property
    def caches(self) -> list[Cache]:
        """Caches among the names."""
        return [CACHES.get(name) for name in dict.fromkeys(self.names) if name in CACHES]

    @property
    def assets(self) -> list[str]:
        """The other names."""
        return [name for name in self.names if name not in CACHES]


@dataclass(frozen=True)
class Contents:
    """What the data folder holds: each asset with its state and when it was last used, each cache, and bytes."""

    data_dir: Path
    assets: tuple[tuple[Asset, State, str | None], ...]
    caches: tuple[tuple[Cache, CacheState], ...]
    used: int
    leftovers: int
    free: int

    def document(self) -> dict[str, Any]:
        """What ``cache --json`` prints."""
        return {
            "data_dir": self.data_dir,
            "used_bytes": self.used,
            "leftover_bytes": self.leftovers,
            "free_bytes": self.free,
            "assets": [
                {
                    "name": asset.name,
                    "state": state.status,
                    "size_bytes": state.size,
                    "images": state.images,
                    "lacking": list(state.lacking),
                    "last_used": used,
                }
                for asset, state, used in self.assets
            ],
            "caches": [
                {
                    "name": cache.name,
                    "summary": cache.summary,
                    "path": self.data_dir / cache.folder,
                    "files": kept.files,
                    "size_bytes": kept.size,
                    "last_used": kept.last_used,
                }
                for cache, kept in self.caches
            ],
        }


def contents(request: CacheRequest) -> Contents:
    """Look at what is named, or at all that something is there of."""
    from darkside_cli.assets.disk import free_bytes
    from darkside_cli.assets.upkeep import last_used, leftovers

    store = open_assets(request)
    named = bool(request.names)
    states = [(each, store.state(each)) for each in (store.select(request.assets) if named else store.assets)]
    caches = [(each, cache_state(store.root, each)) for each in (request.caches if named else CACHES)]
    rows = [
        (asset, state, last_used(store, asset))
        for asset, state in states
        if named or state.status != "missing"
    ]
    kept = [(cache, state) for cache, state in caches if named or state.files]
    used = sum(state.size for _, state, _ in rows) + sum(state.size for _, state in kept)
    rest = sum(item.size for item in leftovers(store))
    return Contents(store.root, tuple(rows), tuple(kept), used, rest, free_bytes(store.root))


@dataclass(frozen=True)
class Removal:
    """What would be deleted: ``items`` names it, ``size`` has its bytes."""

    items: tuple[str, ...]
    size: int
    store: AssetStore
    assets: tuple[Asset, ...] = ()
    gone: tuple[Asset, ...] = ()
    caches: tuple[Cache, ...] = ()
    leftovers: tuple[Leftover, ...] = ()

    def apply(self, emit: Emit = ignore) -> int:
        """Delete it and return the number of bytes freed."""
        from darkside_cli.assets.upkeep import prune, remove

        # Digests of files that somebody else has deleted would be held against the next ones.
        forgotten = _forget(self.store, self.gone, lambda path: not (self.store.root / path).exists())
        if forgotten:
            names = ", ".join(forgotten)
            emit(Notice(f"forgot the digests of {len(forgotten)} files that are gone: {names}"))
        freed = sum(remove(self.store, asset) for asset in self.assets)
        freed += sum(clear_cache(self.store.root, cache) for cache in self.caches)
        return freed + prune(self.leftovers)


def removal(request: CacheRequest, *, emit: Emit = ignore) -> Removal:
    """What ``rm`` of the names would delete. Tells what stays, and which other assets would no longer work."""
    from darkside_cli.assets.upkeep import dependents, kept_images, removable

    store = open_assets(request)
    # What an asset requires stays: others may use it, and nobody asked for it to go.
    chosen = {
        asset.name
        for name in request.assets
        for asset in (store.select([name]) if name in GROUPS else [store.assets.get(name)])
    }
    named = [asset for asset in store.assets if asset.name in chosen]
    assets = []
    for asset in named:
        if not store.state(asset).size:
            continue
        folder = kept_images(store, asset)
        if folder is not None:
            emit(Notice(f"the images of {asset.name} in {folder} were not put there by darkside and stay"))
        if removable(store, asset):
            assets.append(asset)
    caches = [cache for cache in request.caches if cache_state(store.root, cache).files]
    for asset in assets:
        users = [name for name in dependents(store, asset) if name not in chosen]
        if users:
            emit(Notice(f"{', '.join(users)} will no longer work without {asset.name}", level="warning"))
    size = sum(removable(store, asset) for asset in assets)
    size += sum(cache_state(store.root, cache).size for cache in caches)
    return Removal(
        tuple(each.name for each in (*assets, *caches)),
        size,
        store,
        tuple(assets),
        tuple(asset for asset in named if asset not in assets),
        tuple(caches),
    )


def leftover_removal(request: CacheRequest) -> Removal:
    """What ``prune`` would delete."""
    from darkside_cli.assets.upkeep import leftovers

    store = open_assets(request)
    found = tuple(leftovers(store))
    names = tuple(str(item.path) for item in found)
    return Removal(names, sum(item.size for item in found), store, leftovers=found)


def forget(request: CacheRequest) -> list[str]:
    """Drop the recorded digests of the named assets, or of single files by their path in the data folder.

    Returns the paths of the files whose digests were recorded until now.
    """
    from darkside_cli.assets.upkeep import recorded_paths

    store = open_assets(request)
    known = store.ledger.read().files
    ours = {path for asset in store.assets for path in recorded_paths(asset)}
    hint = "or a path as darkside download --verify --json tells it"
    named = [
        name if name in known or name in ours else store.assets.get(name, extra_hint=hint)
        for name in request.names
    ]
    return _forget(store, named)


def _forget(
    store: AssetStore, named: Iterable[str | Asset], when: Callable[[str], bool] = lambda _: True
) -> list[str]:
    """Drop the recorded digests of files, by path or by asset, of which ``when`` holds; their paths."""
    from darkside_cli.assets.upkeep import recorded_paths

    known = store.ledger.read().files
    paths = [path for each in named for path in ([each] if isinstance(each, str) else recorded_paths(each))]
    gone = [path for path in paths if path in known and when(path)]
    if gone:
        store.ledger.forget(*gone)
    return gone

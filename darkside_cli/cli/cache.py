"""``darkside cache``: what the data folder holds, and keeping it in order."""

from __future__ import annotations

import sys
from typing import Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.download import tell_verification
from darkside_cli.cli.errors import EXIT_DONE, say
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.events import Event, Notice
from darkside_cli.jobs.cache import (
    CacheRequest,
    Contents,
    Removal,
    contents,
    forget,
    leftover_removal,
    removal,
)
from darkside_cli.jobs.download import verify_assets
from darkside_cli.jobs.needs import open_assets
from darkside_cli.units import human_size


def cache(session: Session, request: CacheRequest, json: options.Json = False) -> int:
    """Show what the data folder holds, check it, and delete from it.

    Without an action it lists what is there; cache rm tokyo247 deletes one asset, cache rm night-cache the
    translations that finetune keeps, and cache prune what a killed run or an unpacked archive left behind.
    """
    if request.action == "list":
        return _tell_contents(session, contents(request), json=json)
    if request.action == "verify":
        store = open_assets(request)
        with session.screen() as screen:
            found = verify_assets(store, store.select(request.assets), emit=screen.emit)
        return tell_verification(session, found, json=json)
    if request.action == "forget":
        gone = forget(request)
        say(f"forgot the digests of {len(gone)} files: {', '.join(gone) or 'none were recorded'}")
        return EXIT_DONE
    if request.action == "rm":
        what = removal(request, emit=_tell)
        question = f"Delete {', '.join(what.items)} ({human_size(what.size)})?"
    else:
        what = leftover_removal(request)
        for item in what.leftovers if not json else ():
            say(f"{item.what}: {item.path} ({human_size(item.size)})")
        question = f"Delete these {len(what.items)} leftovers ({human_size(what.size)})?"
    agreed = not request.dry_run and (not what.items or _confirmed(question, yes=request.yes))
    freed = what.apply(_tell) if agreed else 0
    return _tell_freed(session, what, freed, done=agreed and bool(freed or what.leftovers), json=json)


def _tell(event: Event) -> None:
    """Say what deleting is about, to the quiet too."""
    if isinstance(event, Notice):
        say(f"{'warning: ' if event.level == 'warning' else ''}{event.message}")


def _tell_contents(session: Session, found: Contents, *, json: bool) -> int:
    if json:
        session.output.json(found.document())
        return EXIT_DONE
    rows = []
    for asset, state, used in found.assets:
        images = f"{state.images:,}" if state.images is not None else "-"
        remarks = f"lacks {', '.join(state.lacking[:3])}" if state.lacking else "-"
        rows.append((asset.name, state.status, human_size(state.size), images, used or "-", remarks))
    for each, kept in found.caches:
        here = "kept" if kept.files else "empty"
        size = human_size(kept.size)
        rows.append((each.name, here, size, f"{kept.files:,}", kept.last_used or "-", each.summary))
    where = f"{found.data_dir} ({session.root.origin})"
    columns = ("name", "here", "size", "images", "last used", "remarks")
    session.output.table(columns, rows, title=f"data folder: {where}")
    if session.quiet:
        return EXIT_DONE
    free = f"{human_size(found.free)} free"
    if rows or found.leftovers:
        rest = human_size(found.leftovers)
        more = f", {rest} of leftovers (darkside cache prune)" if found.leftovers else ""
        say(f"{human_size(found.used)} in {found.data_dir}{more}; {free}")
    else:
        say(f"the data folder {where} is empty; {free}; darkside download --list shows what there is")
    return EXIT_DONE


def _tell_freed(session: Session, what: Removal, freed: int, *, done: bool, json: bool) -> int:
    size = freed or what.size
    if json:
        session.output.json({"deleted": done, "items": list(what.items), "bytes": size})
    elif not session.quiet:
        say(f"{human_size(size)} {'freed' if done else 'could be freed' if what.items else 'to free'}")
    return EXIT_DONE


def _confirmed(question: str, *, yes: bool) -> bool:
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("deleting needs a yes", hint="say --yes, or --dry-run to see what would go")
    return typer.confirm(question, default=False, err=True)


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "cache", request=CacheRequest)(cache)

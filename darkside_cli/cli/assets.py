"""The commands about what is in the data folder: ``download`` and ``cache``."""

from __future__ import annotations

import sys

import typer

from darkside_cli.assets.entries import Asset, State
from darkside_cli.cli import options
from darkside_cli.cli.command import app, command
from darkside_cli.cli.errors import EXIT_DONE, EXIT_MISSING, EXIT_SOME_FAILED, say, say_error
from darkside_cli.cli.session import Session
from darkside_cli.errors import UsageError
from darkside_cli.events import Event, Notice
from darkside_cli.jobs import cache as keeping
from darkside_cli.jobs import download as downloading
from darkside_cli.jobs.needs import open_assets
from darkside_cli.units import human_size

COLUMNS = ("name", "groups", "here", "size", "what", "licence", "source", "needed by")
#: Left out, in this order, where the terminal is narrow.
SPARE = ("source", "needed by", "licence", "groups")


@command(app, "download", request=downloading.DownloadRequest)
def download(session: Session, request: downloading.DownloadRequest, json: options.Json = False) -> int:
    """Bring weights and data sets into the data folder.

    Files are resumed where they stopped, checked against their SHA-256 where it is known (else it is
    recorded and enforced from then on), and archives are unpacked safely. Prints the path of everything
    that is there afterwards:

        darkside download hedngan tokyo247

    Oxford and Paris images come from Kaggle by hand; this takes them over:

        darkside download --from archive.zip
    """
    with session.screen() as screen:
        done = downloading.run(request, emit=screen.emit)
    if isinstance(done, downloading.DownloadResult):
        return _tell_result(session, request, done, json=json)
    if isinstance(done, downloading.Verification):
        return _tell_verification(session, done, json=json)
    if json:
        session.output.json(done.document())
    elif isinstance(done, downloading.AssetList):
        title = f"data folder: {done.data_dir} ({session.root.origin})"
        session.output.table(COLUMNS, [_cells(*each) for each in done.assets], title=title, spare=SPARE)
    else:
        _tell_plan(session, done)
    return EXIT_DONE


def _tell_verification(session: Session, found: downloading.Verification, *, json: bool) -> int:
    """Print what checking found; the exit code."""
    if json:
        session.output.json(found.document())
    else:
        session.output.table(
            ("asset", "verdict", "files", "path", "reason"),
            [(v.asset, v.verdict, str(v.files), str(v.path), v.reason) for v in found.checked],
        )
    verdicts = {item.verdict for item in found.checked}
    if "damaged" in verdicts:
        say("damaged: move what is damaged away (or: darkside cache rm NAME), then darkside download NAME")
        return EXIT_SOME_FAILED
    return EXIT_MISSING if "missing" in verdicts else EXIT_DONE


def _cells(asset: Asset, state: State) -> tuple[str, ...]:
    here = state.status
    if state.images is not None:
        here += f" ({state.images:,} images)"
    size = state.size or (asset.published_size if asset.files or asset.images else None)
    return (
        asset.name,
        ",".join(asset.groups) or "-",
        here,
        human_size(size) if size else "?",
        asset.summary,
        asset.licence.partition(" (")[0],  # without its remark, which --json has
        asset.source or "-",
        ", ".join(asset.needed_by),
    )


def _tell_plan(session: Session, done: downloading.DownloadPlan) -> None:
    plan = done.plan
    session.output.table(
        ("path", "here", "size", "to fetch", "from"),
        [
            (
                str(item.path),
                item.state,
                human_size(item.size),
                human_size(item.remaining),
                addresses[0] if item.state != "there" else "-",
            )
            for item, addresses in zip(plan.files, done.addresses, strict=True)
        ],
    )
    for name in done.to_make:
        say(f"{name} would be made here, which takes a while but no download")
    more = f" and {len(plan.unknown)} files of unknown size" if plan.unknown else ""
    say(f"needs {human_size(plan.needed)}{more}; {human_size(plan.free)} are free; nothing was fetched")


def _tell_result(
    session: Session, request: downloading.DownloadRequest, done: downloading.DownloadResult, *, json: bool
) -> int:
    nothing = bool(done.refused) and not (done.imported or request.names)
    for _, error in done.refused[:-1] if nothing else done.refused:
        say_error(error)
    if nothing:
        raise done.refused[-1][1]
    if json:
        session.output.json(done.document())
    else:
        session.output.path(*done.paths)
    for name, error in done.failed.items():
        say_error(error, name)
    if done.failed:
        return EXIT_MISSING
    return EXIT_SOME_FAILED if done.refused or any(each.left_out for each in done.imported) else EXIT_DONE


@command(app, "cache", request=keeping.CacheRequest)
def cache(session: Session, request: keeping.CacheRequest, json: options.Json = False) -> int:
    """Show what the data folder holds, check it, delete from it.

    Without an action it lists what is there; cache rm tokyo247 deletes one asset, cache rm night-cache the
    translations that finetune keeps, and cache prune what a killed run or an unpacked archive left behind.
    """
    if request.action == "list":
        return _tell_contents(session, keeping.contents(request), json=json)
    if request.action == "verify":
        store = open_assets(request)
        with session.screen() as screen:
            found = downloading.verify_assets(store, store.select(request.assets), emit=screen.emit)
        return _tell_verification(session, found, json=json)
    if request.action == "forget":
        gone = keeping.forget(request)
        say(f"forgot the digests of {len(gone)} files: {', '.join(gone) or 'none were recorded'}")
        return EXIT_DONE
    if request.action == "rm":
        what = keeping.removal(request, emit=_tell)
        question = f"Delete {', '.join(what.items)} ({human_size(what.size)})?"
    else:
        what = keeping.leftover_removal(request)
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


def _tell_contents(session: Session, found: keeping.Contents, *, json: bool) -> int:
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


def _tell_freed(session: Session, what: keeping.Removal, freed: int, *, done: bool, json: bool) -> int:
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

"""``darkside download``: weights, ground truths and images into the data folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.asset_table import COLUMNS, SPARE, as_json, row
from darkside_cli.cli.errors import EXIT_DONE, EXIT_MISSING, EXIT_SOME_FAILED, say
from darkside_cli.cli.obtain import fetch, open_assets
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.units import human_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from darkside_cli.assets.entries import Asset
    from darkside_cli.assets.local import Failures
    from darkside_cli.assets.store import AssetStore
    from darkside_cli.assets.upkeep import Verified


def asset_names(incomplete: str = "") -> list[str]:
    """Names, aliases and groups that begin with ``incomplete``."""
    from darkside_cli.assets.entries import GROUPS
    from darkside_cli.jobs.catalog import ASSETS

    return [name for name in [*ASSETS.names(aliases=True), *GROUPS] if name.startswith(incomplete)]


def _sizes() -> list[str]:
    from darkside_cli.nightfall.config import SIZES

    return ["", *SIZES.names(aliases=True)]


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAMES...",
        help="Models and data sets, or the groups weights, eval, train, all.",
        autocompletion=asset_names,
        show_default=False,
    ),
]


def download(
    session: Session,
    names: Names = None,
    list: Annotated[
        bool,
        typer.Option("--list", help="Show every asset: state, size, licence.", rich_help_panel=options.MAIN),
    ] = False,
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Import an archive, folder or file that you have already (again and again).",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check what is there against its digests, fetch nothing.",
            rich_help_panel=options.MAIN,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be fetched, with sizes, and fetch nothing.",
            rich_help_panel=options.MAIN,
        ),
    ] = False,
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL|DIR|LIST",
            help="Ask here first (again and again; also DARKSIDE_MIRROR): an address, a folder, a list file.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    keep_archives: Annotated[
        bool,
        typer.Option(
            "--keep-archives",
            help="Keep archives in downloads/ after unpacking.",
            rich_help_panel=options.DATA,
        ),
    ] = False,
    size: Annotated[
        str,
        options.choice(
            "size",
            _sizes,
            "--size",
            help="Size of data sets that are made here (nightfall): tiny, small or full [default: small].",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = "",
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", min=1, max=32, help="Files fetched at once.", rich_help_panel=options.DEVICE
        ),
    ] = 4,
    retries: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            metavar="N",
            help="Tries again of an address that fails; the waits double, from 1 s to 30 s.",
            rich_help_panel=options.ADVANCED,
        ),
    ] = 5,
    json: options.Json = False,
) -> int:
    """Bring weights and data sets into the data folder.

    Files are resumed where they stopped, checked against their SHA-256 where it is known (else it is
    recorded and enforced from then on), and archives are unpacked safely. Prints the path of everything
    that is there afterwards:

        darkside download hedngan tokyo247

    Oxford and Paris images come from Kaggle by hand; this takes them over:

        darkside download --from archive.zip
    """
    from darkside_cli.assets.mirrors import read_mirrors

    store = open_assets(
        session, jobs=jobs, mirrors=read_mirrors(mirror or ()), size=size, attempts=retries + 1
    )
    wanted = store.select(names or ())
    if sum((list, verify, dry_run)) > 1:
        raise UsageError("--list, --verify and --dry-run exclude each other", hint="choose one")
    if from_ and (list or verify or dry_run):
        raise UsageError(
            "--from imports, which --list, --verify and --dry-run do not", hint="leave one of them out"
        )
    if list:
        return _list(session, store, wanted, json=json)
    if verify:
        return _verify(session, store, wanted, json=json)
    if not (names or from_):
        raise UsageError("nothing to download is named", hint="darkside download --list shows what there is")
    if dry_run:
        return _plan(session, store, wanted, json=json)
    imported, refused = _import(session, store, from_ or [], alone=not wanted)
    return _get(session, store, wanted, imported, refused, keep_archives=keep_archives, json=json)


def _list(session: Session, store: AssetStore, wanted: Sequence[Asset], *, json: bool) -> int:
    rows = [(asset, store.state(asset)) for asset in wanted or store.assets]
    if json:
        session.output.json(
            {"data_dir": store.root, "assets": [as_json(asset, state) for asset, state in rows]}
        )
    else:
        title = f"data folder: {store.root} ({session.root.origin})"
        session.output.table(COLUMNS, [row(asset, state) for asset, state in rows], title=title, spare=SPARE)
    return EXIT_DONE


def _plan(session: Session, store: AssetStore, wanted: Sequence[Asset], *, json: bool) -> int:
    plan = store.plan(wanted)
    if json:
        session.output.json(
            {
                "data_dir": store.root,
                "needed_bytes": plan.needed,
                "free_bytes": plan.free,
                "files": [
                    {
                        "path": item.path,
                        "state": item.state,
                        "size_bytes": item.size,
                        "received_bytes": item.received,
                        "from": store.downloads.addresses(item.file),
                    }
                    for item in plan.files
                ],
            }
        )
        return EXIT_DONE
    session.output.table(
        ("path", "here", "size", "to fetch", "from"),
        [
            (
                str(item.path),
                item.state,
                human_size(item.size),
                human_size(item.remaining),
                store.downloads.addresses(item.file)[0] if item.state != "there" else "-",
            )
            for item in plan.files
        ],
    )
    for asset in wanted:
        if not store.made(asset):
            say(f"{asset.name} would be made here, which takes a while but no download")
    more = f" and {len(plan.unknown)} files of unknown size" if plan.unknown else ""
    say(f"needs {human_size(plan.needed)}{more}; {human_size(plan.free)} are free; nothing was fetched")
    return EXIT_DONE


def _verify(session: Session, store: AssetStore, wanted: Sequence[Asset], *, json: bool) -> int:
    """Check the named assets; without names, all that have something on this machine."""
    from darkside_cli.assets.upkeep import verify
    from darkside_cli.cli.transfers import TransferRenderer

    named = bool(wanted)
    assets = wanted or [asset for asset in store.assets if store.state(asset).status != "missing"]
    with TransferRenderer(quiet=session.quiet, verbose=session.verbose) as renderer:
        found = [item for item in verify(store, assets, renderer.emit) if named or item.verdict != "missing"]
    if json:
        session.output.json({"data_dir": store.root, "checked": [_verified(item) for item in found]})
    else:
        session.output.table(
            ("asset", "verdict", "files", "path", "reason"),
            [(v.asset, v.verdict, str(v.files), str(v.path), v.reason) for v in found],
        )
    verdicts = {item.verdict for item in found}
    if "damaged" in verdicts:
        say("damaged: move what is damaged away (or: darkside cache rm NAME), then darkside download NAME")
        return EXIT_SOME_FAILED
    return EXIT_MISSING if "missing" in verdicts else EXIT_DONE


def _verified(item: Verified) -> dict[str, Any]:
    return {
        "asset": item.asset,
        "path": item.path,
        "verdict": item.verdict,
        "reason": item.reason,
        "files": item.files,
    }


def _import(
    session: Session, store: AssetStore, sources: Sequence[Path], *, alone: bool
) -> tuple[list[dict[str, Any]], Failures]:
    """Take over ``sources``, each for itself, and give what was imported and what was refused.

    Raises the first refusal if nothing else was asked for (``alone``), and nothing could be imported.
    """
    from darkside_cli.assets.local import import_local
    from darkside_cli.cli.transfers import TransferRenderer

    result: list[dict[str, Any]] = []
    failures: Failures = []
    with TransferRenderer(quiet=session.quiet, verbose=session.verbose) as renderer:
        for source in sources:
            try:
                found = import_local(store, source.expanduser(), renderer.emit, failures=failures)
            except DarksideError as error:
                failures.append((source, error))
                continue
            for item in found:
                result.append(
                    {
                        "asset": item.asset,
                        "path": item.path,
                        "files": item.files,
                        "left_out": item.left_out,
                    }
                )
    last = failures.pop() if failures and alone and not result else None
    for _, refusal in failures:
        say(f"{refusal.message}{f'; {refusal.hint}' if refusal.hint else ''}")
    if last is not None:
        raise last[1]
    return result, failures


def _get(
    session: Session,
    store: AssetStore,
    wanted: Sequence[Asset],
    imported: list[dict[str, Any]],
    refused: Failures,
    *,
    keep_archives: bool,
    json: bool,
) -> int:
    got = fetch(session, store, wanted, keep_archives=keep_archives) if wanted else None
    failed = got.failed if got is not None else {}
    complete = [asset for asset in wanted if got is not None and asset.name in got.complete]
    if json:
        session.output.json(
            {
                "data_dir": store.root,
                "imported": imported,
                "refused": [{"path": path, "reason": e.message, "hint": e.hint} for path, e in refused],
                "complete": [asset.name for asset in complete],
                "failed": {name: {"reason": e.message, "hint": e.hint} for name, e in failed.items()},
            }
        )
    else:
        for path in dict.fromkeys([*(item["path"] for item in imported), *_paths(store, complete)]):
            session.output.path(path)
    for name, error in failed.items():
        say(f"{name}: {error.message}{f'; {error.hint}' if error.hint else ''}")
    _tell_incomplete(session, store, imported)
    if failed:
        return EXIT_MISSING
    return EXIT_SOME_FAILED if refused or any(item["left_out"] for item in imported) else EXIT_DONE


def _paths(store: AssetStore, assets: Sequence[Asset]) -> list[Path]:
    from darkside_cli.assets.entries import maker_of
    from darkside_cli.assets.inventory import find_file, find_images

    paths: list[Path] = []
    for asset in assets:
        paths += [path for file in asset.files if (path := find_file(store.root, file)) is not None]
        paths += [find_images(store.root, asset.images)] if asset.images is not None else []
        paths += [store.root / link.path for link in asset.links]
        maker = maker_of(asset)
        paths += maker.folders(store.root) if maker is not None else []
    return paths


def _tell_incomplete(session: Session, store: AssetStore, imported: list[dict[str, Any]]) -> None:
    """Say what an imported set still lacks; one of two archives is no mistake, but it is not all."""
    for name in dict.fromkeys(item["asset"] for item in imported):
        asset = store.assets.get(name)
        state = store.inventory.images(asset.images) if asset.images is not None else None
        if (
            state is not None
            and state.status != "complete"
            and not session.quiet
            and asset.images is not None
        ):
            count = f" of {asset.images.count:,}" if asset.images.count is not None else ""
            say(f"{name}: {state.images or 0:,}{count} images are here now; it is not complete yet")


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "download")(download)

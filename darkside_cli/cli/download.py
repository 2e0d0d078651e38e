"""``darkside download``: weights, ground truths and images into the data folder."""

from __future__ import annotations

from typing import Any

from darkside_cli.assets.entries import Asset, State
from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_MISSING, EXIT_SOME_FAILED, say, say_error
from darkside_cli.cli.session import Session, command
from darkside_cli.jobs.download import (
    AssetList,
    DownloadPlan,
    DownloadRequest,
    DownloadResult,
    Verification,
    run,
)
from darkside_cli.units import human_size

COLUMNS = ("name", "groups", "here", "size", "what", "licence", "source", "needed by")
#: Left out, in this order, where the terminal is narrow.
SPARE = ("source", "needed by", "licence", "groups")


def download(session: Session, request: DownloadRequest, json: options.Json = False) -> int:
    """Bring weights and data sets into the data folder.

    Files are resumed where they stopped, checked against their SHA-256 where it is known (else it is
    recorded and enforced from then on), and archives are unpacked safely. Prints the path of everything
    that is there afterwards:

        darkside download hedngan tokyo247

    Oxford and Paris images come from Kaggle by hand; this takes them over:

        darkside download --from archive.zip
    """
    with session.screen() as screen:
        done = run(request, emit=screen.emit)
    if isinstance(done, DownloadResult):
        return _tell_result(session, request, done, json=json)
    if isinstance(done, Verification):
        return tell_verification(session, done, json=json)
    if json:
        session.output.json(done.document())
    elif isinstance(done, AssetList):
        title = f"data folder: {done.data_dir} ({session.root.origin})"
        session.output.table(COLUMNS, [_cells(*each) for each in done.assets], title=title, spare=SPARE)
    else:
        _tell_plan(session, done)
    return EXIT_DONE


def tell_verification(session: Session, found: Verification, *, json: bool) -> int:
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


def _tell_plan(session: Session, done: DownloadPlan) -> None:
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


def _tell_result(session: Session, request: DownloadRequest, done: DownloadResult, *, json: bool) -> int:
    nothing = bool(done.refused) and not (done.imported or request.names)
    for _, error in done.refused[:-1] if nothing else done.refused:
        say_error(error)
    if nothing:
        raise done.refused[-1][1]
    if json:
        session.output.json(done.document())
    else:
        for path in done.paths:
            session.output.path(path)
    for name, error in done.failed.items():
        say_error(error, name)
    if done.failed:
        return EXIT_MISSING
    return EXIT_SOME_FAILED if done.refused or any(each.left_out for each in done.imported) else EXIT_DONE


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "download", request=DownloadRequest)(download)

"""How commands call jobs: events on the screen, and an offer to download what turns out to be missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import typer

from darkside_cli.cli.errors import LostError, say
from darkside_cli.errors import MissingAssetError
from darkside_cli.events import Emit, Event, TransferProgress, TransferRetrying, TransferStarted
from darkside_cli.jobs.request import Getting, Request
from darkside_cli.units import human_size

if TYPE_CHECKING:
    from darkside_cli.cli.session import Session

R = TypeVar("R", bound=Request)
T = TypeVar("T")


def run_job(
    session: Session,
    request: R,
    run: Callable[..., T],
    *,
    title: str = "",
    then: Emit | None = None,
    lost: str | None = None,
) -> T:
    """``run(request, emit=...)`` with its events on the screen, after that handed to ``then``, which prints results.

    Raises MissingAssetError only after a person at a terminal was asked and does not want the download. ``title``
    names a training. ``lost`` is told at Ctrl-C, outside of downloads, where nothing is kept of what was done.
    """

    def attempt(request: R) -> T:
        with session.screen(title=title) as screen:
            getting = False

            def emit(event: Event) -> None:
                nonlocal getting
                getting = isinstance(event, (TransferStarted, TransferProgress, TransferRetrying))
                screen.emit(event)
                if then is not None:
                    then(event)

            try:
                return run(request, emit=emit)
            except KeyboardInterrupt as error:
                if lost is None or getting:
                    raise
                raise LostError(f"interrupted; {lost}") from error

    return with_offer(request, attempt)


def with_offer(request: R, run: Callable[[R], T]) -> T:
    """``run(request)``; once more with ``download`` if something was missing and a person says yes to getting it."""
    try:
        return run(request)
    except MissingAssetError as error:
        if (
            not isinstance(request, Getting)
            or request.offline
            or request.download
            or not error.assets
            or not _agreed(request, error)
        ):
            raise
    return run(replace(request, download=True))


def _agreed(request: Getting, error: MissingAssetError) -> bool:
    if request.offline or request.download or not error.assets:
        return False
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    from darkside_cli.jobs.needs import open_assets

    store = open_assets(request)
    plan = store.plan(error.assets)
    more = " or more" if plan.unknown else ""
    size = human_size(plan.needed) + more if plan.needed else "of unknown size"
    for asset in error.assets:
        say(f"missing: {asset.name}: {asset.summary}; licence: {asset.licence}")
    return typer.confirm(f"Download it now ({size}) to {store.root}?", default=True, err=True)

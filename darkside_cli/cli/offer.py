"""Asks a person at a terminal whether what a job lacks shall be downloaded, and runs the job again after a yes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import typer

from darkside_cli.cli.errors import say
from darkside_cli.errors import MissingAssetError
from darkside_cli.jobs.request import Getting
from darkside_cli.units import human_size

R = TypeVar("R", bound=Getting)
T = TypeVar("T")


def with_offer(request: R, run: Callable[[R], T]) -> T:
    """``run(request)``; once more with ``download`` if something was missing and a person says yes to getting it."""
    try:
        return run(request)
    except MissingAssetError as error:
        if request.offline or request.download or not error.assets or not _agreed(request, error):
            raise
    return run(replace(request, download=True))


def _agreed(request: Getting, error: MissingAssetError) -> bool:
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

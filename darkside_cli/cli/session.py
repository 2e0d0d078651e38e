"""One call of a command: its common options, where results and progress go, and how it has a job done."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import typer

from darkside_cli import events
from darkside_cli.cli.errors import LostError, say
from darkside_cli.cli.output import Output
from darkside_cli.cli.progress import ProgressRenderer, Renderer, TransferRenderer
from darkside_cli.config.paths import DataRoot, data_root
from darkside_cli.errors import MissingAssetError
from darkside_cli.jobs.request import Getting, Request
from darkside_cli.units import human_size

R = TypeVar("R", bound=Request)
T = TypeVar("T")


class Screen:
    """A context manager whose :meth:`emit` takes the events of any job, and draws them as suits their kind.

    One kind is on the screen at a time: it changes with that of the events. Notices belong to whatever is shown.
    ``title`` names a training in its heading. ``brief`` is as of :class:`Renderer`.
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, brief: bool = False, title: str = ""
    ) -> None:
        self._settings = {"quiet": quiet, "verbose": verbose, "brief": brief}
        self._title = title
        self._shown = ""
        self._trains = False
        self._renderer: Renderer | None = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def emit(self, event: events.Event) -> None:
        """Show ``event``."""
        if isinstance(event, events.Preparing):
            self._announce(event.message)
            return
        if isinstance(event, events.TransferEvent):
            shown = "transfers"
        elif isinstance(event, events.TrainingEvent):
            if isinstance(event, events.TrainingStarted) and not self._trains:
                self._close()  # another training has a heading of its own
            shown = "training"
            self._trains = not isinstance(event, events.TrainingFinished)
        elif isinstance(event, events.RunStarted) and not self._trains:
            shown = "items"  # a training shows the jobs inside of it itself
        elif self._shown == "transfers" and isinstance(
            event, (events.RunStarted, events.RunFinished, events.ItemEvent)
        ):
            shown = "items"
        else:
            shown = self._shown or "items"
        self._show(shown).emit(event)

    def _announce(self, text: str) -> None:
        """Nobody looks at a blank screen; nothing where no person looks, and in the processes of a shared work."""
        shared = "RANK" in os.environ
        if not (self._settings["quiet"] or shared or sys.stderr is None) and sys.stderr.isatty():
            say(text)

    def above_bar(self, text: str) -> bool:
        """Write ``text`` above what is drawn; False if nothing is, or if it cannot."""
        return self._renderer is not None and self._renderer.above_bar(text)

    def _close(self) -> None:
        if self._renderer is not None:
            self._renderer.__exit__(None, None, None)
        self._renderer, self._shown = None, ""

    def _show(self, kind: str) -> Renderer:
        """What draws events of the ``kind``."""
        if self._renderer is None or kind != self._shown:
            self._close()
            self._shown = kind
            self._renderer = self._make(kind).__enter__()
        return self._renderer

    def _make(self, kind: str) -> Renderer:
        if kind == "training":
            from darkside_cli.cli.training_progress import TrainingRenderer

            return TrainingRenderer(title=self._title, **self._settings)
        return (TransferRenderer if kind == "transfers" else ProgressRenderer)(**self._settings)


@dataclass(frozen=True)
class Session:
    """The common options of one command call."""

    data_dir: Path | None = None
    offline: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    output: Output = field(default_factory=Output)

    def screen(self, *, title: str = "", brief: bool = False) -> Screen:
        """What shows a job's events, as quiet or verbose as asked for; it and the results share a terminal.

        ``title`` names a training. ``brief``: many jobs are shown, whose ends their caller tells, unless verbose.
        """
        brief = brief and not self.verbose
        screen = Screen(quiet=self.quiet, verbose=self.verbose, brief=brief, title=title)
        self.output.above_bar = screen.above_bar
        return screen

    def say(self, *lines: str) -> None:
        """Say lines to people, unless it is to be quiet."""
        for line in () if self.quiet else lines:
            say(line)

    @property
    def root(self) -> DataRoot:
        """Where weights and data sets live for this call."""
        return data_root(self.data_dir)


def debug_wanted() -> bool:
    """Whether tracebacks were asked for, known before the options are parsed."""
    return "--debug" in sys.argv or bool(os.environ.get("DARKSIDE_DEBUG"))


def run_job(
    session: Session,
    request: R,
    run: Callable[..., T],
    *,
    then: events.Emit | None = None,
    lost: str | None = None,
) -> T:
    """``run(request, emit=...)`` with its events on the screen, after that handed to ``then``, which prints results.

    Raises MissingAssetError only after a person at a terminal was asked and does not want the download. ``lost`` is
    told at Ctrl-C, outside of downloads, where nothing is kept of what was done.
    """

    def attempt(request: R) -> T:
        with session.screen() as screen:
            getting = False

            def emit(event: events.Event) -> None:
                nonlocal getting
                getting = isinstance(event, events.TransferEvent) and not isinstance(
                    event, (events.TransferFinished, events.TransferFailed)
                )
                screen.emit(event)
                if then is not None:
                    then(event)

            try:
                return run(request, emit=emit)
            except KeyboardInterrupt as error:
                if lost is None or getting:
                    raise
                raise LostError(f"interrupted; {lost}") from error

    try:
        return attempt(request)
    except MissingAssetError as error:
        if not (isinstance(request, Getting) and _agreed(request, error)):
            raise
    return attempt(replace(request, download=True))


def _agreed(request: Getting, error: MissingAssetError) -> bool:
    """Whether something is missing that can be downloaded, and a person says yes to that."""
    if request.offline or request.download or not error.assets:
        return False
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    from darkside_cli.jobs.needs import open_assets

    store = open_assets(request)
    plan = store.plan(error.assets)
    size = f"{human_size(plan.needed)}{' or more' * bool(plan.unknown)}" if plan.needed else "of unknown size"
    for asset in error.assets:
        say(f"missing: {asset.name}: {asset.summary}; licence: {asset.licence}")
    return typer.confirm(f"Download it now ({size}) to {store.root}?", default=True, err=True)

"""Shows the events of any job on stderr: transfers, items and trainings, each as its own renderer draws them."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from darkside_cli.cli.errors import say
from darkside_cli.events import (
    CheckpointSaved,
    EpochDone,
    EvalDone,
    Event,
    ImageReady,
    ItemFailed,
    ItemSkipped,
    Preparing,
    RunFinished,
    RunStarted,
    StepDone,
    TrainingFinished,
    TrainingStarted,
    TransferFailed,
    TransferFinished,
    TransferProgress,
    TransferRetrying,
    TransferStarted,
)

_TRANSFERS = (TransferStarted, TransferProgress, TransferRetrying, TransferFinished, TransferFailed)
_TRAINING = (TrainingStarted, StepDone, EpochDone, EvalDone, CheckpointSaved, TrainingFinished)
_ITEMS = (RunStarted, RunFinished, ImageReady, ItemSkipped, ItemFailed)


class Screen:
    """A context manager whose :meth:`emit` takes the events of one job.

    One kind of image is on the screen at a time: it changes with the kind of the events. Notices belong to whatever
    is shown. ``title`` names a training in its heading.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, title: str = "") -> None:
        self._settings = {"quiet": quiet, "verbose": verbose}
        self._title = title
        self._shown = ""
        self._trains = False
        self._renderer: Any = None
        self._stack = ExitStack()

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def emit(self, event: Event) -> None:
        """Show ``event``."""
        if isinstance(event, Preparing):
            self._announce(event.message)
            return
        if isinstance(event, _TRANSFERS):
            self._show("transfers")
        elif isinstance(event, _TRAINING):
            if isinstance(event, TrainingStarted) and not self._trains:
                self._close()  # another training has a heading of its own
            self._show("training")
            self._trains = not isinstance(event, TrainingFinished)
        elif self._renderer is None or (isinstance(event, RunStarted) and not self._trains):
            self._show("items")  # a training shows the jobs inside of it itself
        elif self._leaves_transfers(event):
            self._show("items")
        self._renderer.emit(event)

    def _leaves_transfers(self, event: Event) -> bool:
        return self._shown == "transfers" and isinstance(event, _ITEMS)

    def _announce(self, text: str) -> None:
        """Nobody looks at a blank screen; nothing where no person looks, and in the processes of a shared work."""
        if (
            not (self._settings["quiet"] or "RANK" in os.environ or sys.stderr is None)
            and sys.stderr.isatty()
        ):
            say(text)

    def above_bar(self, text: str) -> bool:
        """Write ``text`` above what is drawn; False if nothing is, or if it cannot."""
        above = getattr(self._renderer, "above_bar", None)
        return bool(above(text)) if above is not None else False

    def _close(self) -> None:
        self._stack.close()
        self._renderer, self._shown = None, ""

    def _show(self, kind: str) -> None:
        if kind == self._shown:
            return
        self._stack.close()
        self._renderer = self._stack.enter_context(self._make(kind))
        self._shown = kind

    def _make(self, kind: str) -> Any:
        if kind == "transfers":
            from darkside_cli.cli.live.progress import TransferRenderer

            return TransferRenderer(**self._settings)
        if kind == "training":
            from darkside_cli.cli.live.training_progress import TrainingRenderer

            return TrainingRenderer(title=self._title, **self._settings)
        from darkside_cli.cli.live.progress import ProgressRenderer

        return ProgressRenderer(**self._settings)

"""What ``darkside translate`` writes to stdout: paths, JSON, or the one image that was asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.cli.output import Output
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, ImageReady, ItemFailed, ItemSkipped
from darkside_cli.images.formats import format_of_path

if TYPE_CHECKING:
    from darkside_cli.methods.translate_files import Summary

#: What --output is called where the image itself goes to stdout.
STDOUT = Path("-")


class Results:
    """Writes each image's result to stdout, and hands every event on to ``then``.

    Skipped images count as results too: what is piped on from a second run is the same list. With ``json`` nothing is
    written before :meth:`finish`.
    """

    def __init__(self, output: Output, *, model: str | None, json: bool, jsonl: bool, then: Emit) -> None:
        self._output, self._model, self._then = output, model, then
        self._json, self._jsonl = json, jsonl
        self._made_by = {} if json else {"model": model}  # the one object says it once
        self._items: list[dict[str, Any]] = []

    def emit(self, event: Event) -> None:
        """Take an event of the run."""
        self._then(event)
        if isinstance(event, ImageReady):
            fields = {"output": event.target, "size": list(event.size_px), "seconds": round(event.seconds, 4)}
            self._item(event.source, event.target, **fields, **self._made_by, **_noted(event))
        elif isinstance(event, ItemSkipped) and event.target is not None:
            # By which model it was made, nobody knows any more.
            size = _size_of(event.target) if self._json or self._jsonl else None
            self._item(event.source, event.target, output=event.target, size=size, seconds=0, skipped=True)
        elif isinstance(event, ItemFailed):
            self._item(event.source, None, error=event.reason)

    def _item(self, source: Path, target: Path | None, **fields: Any) -> None:
        if self._json:
            self._items.append({"input": source, **fields})
        elif self._jsonl:
            self._output.jsonl({"input": source, **fields})
        elif target is not None:
            self._output.path(target)

    def finish(self, summary: Summary | None) -> None:
        """Write the one object of ``--json``; ``summary`` is None where the run had nothing to do, or was stopped."""
        if self._json:
            counts = {
                "done": sum("error" not in item and "skipped" not in item for item in self._items),
                "skipped": sum("skipped" in item for item in self._items),
                "failed": sum("error" in item for item in self._items),
                "seconds": round(summary.seconds, 3) if summary is not None else 0,
            }
            self._output.json({"model": self._model, "images": self._items, **counts})


def _noted(event: ImageReady) -> dict[str, Any]:
    return {"animated": True} if event.animated else {}


def _size_of(path: Path) -> list[int] | None:
    """[width, height] of an image as its header has it; None for what is no image."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return list(image.size)
    except (OSError, Image.DecompressionBombError):
        return None


def check_stdout(output: Output, images: int, **unfitting: bool) -> None:
    """Raise UsageError unless one image can go to stdout; ``unfitting`` are options that cannot go with it."""
    given = [f"--{name}" for name, wanted in unfitting.items() if wanted]
    if given:
        raise UsageError(
            f"{given[0]} does not go with -o -, which writes the image alone",
            hint="leave one of them out",
        )
    if images != 1:
        raise UsageError(
            f"-o - writes one image to standard output, and {images or 'none'} came in",
            hint="give a folder with -o" if images else "name an image, or pipe one in",
        )
    if output.is_terminal:
        raise UsageError(
            "-o - writes an image, and standard output is a terminal",
            hint="send it to a file or a program: darkside translate … -o - > night.jpg",
        )


def check_file(file: Path, images: int, form: str | None, *, suffix: str) -> None:
    """Raise UsageError unless one image can be written to ``file``; ``form`` is Pillow's name of ``--format``."""
    name = os.fsdecode(file)
    if images != 1:
        raise UsageError(f"{name} is one file, and {images} images came in", hint="name a folder with -o")
    if suffix:
        raise UsageError(f"--suffix does not go with -o {name}, which is the whole name", hint="leave it out")
    if form is not None and form != format_of_path(file):
        raise UsageError(f"--format does not go with -o {name}, which says another one", hint="leave it out")

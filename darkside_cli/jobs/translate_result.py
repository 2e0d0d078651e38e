"""What became of images that were to be translated, as events say it, and as ``--json`` and ``--jsonl`` print it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darkside_cli.events import Event, ImageReady, ItemFailed, ItemSkipped


@dataclass(frozen=True)
class TranslatedImage:
    """What became of one image. ``target`` is None if it failed; ``size_px`` is (width, height) of a new result."""

    source: Path
    target: Path | None = None
    size_px: tuple[int, int] | None = None
    seconds: float = 0.0
    animated: bool = False
    skipped: bool = False
    error: str | None = None

    def document(self, model: str | None = None) -> dict[str, Any]:
        """What ``--jsonl`` prints of it; ``model`` made it, if it was made now."""
        if self.error is not None:
            return {"input": self.source, "error": self.error}
        there = {"input": self.source, "output": self.target}
        if self.skipped:  # by which model it was made, nobody knows any more
            size = _size_of(self.target) if self.target is not None else None
            return {**there, "size": size, "seconds": 0, "skipped": True}
        return {
            **there,
            "size": list(self.size_px or ()),
            "seconds": round(self.seconds, 4),
            **({"model": model} if model is not None else {}),
            **({"animated": True} if self.animated else {}),
        }


@dataclass(frozen=True)
class TranslateResult:
    """What became of the images, in their order; ``encoded`` has the one result of a request with ``in_memory``.

    ``model`` is None if there were no images, ``encoded`` if that failed.
    """

    model: str | None = None
    images: tuple[TranslatedImage, ...] = ()
    seconds: float = 0.0
    encoded: memoryview | None = field(default=None, repr=False)

    @property
    def done(self) -> int:
        """How many images were translated now."""
        return len(self.images) - self.skipped - self.failed

    @property
    def skipped(self) -> int:
        """How many results were there already."""
        return sum(image.skipped for image in self.images)

    @property
    def failed(self) -> int:
        """How many images could not be read, translated or written."""
        return sum(image.error is not None for image in self.images)

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "model": self.model,
            "images": [image.document() for image in self.images],
            "done": self.done,
            "skipped": self.skipped,
            "failed": self.failed,
            "seconds": round(self.seconds, 3) or 0,
        }


def image_of(event: Event) -> TranslatedImage | None:
    """What an event says of one image; None if it is about something else."""
    if isinstance(event, ImageReady):
        return TranslatedImage(event.source, event.target, event.size_px, event.seconds, event.animated)
    if isinstance(event, ItemSkipped):
        return TranslatedImage(event.source, event.target, skipped=True)
    if isinstance(event, ItemFailed):
        return TranslatedImage(event.source, error=event.reason)
    return None


def _size_of(path: Path) -> list[int] | None:
    """[width, height] of an image as its header has it; None for what is no image."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return list(image.size)
    except (OSError, Image.DecompressionBombError):
        return None

"""What became of one image that was to be translated, as an event says it and as ``--jsonl`` prints it."""

from __future__ import annotations

from dataclasses import dataclass
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

"""What architectures can be drawn into. Torch-free, so that a wrong name of a file is told at once."""

from __future__ import annotations

from pathlib import Path

from darkside_cli.errors import UsageError

SOURCE_FORMATS = (".dot", ".gv")
PICTURE_FORMATS = (".svg", ".png", ".pdf")


def check_drawable(path: Path) -> str:
    """The suffix of ``path`` in lower case. Raises UsageError if it is none of those that can be drawn into."""
    suffix = path.suffix.lower()
    if suffix not in SOURCE_FORMATS + PICTURE_FORMATS:
        raise UsageError(
            f"cannot draw into a '{path.suffix}' file",
            hint=f"known: {', '.join(PICTURE_FORMATS + SOURCE_FORMATS)}",
        )
    return suffix

"""The day photographs that the package brings, to try things on."""

from __future__ import annotations

import shutil
from pathlib import Path

from darkside_cli.atomic import temporary_beside

FOLDER = Path(__file__).resolve().parents[1] / "samples"
#: Says who took which photograph, and under what terms.
SOURCES = FOLDER / "SOURCES.md"


def sample_paths() -> list[Path]:
    """Paths of the photographs inside the package, by name."""
    return sorted(FOLDER.glob("*.jpg"))


def write_samples(folder: Path) -> list[Path]:
    """Copy the photographs and what is said of them into ``folder``; files that are there already are left alone.

    Returns the photographs' paths. Raises OSError as the system gives it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for source in (*sample_paths(), SOURCES):
        target = folder / source.name
        if not target.exists():
            with temporary_beside(target) as temporary:
                shutil.copyfile(source, temporary)
        if source != SOURCES:
            written.append(target)
    return written

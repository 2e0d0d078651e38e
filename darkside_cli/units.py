"""Figures with units, in words."""

from __future__ import annotations


def human_size(size_bytes: int | None) -> str:
    """Size in the unit that leaves one to three digits before the point ("45.5 MB"); "?" when it is not known."""
    if size_bytes is None:
        return "?"
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"

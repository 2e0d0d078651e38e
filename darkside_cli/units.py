"""Figures with units, in words."""

from __future__ import annotations

import math


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


def duration(seconds: float) -> str:
    """``seconds`` as "9.4 s", "4:05 min", "3:12:04" or "2 days 3:12:04"; "?" if it is not finite."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours or days else f"{minutes}:{rest:02} min"
    return f"{days} day{'s' * (days > 1)} {text}" if days else text


def time_left(seconds: float | None) -> str:
    """A time that is still to come, to whole seconds; nothing if nobody knows it."""
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 59.5 else duration(round(seconds))

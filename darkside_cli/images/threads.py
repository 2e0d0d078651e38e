"""How many threads decode pictures where nobody says."""

from __future__ import annotations

import os


def default_threads(most: int) -> int:
    """As many as CPUs this process may run on, at most ``most``."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(most, cpus)

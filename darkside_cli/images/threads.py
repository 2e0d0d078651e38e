"""How many CPUs there are to use, and how many threads decode images where nobody says."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """Count the CPUs this process may run on, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads(most: int) -> int:
    """As many as CPUs this process may run on, at most ``most``."""
    return min(most, usable_cpus())

"""How many CPUs the tests may use."""

from __future__ import annotations

import os
from pathlib import Path

#: What the kernel says of the share of a container: quota and period, in one file or in two.
QUOTAS = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)


def cpus() -> int:
    """Those that this process may run on, or fewer if the container that it is in has a smaller share of them."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in QUOTAS:
        try:
            quota, period = " ".join(Path(file).read_text() for file in files).split()
            if int(quota) > 0:
                count = min(count, -(-int(quota) // int(period)))
        except (OSError, ValueError):  # there is none, or no limit ("max")
            continue
    return max(1, count)

"""What a run ran on: versions of the libraries that matter, processor, graphics card, memory. No names of people."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from darkside_cli import __version__
from darkside_cli.images.settings import usable_cpus
from darkside_cli.units import human_size

_LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "opencv-python-headless")


def machine_facts(device: str) -> dict[str, str]:
    """Facts by name about this process's machine; ``device`` is that of the run ("cpu", "cuda:0").

    Nothing is imported for it: the graphics card is asked only where torch is loaded already.
    """
    facts = {"darkside": __version__, "Python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    facts["system"] = f"{platform.system()} {platform.release()} ({platform.machine()})"
    facts["processor"] = f"{_processor()}, {usable_cpus()} of {os.cpu_count() or 1} processors used"
    memory = _memory_bytes()
    if memory is not None:
        facts["memory"] = human_size(memory)
    facts["device"] = device
    facts.update(_graphics_card(device))
    return facts


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _graphics_card(device: str) -> dict[str, str]:
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda"):
        return {}
    try:
        properties = torch.cuda.get_device_properties(device)
    except (RuntimeError, AssertionError, ValueError):
        return {}
    card = f"{properties.name}, {human_size(properties.total_memory)}"
    return {"graphics card": card, "CUDA": str(torch.version.cuda or torch.version.hip)}

"""``darkside`` as a process that holds at one of its images until it gets a signal, so that no test has to race it."""

from __future__ import annotations

import os
import sys

_CODE = """
import os, signal
from PIL import ImageFile
arrived, write = os.pipe()
os.set_blocking(write, False)
signal.set_wakeup_fd(write)
load = ImageFile.ImageFile.load
def held(image):
    if image.size == {size!r}:
        os.write(write, os.read(arrived, 1))  # an image may be loaded twice: nothing is held again
    return load(image)
ImageFile.ImageFile.load = held
from darkside_cli.cli.app import main
main()
"""


def held_command(size: tuple[int, int], *arguments: str | os.PathLike[str]) -> list[str]:
    """Command that runs ``darkside ARGUMENTS``, and holds before it decodes an image of this ``size``."""
    return [sys.executable, "-c", _CODE.format(size=size), *map(os.fspath, arguments)]

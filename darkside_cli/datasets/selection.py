"""Which images are chosen, when a share of them is: by their name, so always the same ones, or at random."""

from __future__ import annotations

import hashlib
import random
import re
from pathlib import PurePosixPath


def chosen_by_name(name: str, ratio: float) -> bool:
    """Whether the image ``name`` is among the share ``ratio`` of all images.

    What counts is the file name without folders and suffix: the last four hexadecimal digits of its MD5,
    divided by 65536, must be below ``ratio``. The same image is chosen every time, and whoever is chosen at a
    ratio is chosen at every higher one.
    """
    digest = hashlib.md5(PurePosixPath(name).stem.encode(), usedforsecurity=False).hexdigest()
    return int(digest[-4:], 16) / 65536 < ratio


def chosen_by_label(label: str, pattern: str) -> bool:
    """Whether the role ``label`` of an image begins with the regular expression ``pattern``."""
    return re.match(pattern, label) is not None


def chosen_at_random(probability: float, rng: random.Random) -> bool:
    """Whether the next image is chosen; draws one number."""
    return rng.random() < probability

"""How large the city is: the sizes it can be asked for, and what makes one different from another.

Imports nothing heavy: the command line lists the sizes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from darkside_cli.registry import Entry, Registry

#: Goes up when images, names or the layout change: what an older version wrote is then made anew.
VERSION = 2
NAME = "nightfall"


@dataclass(frozen=True, kw_only=True)
class NightfallConfig:
    """What is rendered, and how many of it. No place is in two of the parts.

    ``gan`` places give unpaired day and night images, ``train`` places day images for tuples and whitening,
    ``val`` and ``test`` places are benchmarks: a database of day images, and queries by night and, from the same
    spots, by day. Besides there are ``distractor`` places, and to two test places one that looks much like them,
    which nobody asks for. ``samples`` squared rays make a pixel; ``quality`` is JPEG's.
    """

    seed: int = 2023
    image_px: int = 128
    samples: int = 2
    quality: int = 93
    gan_places: int
    gan_day: int
    gan_night: int
    train_places: int
    train_day: int
    val_places: int
    val_day: int
    val_queries: int
    test_places: int
    test_day: int
    test_queries: int
    distractor_places: int
    distractor_day: int

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that are the same for the same images."""
        text = json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Size(Entry):
    """A size by name."""

    config: NightfallConfig


SIZES: Registry[Size] = Registry(
    "size",
    (
        Size(
            name="tiny",
            summary="two hundred small pictures, in seconds: for tests",
            config=NightfallConfig(
                image_px=64,
                gan_places=9, gan_day=2, gan_night=2,
                train_places=12, train_day=4,
                val_places=4, val_day=3, val_queries=1,
                test_places=6, test_day=3, test_queries=2,
                distractor_places=6, distractor_day=2,
            ),
        ),
        Size(
            name="small",
            aliases=("demo",),
            summary="some 4,700 pictures of 128 px, in a minute and a half: for the demo",
            config=NightfallConfig(
                gan_places=150, gan_day=3, gan_night=3,
                train_places=600, train_day=4,
                val_places=40, val_day=3, val_queries=2,
                test_places=120, test_day=3, test_queries=2,
                distractor_places=60, distractor_day=2,
            ),
        ),
        Size(
            name="full",
            summary="some 19,000 pictures of 256 px, in a quarter of an hour",
            config=NightfallConfig(
                image_px=256,
                gan_places=700, gan_day=4, gan_night=4,
                train_places=900, train_day=8,
                val_places=120, val_day=5, val_queries=2,
                test_places=240, test_day=5, test_queries=3,
                distractor_places=500, distractor_day=3,
            ),
        ),
    ),
)  # fmt: skip
DEFAULT_SIZE = "small"


def size_of(config: NightfallConfig) -> str:
    """Name of the size that ``config`` is, "custom" if it is none."""
    return next((size.name for size in SIZES if size.config == config), "custom")

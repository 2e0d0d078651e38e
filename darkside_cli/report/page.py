"""Pages of one file that needs nothing else: a template filled, drawings and images put into it.

Images are chosen, scaled and compressed so that all of them together stay small.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from PIL import Image

from darkside_cli.atomic import temporary_beside
from darkside_cli.report.figures import Panel, draw

_TEMPLATES = Path(__file__).parent / "templates"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
MOST_EPOCHS = 16
BUDGET_BYTES = 6_000_000  # before base64, which makes four bytes of three
_LARGEST_BYTES = 700_000
_WIDEST_PX = 1600
_TALLEST_PX = 4000
_QUALITY = 82
_EPOCH = re.compile(r"epoch_?(\d+)", re.IGNORECASE)


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Fill ``template`` (jinja2: the name of one in ``templates``, or its text) and write it, whole or not at all.

    Returns ``path``. Raises OSError as the system gives it.
    """
    found = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = found.from_string(template) if "\n" in template else found.get_template(template)
    with (
        temporary_beside(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.writelines(page.generate(**values))
    return path


def drawn(panels: Sequence[Panel]) -> list[tuple[Panel, Markup]]:
    """``panels`` with their drawings, which all have the same x axis."""
    return [(panel, Markup(svg)) for panel, svg in zip(panels, draw(panels), strict=True)]  # noqa: S704


@dataclass(frozen=True)
class Embedded:
    """An image as a data URI, and its size as it is shown."""

    name: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class SampleEpoch:
    """The images of one epoch (None: their names do not tell it)."""

    epoch: int | None
    images: tuple[Embedded, ...]


def embed_samples(
    folder: Path,
    *,
    up_to: int | None = None,
    most_epochs: int = MOST_EPOCHS,
    budget_bytes: int = BUDGET_BYTES,
    workers: int = 2,
) -> tuple[list[SampleEpoch], int]:
    """Images ``epoch_0005*.jpg`` (or .png) of ``folder``, newest first, and how many epochs were left out.

    Of more than ``most_epochs`` the first, the last and an even choice between them is taken. Altogether they take at
    most ``budget_bytes``. Epochs after ``up_to`` are not looked at, images that cannot be read are passed over.
    """
    by_epoch: dict[int | None, list[Path]] = {}
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
                match = _EPOCH.search(path.stem)
                epoch = int(match[1]) if match else None
                if epoch is None or up_to is None or epoch <= up_to:
                    by_epoch.setdefault(epoch, []).append(path)
    epochs = sorted(by_epoch, key=lambda epoch: -1 if epoch is None else epoch)
    chosen = spread(epochs, most_epochs)
    paths = [path for epoch in chosen for path in by_epoch[epoch]]
    share = min(_LARGEST_BYTES, budget_bytes // max(1, len(paths)))
    with ThreadPoolExecutor(workers) as pool:
        made = dict(zip(paths, pool.map(lambda path: embed(path, share), paths), strict=True))
    shown = [
        SampleEpoch(epoch, tuple(image for path in by_epoch[epoch] if (image := made[path]) is not None))
        for epoch in reversed(chosen)
    ]
    return [each for each in shown if each.images], len(epochs) - len(chosen)


def spread(items: Sequence[int | None], most: int) -> list[int | None]:
    """At most ``most`` of ``items``, evenly spread, the first and the last among them.

    The steps are powers of two, so that an item more changes little: what was chosen is mostly chosen again.
    """
    if len(items) <= most:
        return list(items)
    step = 2
    while -(-len(items) // step) >= most > 1:
        step *= 2
    chosen = [] if most == 1 else list(items[::step])
    return chosen if chosen[-1:] == [items[-1]] else [*chosen, items[-1]]


def embed(path: Path, most_bytes: int) -> Embedded | None:
    """An image as a JPEG of at most about ``most_bytes``; the file itself where it is one. None if it is broken.

    A process that asks for the same image again and again gets it from its memory.
    """
    try:
        state = path.stat()
        return _embed(path, state.st_mtime_ns, state.st_size, most_bytes)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


@lru_cache(maxsize=2 * MOST_EPOCHS)
def _embed(path: Path, _mtime_ns: int, size: int, most_bytes: int) -> Embedded:
    with Image.open(path) as image:
        width, height = image.size
        scale = min(1.0, _WIDEST_PX / width, _TALLEST_PX / height)
        if scale == 1 and image.format == "JPEG" and size <= most_bytes:
            image.load()  # raises if it is cut short
            return Embedded(path.name, _uri(path.read_bytes()), width, height)
        if image.format == "JPEG":  # a first guess that is seldom too small
            scale = min(scale, math.sqrt(1.2 * most_bytes / size))
        # A large JPEG is decoded at a fraction of its size, at least as large as what is wanted of it.
        image.draft("RGB", (math.ceil(width * scale), math.ceil(height * scale)))
        pixels = image.convert("RGB")
    for _ in range(5):
        shown = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = (
            pixels if pixels.size == shown else pixels.resize(shown, Image.Resampling.BICUBIC, reducing_gap=2)
        )
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=_QUALITY)
        if buffer.tell() <= most_bytes:
            break
        scale *= max(0.3, 0.95 * math.sqrt(most_bytes / buffer.tell()))
    return Embedded(path.name, _uri(buffer.getvalue()), *shown)


def _uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"

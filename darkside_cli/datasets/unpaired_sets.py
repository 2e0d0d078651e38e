"""The day and the night images of a training: found, looked at, told about, and kept once decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from darkside_cli.assets.entries import shard_path
from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.catalog import PUBLISHED_LISTS, check_source, lists_of
from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.datasets.names import iter_path_tokens
from darkside_cli.datasets.unpaired_config import UnpairedConfig
from darkside_cli.errors import ImageError, MissingAssetError, UsageError
from darkside_cli.events import Emit, ItemFailed, Notice
from darkside_cli.images.crops import Size
from darkside_cli.images.exif import orientation_of
from darkside_cli.images.identify import identify, open_regular_file, reason_of
from darkside_cli.images.settings import AugmentConfig

#: Below so many images a person is told that they are few.
FEW = 50
MEND = "mend or remove what is named above"

_NAMED = 3
_WELL_SEEN = 0.7
_HEADER_THREADS = 8
#: Pillow keeps RGB in as many bytes.
_BYTES_PER_PIXEL = 4


@dataclass
class UnpairedSet:
    """Images of one kind, ``what`` is "day" or "night".

    ``sizes`` are those that images are used in (upright, shrunk; None where the file could not be read).
    ``unusable`` says by index why an image is passed over; decoding adds to it.
    """

    what: str
    paths: tuple[Path, ...]
    sizes: tuple[Size | None, ...] = ()
    unusable: dict[int, str] = field(default_factory=dict)
    broken: int = 0
    """How many of the unusable ones are missing or damaged."""

    def __len__(self) -> int:
        return len(self.paths)

    def add_broken(self, index: int, reason: str) -> bool:
        """Remember that image ``index`` cannot be read; False if that was known.

        Raises UsageError when more than half of the images cannot.
        """
        if index in self.unusable:
            return False
        self.unusable[index] = reason
        self.broken += 1
        self.check()
        return True

    def check(self) -> None:
        """Raise UsageError if too little is left to train on."""
        if self.broken * 2 > len(self):
            raise UsageError(f"{self.broken} of {len(self)} {self.what} pictures cannot be read", hint=MEND)
        if len(self.unusable) == len(self):
            raise UsageError(f"no {self.what} picture is left to train on", hint=MEND)


def open_set(what: str, config: UnpairedConfig, root: DataRoot, emit: Emit) -> UnpairedSet:
    """List the images of kind ``what`` and look at their headers; what is wrong with them is told.

    Raises MissingAssetError if the list, or more than half of what it names, is not there; UsageError for sets that
    cannot be trained on.
    """
    source = config.day if what == "day" else config.night
    paths = _images(source, what, config, root)
    if not paths:
        raise UsageError(
            f"there are no {what} pictures in {source}",
            hint=f"name a list or a folder of pictures with --{what}; data.recursive=true takes sub-folders too",
        )
    with ThreadPoolExecutor(_HEADER_THREADS) as pool:
        looked = list(pool.map(_look, paths))
    sizes = tuple(_shrunk(each, config.max_size_px) if isinstance(each, tuple) else None for each in looked)
    result = UnpairedSet(what, tuple(paths), sizes)
    missing = [path for path, each in zip(paths, looked, strict=True) if each is None]
    if missing:
        _tell_missing(missing, result, source, emit)
    for index, each in enumerate(looked):
        if isinstance(each, str):
            emit(ItemFailed(paths[index], each))
        if not isinstance(each, tuple):
            result.unusable[index] = each or "no such file"
    result.broken = len(result.unusable)
    result.check()
    _tell_sizes(result, config, emit)
    result.check()
    return result


def tell_common_part(day: UnpairedSet, night: UnpairedSet, emit: Emit) -> None:
    """Say so if images cut at one place, in what they have in common, leave much of themselves unseen."""
    seen = []
    for images, others in ((day, night), (night, day)):
        sizes, other_sizes = (
            np.array([size for size in each.sizes if size is not None], dtype=np.float64)
            for each in (images, others)
        )
        # In pieces, because published sets have thousands of images each.
        shares = [np.minimum(other_sizes, size).prod(axis=1).mean() / size.prod() for size in sizes]
        seen.append(float(np.mean(shares)))
    if min(seen) < _WELL_SEEN:
        text = (
            f"pictures differ in size: of a pair the upper left part that both have is used, {min(seen):.0%} of "
            "them on average; data.share_crop=false cuts each by itself"
        )
        emit(Notice(text))


def _images(source: Path | None, what: str, config: UnpairedConfig, root: DataRoot) -> list[Path]:
    lists, train = lists_of(source), root.train("")
    if lists is not None:
        source = lists.list_file(train, what)
        if not source.is_file():
            which = "published list" if lists is PUBLISHED_LISTS else f"list of {lists.name}"
            download = f"darkside download {' '.join(lists.assets)} brings it and its pictures"
            raise MissingAssetError(
                f"the {which} of {what} pictures is not at {source}",
                hint=f"{download}; your own are given with --{what}",
            )
    assert source is not None  # noqa: S101 - None is the name of the published lists
    if source.is_dir():
        return [image.path for image in expand_inputs([source], recursive=config.recursive, exclude=None)]
    check_source(source, what)
    published = (lists or PUBLISHED_LISTS).images(train)
    bases = [source.parent, Path(), published] if config.images is None else [config.images]
    with source.open("rb") as stream:
        return [_find(name, bases) for name in iter_path_tokens(stream, null=False)]


def _find(name: Path, bases: Sequence[Path]) -> Path:
    """Where the image called ``name`` is, below the first of ``bases`` that has it; bare ids are sharded."""
    candidates = [base / name for base in bases]
    if len(name.parts) == 1 and len(name.name) >= 6:
        candidates.append(bases[-1] / shard_path(name.name))
    return next((path for path in candidates if os.path.isfile(path)), candidates[0])  # noqa: PTH113 - never raises


def _look(path: Path) -> Size | str | None:
    """Width and height by the header, upright; what is wrong with the file; None if there is none."""
    try:
        with open_regular_file(path) as stream:
            image = identify(stream)
            width, height = image.size
            return (height, width) if orientation_of(image) >= 5 else (width, height)
    except FileNotFoundError:
        return None
    except ImageError as error:
        return error.message
    except OSError as error:
        return reason_of(error)


def _shrunk(size: Size, limit: int | None) -> Size:
    factor = 1.0 if limit is None else min(1.0, limit / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _few_of(items: Iterable[str]) -> str:
    names = list(items)
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _tell_missing(missing: Sequence[Path], images: UnpairedSet, source: Path | None, emit: Emit) -> None:
    text = (
        f"{len(missing)} of {len(images)} {images.what} pictures are not there: {_few_of(map(str, missing))}"
    )
    if len(missing) * 2 > len(images):
        hint = "data.images names the folder that the names in the list are relative to"
        if (lists := lists_of(source)) is not None:
            hint = f"darkside download {lists.assets[-1]} brings them"
        raise MissingAssetError(text, hint=hint)
    emit(Notice(text, level="warning"))


def _tell_sizes(images: UnpairedSet, config: UnpairedConfig, emit: Emit) -> None:
    width, height = config.crop_size
    known = [(index, size) for index, size in enumerate(images.sizes) if size is not None]
    small = [(index, size) for index, size in known if size[0] < width or size[1] < height]
    what = f"{len(images)} {images.what} pictures"
    sides = [side for _, size in known for side in size]
    emit(Notice(f"{what}, sides of {min(sides)} to {max(sides)} px"))
    if len(images) < FEW and config.augment == AugmentConfig():
        more = "data.augment makes more of them (flip, aspect, rotate_deg, perspective …)"
        emit(Notice(f"{what} are few: {more}", level="warning"))
    if not small:
        return
    text = f"{len(small)} of {what} are smaller than the crop of {width}x{height}: " + _few_of(
        f"{images.paths[index]} ({size[0]}x{size[1]})" for index, size in small
    )
    if config.too_small == "refuse":
        raise UsageError(text, hint="data.too_small = upscale or skip, or a smaller data.crop_px")
    done = "they are passed over" if config.too_small == "skip" else "they are enlarged"
    emit(Notice(f"{text}; {done} (data.too_small)", level="warning"))
    if config.too_small == "skip":
        for index, size in small:
            images.unusable[index] = f"smaller than the crop ({size[0]}x{size[1]})"


class ImageCache:
    """Decoded RGB images by key, up to ``capacity`` bytes: what came first stays, so small sets are decoded once.

    Images are asked for at random, so one is as good to keep as another, and replacing them would cost without
    finding more. Safe in several threads; two that ask for the same one at a time may both make it.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: dict[object, Image.Image] = {}
        self._lock = Lock()
        self.size = 0
        """Bytes in use."""

    def get(self, key: object, make: Callable[[], Image.Image]) -> Image.Image:
        """Give the image of ``key``, not to be changed; ``make`` makes it, and raises, if it is not here."""
        found = self._kept.get(key)
        if found is not None:
            return found
        made = make()
        size = _BYTES_PER_PIXEL * made.width * made.height
        with self._lock:
            if key not in self._kept and self.size + size <= self._capacity:
                self._kept[key] = made
                self.size += size
        return made

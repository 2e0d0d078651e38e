"""Images to be described: which, by what, how they are read, and the pipeline's stages that do it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from darkside_cli.errors import ImageError, UsageError
from darkside_cli.events import Event, ImageReady, ItemSkipped
from darkside_cli.images.boxes import Box
from darkside_cli.images.identify import MAX_SECONDS
from darkside_cli.images.images import read_image
from darkside_cli.inference.pipeline import Pending, Stages

if TYPE_CHECKING:
    from torch import Tensor

Row = NDArray[np.float32]


class BatchDescriber(Protocol):
    """What is needed of a model; :class:`darkside_cli.retrieval.describe.describer.Describer` is one."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def dim(self) -> int:
        """Dimensions of its descriptors."""

    @property
    def transform(self) -> Callable[[Image.Image], Tensor]:
        """What makes the network's input (3, H, W) of a photograph; called from several threads."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """JSON-able values that say where it comes from."""

    @property
    def precision(self) -> str:
        """What is computed in."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides what a descriptor is, but for precision and the images' size."""

    @property
    def asynchronous(self) -> bool:
        """Whether :meth:`submit` returns before the device is done."""

    def submit(self, images: Tensor) -> Pending[Row]:
        """Start describing (B, 3, H, W)."""

    def check_size(self, height: int, width: int) -> None:
        """Raise ImageError for images that are too small."""

    def batch_size(self, height: int, width: int) -> int:
        """How many images of this size go into one batch."""

    def release_memory(self) -> None:
        """Give cached device memory back."""


@dataclass(frozen=True)
class ImageJob:
    """An image to describe: its file, its name among the descriptors, and perhaps the part that counts."""

    path: Path
    name: str
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """How images are read and what is done about broken ones.

    ``image_size_px`` is the longest side that images are shrunk to (None: they stay as they are); ``upright`` turns
    them as their EXIF orientation says, which published benchmarks do not; ``batch_size`` 0 lets the model choose;
    ``workers`` is the number of threads that decode. ``on_error`` "skip" leaves the rows of
    broken images out, "nan" fills them with NaN. ``resume`` goes on where an earlier run was stopped, and completes
    a file that lacks images; ``overwrite`` makes a file anew that is there already. ``upright`` turns images as
    their EXIF says; published figures are of images as they are stored. Images of more than ``max_pixels`` (None: the
    default of :mod:`darkside_cli.images.identify`) are refused, those not read within ``max_seconds`` given up.
    """

    image_size_px: int | None = 1024
    upright: bool = True
    batch_size: int = 0
    workers: int = 2
    on_error: str = "skip"
    resume: bool = True
    overwrite: bool = False
    max_pixels: int | None = None
    max_seconds: float = MAX_SECONDS

    def __post_init__(self) -> None:
        if self.on_error not in ("skip", "nan"):
            raise UsageError(f"broken images cannot be '{self.on_error}'", hint="skip or nan")
        if self.image_size_px is not None and self.image_size_px < 1:
            raise UsageError(f"images cannot be shrunk to {self.image_size_px} pixels")


@dataclass(frozen=True)
class LoadedImage:
    """A network input ``(3, H, W)``, and what its file was like when it was read."""

    image: Tensor
    stamp: Hashable


class Description(Stages[ImageJob, LoadedImage, Row]):
    """What the pipeline does to each image; ``keep`` and ``is_done`` are called with it."""

    def __init__(
        self,
        describer: BatchDescriber,
        options: ExtractOptions,
        keep: Callable[[ImageJob, LoadedImage, Row], None],
        is_done: Callable[[ImageJob], bool],
        target: Path | None,
    ) -> None:
        self._describer, self._options, self._target = describer, options, target
        self._keep, self._is_done = keep, is_done
        self.without: set[str] = set()
        """Names of images that were begun and have no row: the broken ones, when the pipeline has ended."""

    @property
    def asynchronous(self) -> bool:
        """Whether :meth:`submit` returns before the device is done."""
        return self._describer.asynchronous

    def source(self, job: ImageJob) -> Path:
        """The image's file."""
        return job.path

    def skip(self, job: ImageJob) -> ItemSkipped | None:
        """Tell of an image that has its row already."""
        if self._is_done(job):
            return ItemSkipped(job.path, self._target)
        self.without.add(job.name)
        return None

    def load(self, job: ImageJob) -> LoadedImage:
        """Decode, crop, shrink and transform an image. Raises ImageError if it is broken or too small."""
        from darkside_cli.images.transforms import crop_and_shrink

        stamp = stamp_of(job)
        options = self._options
        decoded = read_image(
            job.path,
            upright=options.upright,
            max_pixels=options.max_pixels,
            max_seconds=options.max_seconds,
        )
        image = Image.fromarray(decoded.pixels)
        x = self._describer.transform(crop_and_shrink(image, self._options.image_size_px, job.box))
        self._describer.check_size(x.shape[1], x.shape[2])
        return LoadedImage(x, stamp)

    def size(self, loaded: LoadedImage) -> tuple[int, int]:
        """Height and width of the network's input."""
        return loaded.image.shape[1], loaded.image.shape[2]

    def batch_size(self, height: int, width: int) -> int:
        """How many images of this size go into one batch."""
        return self._describer.batch_size(height, width)

    def submit(self, items: Sequence[LoadedImage]) -> Pending[Row]:
        """Start describing a batch of one size."""
        if len(items) == 1:
            return self._describer.submit(items[0].image[None])
        import torch  # loaded long since; naming images needs none

        return self._describer.submit(torch.stack([item.image for item in items]))

    def store(self, job: ImageJob, loaded: LoadedImage, result: Row) -> None:
        """Hand the row on. Raises ImageError if it is not finite."""
        if not np.isfinite(result).all():
            raise ImageError("its descriptor is not finite", hint="try --precision fp32")
        self._keep(job, loaded, result)
        self.without.discard(job.name)

    def finished(self, job: ImageJob, loaded: LoadedImage, seconds: float) -> Event:
        """Tell of an image that has its row now."""
        height, width = self.size(loaded)
        return ImageReady(job.path, self._target, (width, height), seconds)

    def release_memory(self) -> None:
        """Give cached device memory back."""
        self._describer.release_memory()


def stamp_of(job: ImageJob) -> Hashable:
    """What tells a changed image from the one that was described: its file's size and time, and the box."""
    try:
        state = job.path.stat()
    except OSError:
        return ()
    return (state.st_size, state.st_mtime_ns, *(job.box or ()))

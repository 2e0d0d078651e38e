"""What the pipeline does to each image that is described: read, transform, describe, hand the row on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from darkside_cli.errors import ImageError
from darkside_cli.events import Emit, Event, ImageReady, ItemSkipped
from darkside_cli.images.images import read_image
from darkside_cli.images.transforms import crop_and_shrink
from darkside_cli.inference.pipeline import GRACE_S, Pipeline
from darkside_cli.inference.stages import Counts, Pending, Stages
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob, stamp_of

Rows = NDArray[np.float32]
_Loaded = tuple[Tensor, Hashable]  # a network input (3, H, W), and what its file was like when it was read


class Describing(Stages[ImageJob, _Loaded, Rows]):
    """What is done to each image; ``keep`` is given its row, ``is_done`` says whether it has one already."""

    def __init__(
        self,
        describer: Describer,
        options: ExtractOptions,
        keep: Callable[[ImageJob, Hashable, Rows], None],
        is_done: Callable[[ImageJob], bool],
        target: Path | None,
    ) -> None:
        self._describer, self._options, self._target = describer, options, target
        self._keep, self._is_done = keep, is_done
        self.without: set[str] = set()
        """Names of images that were begun and have no row: the broken ones, when the pipeline has ended."""

    def run(self, jobs: Sequence[ImageJob], emit: Emit) -> Counts:
        """Describe the images of ``jobs``; returns how many."""
        options = self._options
        give_up_s = options.max_seconds + GRACE_S
        pipeline = Pipeline(
            self, workers=options.workers, batch_size=options.batch_size, emit=emit, give_up_s=give_up_s
        )
        return pipeline.run(jobs)

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

    def load(self, job: ImageJob) -> _Loaded:
        """Decode, crop, shrink and transform an image. Raises ImageError if it is broken or too small."""
        stamp, options = stamp_of(job), self._options
        decoded = read_image(
            job.path,
            upright=options.upright,
            max_pixels=options.max_pixels,
            max_seconds=options.max_seconds,
        )
        size_px = options.image_size_px if job.change is None else None
        image = crop_and_shrink(Image.fromarray(decoded.pixels), size_px, job.box)
        image = image if job.change is None else job.change(image)
        x = self._describer.transform(image)
        self._describer.check_size(x.shape[1], x.shape[2])
        return x, stamp

    def size(self, loaded: _Loaded) -> tuple[int, int]:
        """Height and width of the network's input."""
        return loaded[0].shape[1], loaded[0].shape[2]

    def batch_size(self, height: int, width: int) -> int:
        """How many images of this size go into one batch."""
        return self._describer.batch_size(height, width)

    def submit(self, items: Sequence[_Loaded]) -> Pending[Rows]:
        """Start describing a batch of one size."""
        if len(items) == 1:
            return self._describer.submit(items[0][0][None])
        return self._describer.submit(torch.stack([x for x, _ in items]))

    def store(self, job: ImageJob, loaded: _Loaded, result: Rows) -> None:
        """Hand the row on. Raises ImageError if it is not finite."""
        if not np.isfinite(result).all():
            raise ImageError("its descriptor is not finite", hint="try --precision fp32")
        self._keep(job, loaded[1], result)
        self.without.discard(job.name)

    def finished(self, job: ImageJob, loaded: _Loaded, seconds: float) -> Event:
        """Tell of an image that has its row now."""
        height, width = self.size(loaded)
        return ImageReady(job.path, self._target, (width, height), seconds)

    def release_memory(self) -> None:
        """Give cached device memory back."""
        self._describer.release_memory()

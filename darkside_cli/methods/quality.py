"""Quality of a day-to-night generator on fixed images, measured while it trains.

The Frechet inception distance (Heusel et al., NeurIPS 2017) is measured through the optional library torch-fidelity,
which fetches the Inception weights itself, once, into torch's own cache. With fewer than some thousand images it is
biased upwards: compare figures of the same number of images only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from darkside_cli.errors import ConfigError, DarksideError, ImageError, MissingAssetError, UsageError
from darkside_cli.events import Emit, ItemFailed, Notice, ignore
from darkside_cli.images.colour import Pixels
from darkside_cli.images.images import read_rgb
from darkside_cli.methods.night_features import ImageFeatures
from darkside_cli.metrics.nights import kernel_distance
from darkside_cli.metrics.translation import NightReference, score_translations

T = TypeVar("T")

STRETCHES = ("normalised", "none", "auto")

#: Sides of validation images are cut to a multiple of this, so that every generator gives them back in their size.
_MULTIPLE = 4
_SMALLEST_PX = 64


class QualityValidator:
    """Scores a generator; calling it twice with the same generator gives the same scores.

    ``day`` are images to translate, ``night`` real ones to compare with: of each, at most ``day_limit`` and
    ``night_limit``, evenly out of the list, shrunk to the longest side ``size_px``. Broken ones are told of and left
    out. ``fid`` adds the Frechet inception distance where its library is installed (its absence is told at once).
    ``kernel`` adds the kernel distance in an ImageNet network's features, where the package with its weights is
    installed. Scores are those of :func:`darkside_cli.metrics.translation.score_translations`, ``fid`` and
    ``kernel_distance``.

    Draws nothing from global random generators. Raises UsageError if no usable image is left of either kind.
    """

    def __init__(
        self,
        day: Sequence[Path],
        night: Sequence[Path],
        *,
        size_px: int = 512,
        day_limit: int = 16,
        night_limit: int = 100,
        seed: int = 0,
        fid: bool = False,
        kernel: bool = False,
        device: torch.device | str = "cpu",
        emit: Emit = ignore,
    ) -> None:
        if fid:
            fid_library()
        self._features = ImageFeatures(device=device) if kernel else None
        self._seed, self._fid, self._device, self._emit = seed, fid, torch.device(device), emit
        self._day = self._load("day", evenly(day, day_limit), size_px)
        night_images = self._load("night", evenly(night, night_limit), size_px)
        if (fid or kernel) and min(len(self._day), len(night_images)) < 2:
            name = "Frechet inception distance" if fid else "kernel distance"
            raise UsageError(f"the {name} takes at least two pictures of each kind")
        self.night = NightReference.of(night_images)
        """What translations are compared with."""
        self._night_images = night_images if fid else []
        self._night_features = (
            None if self._features is None else np.stack([*map(self._features, night_images)])
        )

    def __call__(
        self, translate: Callable[[Tensor], Tensor], epoch: int, folder: Path
    ) -> Mapping[str, float]:
        """Scores, by name, of ``translate``, which maps (1, 3, H, W) RGB in [-1, 1] on the device to the same.

        ``epoch`` and ``folder`` are those of :meth:`darkside_cli.training.task.Task.validate`; nothing is written.
        """
        del epoch, folder
        made = [self._translate(translate, image) for image in self._day]
        pairs = zip(self._day, made, strict=True)
        scores = score_translations(pairs, self.night, seed=self._seed)
        if self._features is not None and self._night_features is not None:
            features = np.stack([*map(self._features, made)])
            scores["kernel_distance"] = kernel_distance(features, self._night_features)
        if self._fid:
            try:
                scores["fid"] = frechet_inception_distance(made, self._night_images, device=self._device)
            except DarksideError as error:  # a training is worth more than one of its figures
                self._fid = False
                self._emit(Notice(f"{error.message}; fid is left out", level="warning"))
        return scores

    @torch.no_grad()
    def _translate(self, translate: Callable[[Tensor], Tensor], image: Pixels) -> Pixels:
        x = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
        translated = translate(((x - 0.5) / 0.5).to(self._device))
        return truncated_pixels(translated[0].detach().float().cpu().numpy())

    def _load(self, what: str, paths: Sequence[Path], size_px: int) -> list[Pixels]:
        images = list(self._read(paths, size_px))
        if not images:
            raise UsageError(
                f"there is no {what} picture to measure quality with",
                hint=f"it takes sound ones of at least {_SMALLEST_PX}x{_SMALLEST_PX} pixels",
            )
        return images

    def _read(self, paths: Sequence[Path], size_px: int) -> Iterator[Pixels]:
        for path in paths:
            try:
                image = read_rgb(path, max_size_px=size_px)
                if min(image.size) < _SMALLEST_PX:
                    raise ImageError(f"{image.width}x{image.height} is too small to measure quality with")
            except ImageError as error:
                self._emit(ItemFailed(path, error.message))
                continue
            width, height = (side // _MULTIPLE * _MULTIPLE for side in image.size)
            yield np.asarray(image.crop((0, 0, width, height)))


def truncated_pixels(image: NDArray[Any], *, stretch: str | float = "normalised") -> NDArray[np.uint8]:
    """Convert (C, H, W) floats to (H, W, C) uint8, or (H, W) if there is one channel.

    ``stretch`` says what range the values have: "normalised" is [-1, 1] (``x * 0.5 + 0.5``), "none" is [0, 1],
    "auto" stretches the smallest to 0 and the largest to 1 (all channels alike), and a number c maps
    ``(x * 0.5 + 1) / c``, for looking at values around a normalised range. Computed in float64, multiplied by 255,
    clipped and truncated, not rounded, as the published generators' images were. A constant image under "auto"
    becomes black.

    Raises ConfigError for another ``stretch``.
    """
    x = image.astype(np.float64)
    if stretch == "normalised":
        x = x * 0.5 + 0.5
    elif stretch == "auto":
        low, high = x.min(), x.max()
        x = (x - low) / (high - low) if high > low else np.zeros_like(x)
    elif isinstance(stretch, (int, float)) and stretch > 0:
        x = (x * 0.5 + 1) / stretch
    elif stretch != "none":
        raise ConfigError(f"unknown stretch {stretch!r}", hint=f"{', '.join(STRETCHES)} or a positive number")
    pixels = np.clip(x * 255, 0, 255).astype(np.uint8)
    return pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1))


def evenly(items: Sequence[T], limit: int) -> list[T]:
    """At most ``limit`` of ``items``, evenly spread over them, the first one included."""
    if limit < 1:
        raise ValueError(f"a limit of {limit}")
    count = min(limit, len(items))
    return [items[position * len(items) // count] for position in range(count)]


class _Images(Dataset[Tensor]):
    """Images (H, W, 3) as the library wants them: (3, H, W) uint8."""

    def __init__(self, images: Sequence[Pixels]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self._images[index].transpose(2, 0, 1).copy())


def fid_library() -> Any:
    """Import torch-fidelity. Raises MissingAssetError if it is not installed."""
    try:
        import torch_fidelity
    except ImportError as error:
        raise MissingAssetError(
            "the Frechet inception distance needs the library torch-fidelity",
            hint="pip install 'darkside-cli[fid]'",
        ) from error
    return torch_fidelity


def frechet_inception_distance(
    made: Sequence[Pixels], real: Sequence[Pixels], *, device: torch.device | str = "cpu"
) -> float:
    """Distance of ``made`` images (H, W, 3) uint8 RGB from ``real`` ones, of any sizes; at least two of each.

    Raises MissingAssetError if the library is not installed, or its weights cannot be had.
    """
    library = fid_library()
    before = torch.get_rng_state()  # its loader draws a number
    try:
        found = library.calculate_metrics(
            input1=_Images(made),
            input2=_Images(real),
            fid=True,
            cuda=torch.device(device).type == "cuda",
            batch_size=1,  # images need not be of one size
            save_cpu_ram=True,  # in this process: forks and a device in use do not go together
            cache=False,
            verbose=False,
        )
    except OSError as error:  # urllib's errors are of this kind
        raise MissingAssetError(
            f"the weights that torch-fidelity needs cannot be had ({error})", hint="train without fid"
        ) from error
    finally:
        torch.set_rng_state(before)
    return float(found["frechet_inception_distance"])

"""A share of the images of a training turned to night, whoever trains: by name, or drawn anew each time.

Published trainings let an image's name decide whether it becomes night, and which night. Trainings of others have
batches, or images in a loader, and no names: there a random stream decides.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from darkside_cli.datasets.tuples import chosen_by_name
from darkside_cli.errors import UsageError
from darkside_cli.images.colour import FloatImage, Pixels, to_rgb
from darkside_cli.retrieval.mining.night import MixedNight, NightMaker, plain_name
from darkside_cli.retrieval.mining.night_cache import CachedNight, NightCache
from darkside_cli.retrieval.mining.samples import (
    is_array_of_images,
    is_image,
    require_images,
    require_limits,
    to_levels,
    to_pixels,
)

_NO_EPOCH = -1
_AT_ONCE = 16
#: Batches on CUDA of which the range may not be read yet.
_UNREAD = 8


class NightShare(nn.Module):
    """Turns the share ``share`` of all images to night, by one of ``makers`` each.

    Without parameters, so that it may stand anywhere in a model: it works on the device that images are on, in float32,
    and gives back what it was given, in its type. In eval mode nothing is changed.

    ``seed`` decides the draws, together with the epoch (:meth:`set_epoch`), the process of a distributed training and
    the loader's worker. Where no epoch is set, each worker goes by the seed that the loader gives it, which is another
    one in each epoch. None: torch's own random stream decides. With ``cache`` each image has one night, which its
    content decides (looked at in 8 bits), and which is kept. Raises UsageError for a share outside [0, 1] and where
    there is no maker.
    """

    def __init__(
        self,
        makers: Sequence[NightMaker],
        *,
        share: float = 0.25,
        seed: int | None = None,
        cache: NightCache | None = None,
    ) -> None:
        super().__init__()
        if not (is_number(share) and 0 <= share <= 1):
            raise UsageError(f"the share of nights is {share!r}", hint="0.25 is a quarter; from 0 to 1")
        if not (seed is None or _is_whole(seed)):
            raise UsageError(f"the seed is {seed!r}", hint="a whole number, or None")
        self.share, self.seed = share, seed
        kept = [CachedNight(each, cache) if cache is not None and each.costly else each for each in makers]
        self._maker: NightMaker = kept[0] if len(kept) == 1 else MixedNight(kept)
        self._by_content = cache is not None
        self._unread: deque[tuple[Tensor, Any]] = deque()
        self._stream: tuple[tuple[int, ...], torch.Generator] | None = None
        # In shared memory, where there is any, so that workers that stay from epoch to epoch are told, too.
        self._epoch = torch.tensor([_NO_EPOCH])
        self._rank = 0
        with suppress(RuntimeError, OSError):
            self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def fingerprint(self) -> str:
        """What tells apart those whose nights differ."""
        return self._maker.fingerprint

    def chooses(self, name: str) -> bool:
        """Whether the image called ``name`` becomes night where names decide."""
        return chosen_by_name(plain_name(name), self.share)

    def night_of(self, day: Pixels, name: str) -> FloatImage | None:
        """Give the night (H', W', 3) in [0, 1] of ``day`` (H, W, 3) uint8 that ``name`` decides; None: it has none."""
        return self._maker(day, name)

    def set_epoch(self, epoch: int) -> None:
        """Begin the draws of ``epoch``, from 0 on: the same ones whenever it begins."""
        if not (_is_whole(epoch) and epoch >= 0):
            raise UsageError(f"there is no epoch {epoch!r}", hint="they are counted from 0")
        self._epoch[0] = epoch
        self._stream = None

    def forward(self, *inputs: Any) -> Any:
        """Turn a share of the images to night; the others stay as they are.

        Takes a tensor ``(…, 3, H, W)`` of floats in [0, 1], or uint8; a PIL image, which comes back in RGB; an array
        ``(H, W, 3)`` or ``(B, H, W, 3)`` of uint8 RGB; or a sample with such images in tuples, lists and dicts, of
        which all else is passed on: labels, other arrays, and of torchvision's ``tv_tensors`` all but ``Image`` and
        ``Video``, whatever their shape. Each image of a batch is drawn by itself. Raises UsageError where there is no
        image at all, for tensors that were normalised already, and for NaN; on CUDA that may be said at a later batch.
        """
        given = inputs[0] if len(inputs) == 1 else inputs
        require_images(given)
        return self._through(given)

    def _through(self, sample: Any) -> Any:
        if isinstance(sample, Image.Image):
            return self._pillow(sample)
        if isinstance(sample, Tensor):
            return self._tensor(sample) if is_image(sample) else sample
        if isinstance(sample, np.ndarray):
            return self._array(sample) if is_array_of_images(sample) else sample
        if isinstance(sample, dict):
            return {key: self._through(each) for key, each in sample.items()}
        if isinstance(sample, tuple) and hasattr(sample, "_fields"):
            return type(sample)(*map(self._through, sample))
        if isinstance(sample, (tuple, list)):
            return type(sample)(map(self._through, sample))
        return sample

    def _pillow(self, image: Image.Image) -> Image.Image:
        image.load()
        day = image if image.mode == "RGB" else to_rgb(image).rgb
        pixels = np.asarray(day)
        changed = self._array(pixels)
        return day if changed is pixels else Image.fromarray(changed)

    def _array(self, images: Pixels) -> Pixels:
        days = images if images.ndim == 4 else images[None]
        changed = None
        for place, key in self._draw(len(days)).items():
            day = np.ascontiguousarray(days[place])
            night = self._maker(day, self._name(day, key))
            if night is not None:
                changed = days.copy() if changed is None else changed
                changed[place] = to_levels(_as_large(night, day.shape[:2], self._maker))
        if changed is None:
            return images
        return changed if images.ndim == 4 else changed[0]

    def _tensor(self, images: Tensor) -> Tensor:
        x = images.as_subclass(Tensor).reshape(-1, *images.shape[-3:])
        if self.training and self.share and x.numel() and x.is_floating_point():
            self._require_unit(x.detach())
        drawn = self._draw(len(x))
        if not drawn:
            return images
        chosen = torch.tensor(list(drawn), device=x.device)
        days = x.detach()[chosen].to(torch.float32)
        if x.dtype == torch.uint8:
            days = days / 255
        nights = self._nights(days.clamp(0, 1), list(drawn.values())).clamp(0, 1)
        changed = x.clone()
        changed[chosen] = (nights * 255).round().to(x.dtype) if x.dtype == torch.uint8 else nights.to(x.dtype)
        changed = changed.reshape(images.shape)
        return changed if isinstance(images, nn.Parameter) else changed.as_subclass(type(images))

    def _nights(self, days: Tensor, drawn: Sequence[str]) -> Tensor:
        """Nights (B, 3, H, W) of ``days``, each by the maker that its name picks, those of one maker together."""
        makers: dict[int, NightMaker] = {}
        places: dict[int, list[int]] = {}
        nights = days.clone()
        for place, key in enumerate(drawn):
            pixels = to_pixels(days[place]) if self._by_content else None
            name = key if pixels is None else self._name(pixels, key)
            maker = self._maker.maker_of(name) if isinstance(self._maker, MixedNight) else self._maker
            if hasattr(maker, "translate"):
                makers[id(maker)] = maker
                places.setdefault(id(maker), []).append(place)
                continue
            night = maker(to_pixels(days[place]) if pixels is None else pixels, name)
            if night is not None:
                night = _as_large(night, tuple(days.shape[-2:]), maker)
                nights[place] = torch.from_numpy(night).permute(2, 0, 1).to(days.device)
        for number, own in places.items():
            for first in range(0, len(own), _AT_ONCE):
                part = own[first : first + _AT_ONCE]
                names = [drawn[place] for place in part]
                nights[part] = makers[number].translate(days[part], names)  # type: ignore[attr-defined]
        return nights

    def _name(self, pixels: Pixels, drawn: str) -> str:
        """What decides which night is made: what was drawn, or, where nights are kept, what the image shows."""
        if not self._by_content:
            return drawn
        content = hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes())
        return f"{self.seed}-{content.hexdigest()[:32]}"

    def _draw(self, count: int) -> dict[int, str]:
        """Which of ``count`` images become night, and a name of that night for each."""
        if not self.training:
            return {}
        stream = self._random()
        numbers = torch.rand(count, generator=stream, dtype=torch.float64, device="cpu")
        keys = torch.randint(1 << 62, (count,), generator=stream, device="cpu")
        return {
            place: f"{keys[place]:016x}" for place, each in enumerate(numbers.tolist()) if each < self.share
        }

    def _random(self) -> torch.Generator | None:
        """Random stream of this process, worker and epoch; None stands for torch's own."""
        if self.seed is None:
            return None
        worker, epoch = get_worker_info(), int(self._epoch)
        rank = _rank(0 if worker is None else self._rank)
        base = worker.seed - worker.id if worker is not None and epoch == _NO_EPOCH else 0
        key = (self.seed, epoch, rank, _NO_EPOCH if worker is None else worker.id, base)
        if self._stream is None or self._stream[0] != key:
            digest = hashlib.sha256(repr(key).encode()).digest()
            self._stream = key, torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        return self._stream[1]

    def _require_unit(self, images: Tensor) -> None:
        """See that ``images`` are in [0, 1]. On CUDA nobody waits: what was found is read as soon as it is there."""
        limits = torch.stack(images.aminmax())
        if images.device.type != "cuda":
            require_limits(limits)
            return
        done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        found = limits.to("cpu", non_blocking=True)
        done.record(torch.cuda.current_stream(images.device))
        self._unread.append((found, done))
        while self._unread and (self._unread[0][1].query() or len(self._unread) > _UNREAD):
            found, done = self._unread.popleft()
            done.synchronize()
            require_limits(found)

    def __getstate__(self) -> dict[str, Any]:
        # A worker that was not forked cannot ask which process of a training it works for.
        return {**self.__dict__, "_stream": None, "_unread": deque(), "_rank": _rank(self._rank)}

    def extra_repr(self) -> str:
        """What is shown of it beside its name."""
        return f"share={self.share:g}, seed={self.seed}, night={self.fingerprint[:16]}"


def _rank(otherwise: int) -> int:
    """Number of this process in a distributed training, started by torchrun or not; ``otherwise`` if nothing tells."""
    if dist.is_available() and dist.is_initialized():
        return int(dist.get_rank())
    return int(os.environ.get("RANK", otherwise))


def is_number(value: Any) -> bool:
    """Whether callers without types gave a real number, NumPy's too."""
    return isinstance(value, Real)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral)


def _as_large(night: FloatImage, size: tuple[int, ...], maker: NightMaker) -> FloatImage:
    """Cut a night to the day's ``size`` (height, width): generators may round sides up."""
    night = night[: size[0], : size[1]]
    if night.shape[:2] != size:
        raise UsageError(f"{maker.fingerprint[:16]} makes smaller nights than the days are")
    return night

"""A descriptor model at work on a device: network inputs in, rows of numbers out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from darkside_cli.errors import ImageError
from darkside_cli.images.transforms import Compose
from darkside_cli.inference.device import Precision, autocast, free_memory, pick_precision, release_memory
from darkside_cli.kernels import computes_in, prepare
from darkside_cli.retrieval.describe.descriptor import DescriptorModel
from darkside_cli.retrieval.describe.image_jobs import USUAL_SIZE_PX
from darkside_cli.retrieval.describe.others import OtherNetwork

Rows = NDArray[np.float32]
MAX_BATCH = 32
# A CPU is given one image of this many pixels at a time, or several smaller ones.
_CPU_PIXELS = 512 * 512
# The widest feature maps of a VGG: 64 channels, about six of them at once, in float32.
_BYTES_PER_PX = 64 * 4 * 6


class PendingRows:
    """Descriptors that the device may still be working on; :meth:`result` waits for them."""

    def __init__(self, descriptors: Tensor) -> None:
        self._descriptors = descriptors

    def result(self) -> Rows:
        """Descriptors, (B, D) float32."""
        return np.ascontiguousarray(self._descriptors.float().cpu().numpy())


def _prepared(model: DescriptorModel, device: torch.device, precision: Precision) -> nn.Module:
    """Copy of ``model`` made ready for a device."""
    ready = copy(model)
    others = {
        name: deepcopy(module).to(device) for name, module in model.named_children() if name != "network"
    }
    network: nn.Module = model.network
    if isinstance(network, OtherNetwork):  # there are no kernels for it; whoever calls it sets the precision
        network = network if device.type == "cpu" else deepcopy(network).to(device)
    else:
        network = prepare(network, device=device, precision=precision)
    ready._modules = {**model._modules, **others, "network": network}
    return ready.eval()


class Describer:
    """Describes images with one model on one device, in one precision.

    The model given is left as it is; what is done to its weights later has no effect on the features.
    ``metadata`` says where the model comes from, as JSON-able values; it is recorded with descriptors.
    ``image_size_px`` is the longest side that images are shrunk to where nobody asks for another one.
    ``learned_from`` are records of images (:mod:`darkside_cli.retrieval.describe.overlap`) by what was done with them.
    """

    def __init__(
        self,
        model: DescriptorModel,
        *,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        name: str = "descriptor",
        metadata: Mapping[str, Any] | None = None,
        learned_from: Mapping[str, Any] | None = None,
        image_size_px: int = USUAL_SIZE_PX,
    ) -> None:
        self.name, self.image_size_px = name, image_size_px
        self.metadata = dict(metadata or {})
        self.learned_from = dict(learned_from or {})
        self.device = torch.device(device)
        self.precision: Precision = pick_precision(precision, self.device)
        self.dim = model.dim
        self.scales = model.scales
        self.transform: Compose = model.transform
        self._given = model
        self._model = _prepared(model, self.device, self.precision)
        self._computed_in = computes_in(self.precision, self.device)

    def longest_side_px(self, asked: int | None) -> int | None:
        """The longest side that images are shrunk to: ``asked``, of which 0 is never (None), else the model's own."""
        return self.image_size_px if asked is None else asked or None

    @property
    def asynchronous(self) -> bool:
        """Whether :meth:`submit` returns before the device is done."""
        return self.device.type == "cuda"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides what a descriptor is, but for precision: weights, whitening, scales, transform.

        Descriptors of equal fingerprints can be compared with one another.
        """
        digest = sha256(repr((self.scales, str(self.transform))).encode())
        digest.update(repr(getattr(self._given.network, "config", None)).encode())
        for key, value in self._given.state_dict().items():
            digest.update(f"{key} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @torch.inference_mode()
    def submit(self, images: Tensor) -> PendingRows:
        """Start describing (B, 3, H, W), as :attr:`transform` makes them; on CUDA the device goes on by itself."""
        if self.device.type == "cuda":
            images = images.pin_memory()
        elif self.device.type == "cpu" and len(images) > 1:
            # One by one: libraries round otherwise for another number of images, and a descriptor must not depend on
            # which images are described with it, such as those that an interrupted run had left.
            with autocast(self._computed_in, self.device):
                return PendingRows(torch.cat([self._model(image[None].clone()) for image in images]))
        with autocast(self._computed_in, self.device):
            return PendingRows(self._model(images.to(self.device, non_blocking=True)))

    def __call__(self, images: Image.Image | Sequence[Image.Image]) -> Rows:
        """Describe one photograph, (D,), or several of any sizes, (N, D); their sizes are left as they are."""
        if isinstance(images, Image.Image):
            return np.asarray(self.submit(self.transform(images)[None]).result()[0])
        rows = [self.submit(self.transform(image)[None]).result() for image in images]
        return np.concatenate(rows) if rows else np.empty((0, self.dim), dtype=np.float32)

    def check_size(self, height: int, width: int) -> None:
        """Raise ImageError if the network has no feature map for an image of this size at the smallest scale."""
        smallest = min(self.scales)
        try:
            self._given.network.require_size(math.floor(height * smallest), math.floor(width * smallest))
        except ImageError as error:
            if smallest == 1:
                raise
            raise ImageError(
                f"{width}x{height} pixels are too few at scale {smallest:.3g}: {error.message}",
                hint=error.hint,
            ) from error

    def batch_size(self, height: int, width: int) -> int:
        """How many images of this size to run at once."""
        pixels = max(1, height * width)
        if self.device.type == "cpu":
            return max(1, min(MAX_BATCH, _CPU_PIXELS // pixels))
        return max(1, min(MAX_BATCH, free_memory(self.device) // (2 * _BYTES_PER_PX * pixels)))

    def release_memory(self) -> None:
        """Give cached device memory back, after an out-of-memory error."""
        release_memory(self.device)

"""A trained generator as something you call: photographs in, photographs of the other time of day out.

Numbers follow the published generators: an image enters as ``(x / 255 - mean) / std`` in RGB, and leaves as
``x * std + mean`` in float64, times 255, clipped and *truncated* to uint8. Sides may be anything: the network rounds
them up to a multiple of its own, and the surplus is cropped off.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from darkside_cli.config.paths import DataRoot, data_root
from darkside_cli.errors import ConfigError, UsageError
from darkside_cli.images.colour import Pixels
from darkside_cli.images.images import image_from_pillow
from darkside_cli.inference.device import Precision, free_memory, pick_device, pick_precision, release_memory
from darkside_cli.kernels import prepare
from darkside_cli.methods.generators import open_generator, statistics
from darkside_cli.networks.catalog import DIRECTION_TO, DIRECTIONS, EMBEDDED_GENERATOR, PUBLISHED_GENERATOR
from darkside_cli.networks.guided import working_size
from darkside_cli.networks.locate import default_generator
from darkside_cli.networks.relight import NightControls, relighting
from darkside_cli.networks.weights import build_network

# Measured: the published generator (64 channels) takes 0.9 GiB for a megapixel on the CPU.
BYTES_PER_PX_AND_CHANNEL = 15
MAX_BATCH = 32


class PendingBatch:
    """A batch that the device may still be working on; :meth:`result` waits for it."""

    def __init__(self, images: Tensor) -> None:
        self._images = images

    def result(self) -> Pixels:
        """Translated images, (B, H, W, 3) uint8 RGB on the CPU."""
        return np.ascontiguousarray(self._images.permute(0, 2, 3, 1).cpu().numpy())


class Sides:
    """Which sides ``network`` takes: multiples of ``input_multiple`` (1: any), of ``input_minimum_px`` at least."""

    def __init__(self, network: nn.Module) -> None:
        self._multiple = int(getattr(network, "input_multiple", 1))
        self._minimum_px = int(getattr(network, "input_minimum_px", 1))

    def surplus(self, height: int, width: int) -> tuple[int, int]:
        """Rows to add below and columns to add on the right of an image, by repeating its last ones."""
        down, right = (
            -(-max(side, self._minimum_px) // self._multiple) * self._multiple - side
            for side in (height, width)
        )
        return down, right


class Translator:
    """Translates photographs with one generator.

    ``network`` maps (B, 3, H, W) normalised by ``mean`` and ``std`` to the same range. ``compile``
    runs the network through ``torch.compile`` (not on the CPU, where it would be slower), which pays from some
    hundred images of one size on. ``controls`` are for generators that can make several nights of a day; raises
    UsageError if this one cannot.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
        name: str = "generator",
        direction: str | None = None,
        compile: bool = False,
        controls: NightControls | None = None,
    ) -> None:
        self.name = name
        self.direction = direction
        self.device = torch.device(device)
        self.precision: Precision = pick_precision(precision, self.device)
        self._sides = Sides(network)
        # float64 on the way out is exact; MPS has none, so the last steps are taken on the CPU there.
        self._output_device = torch.device("cpu") if self.device.type == "mps" else self.device
        self._mean, self._std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (mean, std))
        self._mean32, self._std32 = (t.to(self.device, torch.float32) for t in (self._mean, self._std))
        self._mean, self._std = self._mean.to(self._output_device), self._std.to(self._output_device)
        config = getattr(network, "config", None)
        ngf = int(getattr(config, "ngf", 0))
        self._bytes_per_px = int(getattr(network, "bytes_per_px", BYTES_PER_PX_AND_CHANNEL * ngf))
        # Beside that, what a guided generator's network takes, however small the photograph is.
        self._working_px: int | None = getattr(config, "working_px", None)
        self._working_bytes_per_px = BYTES_PER_PX_AND_CHANNEL * ngf
        prepared = prepare(network, device=self.device, precision=self.precision)
        if controls is not None and controls != NightControls():
            generator = relighting(prepared)
            if generator is None:
                raise UsageError(
                    f"{name} makes one night of a day: seed, darkness and lights cannot be chosen",
                    hint=f"generators that relight can, such as {EMBEDDED_GENERATOR}",
                )
            generator.controls = controls
        # On the CPU the prepared network is faster than what a compiler makes of the plain one.
        self.compiled = compile and self.device.type != "cpu"
        self._network: Callable[[Tensor], Tensor] = torch.compile(prepared) if self.compiled else prepared

    @property
    def asynchronous(self) -> bool:
        """Whether :meth:`submit` returns before the device is done."""
        return self.device.type == "cuda"

    def _bytes_needed(self, height: int, width: int) -> int:
        """About what one photograph takes on the CPU, widened to what the network takes."""
        down, right = self._sides.surplus(height, width)
        height, width = height + down, width + right
        needed = self._bytes_per_px * height * width
        if self._working_px is not None:
            needed += self._working_bytes_per_px * prod(working_size(height, width, self._working_px))
        return needed

    @torch.inference_mode()
    def submit(self, images: Pixels) -> PendingBatch:
        """Start translating (B, H, W, 3) uint8 RGB; on CUDA this returns before the device is done.

        Raises MemoryError on the CPU for images that would take more memory than there is, because there the system
        would not refuse it, but end the process.
        """
        batch, height, width, _ = images.shape
        self._check_memory(batch, height, width)
        down, right = self._sides.surplus(height, width)
        if down or right:
            images = np.pad(images, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")
        host = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        if self.device.type == "cuda":
            host = host.pin_memory()
        x = host.to(self.device, non_blocking=True).permute(0, 3, 1, 2).to(torch.float32).div_(255)
        y = self._run(x, height, width).mul_(255).clamp_(0, 255)
        return PendingBatch(y.to(torch.uint8))

    @torch.inference_mode()
    def _translate_floats(self, images: Tensor) -> Tensor:
        """Translate (B, 3, H, W) floats in [0, 1]; as many floats in [0, 1] in float64, nothing rounded."""
        batch, _, height, width = images.shape
        self._check_memory(batch, height, width)
        down, right = self._sides.surplus(height, width)
        x = images.detach().to(self.device, torch.float32, copy=True).clamp_(0, 1)
        x = nn.functional.pad(x, (0, right, 0, down), mode="replicate")
        return self._run(x, height, width).clamp_(0, 1)

    def _check_memory(self, batch: int, height: int, width: int) -> None:
        if self.device.type == "cpu" and self._bytes_per_px:
            needed, free = batch * self._bytes_needed(height, width), free_memory(self.device)
            if 0 < free < needed:
                raise MemoryError(
                    f"{width}x{height} takes about {needed >> 20} MiB, and {free >> 20} are free"
                )

    def _run(self, x: Tensor, height: int, width: int) -> Tensor:
        """Run the network on padded ``x`` in [0, 1], which is changed; the range is not clipped."""
        x = x.sub_(self._mean32).div_(self._std32)
        y = self._network(x)[..., :height, :width].to(self._output_device)
        return y.to(torch.float64).mul_(self._std).add_(self._mean)

    def translate(self, images: Pixels) -> Pixels:
        """Translate (B, H, W, 3) uint8 RGB images of one size; returns the same shape."""
        return self.submit(images).result()

    @overload
    def __call__(self, image: Image.Image) -> Image.Image: ...
    @overload
    def __call__(self, image: Pixels) -> Pixels: ...
    @overload
    def __call__(self, image: Tensor) -> Tensor: ...
    @overload
    def __call__(self, image: Sequence[Image.Image]) -> list[Image.Image]: ...

    def __call__(self, image: Any) -> Any:
        """Translate what is given and return the same kind of thing.

        A PIL image of any mode (read as files are: turned upright, 16 bits scaled; answered in RGB, or RGBA where
        it is transparent), an array (H, W, 3) or (B, H, W, 3) uint8 RGB, a float tensor
        (3, H, W) or (B, 3, H, W), or a sequence of PIL images of any sizes. Values of tensors are in [0, 1], clipped to
        that on the way in and out, and never rounded to 8 bits: the network computes in float32 (or the translator's
        precision), and what comes back is of the tensor's own type, on its own device, without a gradient. Raises
        UsageError for anything else.
        """
        if isinstance(image, Image.Image):
            decoded = image_from_pillow(image)
            translated = Image.fromarray(self.translate(decoded.pixels[None])[0])
            if decoded.alpha is not None:
                translated.putalpha(Image.fromarray(decoded.alpha))
            return translated
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3:
                raise UsageError(
                    f"cannot translate an array of shape {image.shape} and type {image.dtype}",
                    hint="give (H, W, 3) or (B, H, W, 3) uint8 in RGB order",
                )
            return self.translate(image) if image.ndim == 4 else self.translate(image[None])[0]
        if isinstance(image, Tensor):
            if not image.is_floating_point() or image.ndim not in (3, 4) or image.shape[-3] != 3:
                raise UsageError(
                    f"cannot translate a tensor of shape {tuple(image.shape)} and type {image.dtype}",
                    hint="give (3, H, W) or (B, 3, H, W) floats in [0, 1]",
                )
            batch = image if image.ndim == 4 else image[None]
            # Not the inference tensor itself, with which nothing could be trained; MPS has no float64.
            night = self._translate_floats(batch).to(image.dtype).clone().to(image.device)
            return night if image.ndim == 4 else night[0]
        if isinstance(image, Sequence) and not isinstance(image, (str, bytes)):
            return [self(each) for each in image]
        raise UsageError(
            f"cannot translate a {type(image).__name__}", hint="give a PIL image, an array or a tensor"
        )

    def batch_size(self, height: int, width: int) -> int:
        """How many images of this size to run at once: one on the CPU, else what fits into half the free memory."""
        if self.device.type == "cpu":
            return 1
        down, right = self._sides.surplus(height, width)
        height, width = height + down, width + right
        bytes_per_px = 64 * 4 * 8  # eight full-size feature maps of 64 channels in fp32: a generous estimate
        return max(1, min(MAX_BATCH, free_memory(self.device) // (2 * bytes_per_px * max(1, height * width))))

    def release_memory(self) -> None:
        """Give cached device memory back, after an out-of-memory error."""
        release_memory(self.device)


def load_generator(
    model: str | Path = PUBLISHED_GENERATOR,
    *,
    to: str = "night",
    direction: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
    seed: int | None = None,
    darkness: float = 0.0,
    lights: float = 1.0,
    data_dir: Path | str | None = None,
    root: DataRoot | None = None,
) -> Translator:
    """Load a generator by registered name or by path and make it callable.

    ``model`` is a name (``hedngan``), or a file or run folder of ours, gandtr's, CycleGAN's or CUT's. As long as the
    published ``hedngan`` is not on this machine, ``darkside-night``, which comes with the package, takes its
    place, as on the command line: a UserWarning says so, and ``name`` of what is returned is that of the one used.
    ``seed`` (None: an average night), ``darkness`` (stops, 0 as learned) and ``lights`` (a factor) choose among the
    nights that a relighting generator makes. ``to`` is the time of day wanted, "night" or "day"; ``direction``
    ("day2night", "night2day") states what a file does that does not say so itself.

    Raises MissingAssetError when the weights are not on this machine, CheckpointError when they do not fit, and
    UsageError when the generator goes the other way.
    """
    if to not in DIRECTION_TO:
        raise UsageError(f"cannot translate to '{to}'", hint="to 'night' or to 'day'")
    if direction is not None and direction not in DIRECTIONS:
        raise ConfigError(f"unknown direction '{direction}'", hint="day2night or night2day")
    place = root if root is not None else data_root(Path(data_dir) if data_dir is not None else None)
    chosen_device = pick_device(device)
    if model == PUBLISHED_GENERATOR:
        model, said = default_generator(place)
        if said is not None and to == "night":
            warnings.warn(said, UserWarning, stacklevel=2)
    name, checkpoint = open_generator(model, place, to=to, direction=direction)
    mean, std = statistics(checkpoint)
    return Translator(
        build_network(checkpoint),
        device=chosen_device,
        precision=precision,
        mean=mean,
        std=std,
        name=name,
        direction=direction or checkpoint.metadata.get("direction") or "day2night",
        compile=compile,
        controls=NightControls(seed=seed, darkness=darkness, lights=lights),
    )

"""A generator that makes light, not pixels: what is left of the day's light, and the light of lamps and windows.

For every pixel and colour the network gives a gain (how much of the day's light is left at night) and an emission
(light that was not there by day), and the image is put together in linear light::

    night = sRGB(linear(day) * gain + emission)

What things reflect is the photograph's own, so its detail stays; what shines is new. A U-Net (Ronneberger et al.,
MICCAI 2015) looks at the image at a working size, so that lamps and their glow have a size that fits the image,
whatever its pixels. Larger images get the gain by a guided filter (He et al., TPAMI 2013), which follows the
photograph's edges: no halo stands along roofs. The emission is enlarged smoothly.

A code of a few numbers, which scales and shifts the features (FiLM; Perez et al., AAAI 2018), makes different nights
of one day.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.networks.configs import RelightGeneratorConfig
from darkside_cli.networks.guided import guided_filter, halved
from darkside_cli.networks.light import WakingLight, emitted, saturated, smooth, to_linear, to_srgb
from darkside_cli.networks.sky import sky_mask

#: Natural logarithm of the gain: from a three-thousandth of the day's light to half as much again.
LOG_GAIN = (-8.0, 0.4)
#: Linear RGB of lamps: sodium, warm, neutral and cold white. Signs have the colours they have by day.
LAMPS = ((1.0, 0.45, 0.12), (1.0, 0.72, 0.42), (1.0, 0.93, 0.82), (0.8, 0.92, 1.0))
_GROUPS = 4
_FIRST_LOG_GAIN = (-2.6, -2.3, -1.8)
"""Before any training: a dark blue dusk."""
_FIRST_EMISSION = (-5.5, 0.5, 0.5, 0.0, -0.5)
"""Before softplus and softmax: next to none, and of the lamps mostly the warm ones."""
_FINE_CHANNELS = 12
_SKY_LIGHT = 0.008
"""Linear light of a bright night sky: sRGB 0.09. Bluer and lighter ones are further from real nights in cities."""
_STEM_CHANNELS = 3 * 4 + 2


@dataclass(frozen=True, kw_only=True)
class NightControls:
    """What kind of night is made of a day.

    ``seed`` chooses the code (None: the middle of all codes), ``darkness`` is in stops that the day's light is
    darkened by beyond what the network says (negative: lighter), ``lights`` a factor of the light of lamps.
    """

    seed: int | None = None
    darkness: float = 0.0
    lights: float = 1.0


class ModulatedBlock(nn.Module):
    """One or two 3x3 convolutions with group norms; the last one is scaled and shifted by the code."""

    def __init__(self, inside: int, outside: int, code: int, *, convolutions: int = 2) -> None:
        super().__init__()
        widths = [inside, *[outside] * convolutions]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(_GROUPS, outside) for _ in range(convolutions))
        self.modulation = nn.Linear(code, 2 * outside)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """``(B, inside, H, W)`` and a code ``(B, N)`` to ``(B, outside, H, W)``."""
        scale, shift = self.modulation(code)[:, :, None, None].chunk(2, 1)
        last = len(self.convolutions) - 1
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = norm(convolution(x))
            x = F.silu(x * (1 + scale) + shift if number == last else x)
        return x


class RelightGenerator(nn.Module):
    """Day to night by gain and emission; see the module's docstring."""

    lamps: Tensor

    #: Any size is taken.
    input_multiple = 1
    input_minimum_px = 1
    #: Measured on the CPU for 1 to 12 megapixels.
    bytes_per_px = 96

    def __init__(self, config: RelightGeneratorConfig | None = None) -> None:
        super().__init__()
        config = config or RelightGeneratorConfig()
        self.config = config
        #: What is made where no code is given, in eval mode; set by those who translate.
        self.controls = NightControls()
        width, code = config.width, config.code
        widths = [width * min(level + 1, 4) for level in range(config.levels + 1)]
        self.stem = nn.Conv2d(_STEM_CHANNELS, width, 3, padding=1)
        self.down = nn.ModuleList(
            ModulatedBlock(widths[max(level - 1, 0)], widths[level], code, convolutions=2 if level else 1)
            for level in range(config.levels + 1)
        )
        self.up = nn.ModuleList(
            ModulatedBlock(
                widths[level + 1] + widths[level], widths[level], code, convolutions=2 if level else 1
            )
            for level in reversed(range(config.levels))
        )
        self.to_fine = nn.Conv2d(width, _FINE_CHANNELS, 1)
        self.fine = nn.Conv2d(_FINE_CHANNELS + 3, _FINE_CHANNELS, 3, padding=1)
        self.out = nn.Conv2d(_FINE_CHANNELS, 4 + len(LAMPS), 3, padding=1)
        self.register_buffer("lamps", torch.tensor(LAMPS), persistent=False)

    @torch.no_grad()
    def draw_weights(self, seed: int) -> None:
        """First weights, by a random stream of ``seed``: the maps begin as a dark blue dusk without lamps."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                weight = torch.empty(module.weight.shape)
                if isinstance(module, nn.Linear):  # the codes' part is small
                    module.weight.copy_(nn.init.normal_(weight, std=0.1, generator=generator))
                else:
                    module.weight.copy_(nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator))
                if module.bias is not None:
                    module.bias.zero_()
        first = torch.tensor([*_FIRST_LOG_GAIN, *_FIRST_EMISSION])
        self.out.weight.mul_(0.02 / self.out.weight.std())
        if self.out.bias is not None:
            self.out.bias.copy_(first)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """Translate images.

        ``x`` is ``(B, 3, H, W)`` RGB in [-1, 1]. ``code`` ``(B, config.code)`` chooses among nights; without one it is
        drawn from torch's random stream in train mode, and is what :attr:`controls` say in eval mode. Returns
        ``(B, 3, H, W)`` in [-1, 1].
        """
        return self.night_and_light(x, code)[0]

    @property
    def chosen(self) -> NightControls:
        """What is chosen in all: the configuration's part, in eval mode, and :attr:`controls`."""
        if self.training:
            return self.controls
        return replace(
            self.controls,
            darkness=self.config.darkness + self.controls.darkness,
            lights=self.config.lights * self.controls.lights,
        )

    def night_and_light(self, x: Tensor, code: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, and the light that was added, ``(B, 3, h, w)`` linear RGB at the working size."""
        day = ((x + 1) / 2).clamp(0, 1)
        small = shrunk(day, self.config.working_px)
        log_gain, emission = dark_sky(small, *self.maps(small, self.code(x, code)))
        return relight(day, small, log_gain, emission, self.config, self.chosen) * 2 - 1, emission

    def maps(self, day: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithm of the gain and emission, ``(B, 3, H, W)`` each, of ``day`` ``(B, 3, H, W)`` in [0, 1]."""
        height, width = day.shape[-2:]
        step = 2 ** (len(self.up) + 1)
        x = pad_to_multiple(day * 2 - 1, step)
        y = F.pixel_unshuffle(x, 2)
        grey = y.mean(1, keepdim=True)
        y = torch.cat([y, torch.zeros_like(grey) + rows_of(y), grey], 1)
        y = self.stem(y)
        kept = []
        for level, block in enumerate(self.down):
            y = block(F.avg_pool2d(y, 2) if level else y, code)
            kept.append(y)
        y = kept.pop()
        for block in self.up:
            beside = kept.pop()
            y = F.interpolate(y, size=beside.shape[-2:], mode="bilinear")
            y = block(torch.cat([y, beside], 1), code)
        y = F.interpolate(self.to_fine(y), scale_factor=2.0, mode="bilinear")
        y = self.out(F.silu(self.fine(torch.cat([y, x], 1))))[..., :height, :width]
        power = WakingLight.apply(y[:, 3:4]) if self.training else emitted(y[:, 3:4])
        colour = torch.einsum("blhw,lc->bchw", y[:, 4:].softmax(1), self.lamps)
        return y[:, :3].clamp(*LOG_GAIN), power * colour

    def code(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """Codes ``(B, N)`` that images ``x`` are translated with: those given, drawn ones, or that of the seed."""
        if code is not None:
            return code.to(x)
        if self.training:
            return torch.randn(x.shape[0], self.config.code, device=x.device, dtype=x.dtype)
        seed = self.controls.seed
        return night_code(self.config.code, seed).to(x).expand(x.shape[0], -1)


def dark_sky(day: Tensor, log_gain: Tensor, emission: Tensor) -> tuple[Tensor, Tensor]:
    """The maps of ``day`` ``(B, 3, H, W)`` in [0, 1], the sky without lamps and no brighter than it is at night."""
    sky = sky_mask(day.detach())
    most = (_SKY_LIGHT / to_linear(day).clamp(min=1e-3)).log().detach()
    return torch.lerp(log_gain, torch.minimum(log_gain, most), sky), emission * (1 - sky)


def relighting(network: nn.Module) -> RelightGenerator | None:
    """The relighting generator that ``network`` is or contains, whose controls can be set; None if it is another."""
    return next((each for each in network.modules() if isinstance(each, RelightGenerator)), None)


def night_code(length: int, seed: int | None) -> Tensor:
    """The code ``(1, length)`` of a seed: the same on every machine. Of None it is zero, the middle of all codes."""
    if seed is None:
        return torch.zeros(1, length)
    return torch.randn(1, length, generator=torch.Generator().manual_seed(seed))


def shrunk(day: Tensor, working_px: int) -> Tensor:
    """``day`` ``(B, 3, H, W)`` with a longest side of ``working_px``, or as it is if it is smaller."""
    height: Any
    width: Any
    height, width = day.shape[-2:]
    if torch.onnx.is_in_onnx_export():  # sides are tensors, and files of ONNX take any size
        sides = torch.stack([torch.as_tensor(height), torch.as_tensor(width)])
        most = sides.max()
        wanted = torch.clamp((2 * sides * most.clamp(max=working_px) + most) // (2 * most), min=1)
        height, width = wanted[0], wanted[1]
    elif max(height, width) <= working_px:
        return day
    else:
        longer = max(height, width)
        height, width = (max(1, (2 * side * working_px + longer) // (2 * longer)) for side in (height, width))
    return F.interpolate(halved(day, height, width, times=2), size=(height, width), mode="bilinear")


def rows_of(x: Tensor) -> Tensor:
    """Where each row of ``x`` ``(B, C, H, W)`` is, ``(1, 1, H, 1)``: -1 at the top, 1 at the bottom."""
    numbers = torch.arange(x.shape[-2], device=x.device).to(x.dtype)
    return (numbers * 2 / numbers[-1].clamp(min=1) - 1).view(1, 1, -1, 1)


def pad_to_multiple(x: Tensor, step: int) -> Tensor:
    """Repeat the last row and column until both sides are multiples of ``step``."""
    height, width = x.shape[-2:]
    if not torch.onnx.is_in_onnx_export() and height % step == 0 and width % step == 0:
        return x
    return F.pad(x, (0, -width % step, 0, -height % step), mode="replicate")


def relight(
    day: Tensor,
    small: Tensor,
    log_gain: Tensor,
    emission: Tensor,
    config: RelightGeneratorConfig,
    controls: NightControls,
) -> Tensor:
    """Put the night together: images ``(B, 3, H, W)`` in [0, 1] from maps at the size of ``small``.

    ``small`` is ``day`` at the working size. Each channel is made by itself, which keeps the memory small.
    """
    gain = log_gain - controls.darkness * math.log(2)
    full = guided_filter(
        day * 2 - 1, small * 2 - 1, gain, radius=config.guide_radius_px, eps=config.guide_eps
    )
    full = full.clamp_(*LOG_GAIN) if not torch.is_grad_enabled() else full.clamp(*LOG_GAIN)
    light = smooth(emission) * controls.lights
    light = F.interpolate(light, size=day.shape[-2:], mode="bilinear")
    return to_srgb(saturated(to_linear(day) * full.exp() + light))


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> RelightGeneratorConfig | None:
    """Read the configuration from the shapes of a state dict; None if it is another network.

    What is no parameter (the working size, the filter) is as usual: files of ours say what it is.
    """
    stem, modulation = shapes.get("stem.weight", ()), shapes.get("down.0.modulation.weight", ())
    if len(stem) != 4 or stem[1] != _STEM_CHANNELS or len(modulation) != 2:
        return None
    levels = len({key.split(".")[1] for key in shapes if key.startswith("up.")})
    return RelightGeneratorConfig(width=stem[0], code=modulation[1], levels=levels)

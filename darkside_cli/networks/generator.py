"""ResNet generator of CycleGAN and CUT: the network that turns day images into night ones and back.

Johnson et al., ECCV 2016 (architecture), Zhu et al., ICCV 2017 (CycleGAN), Park et al., ECCV 2020 (CUT:
anti-aliased resampling, features of intermediate modules). Modules are numbered as in the published weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor, nn

from darkside_cli.errors import ConfigError
from darkside_cli.networks.configs import SMALLEST_SIDE_PX, ResnetGeneratorConfig
from darkside_cli.networks.layers import BlurDownsample, BlurUpsample, bias_before_norm, make_norm

N_RESAMPLINGS = 2
"""Number of halvings, and of doublings: output sides are the input's rounded up to a multiple of 4."""


class ResidualBlock(nn.Module):
    """``x + conv_block(x)``: two 3x3 convolutions with norms, a ReLU and perhaps dropout between them."""

    def __init__(self, channels: int, config: ResnetGeneratorConfig) -> None:
        super().__init__()
        first = [*self._convolution(channels, config), nn.ReLU(inplace=True)]
        dropout = [nn.Dropout(0.5)] if config.dropout else []
        self.conv_block = nn.Sequential(*first, *dropout, *self._convolution(channels, config))

    @staticmethod
    def _convolution(channels: int, config: ResnetGeneratorConfig) -> list[nn.Module]:
        bias, norm = bias_before_norm(config.norm), make_norm(config.norm, channels)
        if config.padding == "zero":
            return [nn.Conv2d(channels, channels, 3, padding=1, bias=bias), norm]
        border = nn.ReflectionPad2d(1) if config.padding == "reflect" else nn.ReplicationPad2d(1)
        return [border, nn.Conv2d(channels, channels, 3, bias=bias), norm]

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape; both sides must be at least 2."""
        residual: Tensor = self.conv_block(x)
        return x + residual


class ResnetGenerator(nn.Module):
    """Image to image: 7x7 convolution, two halvings, residual blocks, two doublings, 7x7 convolution.

    ``input_multiple`` and ``input_minimum_px`` say what sides it takes: any from 8 on (the network itself runs
    from 5 on, but on less than two pixels a side in the middle there is nothing to normalise).
    """

    input_multiple = 1
    input_minimum_px = SMALLEST_SIDE_PX

    def __init__(self, config: ResnetGeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ResnetGeneratorConfig()
        widths = [config.ngf * 2**level for level in range(N_RESAMPLINGS + 1)]
        width, bias = config.ngf, bias_before_norm(config.norm)
        first = nn.Conv2d(config.in_channels, width, 7, bias=bias)
        norm = make_norm(config.norm, width)
        modules: list[nn.Module] = [nn.ReflectionPad2d(3), first, norm, nn.ReLU(inplace=True)]
        for each in widths[:-1]:
            modules += _downsampling(each, config)
        modules += [ResidualBlock(widths[-1], config) for _ in range(config.n_blocks)]
        for each in reversed(widths[:-1]):
            modules += _upsampling(each, config)
        modules += [nn.ReflectionPad2d(3), nn.Conv2d(width, config.out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """Translate images.

        ``x`` is ``(B, in_channels, H, W)`` RGB in [-1, 1], both sides at least 5. Returns
        ``(B, out_channels, H', W')`` in [-1, 1] with H and W rounded up to the next multiple of 4.
        """
        y: Tensor = self.model(x)
        return y

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of modules ``layers`` (increasing numbers in ``self.model``) as CUT sees them.

        ``x`` as in :meth:`forward`; results are ``(B, C_l, H_l, W_l)``. Nothing behind the last layer is run.

        Published CUT models were trained with ReLUs that overwrite their input, so they saw the output of a
        norm that a ReLU follows (modules 2, 5 and 8 of the plain encoder) *rectified*, unless that norm was
        the last layer asked for, since then the ReLU did not run. That is the convention here: such a layer
        gives the ReLU's output, except as the last one. It does not depend on the ReLUs being in place.

        Raises ConfigError if ``layers`` is empty, not increasing or beyond the modules there are.
        """
        return self._run(x, layers, max(layers, default=0) + 1)[1]

    def forward_with_features(self, x: Tensor, layers: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Translate ``x`` and give what :meth:`features` would give for it, in one pass.

        Batch norm in train mode counts this as one pass, too. Raises ConfigError as :meth:`features` does.
        """
        return self._run(x, layers, len(self.model))

    def _run(self, x: Tensor, layers: Sequence[int], count: int) -> tuple[Tensor, list[Tensor]]:
        """Run the first ``count`` modules, and give what was seen on the way."""
        taken_after = self._taps(layers)
        outputs: dict[int, Tensor] = {}
        for index, module in enumerate(islice(self.model, count)):
            x = module(x)
            if index in taken_after:
                # Taken in front of a ReLU that works in place, it has to be kept from being overwritten.
                rectified_next = index + 1 < count and self._is_relu(index + 1)
                outputs[index] = x.clone() if rectified_next else x
        return x, [outputs[index] for index in taken_after]

    def _taps(self, layers: Sequence[int]) -> list[int]:
        """Numbers of the modules after which features ``layers`` are taken."""
        known = range(len(self.model))
        if not layers or list(layers) != sorted(set(layers)) or not {layers[0], layers[-1]} <= set(known):
            raise ConfigError(
                f"feature layers {list(layers)} are not increasing numbers from 0 to {known[-1]}"
            )
        return [layer + (layer != layers[-1] and self._is_relu(layer + 1)) for layer in layers]

    def _is_relu(self, index: int) -> bool:
        return isinstance(self.model[index], nn.ReLU)


def _downsampling(channels: int, config: ResnetGeneratorConfig) -> list[nn.Module]:
    """Halve the sides, double ``channels``."""
    stride, bias = 1 if config.antialias_down else 2, bias_before_norm(config.norm)
    convolution = nn.Conv2d(channels, 2 * channels, 3, stride=stride, padding=1, bias=bias)
    blur = [BlurDownsample(2 * channels)] if config.antialias_down else []
    return [convolution, make_norm(config.norm, 2 * channels), nn.ReLU(inplace=True), *blur]


def _upsampling(channels: int, config: ResnetGeneratorConfig) -> list[nn.Module]:
    """Double the sides, from ``2 * channels`` down to ``channels``."""
    bias, rest = bias_before_norm(config.norm), [make_norm(config.norm, channels), nn.ReLU(inplace=True)]
    if config.antialias_up:
        convolution = nn.Conv2d(2 * channels, channels, 3, padding=1, bias=bias)
        return [BlurUpsample(2 * channels), convolution, *rest]
    enlarging = nn.ConvTranspose2d(2 * channels, channels, 3, 2, padding=1, output_padding=1, bias=bias)
    return [enlarging, *rest]


def feature_channels(config: ResnetGeneratorConfig, layers: Sequence[int]) -> tuple[int, ...]:
    """Channel counts of ``ResnetGenerator(config).features(x, layers)``, without building or running it.

    Raises ConfigError for a module number that does not exist.
    """
    with torch.device("meta"):
        modules = ResnetGenerator(config).model
    channels: list[int] = []
    for module in modules:
        before = channels[-1] if channels else config.in_channels
        channels.append(getattr(module, "out_channels", before))
    for layer in layers:
        if not 0 <= layer < len(channels):
            last = len(channels) - 1
            raise ConfigError(f"the generator has no module {layer}", hint=f"the last one is {last}")
    return tuple(channels[layer] for layer in layers)


_BLOCK_CONVOLUTION = re.compile(r"model\.(\d+)\.conv_block\.(\d+)\.weight")
_OUTER_WEIGHT = re.compile(r"model\.(\d+)\.weight")


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> ResnetGeneratorConfig | None:
    """Read the configuration from the keys and shapes of a state dict; None if it is another network.

    Reflect and replicate padding look the same in a state dict; reflect, the published choice, is returned.
    """
    blocks: dict[int, list[int]] = {}
    for key, shape in shapes.items():
        if (found := _BLOCK_CONVOLUTION.fullmatch(key)) and len(shape) == 4:
            blocks.setdefault(int(found[1]), []).append(int(found[2]))
    outer = {int(found[1]): shape for key, shape in shapes.items() if (found := _OUTER_WEIGHT.fullmatch(key))}
    first = outer.get(1, ())
    if not blocks or len(first) != 4 or len(outer[max(outer)]) != 4:
        return None
    start, end = min(blocks[min(blocks)]), max(blocks[min(blocks)])
    if (start, end) not in ((1, 5), (1, 6), (0, 3), (0, 4)):
        return None
    return ResnetGeneratorConfig(
        in_channels=first[1],
        out_channels=outer[max(outer)][0],
        ngf=first[0],
        n_blocks=len(blocks),
        norm="batch" if len(outer.get(2, ())) == 1 else "instance",
        antialias_down="model.7.filt" in shapes,
        antialias_up=f"model.{max(blocks) + 1}.filt" in shapes,
        dropout=end in (6, 4),
        padding="reflect" if start else "zero",
    )

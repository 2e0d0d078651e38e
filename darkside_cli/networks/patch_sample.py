"""CUT's patch-sampling head: features at a few positions, through a small MLP, to vectors of length one.

Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from darkside_cli.config.limits import MAX_LAYERS, MAX_VECTOR
from darkside_cli.config.schema import option
from darkside_cli.config.values import check_itself
from darkside_cli.errors import ConfigError
from darkside_cli.networks.configs import ResnetGeneratorConfig
from darkside_cli.networks.generator import feature_channels

_NORM_EPS = 1e-7


@dataclass(frozen=True, kw_only=True)
class PatchSampleMlpConfig:
    """``channels`` of the feature maps, one MLP each, and ``dim``, the length of the vectors made of them.

    The default is CUT's: layers 4, 8, 12 and 16 of the plain generator with ngf 64.
    """

    channels: tuple[int, ...] = option((128, 256, 256, 256), minimum=1, maximum=MAX_VECTOR)
    dim: int = option(256, minimum=1, maximum=MAX_VECTOR)

    def __post_init__(self) -> None:
        check_itself(self)
        if not self.channels:
            raise ConfigError("a patch-sampling head needs at least one feature layer")
        if len(self.channels) > MAX_LAYERS:
            raise ConfigError(
                f"a patch-sampling head has 1 to {MAX_LAYERS} feature layers, not {len(self.channels)}"
            )

    @classmethod
    def for_generator(
        cls, generator: ResnetGeneratorConfig, layers: Sequence[int], *, dim: int = 256
    ) -> PatchSampleMlpConfig:
        """Make the configuration for ``ResnetGenerator(generator).features(x, layers)``.

        Raises ConfigError for a layer that the generator does not have.
        """
        return cls(channels=feature_channels(generator, layers), dim=dim)


class PatchSampleMlp(nn.Module):
    """One two-layer MLP per feature map, built at once from the channel counts."""

    def __init__(self, config: PatchSampleMlpConfig = PatchSampleMlpConfig()) -> None:
        super().__init__()
        self.config = config
        for index, channels in enumerate(config.channels):
            mlp = nn.Sequential(
                nn.Linear(channels, config.dim), nn.ReLU(inplace=True), nn.Linear(config.dim, config.dim)
            )
            self.add_module(f"mlp_{index}", mlp)

    def forward(
        self,
        features: Sequence[Tensor],
        num_patches: int = 256,
        positions: Sequence[Tensor] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Sample and embed patches.

        ``features``: one ``(B, C_l, H_l, W_l)`` per layer. ``positions``: per layer the ``(P,)`` indices into
        the row-major H_l * W_l grid to take, the same for all images; None draws min(num_patches, H_l * W_l)
        different ones per layer with ``generator`` (a CPU one; None is torch's own). The positions are given
        back so that queries and keys can be taken at the same places.

        Returns (vectors, positions): per layer ``(B * P, dim)`` of L2 norm one, all patches of image 0 first,
        and the int64 positions on the features' device.

        Raises ValueError if the number of feature maps, or of positions, is not that of the MLPs.
        """
        n_layers = len(self.config.channels)
        if len(features) != n_layers or (positions is not None and len(positions) != n_layers):
            raise ValueError(
                f"the head has {n_layers} layers, so it takes as many feature maps and positions"
            )
        vectors: list[Tensor] = []
        taken: list[Tensor] = []
        for index, feature in enumerate(features):
            cells = feature.shape[2] * feature.shape[3]
            if positions is None:
                where = torch.randperm(cells, generator=generator)[:num_patches]
            else:
                where = positions[index]
            where = where.to(device=feature.device, dtype=torch.long)
            patches = feature.flatten(2)[:, :, where].transpose(1, 2).flatten(0, 1)
            embedded = self.get_submodule(f"mlp_{index}")(patches)
            vectors.append(embedded / (embedded.norm(dim=1, keepdim=True) + _NORM_EPS))
            taken.append(where)
        return vectors, taken


_FIRST_WEIGHT = re.compile(r"mlp_(\d+)\.0\.weight")


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> PatchSampleMlpConfig | None:
    """Read the configuration from the keys and shapes of a state dict; None if it is another network."""
    firsts = {
        int(found[1]): shape for key, shape in shapes.items() if (found := _FIRST_WEIGHT.fullmatch(key))
    }
    complete = sorted(firsts) == list(range(len(firsts))) and all(
        len(shape) == 2 for shape in firsts.values()
    )
    if not firsts or not complete:
        return None
    return PatchSampleMlpConfig(channels=tuple(firsts[i][1] for i in range(len(firsts))), dim=firsts[0][0])

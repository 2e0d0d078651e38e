"""What ``darkside models`` tells of a checkpoint or a whitening, gathered as plain values."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import CheckpointError

if TYPE_CHECKING:
    from torch import nn

    from darkside_cli.networks.catalog import ModelEntry
    from darkside_cli.networks.inspect import ModelSummary
    from darkside_cli.networks.weights import Checkpoint
    from darkside_cli.networks.whitening import Whitening


def network_facts(checkpoint: Checkpoint, summary: ModelSummary) -> dict[str, Any]:
    """What any network is and costs."""
    return {
        "file": checkpoint.path,
        "format": checkpoint.format,
        "kind": checkpoint.kind,
        "architecture": summary.architecture,
        "configuration": asdict(checkpoint.config),
        "parameters": summary.n_parameters,
        "parameter_bytes": summary.size_bytes,
        "size_px": summary.size_px,
        "gmacs": round(summary.macs / 1e9, 3),
    }


def descriptor_facts(
    checkpoint: Checkpoint, network: nn.Module, entry: ModelEntry | None, root: Path
) -> dict[str, Any]:
    """What a descriptor gives, how its images are prepared, and which whitenings belong to it.

    ``whitenings`` lists those of the published model, inside the file and beside it: where from, and dimensions in
    and out (None for a published file that is not on this machine).
    """
    from darkside_cli.interop.transforms import clahe_of_metadata
    from darkside_cli.networks.retrieval_net import RetrievalNet

    assert isinstance(network, RetrievalNet)  # noqa: S101 - what descriptors are
    clahe = clahe_of_metadata(checkpoint.metadata)
    power = network.aggregation_power()
    return {
        "dimensions": network.config.dim,
        "backbone": network.config.backbone,
        "pooling": network.config.pooling,
        "pooling_exponent": None if power is None else round(power.item(), 4),
        "clahe": None if clahe is None else asdict(clahe),
        "whitenings": _whitenings(checkpoint, entry, root),
    }


def _whitenings(checkpoint: Checkpoint, entry: ModelEntry | None, root: Path) -> list[dict[str, Any]]:
    from darkside_cli.interop.whitening import read_whitening
    from darkside_cli.retrieval.describe.load import WHITENING_SUFFIXES

    path = checkpoint.path
    published = [root / file.path for file in entry.files if file.role == "whitening"] if entry else []
    beside = [path.with_name(f"{path.stem}{suffix}") for suffix in WHITENING_SUFFIXES]
    inside = checkpoint.metadata.get("cirtorch") or {}
    found: list[dict[str, Any]] = [
        {"from": f"{path.name}: {name}", **_dimensions(read_whitening(path, which=name))}
        for name in inside.get("whitenings", ())
    ]
    for file in dict.fromkeys([*published, *(each for each in beside if each.is_file())]):
        there = file.is_file()
        found.append({"from": str(file), **_dimensions(read_whitening(file) if there else None)})
    return found


def _dimensions(whitening: Whitening | None) -> dict[str, int | None]:
    """Dimensions of the descriptors that a whitening takes and gives."""
    if whitening is None:
        return {"in": None, "out": None}
    return {"in": whitening.in_dim, "out": whitening.out_dim}


def whitening_facts(path: Path) -> dict[str, Any] | None:
    """What a whitening's file holds; None if it is not one."""
    from darkside_cli.interop.whitening import read_whitening

    if not path.is_file():
        return None
    try:
        whitening = read_whitening(path)
    except CheckpointError:
        return None
    return {
        "file": path,
        "kind": "whitening",
        "dimensions_in": whitening.in_dim,
        "dimensions_out": whitening.out_dim,
        "bytes": path.stat().st_size,
        "metadata": dict(whitening.metadata),
    }

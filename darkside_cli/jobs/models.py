"""What the published models are, and what one checkpoint is: for ``darkside models``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import CheckpointError, MissingAssetError, UsageError
from darkside_cli.jobs.fields import MODEL
from darkside_cli.jobs.needs import stand_in
from darkside_cli.jobs.request import ADVANCED, Request, ask

if TYPE_CHECKING:
    from torch import nn

    from darkside_cli.networks.inspect import LayerSummary, ModelSummary
    from darkside_cli.networks.model_entry import ModelEntry, PackageFile
    from darkside_cli.networks.weights import Checkpoint, Whitening


@dataclass(frozen=True, kw_only=True)
class ModelsRequest(Request):
    """Which model is described, if not all are listed, and how thoroughly."""

    model: str | None = ask(
        "A model or a checkpoint file to describe; all published models without it.",
        argument=True,
        **{**MODEL, "metavar": "NAME|FILE"},
    )
    size: int = ask(
        "Image side in pixels that the cost is counted at.", 256, minimum=16, maximum=8192, group=ADVANCED
    )
    graph: Path | None = ask(
        "Draw the architecture: .svg, .png, .pdf (needs graphviz) or .dot.", metavar="FILE"
    )
    layers: bool = ask("List every layer.", False)

    def check(self) -> None:
        """Raise UsageError for what is asked of a model where none is named, and for what cannot be drawn to."""
        from darkside_cli.networks.architectures import check_drawable

        if self.model is None and (self.graph is not None or self.layers):
            raise UsageError(
                "--graph and --layers need a model", hint="darkside models hedngan --graph hedngan.svg"
            )
        if self.graph is not None:
            check_drawable(self.graph)


@dataclass(frozen=True)
class ListedModel:
    """A published model: ``state`` says how much of it is on this machine, ``size_bytes`` is None if unknown.

    ``package`` is what brings the weights that stand in for the published ones.
    """

    entry: ModelEntry
    state: str
    size_bytes: int | None
    package: PackageFile | None = None

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        return {
            **asdict(self.entry),
            "state": self.state,
            "size_bytes": self.size_bytes,
            "brought_by": None if self.package is None else str(self.package),
        }


@dataclass(frozen=True, kw_only=True)
class DescribedModel:
    """What ``model``, as it was named, is.

    ``facts`` are what it is and costs, by name, ``metadata`` what is recorded in the file. ``entry`` is the published
    model that it is, if it is one. ``graph`` is the drawing that was made; ``layers`` are there if they were asked for.
    """

    model: str
    facts: Mapping[str, Any]
    metadata: Mapping[str, Any]
    entry: ModelEntry | None = None
    graph: Path | None = None
    layers: tuple[LayerSummary, ...] | None = None

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        found: dict[str, Any] = {"model": self.model, **self.facts}
        if self.entry is not None:
            found |= {
                "licence": self.entry.licence,
                "source": self.entry.source,
                "published_scores": dict(self.entry.scores),
            }
            if self.entry.record:
                found["training"] = self.entry.training()
        found["metadata"] = dict(self.metadata)
        if self.graph is not None:
            found["graph"] = self.graph
        if self.layers is not None:
            found["layers"] = [asdict(layer) for layer in self.layers]
        return found


def list_models(root: DataRoot) -> list[ListedModel]:
    """All published models, and which of them are in ``root``."""
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.locate import state_on_disk

    listed = []
    for entry in MODELS:
        state, size = state_on_disk(entry, root.path), _size_bytes(entry, root.path)
        package = stand_in(root, entry.name)
        listed.append(ListedModel(_as_brought(entry, package), state, size, package))
    return listed


def _as_brought(entry: ModelEntry, package: PackageFile | None) -> ModelEntry:
    """The entry with the terms and origin of the weights that ``package`` brings, if it does."""
    if package is None:
        return entry
    return replace(entry, licence=package.licence, licence_note=package.note, source=str(package))


def _size_bytes(entry: ModelEntry, root: Path) -> int | None:
    """Bytes of the entry's files: as on this machine where they are here, else as published, else None."""
    total = 0
    for file in entry.files:
        found = file.here(root)
        size = found[0].stat().st_size if found is not None else file.size_bytes
        if size is None:
            return None
        total += size
    return total


def describe_model(request: ModelsRequest) -> DescribedModel:
    """Describe the published model of that name, or the checkpoint or whitening at that path.

    Costs are those of one image of ``size`` squared. Raises UsageError for an image that cannot be,
    UnknownNameError and MissingAssetError for a model that is not known or not here, CheckpointError for a file that
    is none.
    """
    from darkside_cli.networks.configs import TIMM
    from darkside_cli.networks.locate import locate
    from darkside_cli.networks.others import OTHERS

    if request.model in OTHERS and not (request.graph or request.layers):
        facts = OTHERS.get(request.model or "").document()
        return DescribedModel(model=facts.pop("name"), facts=facts, metadata={})
    model, root, graph = request.model or "", request.root, request.graph
    try:
        entry, path = locate(model, root)
    except MissingAssetError as error:
        if not model.startswith(TIMM):
            raise
        hint = f"darkside extract PHOTOS --model {model} --download -o FILE.h5 gets them"  # this job downloads nothing
        raise MissingAssetError(error.message, hint=hint) from None
    if entry is not None:
        entry = _as_brought(entry, stand_in(root, entry.name))

    from darkside_cli.interop.load import open_model
    from darkside_cli.networks.inspect import describe
    from darkside_cli.networks.weights import build_network

    try:
        checkpoint = open_model(model, path)
    except CheckpointError:
        whitening = _described_whitening(model, path)
        if whitening is None or graph is not None or request.layers:
            raise
        return whitening
    network = build_network(checkpoint)
    summary = describe(network, size_px=request.size, architecture=checkpoint.architecture)
    if graph is not None:
        from darkside_cli.report.network_graph import draw

        draw(network, graph, size_px=request.size, title=f"{model} ({checkpoint.architecture})")
    size = _size_bytes(entry, root.path) if entry is not None else None
    facts = _network_facts(checkpoint, summary, size)
    if checkpoint.kind == "descriptor":
        facts |= _descriptor_facts(checkpoint, network, entry, root.path)
    return DescribedModel(
        model=model,
        facts=facts,
        metadata=checkpoint.metadata,
        entry=entry,
        graph=graph,
        layers=summary.layers if request.layers else None,
    )


def _network_facts(checkpoint: Checkpoint, summary: ModelSummary, size: int | None) -> dict[str, Any]:
    """What any network is and costs; ``size`` is that of all its files, where it has several."""
    return {
        "file": checkpoint.path,
        "size_bytes": size if size is not None else checkpoint.path.stat().st_size,
        "format": checkpoint.format,
        "kind": checkpoint.kind,
        "architecture": summary.architecture,
        "configuration": asdict(checkpoint.config),
        "parameters": summary.n_parameters,
        "parameter_bytes": summary.size_bytes,
        "size_px": summary.size_px,
        "gmacs": round(summary.macs / 1e9, 3),
    }


def _descriptor_facts(
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
    published = [file.under(root) for file in entry.files if file.role == "whitening"] if entry else []
    beside = [path.with_name(f"{path.stem}{suffix}") for suffix in WHITENING_SUFFIXES]
    files = dict.fromkeys([*published, *(each for each in beside if each.is_file())])
    inside = (checkpoint.metadata.get("cirtorch") or {}).get("whitenings", ())
    found: list[tuple[str, Whitening | None]] = [
        (f"{path.name}: {name}", read_whitening(path, which=name)) for name in inside
    ]
    found += [(str(file), read_whitening(file) if file.is_file() else None) for file in files]
    return [
        {
            "from": where,
            "in": None if whitening is None else whitening.in_dim,
            "out": None if whitening is None else whitening.out_dim,
        }
        for where, whitening in found
    ]


def _described_whitening(model: str, path: Path) -> DescribedModel | None:
    """What a whitening's file holds; None if it is not one."""
    from darkside_cli.interop.whitening import read_whitening

    if not path.is_file():
        return None
    try:
        whitening = read_whitening(path)
    except CheckpointError:
        return None
    facts = {
        "file": path,
        "kind": "whitening",
        "dimensions_in": whitening.in_dim,
        "dimensions_out": whitening.out_dim,
        "bytes": path.stat().st_size,
    }
    return DescribedModel(model=model, facts=facts, metadata=whitening.metadata)

"""``darkside models``: the published models as a table, or what one checkpoint is."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.model_facts import descriptor_facts, network_facts, whitening_facts
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import CheckpointError, UsageError
from darkside_cli.jobs.fields import model_names
from darkside_cli.jobs.request import ADVANCED, MAIN
from darkside_cli.units import human_size

if TYPE_CHECKING:
    from darkside_cli.networks.catalog import ModelEntry

COLUMNS = ("name", "kind", "here", "size", "scores (Tokyo 24/7 | ROxf | RPar)", "licence", "source")
#: Left out where the terminal is narrow: 'darkside models NAME' tells them too.
SPARE = ("source", "licence", "size", "kind")
SCORES = ("tokyo247", "roxford5k", "rparis6k")


def _size(entry: ModelEntry, root: Path) -> int | None:
    """Bytes of the entry's files: as on this machine where they are here, else as published, else None."""
    total = 0
    for file in entry.files:
        path = file.under(root)
        size = path.stat().st_size if path.is_file() else file.size_bytes
        if size is None:
            return None
        total += size
    return total


def _list(session: Session, *, json: bool) -> int:
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.locate import state_on_disk

    root = session.root.path
    rows = [(entry, state_on_disk(entry, root), _size(entry, root)) for entry in MODELS]
    if json:
        session.output.json(
            {
                "data_dir": root,
                "models": [
                    {**asdict(entry), "state": state, "size_bytes": size} for entry, state, size in rows
                ],
            }
        )
        return 0
    table = []
    for entry, state, size in rows:
        scores = " | ".join(f"{entry.scores[s]:.1f}" for s in SCORES) if entry.scores else "-"
        table.append((entry.name, entry.kind, state, human_size(size), scores, entry.licence, entry.source))
    session.output.table(COLUMNS, table, title=f"data folder: {root} ({session.root.origin})", spare=SPARE)
    return 0


def models(
    session: Session,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|FILE",
            help="A model or a checkpoint file to describe; all published models without it.",
            autocompletion=lambda incomplete: [n for n in model_names() if n.startswith(incomplete)],
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        int,
        typer.Option(
            min=16,
            max=8192,
            help="Image side in pixels that the cost is counted at.",
            rich_help_panel=ADVANCED,
        ),
    ] = 256,
    graph: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the architecture: .svg, .png, .pdf (needs graphviz) or .dot.",
            show_default=False,
            rich_help_panel=MAIN,
        ),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="List every layer.", rich_help_panel=MAIN)] = False,
    json: options.Json = False,
) -> int:
    """Show the published models, or what a checkpoint is.

    Without a name, all published models are listed, and which of them are on this machine:

        darkside models hedngan

        darkside models latest_net_G_A.pth --graph generator.svg
    """
    if model is None:
        if graph is not None or layers:
            raise UsageError(
                "--graph and --layers need a model", hint="darkside models hedngan --graph hedngan.svg"
            )
        return _list(session, json=json)

    from darkside_cli.networks.architectures import check_drawable
    from darkside_cli.networks.locate import locate

    if graph is not None:
        check_drawable(graph)
    entry, path = locate(model, session.root)

    from darkside_cli.interop.load import open_checkpoint
    from darkside_cli.networks.inspect import describe
    from darkside_cli.networks.weights import build_network

    try:
        checkpoint = open_checkpoint(path)
    except CheckpointError:
        whitening = whitening_facts(path)
        if whitening is None or graph is not None or layers:
            raise
        return _print(session, {"model": model, **whitening}, json=json)
    network = build_network(checkpoint)
    summary = describe(network, size_px=size, architecture=checkpoint.architecture)
    if graph is not None:
        from darkside_cli.report.network_graph import draw

        draw(network, graph, size_px=size, title=f"{model} ({checkpoint.architecture})")
    facts = {"model": model, **network_facts(checkpoint, summary)}
    if checkpoint.kind == "descriptor":
        facts |= descriptor_facts(checkpoint, network, entry, session.root.path)
    if entry is not None:
        note = f" ({entry.licence_note})" if entry.licence_note and not json else ""
        facts |= {
            "licence": entry.licence + note,
            "source": entry.source,
            "published_scores": dict(entry.scores),
        }
        if entry.record:
            training = entry.training()
            facts["training"] = training if json else _summary(training)
    facts["metadata"] = dict(checkpoint.metadata)
    if graph is not None:
        facts["graph"] = graph
    if json and layers:
        facts["layers"] = [asdict(layer) for layer in summary.layers]
    _print(session, facts, json=json)
    if layers and not json:
        session.output.table(
            ("layer", "type", "output", "parameters", "MMACs"),
            [
                (
                    layer.name,
                    layer.type,
                    "x".join(map(str, layer.output_shape)),
                    str(layer.n_parameters),
                    f"{layer.macs / 1e6:.1f}",
                )
                for layer in summary.layers
            ],
        )
    return 0


def _summary(training: dict[str, Any]) -> dict[str, Any]:
    """What a person wants to know first of how a model was trained; --json has all, picture by picture."""
    counts = Counter(picture["set"] for picture in training["pictures"])
    research = sum(picture["research_only"] for picture in training["pictures"])
    pictures = " and ".join(f"{count} {what}" for what, count in counts.items())
    return {
        "command": training["command"],
        "pictures": f"{pictures}, {research} of them for research only",
        "hours": round(training["seconds"] / 3600, 1),
        "machine": training["machine"],
        "date": training["date"],
    }


def _print(session: Session, facts: dict[str, Any], *, json: bool) -> int:
    if json:
        session.output.json(facts)
    else:
        session.output.facts(_in_words(facts))
    return 0


def _in_words(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts by name, nested ones as "key=value" pairs."""

    def show(value: Any) -> str:
        if value is None:
            return "-"
        if isinstance(value, dict):
            return ", ".join(f"{k}={show(v)}" for k, v in value.items()) or "-"
        if isinstance(value, (list, tuple)):
            return "(" + ", ".join(map(show, value)) + ")" if value else "-"
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

    size = facts.get("size_px")
    names = {
        "parameter_bytes": "size",
        "bytes": "size",
        "gmacs": f"GMACs at {size}x{size}",
        "clahe": "CLAHE",
        "published_scores": "published mAP",
    }
    rows = []
    for key, value in facts.items():
        if key == "size_px":
            continue
        text = human_size(value) if key in ("parameter_bytes", "bytes") else show(value)
        rows.append((names.get(key, key.replace("_", " ")), text))
    return rows


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "models")(models)

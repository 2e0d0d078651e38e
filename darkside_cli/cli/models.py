"""``darkside models``: the published models as a table, or what one checkpoint is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.jobs.fields import model_names
from darkside_cli.jobs.models import DescribedModel, describe_model, list_models
from darkside_cli.jobs.request import ADVANCED, MAIN
from darkside_cli.units import human_size

COLUMNS = ("name", "kind", "here", "size", "scores (Tokyo 24/7 | ROxf | RPar)", "licence", "source")
#: Left out where the terminal is narrow: 'darkside models NAME' tells them too.
SPARE = ("source", "licence", "size", "kind")
SCORES = ("tokyo247", "roxford5k", "rparis6k")


def _list(session: Session, *, json: bool) -> int:
    root = session.root
    listed = list_models(root)
    if json:
        session.output.json({"data_dir": root.path, "models": [each.document() for each in listed]})
        return 0
    table = []
    for each in listed:
        entry = each.entry
        scores = " | ".join(f"{entry.scores[s]:.1f}" for s in SCORES) if entry.scores else "-"
        size = human_size(each.size_bytes)
        table.append((entry.name, entry.kind, each.state, size, scores, entry.licence, entry.source))
    session.output.table(COLUMNS, table, title=f"data folder: {root.path} ({root.origin})", spare=SPARE)
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

    found = describe_model(model, session.root, size_px=size, graph=graph, layers=layers)
    if json:
        session.output.json(found.document())
    else:
        _print(session, found)
    return 0


def _summary(training: dict[str, Any]) -> dict[str, Any]:
    """What a person wants to know first of how a model was trained; --json has all, image by image."""
    counts = Counter(image["set"] for image in training["pictures"])
    research = sum(image["research_only"] for image in training["pictures"])
    images = " and ".join(f"{count} {what}" for what, count in counts.items())
    return {
        "command": training["command"],
        "pictures": f"{images}, {research} of them for research only",
        "hours": round(training["seconds"] / 3600, 1),
        "machine": training["machine"],
        "date": training["date"],
    }


def _print(session: Session, found: DescribedModel) -> None:
    facts = found.document()
    facts.pop("layers", None)
    if found.entry is not None and found.entry.licence_note:
        facts["licence"] += f" ({found.entry.licence_note})"
    if found.entry is not None and found.entry.record:
        facts["training"] = _summary(facts["training"])
    session.output.facts(_in_words(facts))
    if found.layers is not None:
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
                for layer in found.layers
            ],
        )


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

"""The commands about networks: ``models`` describes them, ``export`` writes them in other formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from darkside_cli.cli import options
from darkside_cli.cli.command import app, command
from darkside_cli.cli.session import Session, run_job
from darkside_cli.jobs import export as exporting
from darkside_cli.jobs.models import DescribedModel, ModelsRequest, describe_model, list_models
from darkside_cli.networks.others import OTHERS, other_names
from darkside_cli.units import human_size

if TYPE_CHECKING:
    from darkside_cli.inference.onnx import Exported
    from darkside_cli.networks.model_entry import ModelEntry

COLUMNS = ("name", "kind", "here", "size", "scores (Tokyo 24/7 | ROxf | RPar)", "licence", "source")
#: Left out where the terminal is narrow: 'darkside models NAME' tells them too.
SPARE = ("source", "licence", "size", "kind")
OTHER_COLUMNS = ("name", "recall@1 (Tokyo 24/7 | SVOX night)", "trained on", "numbers", "image", "licence")
OTHER_SPARE = ("licence", "image", "numbers")
RECALLS = ("tokyo247", "svox_night")
SCORES = ("tokyo247", "roxford5k", "rparis6k")
_SIZES = ("size_bytes", "parameter_bytes", "bytes")
#: Words of metadata from so many letters on are digests and the like, which --json has whole.
_LONG_WORD = 100
#: What facts are called where it is not their key.
_NAMES = {
    "size_bytes": "size",
    "parameter_bytes": "in memory",
    "bytes": "size",
    "gmacs": "GMACs at {size_px}x{size_px}",
    "clahe": "CLAHE",
    "published_scores": "published mAP",
}


@command(app, "models", request=ModelsRequest)
def models(session: Session, request: ModelsRequest, json: options.Json = False) -> int:
    """Show the published models, or what a checkpoint is.

    Without a name, all published models are listed, and which of them are on this machine:

        darkside models hedngan

        darkside models latest_net_G_A.pth --graph generator.svg
    """
    if request.model is not None:
        found = describe_model(request)
        if json:
            session.output.json(found.document())
        else:
            _print(session, found)
        return 0
    root = session.root
    listed = list_models(root)
    if json:
        documents = [each.document() for each in listed]
        others = [each.document() for each in OTHERS]
        session.output.json({"data_dir": root.path, "models": documents, "others": others})
        return 0
    table = []
    for each in listed:
        entry = each.entry
        scores = " | ".join(f"{entry.scores[s]:.1f}" for s in SCORES) if entry.scores else "-"
        size = human_size(each.size_bytes)
        here = f"{each.state} ({each.package.package})" if each.package is not None else each.state
        table.append((entry.name, entry.kind, here, size, scores, entry.licence, entry.source))
    session.output.table(COLUMNS, table, title=f"data folder: {root.path} ({root.origin})", spare=SPARE)
    if session.output.is_terminal:
        _print_others(session)
    else:
        names = ", ".join(other_names())
        session.say(f"and of others, with --trust: {names} ('darkside models NAME' or --json describes them)")
    return 0


def _print_others(session: Session) -> None:
    """What others published, which is recall@1 and no mAP."""
    rows = []
    for each in OTHERS:
        recall = " | ".join(f"{each.recall[key]:.1f}" if key in each.recall else "-" for key in RECALLS)
        size = "x".join(map(str, each.input.size)) if each.input.size else "any" if each.call else "-"
        name = each.name if each.call else f"({each.name})"
        rows.append((name, recall, each.trained_on, str(each.dim or "-"), size, each.licence))
    title = "others (with --trust; in brackets: figures alone)"
    session.output.text("")
    session.output.table(OTHER_COLUMNS, rows, title=title, spare=OTHER_SPARE)


def _summary(entry: ModelEntry) -> dict[str, Any]:
    """What a person wants to know first of how a model was trained; --json has all, image by image."""
    training = entry.training()
    research = sum(image["research_only"] for image in training["pictures"])
    sets = " and ".join(f"{count} {what}" for what, count in entry.pictures().items())
    return {
        "command": training["command"],
        "pictures": f"{sets}, {research} of them for research only",
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
        facts["training"] = _summary(found.entry)
    facts["metadata"] = _shortened(facts["metadata"])
    rows = []
    for key, value in facts.items():
        if key != "size_px":
            text = human_size(value) if key in _SIZES else _in_words(value)
            rows.append((_NAMES.get(key, key.replace("_", " ")).format(**facts), text))
    session.output.facts(rows)
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


def _shortened(value: Any) -> Any:
    """Metadata without what no person reads: of digests in one long word their beginning."""
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shortened(each) for each in value]
    if isinstance(value, str) and len(value) > _LONG_WORD and not any(map(str.isspace, value)):
        return f"{value[:12]}… ({len(value):,} letters, see --json)"
    return value


def _in_words(value: Any) -> str:
    """A fact, a nested one as "key=value" pairs."""
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{k}={_in_words(v)}" for k, v in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(_in_words, value)) + ")" if value else "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@command(app, "export", request=exporting.ExportRequest)
def export(session: Session, request: exporting.ExportRequest, json: options.Json = False) -> int:
    """Write a generator or a descriptor as an ONNX file; check it.

    The file is run to see that it computes what PyTorch does:

        darkside export hedngan -o hedngan.onnx

    Or, where the file is to be called .safetensors or .pth, only its weights: in darkside's own format (fp16 halves
    it), or in gandtr's, which the original code reads. The whitening of a descriptor is written beside them.

    The file takes batches of normalised RGB images of any number and size. Its metadata says how they are
    normalised (and prepared: CLAHE is not part of a descriptor's network), and what the network is.

    Nothing is written if ONNX Runtime's numbers are further from float64 than the tolerance, and than a few times
    what PyTorch's own float32 is.
    """
    result = run_job(session, request, exporting.run)
    if result.onnx is not None:
        _tell(session, result.onnx)
    if json:
        session.output.json(result.document())
    else:
        session.output.path(result.file, *([result.whitening] if result.whitening is not None else []))
    return 0


def _tell(session: Session, written: Exported) -> None:
    for each in written.compared if session.verbose else ():
        batch, height, width = each.shape
        session.say(f"{batch} x {width}x{height}: differs by at most {each.difference:.2g} from float64")
    if written.difference is None:
        session.say("not held against PyTorch")
    else:
        session.say(
            f"ONNX Runtime differs from float64 by at most {written.difference:.2g}, PyTorch by "
            f"{written.pytorch:.2g} (tolerance {written.tolerance:g}; {len(written.compared)} shapes)"
        )

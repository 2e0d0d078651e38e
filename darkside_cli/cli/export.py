"""``darkside export``: an ONNX file held against PyTorch, or the weights in another format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.obtain import Download, obtain
from darkside_cli.cli.progress import ProgressRenderer
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.events import Notice
from darkside_cli.jobs.checks import Absences, check_model, check_path

if TYPE_CHECKING:
    from darkside_cli.inference.onnx import Exported

DEFAULT_OPSET = 17
WEIGHTS = (".safetensors", ".pth")
PRECISIONS = ("fp32", "fp16")
DIRECTIONS = ("day2night", "night2day")


def parse_size(text: str) -> tuple[int, int]:
    """Height and width in pixels from "HxW", or one number for both.

    Raises UsageError for anything else.
    """
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip().lower())
    if match is None:
        raise UsageError(f"'{text}' is no size in pixels", hint="write height x width: --size 768x1024")
    return int(match[1]), int(match[2] or match[1])


def export(
    session: Session,
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH",
            help="A published generator or descriptor by name, or a checkpoint or run folder.",
            autocompletion=lambda incomplete: [n for n in options.model_names() if n.startswith(incomplete)],
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file: .onnx, .safetensors (ours) or .pth (gandtr's); default: the model's name with .onnx.",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Images of this height and width only (as some runtimes need).",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = None,
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic",
            help="Images of any size: the default without --size.",
            show_default=False,
            rich_help_panel=options.MAIN,
        ),
    ] = False,
    opset: Annotated[
        int,
        typer.Option(
            min=11, max=20, help="Version of the ONNX operator set.", rich_help_panel=options.ADVANCED
        ),
    ] = DEFAULT_OPSET,
    precision: Annotated[
        str,
        options.choice(
            "precision",
            lambda: PRECISIONS,
            help="Of the computation (images and results are fp32), or of the weights in their file.",
            rich_help_panel=options.MAIN,
        ),
    ] = "fp32",
    multi_scale: Annotated[
        bool,
        typer.Option(
            "--multi-scale/--single-scale",
            help="Of descriptors: the paper's three scales, or one.",
            rich_help_panel=options.ADVANCED,
        ),
    ] = True,
    whiten: Annotated[
        bool,
        typer.Option(
            "--whiten/--no-whiten",
            help="Of descriptors: with the whitening that belongs to it.",
            rich_help_panel=options.ADVANCED,
        ),
    ] = True,
    whitening: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of descriptors: this whitening instead.",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of descriptors: only the first dimensions of the whitening.",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    direction: Annotated[
        str | None,
        options.choice(
            "direction",
            lambda: DIRECTIONS,
            help="Which generator of a run's folder: day2night (first choice) or night2day.",
            show_default=False,
            rich_help_panel=options.ADVANCED,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check",
            help="Hold the file against PyTorch with ONNX Runtime.",
            rich_help_panel=options.MAIN,
        ),
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.", rich_help_panel=options.MAIN)
    ] = False,
    download: Download = False,
    json: options.Json = False,
) -> int:
    """Write a generator or a descriptor as an ONNX file, and check it.

    The file is run to see that it computes what PyTorch does:

        darkside export hedngan -o hedngan.onnx

    Or, where the file is to be called .safetensors or .pth, only its weights: in darkside's own format (fp16 halves
    it), or in gandtr's, which the original code reads. The whitening of a descriptor is written beside them.

    The file takes batches of normalised RGB images of any number and size. Its metadata says how they are
    normalised (and prepared: CLAHE is not part of a descriptor's network), and what the network is.

    Nothing is written if ONNX Runtime's numbers are further from float64 than the tolerance, and than a few times
    what PyTorch's own float32 is.
    """
    if size is not None and dynamic:
        raise UsageError("--size and --dynamic contradict each other", hint="give one of them")
    size_px = parse_size(size) if size is not None else None
    if not whiten and whitening is not None:
        raise UsageError("--no-whiten and --whitening contradict each other", hint="give one of them")
    target = output if output is not None else Path(f"{Path(model).stem}.onnx")
    if target.is_dir() or (target.exists() and not overwrite):
        what = "is a folder" if target.is_dir() else "is there already"
        raise UsageError(f"{target} {what}", hint="name another file with -o, or add --overwrite")

    form = target.suffix.lower()
    if form not in (".onnx", *WEIGHTS):
        raise UsageError(
            f"{target} says no format by its name",
            hint="end it in .onnx, .safetensors (ours) or .pth (gandtr's)",
        )
    of_onnx = {
        "--size": size, "--dynamic": dynamic, "--opset": opset != DEFAULT_OPSET, "--single-scale": not multi_scale,
        "--dim": dim, "--no-check": not check,
    }  # fmt: skip
    of_descriptors = {
        "--single-scale": not multi_scale, "--dim": dim, "--no-whiten": not whiten, "--whitening": whitening
    }  # fmt: skip
    absences = Absences()
    with absences:
        check_model(session.root, model)
    with absences:
        check_path(whitening)
    _check_kind(model, direction, of_descriptors, onnx=form == ".onnx")
    absences.tell()
    if form in WEIGHTS:
        _refuse(of_onnx, f"of ONNX files; a file of weights ({form}) has no such thing")
        own = whitening if whitening is not None else whiten
        named = _Weights(
            model, target, precision, direction, own, overwrite, [k for k, v in of_descriptors.items() if v]
        )
        return _weights(session, named, download=download, json=json)

    from darkside_cli.inference.onnx_packages import require_packages
    from darkside_cli.networks.catalog import MODELS, missing_files
    from darkside_cli.networks.locate import locate

    require_packages(runtime=check)

    if model in MODELS:
        roles = ("weights", "whitening") if whiten and whitening is None else ("weights",)
        if any(file.role in roles for file in missing_files(MODELS.get(model), session.root)):
            obtain(session, [model], download=download)
    entry, path = locate(model, session.root)
    name = entry.name if entry is not None else path.name
    common: dict[str, Any] = {
        "name": name,
        "size_px": size_px,
        "opset": opset,
        "precision": precision,
        "check": check,
    }
    from darkside_cli.interop.load import open_checkpoint

    kind = entry.kind if entry is not None else None
    checkpoint = None
    if kind != "descriptor":
        checkpoint = open_checkpoint(path, direction=direction)
        kind = checkpoint.kind
    if kind == "generator" and checkpoint is not None:
        _refuse(of_descriptors, f"of descriptors; {name} is a generator")
        from darkside_cli.methods.export import export_generator

        result = export_generator(checkpoint, target, **common)
    elif kind == "descriptor":
        _refuse({"--direction": direction}, f"of generators; {name} is a descriptor")
        from darkside_cli.retrieval.describe.export import export_descriptor
        from darkside_cli.retrieval.describe.load import load_model
        from darkside_cli.retrieval.describe.scales import parse_scales

        loaded = load_model(
            model,
            root=session.root,
            scales=parse_scales("ms" if multi_scale else "ss"),
            whiten=whitening if whitening is not None else whiten,
            dim=dim,
        )
        result = export_descriptor(loaded.model, target, **common)
    else:
        raise _not_exported(name, kind)
    _tell(session, result, common | {"kind": kind}, json=json)
    return 0


def _check_kind(model: str, direction: str | None, of_descriptors: dict[str, Any], *, onnx: bool) -> None:
    """Refuse a published model that cannot be exported, and options that one of its kind has not."""
    from darkside_cli.networks.catalog import MODELS

    kind = MODELS.get(model).kind if model in MODELS else None
    if kind == "generator":
        _refuse(of_descriptors, f"of descriptors; {model} is a generator")
    elif kind == "descriptor":
        _refuse({"--direction": direction}, f"of generators; {model} is a descriptor")
    elif kind is not None and onnx:
        raise _not_exported(model, kind)


def _not_exported(name: str, kind: str | None) -> UsageError:
    return UsageError(
        f"{name} is of the kind '{kind}'; generators and descriptors can be exported",
        hint="see 'darkside models'",
    )


def _refuse(given: dict[str, Any], reason: str) -> None:
    """Refuse options that would be passed over silently."""
    for flag, value in given.items():
        if value:
            raise UsageError(f"{flag} is {reason}", hint="leave it out")


@dataclass(frozen=True)
class _Weights:
    """What is to be written as weights; ``of_descriptors`` are the options given that generators have not."""

    model: str
    target: Path
    precision: str
    direction: str | None
    whiten: bool | Path
    overwrite: bool
    of_descriptors: list[str]


def _weights(session: Session, wanted: _Weights, *, download: bool, json: bool) -> int:
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.locate import locate

    model, target = wanted.model, wanted.target
    if model in MODELS and not MODELS.get(model).embedded:
        obtain(session, [model], download=download)
    entry, path = locate(model, session.root)

    from darkside_cli.interop.load import open_checkpoint
    from darkside_cli.interop.rewrite import rewrite, rewrite_whitening, whitening_beside
    from darkside_cli.retrieval.describe.load import find_whitening

    checkpoint = open_checkpoint(path, direction=wanted.direction)
    whitening = None
    if checkpoint.kind == "descriptor":
        _refuse({"--direction": wanted.direction}, f"of generators; {model} is a descriptor")
        whitening = find_whitening(checkpoint, wanted.whiten, entry=entry, root=session.root)
    else:
        _refuse(dict.fromkeys(wanted.of_descriptors, True), f"of descriptors; {model} is a {checkpoint.kind}")
    beside = whitening_beside(target) if whitening is not None else None
    if beside is not None and beside.exists() and not wanted.overwrite:
        raise UsageError(f"{beside} is there already", hint="name another file with -o, or add --overwrite")
    written = rewrite(checkpoint, target, half=wanted.precision == "fp16")
    if whitening is not None:
        rewrite_whitening(whitening, written)
    if json:
        size = written.stat().st_size
        session.output.json(
            {
                "file": written,
                "whitening": beside,
                "size_bytes": size,
                "kind": checkpoint.kind,
                "precision": wanted.precision,
            }
        )
        return 0
    session.output.path(written)
    if beside is not None:
        session.output.path(beside)
    return 0


def _tell(session: Session, result: Exported, facts: dict[str, Any], *, json: bool) -> None:
    with ProgressRenderer(quiet=session.quiet, verbose=session.verbose) as progress:
        for each in result.compared if session.verbose else ():
            batch, height, width = each.shape
            progress.emit(
                Notice(f"{batch} x {width}x{height}: differs by at most {each.difference:.2g} from float64")
            )
        if result.difference is None:
            progress.emit(Notice("not held against PyTorch"))
        else:
            progress.emit(
                Notice(
                    f"ONNX Runtime differs from float64 by at most {result.difference:.2g}, PyTorch by "
                    f"{result.pytorch:.2g} (tolerance {result.tolerance:g}; {len(result.compared)} shapes)"
                )
            )
    if not json:
        session.output.path(result.path)
        return
    session.output.json(
        {
            "file": result.path,
            "size_bytes": result.size_bytes,
            "name": facts["name"],
            "kind": facts["kind"],
            "precision": facts["precision"],
            "opset": facts["opset"],
            "size_px": list(facts["size_px"]) if facts["size_px"] else None,
            "max_difference": result.difference,
            "pytorch_difference": result.pytorch,
            "tolerance": result.tolerance if result.compared else None,
            "compared": [
                {"shape": list(each.shape), "difference": each.difference, "pytorch": each.pytorch}
                for each in result.compared
            ],
        }
    )


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "export")(export)

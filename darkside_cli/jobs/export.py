"""Export a model: as an ONNX file that is held against PyTorch, or its weights in another format."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.events import Emit, ignore
from darkside_cli.jobs.checks import check_model, check_path
from darkside_cli.jobs.fields import MODEL
from darkside_cli.jobs.needs import obtain, obtain_model
from darkside_cli.jobs.request import ADVANCED, REQUIRED, Getting, ask, make

if TYPE_CHECKING:
    from darkside_cli.inference.onnx import Exported

DEFAULT_OPSET = 17
WEIGHTS = (".safetensors", ".pth")
PRECISIONS = ("fp32", "fp16")
_OF_ONNX = ("--size", "--dynamic", "--opset", "--single-scale", "--dim", "--no-check")
_OF_DESCRIPTORS = ("--single-scale", "--dim", "--no-whiten", "--whitening")


def parse_size(text: str) -> tuple[int, int]:
    """Height and width in pixels from "HxW", or one number for both.

    Raises UsageError for anything else.
    """
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip().lower())
    if match is None:
        raise UsageError(f"'{text}' is no size in pixels", hint="write height x width: --size 768x1024")
    return int(match[1]), int(match[2] or match[1])


@dataclass(frozen=True, kw_only=True)
class ExportRequest(Getting):
    """Which model is written, to which file, and as what."""

    positional = "model"

    model: str = ask(
        "A published generator or descriptor by name, or a checkpoint or run folder.",
        REQUIRED,
        argument=True,
        **MODEL,
    )
    output: Path | None = ask(
        "The file: .onnx, .safetensors (ours) or .pth (gandtr's); default: the model's name with .onnx.",
        short="-o",
        metavar="FILE",
    )
    size: str | None = ask("Images of this height and width only (as some runtimes need).", metavar="HxW")
    dynamic: bool = ask("Images of any size: the default without --size.", False)
    opset: int = ask(
        "Version of the ONNX operator set.", DEFAULT_OPSET, minimum=11, maximum=20, group=ADVANCED
    )
    precision: str = ask(
        "Of the computation (images and results are fp32), or of the weights in their file.",
        "fp32",
        kind="precision",
        choices_from=PRECISIONS,
    )
    multi_scale: bool = ask(
        "Of descriptors: the paper's three scales, or one.",
        True,
        flag="--multi-scale/--single-scale",
        group=ADVANCED,
    )
    whiten: bool = ask("Of descriptors: with the whitening that belongs to it.", True, group=ADVANCED)
    whitening: Path | None = ask("Of descriptors: this whitening instead.", metavar="FILE", group=ADVANCED)
    dim: int | None = ask(
        "Of descriptors: only the first dimensions of the whitening.", minimum=1, group=ADVANCED
    )
    direction: str | None = ask(
        "Which generator of a run's folder: day2night (first choice) or night2day.",
        kind="direction",
        choices_from="darkside_cli.networks.catalog:DIRECTIONS",
        group=ADVANCED,
    )
    compare: bool = ask("Hold the file against PyTorch with ONNX Runtime.", True, flag="--check/--no-check")
    overwrite: bool = ask("Replace a file that is there.", False)

    def check(self) -> None:
        """Raise UsageError for contradictions, a file that is there, and options that the model's kind has not."""
        super().check()
        if self.size is not None and self.dynamic:
            raise UsageError("--size and --dynamic contradict each other", hint="give one of them")
        if self.size is not None:
            parse_size(self.size)
        if not self.whiten and self.whitening is not None:
            raise UsageError("--no-whiten and --whitening contradict each other", hint="give one of them")
        target = self.target
        if target.is_dir() or (target.exists() and not self.overwrite):
            what = "is a folder" if target.is_dir() else "is there already"
            raise UsageError(f"{target} {what}", hint="name another file with -o, or add --overwrite")
        if target.suffix.lower() not in (".onnx", *WEIGHTS):
            raise UsageError(
                f"{target} says no format by its name",
                hint="end it in .onnx, .safetensors (ours) or .pth (gandtr's)",
            )
        with suppress(MissingAssetError):  # told when the job runs
            check_model(self.root, self.model)
        self.check_kind(_registered_kind(self.model), self.model)
        if self.as_weights:
            form = target.suffix.lower()
            self._refuse(_OF_ONNX, f"of ONNX files; a file of weights ({form}) has no such thing")

    def check_kind(self, kind: str | None, name: str) -> None:
        """Raise UsageError for a ``kind`` of model that cannot be exported, and for options that it has not."""
        if kind == "descriptor":
            self._refuse(("--direction",), f"of generators; {name} is a descriptor")
        elif kind == "generator" or (kind is not None and self.as_weights):
            self._refuse(_OF_DESCRIPTORS, f"of descriptors; {name} is a {kind}")
        elif kind is not None:
            raise UsageError(
                f"{name} is of the kind '{kind}'; generators and descriptors can be exported",
                hint="see 'darkside models'",
            )

    @property
    def target(self) -> Path:
        """The file that is written."""
        return self.output if self.output is not None else Path(f"{Path(self.model).stem}.onnx")

    @property
    def as_weights(self) -> bool:
        """Whether only the weights are written."""
        return self.target.suffix.lower() in WEIGHTS

    @property
    def own_whitening(self) -> bool | Path:
        """Which whitening is wanted: the model's own, none, or that of a file."""
        return self.whitening if self.whitening is not None else self.whiten

    def _refuse(self, flags: tuple[str, ...], reason: str) -> None:
        """Refuse options that would be passed over silently."""
        given = {
            "--size": self.size,
            "--dynamic": self.dynamic,
            "--opset": self.opset != DEFAULT_OPSET,
            "--single-scale": not self.multi_scale,
            "--dim": self.dim,
            "--no-check": not self.compare,
            "--no-whiten": not self.whiten,
            "--whitening": self.whitening,
            "--direction": self.direction,
        }
        for flag in flags:
            if given[flag]:
                raise UsageError(f"{flag} is {reason}", hint="leave it out")


def _registered_kind(model: str) -> str | None:
    from darkside_cli.networks.catalog import MODELS

    return MODELS.get(model).kind if model in MODELS else None


@dataclass(frozen=True)
class ExportResult:
    """What was written. ``onnx`` says how an ONNX file compares with PyTorch; ``whitening`` lies beside weights."""

    request: ExportRequest
    file: Path
    name: str
    kind: str
    size_bytes: int
    whitening: Path | None = None
    onnx: Exported | None = None

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        kind = {"kind": self.kind, "precision": self.request.precision}
        if self.onnx is None:
            return {"file": self.file, "whitening": self.whitening, "size_bytes": self.size_bytes, **kind}
        size = self.request.size
        return {
            "file": self.file,
            "size_bytes": self.size_bytes,
            "name": self.name,
            **kind,
            "opset": self.request.opset,
            "size_px": list(parse_size(size)) if size is not None else None,
            "max_difference": self.onnx.difference,
            "pytorch_difference": self.onnx.pytorch,
            "tolerance": self.onnx.tolerance if self.onnx.compared else None,
            "compared": [
                {"shape": list(each.shape), "difference": each.difference, "pytorch": each.pytorch}
                for each in self.onnx.compared
            ],
        }


def export(*model: Any, emit: Emit = ignore, **options: Any) -> ExportResult:
    """Export a model: ``export("hedngan", output="hedngan.onnx")``; see :class:`ExportRequest` and :func:`run`."""
    return run(make(ExportRequest, *model, **options), emit=emit)


def run(request: ExportRequest, *, emit: Emit = ignore) -> ExportResult:
    """Write the model of ``request`` to its file.

    Raises UsageError for options that the model has not, MissingAssetError if the model or a package is missing,
    CheckpointError for a file that is no model, and ExportMismatchError, with nothing written, if ONNX Runtime's
    numbers are not PyTorch's.
    """
    check_model(request.root, request.model)
    check_path(request.whitening)
    return _export_weights(request, emit) if request.as_weights else _export_onnx(request, emit)


def _export_onnx(request: ExportRequest, emit: Emit) -> ExportResult:
    from darkside_cli.inference.onnx_packages import require_packages
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.locate import is_name, locate, missing_files

    require_packages(runtime=request.compare)
    model = request.model
    if model in MODELS:
        roles = ("weights", "whitening") if request.own_whitening is True else ("weights",)
        if any(file.role in roles for file in missing_files(MODELS.get(model), request.root)):
            obtain(request, [model], emit=emit)
    elif is_name(model):
        obtain(request, [model], emit=emit)
    entry, path = locate(model, request.root)
    name = entry.name if entry is not None else path.name
    common: dict[str, Any] = {
        "name": name,
        "size_px": parse_size(request.size) if request.size is not None else None,
        "opset": request.opset,
        "precision": request.precision,
        "check": request.compare,
    }
    from darkside_cli.interop.load import open_model

    if entry is not None and entry.kind == "descriptor":
        kind = "descriptor"
    else:
        checkpoint = open_model(model, path, direction=request.direction)
        kind = checkpoint.kind
    request.check_kind(kind, name)
    if kind == "generator":
        from darkside_cli.methods.export import export_generator

        written = export_generator(checkpoint, request.target, **common)
    else:
        from darkside_cli.retrieval.describe.export import export_descriptor
        from darkside_cli.retrieval.describe.load import load_model
        from darkside_cli.retrieval.describe.scales import parse_scales

        loaded = load_model(
            model,
            root=request.root,
            scales=parse_scales("ms" if request.multi_scale else "ss"),
            whiten=request.own_whitening,
            dim=request.dim,
        )
        written = export_descriptor(loaded.model, request.target, **common)
    return ExportResult(request, written.path, name, kind, written.size_bytes, onnx=written)


def _export_weights(request: ExportRequest, emit: Emit) -> ExportResult:
    from darkside_cli.networks.locate import locate

    obtain_model(request, request.model, kind=None, emit=emit)
    entry, path = locate(request.model, request.root)

    from darkside_cli.interop.load import open_model
    from darkside_cli.interop.rewrite import rewrite, rewrite_whitening, whitening_beside
    from darkside_cli.retrieval.describe.load import find_whitening

    checkpoint = open_model(request.model, path, direction=request.direction)
    request.check_kind(checkpoint.kind, request.model)
    whitening = None
    if checkpoint.kind == "descriptor":
        whitening = find_whitening(checkpoint, request.own_whitening, entry=entry, root=request.root)
    beside = whitening_beside(request.target) if whitening is not None else None
    if beside is not None and beside.exists() and not request.overwrite:
        raise UsageError(f"{beside} is there already", hint="name another file with -o, or add --overwrite")
    written = rewrite(checkpoint, request.target, half=request.precision == "fp16")
    if whitening is not None:
        rewrite_whitening(whitening, written)
    return ExportResult(
        request, written, request.model, checkpoint.kind, written.stat().st_size, whitening=beside
    )

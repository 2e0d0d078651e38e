"""``darkside export``: an ONNX file held against PyTorch, or the weights in another format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from darkside_cli.cli import options
from darkside_cli.cli.offer import run_job
from darkside_cli.cli.session import Session, command
from darkside_cli.events import Notice
from darkside_cli.jobs.export import ExportRequest, run

if TYPE_CHECKING:
    from darkside_cli.inference.onnx import Exported


def export(session: Session, request: ExportRequest, json: options.Json = False) -> int:
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
    result = run_job(session, request, run)
    if result.onnx is not None:
        _tell(session, result.onnx)
    if json:
        session.output.json(result.document())
        return 0
    session.output.path(result.file)
    if result.whitening is not None:
        session.output.path(result.whitening)
    return 0


def _tell(session: Session, written: Exported) -> None:
    with session.screen() as screen:
        for each in written.compared if session.verbose else ():
            batch, height, width = each.shape
            screen.emit(
                Notice(f"{batch} x {width}x{height}: differs by at most {each.difference:.2g} from float64")
            )
        if written.difference is None:
            screen.emit(Notice("not held against PyTorch"))
        else:
            screen.emit(
                Notice(
                    f"ONNX Runtime differs from float64 by at most {written.difference:.2g}, PyTorch by "
                    f"{written.pytorch:.2g} (tolerance {written.tolerance:g}; {len(written.compared)} shapes)"
                )
            )


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "export", request=ExportRequest)(export)

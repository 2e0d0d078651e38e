"""Whether what exporting to ONNX needs is installed. Torch-free, so that its absence is told at once."""

from __future__ import annotations

from importlib import import_module

from darkside_cli.errors import MissingAssetError


def require_packages(*, runtime: bool = True) -> None:
    """See that ONNX (and, with ``runtime``, ONNX Runtime) can be imported.

    Raises MissingAssetError that says how to get them.
    """
    for name in ("onnx", "onnxruntime") if runtime else ("onnx",):
        try:
            import_module(name)
        except ImportError as error:
            raise MissingAssetError(
                f"exporting to ONNX needs the package {name} ({error})",
                hint="pip install 'darkside-cli[onnx]'",
            ) from error

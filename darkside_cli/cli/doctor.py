"""``darkside doctor``: versions, devices, the data folder, and what each command lacks."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from typing import TYPE_CHECKING, Any

from darkside_cli import __version__
from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE
from darkside_cli.cli.obtain import open_assets
from darkside_cli.cli.session import Session, command
from darkside_cli.units import human_size

if TYPE_CHECKING:
    from darkside_cli.data.store import AssetStore

LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pillow",
    "safetensors",
    "typer",
    "rich",
    "requests",
    "matplotlib",
    "onnxruntime",
    "tensorboard",
    "graphviz",
)
VARIABLES = (
    "DARKSIDE_HOME",
    "CIRTORCH_ROOT",
    "DARKSIDE_OFFLINE",
    "DARKSIDE_MIRROR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
)


def doctor(session: Session, json: options.Json = False) -> int:
    """Show what works on this machine, and what is lacking."""
    store = open_assets(session)
    facts: dict[str, Any] = {
        "versions": _versions(),
        "devices": _devices(),
        "data": _data(session, store),
        "environment": {name: _without_password(v) for name in VARIABLES if (v := _variable(name))},
        "lacking": _lacking(store),
    }
    if json:
        session.output.json(facts)
        return EXIT_DONE
    lines: list[str] = []
    for title in ("versions", "devices", "data", "environment"):
        pairs: dict[str, Any] = facts[title]
        width = max(map(len, pairs), default=0)
        lines += [title, *(f"  {key:<{width}}  {value}" for key, value in pairs.items()), ""]
    lines.append("assets that commands lack")
    for name, lacking in _lacking(store).items():
        what = (
            f"lacks {', '.join(lacking)}; darkside download {' '.join(lacking)}"
            if lacking
            else "has everything"
        )
        lines.append(f"  {name}: {what}")
    session.output.text("\n".join(lines))
    return EXIT_DONE


def _versions() -> dict[str, str]:
    found = {"darkside": __version__, "python": platform.python_version(), "system": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    found["dot (draws graphs)"] = shutil.which("dot") or "not installed"
    return found


def _devices() -> dict[str, str]:
    try:
        import torch

        from darkside_cli.engine.device import visible_devices
    except Exception as error:  # a broken installation is what people call this command for
        return {"torch": f"cannot be imported: {type(error).__name__}: {error}"}
    return {
        "usable": ", ".join(visible_devices()),
        "CUDA of torch": str(torch.version.cuda),
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} processors",
    }


def _data(session: Session, store: AssetStore) -> dict[str, str]:
    from darkside_cli.data.disk import free_bytes

    root = store.root
    state = "exists" if root.is_dir() else "will be made by the first download"
    if root.is_dir() and not os.access(root, os.W_OK):
        state = "exists, but cannot be written to"
    return {
        "folder": str(root),
        "chosen by": session.root.origin,
        "state": state,
        "free": human_size(free_bytes(root)),
    }


def _lacking(store: AssetStore) -> dict[str, list[str]]:
    """Names of the assets that are not complete, by command that uses them."""
    result: dict[str, list[str]] = {}
    for asset in store.assets:
        complete = store.state(asset).status == "complete"
        for name in asset.needed_by:
            if name.endswith("PATH"):  # a network that nobody asks for by name is no lack
                continue
            lacking = result.setdefault(name, [])
            if not complete:
                lacking.append(asset.name)
    return dict(sorted(result.items()))


def _variable(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.lower(), "")


def _without_password(value: str) -> str:
    """Proxy addresses may carry a password, and what this command prints goes into bug reports."""
    head, at, tail = value.rpartition("@")
    return f"{head.partition('://')[0]}://***@{tail}" if at and "://" in head else value


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "doctor")(doctor)

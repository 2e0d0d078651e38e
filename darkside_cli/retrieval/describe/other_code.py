"""The code of models of others: found in a hub or a module and run, without the network where nothing may be fetched.

It has to be trusted before: see :meth:`darkside_cli.networks.other_spec.OtherSpec.require`.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from darkside_cli.errors import ConfigError, DarksideError, MissingAssetError, UnknownNameError, UsageError
from darkside_cli.networks.other_spec import OtherSpec, Trust
from darkside_cli.retrieval.describe.other_failures import at_call, causes, ended, first_line


def run_code(spec: OtherSpec, trust: Trust) -> Any:
    """What the function of ``spec`` returns, or the network that it names.

    Raises UsageError if there is none by that name, MissingAssetError if something has to be fetched that may not be,
    or its code ends the program, ConfigError if it fails.
    """
    fetched: list[str] = []
    try:
        # What the code prints is no result of ours.
        with redirect_stdout(sys.stderr), _network(trust, fetched), _as_it_was(spec):
            return _from_module(spec) if spec.kind == "module" else _from_hub(spec)
    except DarksideError:
        raise
    except SystemExit as error:
        raise ended(spec.text, error) from error
    except Exception as error:
        text = str(error)
        if fetched and any(
            isinstance(each, (URLError, ConnectionError, TimeoutError)) for each in causes(error)
        ):
            repository = spec.place.partition("@")[0]
            code = spec.kind == "github" and repository in fetched[-1] and "/releases/" not in fetched[-1]
            what = f"{spec.text}: the code of {repository}" if code else f"{spec.text}: {fetched[-1]}"
            if trust.network:
                raise MissingAssetError(f"{what} cannot be fetched: {first_line(error)}") from error
            way = f"; or git clone https://github.com/{repository}, and name its folder" if code else ""
            raise MissingAssetError(f"{what} is not on this machine", hint=f"{trust.why_not}{way}") from error
        if isinstance(error, ImportError) or text.startswith("Missing dependencies"):
            raise MissingAssetError(
                f"{spec.text} does not run here: {first_line(error)}", hint="install it beside darkside"
            ) from error
        if text.startswith("Cannot find callable"):
            raise UsageError(f"there is no '{spec.entry}' in the hubconf.py of {spec.place}") from error
        raise ConfigError(f"{spec.text} fails: {first_line(error)}", hint=at_call(error)) from error


def _from_hub(spec: OtherSpec) -> Any:
    load: Callable[..., Any] = torch.hub.load
    if spec.kind == "folder":
        _check_entry(Path(spec.place), spec.entry)
        return load(spec.place, spec.entry, source="local", **spec.arguments)
    place = spec.place.replace("@", ":")
    return load(place, spec.entry, trust_repo=True, verbose=False, **spec.arguments)


def _check_entry(folder: Path, entry: str) -> None:
    """See that the ``hubconf.py`` of a folder has an entry point, without running it."""
    conf = folder / "hubconf.py"
    if not folder.is_dir():
        raise MissingAssetError(f"there is no folder {folder}", hint="check the path")
    if not conf.is_file():
        raise UsageError(
            f"there is no hubconf.py in {folder}", hint="name the folder of a torch.hub repository"
        )
    tree = ast.parse(conf.read_bytes())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    if entry not in names and "*" not in names:
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        raise UnknownNameError(
            f"entry point of {conf}", entry, [each for each in functions if not each.startswith("_")]
        )


def _from_module(spec: OtherSpec) -> Any:
    """What the factory of a module returns; a network that is one already is taken as it is."""
    try:
        module = import_module(spec.place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{spec.place}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks another one
        hint = "Python looks in its environment and in the current folder"
        raise MissingAssetError(f"there is no Python module '{spec.place}'", hint=hint) from error
    factory = getattr(module, spec.entry, None)
    if factory is None:
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        own = [each for each in names if getattr(getattr(module, each), "__module__", None) == spec.place]
        raise UnknownNameError(f"function of {spec.place}", spec.entry, [*own, *names])
    return factory if isinstance(factory, nn.Module) else factory(**spec.arguments)


@contextmanager
def _network(trust: Trust, fetched: list[str]) -> Iterator[None]:
    """Note what torch.hub asks for, and refuse it where nothing may be fetched."""
    own = torch.hub.urlopen  # type: ignore[attr-defined]

    def urlopen(request: Any, *args: Any, **kwargs: Any) -> Any:
        fetched.append(getattr(request, "full_url", request))
        if not trust.network:
            raise URLError("nothing may be fetched")
        return own(request, *args, **kwargs)

    setattr(torch.hub, "urlopen", urlopen)  # noqa: B010
    try:
        yield
    finally:
        setattr(torch.hub, "urlopen", own)  # noqa: B010


@contextmanager
def _as_it_was(spec: OtherSpec) -> Iterator[None]:
    """Let modules be found in the current folder; forget those of a hub folder, since others have the same names."""
    path, before = list(sys.path), set(sys.modules)
    if spec.kind == "module":
        sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = path
        places = {"folder": spec.place, "github": torch.hub.get_dir()}
        if spec.kind in places:
            folder = os.path.realpath(places[spec.kind])
            for name in set(sys.modules) - before:
                file = getattr(sys.modules[name], "__file__", None)
                if file and Path(os.path.realpath(file)).is_relative_to(folder):
                    del sys.modules[name]

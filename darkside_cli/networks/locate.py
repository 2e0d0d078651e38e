"""From what a user calls a model to the file or folder that holds it. Torch-free."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from darkside_cli.errors import MissingAssetError, UnknownNameError, UsageError, some_names
from darkside_cli.networks.catalog import (
    EMBEDDED_DESCRIPTOR,
    EMBEDDED_GENERATOR,
    MODELS,
    PUBLISHED_DESCRIPTOR,
    PUBLISHED_GENERATOR,
)
from darkside_cli.networks.configs import TIMM
from darkside_cli.networks.model_entry import ModelEntry, WeightFile
from darkside_cli.networks.other_spec import is_other
from darkside_cli.networks.others import other_names

_PATHS_TOO = "'darkside models' lists them; a path to a weights file or a run folder is taken too"


def locate(
    name_or_path: str | Path, root: str | os.PathLike[str], *, kind: str | None = None
) -> tuple[ModelEntry | None, Path]:
    """Find a model: its registry entry (None for a path) and its weights file or folder.

    A string without a separator and without a suffix is first of all a registered name, even if something
    of that name lies in the current folder (write ``./hedngan`` for that); if it is no name, it is a path.
    "timm:NAME" is one of timm's networks. Anything else, and every :class:`~pathlib.Path`, is a path. ``~`` is
    expanded. ``kind`` ("generator", "descriptor", "edge-detector") restricts the names; what a path holds is found
    out when it is opened.

    Raises MissingAssetError if a published model's weights are not under ``root`` (it says which address goes
    to which path) or a path does not exist, UnknownNameError for a misspelt name (with near matches), and
    UsageError for a name of another kind.
    """
    if str(name_or_path).startswith(TIMM):
        from darkside_cli.networks.raw import timm_entry  # which loads torch

        _require_kind(str(name_or_path), "descriptor", kind)
        return timm_entry(str(name_or_path), Path(root))
    if is_other(name_or_path):
        raise UsageError(
            f"'{name_or_path}' is a model of others", hint="extract, search and evaluate take such ones"
        )
    if isinstance(name_or_path, Path) or not _is_bare(name_or_path):
        return None, _existing(Path(name_or_path))
    if name_or_path in MODELS:
        return _registered(MODELS.get(name_or_path), Path(root), kind)
    if name_or_path and _exists(Path(name_or_path)):
        return None, Path(name_or_path)
    raise UnknownNameError("model", name_or_path, _names(kind), extra_hint=_PATHS_TOO)


def _is_bare(name: str) -> bool:
    separators = {"/", os.sep, os.altsep or os.sep}
    return not Path(name).suffix and not name.startswith("~") and not separators & set(name)


def is_name(model: str) -> bool:
    """Whether ``model`` is the name of one that can be got: registered, or timm's."""
    return model in MODELS or model.startswith(TIMM)


def _registered(entry: ModelEntry, root: Path, kind: str | None) -> tuple[ModelEntry, Path]:
    _require_kind(entry.name, entry.kind, kind)
    found = entry.weights.here(root)
    if found is None:
        raise MissingAssetError(
            f"the weights of '{entry.name}' are not on this machine", hint=how_to_get(entry, root)
        )
    return entry, found[0]


def _require_kind(name: str, kind: str, wanted: str | None) -> None:
    if wanted is not None and kind != wanted:
        raise UsageError(
            f"model '{name}' is of the kind '{kind}', not '{wanted}'",
            hint=f"known: {some_names(_names(wanted))}; 'darkside models' lists them",
        )


def _existing(path: Path) -> Path:
    with suppress(RuntimeError):  # "~nobody/x" stays as it is, and is then reported as absent
        path = path.expanduser()
    if _exists(path):
        return path
    hint = (
        f"'{path.stem}' alone is the name of a published model" if path.stem in MODELS else "check the path"
    )
    raise MissingAssetError(f"there is no file or folder {path}", hint=hint)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for the file system, a folder that may not be entered
        return False


def _names(kind: str | None) -> list[str]:
    own = [name for name in MODELS.names(aliases=True) if kind is None or MODELS.get(name).kind == kind]
    return own + (other_names() if kind in (None, "descriptor") else [])


def missing_files(entry: ModelEntry, root: str | os.PathLike[str]) -> tuple[WeightFile, ...]:
    """Files of ``entry`` that are not under ``root`` and that no package brings, or are empty or not of their size."""
    return tuple(file for file in entry.files if not _is_whole(file, Path(root)))


def state_on_disk(entry: ModelEntry, root: str | os.PathLike[str]) -> str:
    """Tell how much of ``entry`` is under the data root: "ready", "partial" or "missing".

    "partial": a file is absent or not whole while something of the model is there. Only sizes are looked at.
    """
    if not missing_files(entry, root):
        return "ready"
    return "partial" if any(file.under(root).is_file() for file in entry.files) else "missing"


def default_generator(root: str | os.PathLike[str]) -> tuple[str, str | None]:
    """Name the generator where none is named, and say in a sentence what to know of the choice.

    The published one where it is under ``root`` (None: there is nothing to say), else the small one that the package
    brings. This is the one default that steps down, and it says so.
    """
    if state_on_disk(MODELS.get(PUBLISHED_GENERATOR), root) == "ready":
        return PUBLISHED_GENERATOR, None
    return EMBEDDED_GENERATOR, (
        f"{PUBLISHED_GENERATOR} is not on this machine (darkside download {PUBLISHED_GENERATOR} gets it); "
        f"using {EMBEDDED_GENERATOR}, which comes with darkside"
    )


def default_descriptor(root: str | os.PathLike[str]) -> tuple[str, str]:
    """Name the descriptor where none is named, and say in a sentence which it is.

    Of the published ones of the paper that are under ``root`` the one of the best figures, else the small one that the
    package brings. Raises MissingAssetError where there is neither.
    """
    here = [
        entry
        for entry in map(MODELS.get, MODELS.names())
        if entry.kind == "descriptor" and "avg" in entry.scores and state_on_disk(entry, root) == "ready"
    ]
    if here:
        best = max(here, key=lambda entry: entry.scores["avg"]).name
        return best, f"describing images with {best}, which is on this machine"
    how = f"darkside download {PUBLISHED_DESCRIPTOR} gets one"
    if EMBEDDED_DESCRIPTOR not in MODELS:
        raise MissingAssetError(
            "no descriptor is named, and none of the published ones is on this machine",
            hint=f"name one with --model, such as that of a run of darkside finetune; or {how}",
        )
    return EMBEDDED_DESCRIPTOR, (
        f"no published descriptor is on this machine ({how}); "
        f"using the small {EMBEDDED_DESCRIPTOR} that comes with darkside"
    )


def how_to_get(entry: ModelEntry, root: str | os.PathLike[str] | None = None) -> str:
    """Say which command gets ``entry``, or which addresses its files come from and which paths they go to.

    With ``root``, only the files not yet there are named, by their whole paths.
    """
    files = entry.files if root is None else missing_files(entry, root) or entry.files
    if entry.install:
        return entry.install
    place = "<data root>" if root is None else Path(root).as_posix()
    by_hand = "; ".join(f"put {' or '.join(file.urls)} at {place}/{file.path}" for file in files)
    packages = "".join(f"{file.stand_in.install}; or " for file in files if file.stand_in is not None)
    return f"darkside download {entry.name}; or {packages}{by_hand}"


def _is_whole(file: WeightFile, root: Path) -> bool:
    found = file.here(root)
    if found is None:
        return False
    path, package = found
    if package is not None:
        return True
    size = path.stat().st_size
    return size > 0 if file.size_bytes is None else size == file.size_bytes

"""What a job is asked for, judged before anything heavy is loaded: wrong usage first, then what is not there.

Every function here needs names and paths only, so that a slip of the keyboard is told in a moment. What files hold is
found out when they are opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.images.formats import VIDEO_SUFFIXES
from darkside_cli.networks.other_spec import Trust

P = ParamSpec("P")
T = TypeVar("T")


class Absences:
    """Holds back what is said of missing things until all has been looked at, since wrong usage is told first.

    :meth:`tell` then raises the first MissingAssetError of all calls, if there was any.
    """

    def __init__(self) -> None:
        self._first: MissingAssetError | None = None

    def __call__(self, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``check`` gives; None where something is missing."""
        try:
            return check(*args, **kwargs)
        except MissingAssetError as error:
            self._first = self._first or error
        return cast(T, None)

    def tell(self) -> None:
        """Raise the first thing that is missing."""
        if self._first is not None:
            raise self._first


def check_model(
    root: DataRoot, model: str | Path, *, kind: str | None = None, trust: Trust | None = None
) -> None:
    """See that ``model`` is a registered name of the ``kind``, or a path that is there.

    Published models that are not on this machine pass: they can be got. With ``trust`` those of others pass whose code
    may run. Raises UnknownNameError for misspelt names, UsageError for those of another kind and for code that is not
    trusted, MissingAssetError for paths that lead nowhere.
    """
    from darkside_cli.networks.locate import is_name, locate
    from darkside_cli.networks.other_spec import is_other, parse_other

    if trust is not None and is_other(model):
        return parse_other(str(model)).require(trust)

    try:
        locate(model, root, kind=kind)
    except MissingAssetError:
        if not is_name(str(model)):
            raise


def check_generator(root: DataRoot, model: str, *, to: str, direction: str | None = None) -> None:
    """See that ``model`` may be a generator to ``to`` ("night", "day"); ``direction`` is what the user says it does.

    Raises UsageError if it is known to go the other way, by the registry or by its file's name, and MissingAssetError
    for a folder without a generator; else what :func:`check_model` raises.
    """
    from darkside_cli.interop.folders import direction_of, find_network
    from darkside_cli.networks.catalog import DIRECTION_TO, MODELS

    wanted = DIRECTION_TO[to]
    if direction is not None and direction != wanted:
        raise UsageError(
            f"a {direction} generator does not translate to {to}",
            hint=f"use --to {'day' if to == 'night' else 'night'} with it",
        )
    if model in MODELS:
        known = MODELS.get(model).direction
        if known is not None and known != wanted:
            raise UsageError(
                f"'{model}' translates {known.replace('2', ' to ')}, not to {to}",
                hint="give a generator that does, such as latest_net_G_B.pth of a CycleGAN run",
            )
    check_model(root, model, kind="generator")
    if model in MODELS:
        return
    path = Path(model).expanduser()
    if path.is_dir():
        find_network(path, wanted)
    # A file of ours says itself what it does, whatever it is called.
    elif direction is None and path.suffix != ".safetensors" and direction_of(path) not in (None, wanted):
        raise UsageError(
            f"'{model}' translates {'day to night' if to == 'day' else 'night to day'}, not to {to}",
            hint="CycleGAN's other half does: generator_Y.pth or latest_net_G_B.pth of the same run"
            if to == "day"
            else "use --to day with it, or the run's generator_X.pth or latest_net_G_A.pth",
        )


def check_edge_detector(root: DataRoot, spec: str) -> None:
    """See that ``spec`` is an edge detector by name, or a path that is there.

    Raises UnknownNameError for misspelt names, MissingAssetError for paths that lead nowhere.
    """
    from darkside_cli.methods.catalog import is_detector_name

    if not is_detector_name(spec):
        check_model(root, Path(spec))


def check_path(path: Path | None, what: str = "file") -> None:
    """See that a file (or folder: ``what``) that is named is there, if one is.

    Raises MissingAssetError if it is not, UsageError for a pipe or a device, which would block or never end.
    """
    if path is None:
        return
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises for names too long
        raise MissingAssetError(f"there is no {what} {os.fsdecode(path)}", hint="check the path")
    if not (path.is_file() or path.is_dir()):
        raise UsageError(
            f"{os.fsdecode(path)} is a pipe or a device, not a {what}", hint="name a file on disk"
        )


def require_folder(folder: Path) -> None:
    """See that a folder for results can be made, so that this is told once and not for every result.

    It is tried out, and nothing of it is left. Raises UsageError.
    """
    new = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"the folder {os.fsdecode(folder)} cannot be made: {reason.lower()}",
            hint="name another one with --output",
        ) from error
    finally:
        for each in new:
            with suppress(OSError):  # somebody has put something into it meanwhile
                each.rmdir()


def check_page(path: Path | None) -> None:
    """See that a page that will be written in the end can be. Raises UsageError if it is a folder."""
    if path is not None and path.is_dir():
        raise UsageError(f"{os.fsdecode(path)} is a folder", hint="name a file, such as gallery.html")


def refuse_empty_folders(paths: Iterable[Path], *, recursive: bool, videos: bool = False) -> None:
    """Raise UsageError for folders among ``paths``, in which no image was found; told of ``videos`` where wanted.

    No name at all is nothing to do; folders without images are a mistake.
    """
    folders = [path for path in paths if path.is_dir()]
    if not folders:
        return
    named = ", ".join(map(os.fsdecode, folders))
    hint = None if recursive else "--recursive takes sub-folders too"
    inside = (entry for folder in folders for entry in folder.iterdir())
    if videos and any(entry.suffix.lower() in VIDEO_SUFFIXES for entry in inside):
        named += ", but videos"
        hint = "take frames out first: ffmpeg -i VIDEO frame-%05d.png"
    raise UsageError(f"no images in {named}", hint=hint)

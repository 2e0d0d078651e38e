"""What a request is: a frozen dataclass that says all about one call of a job, and checks itself.

::

    @dataclass(frozen=True, kw_only=True)
    class SortRequest(Request):
        images: tuple[Path, ...] = ask((), help="Images or folders.", argument=True)
        output: Path | None = ask(None, help="Folder of the lists.", flags=("--output", "-o"), group=DATA)

A field is declared once. The command line makes its option of it, Python takes it as a keyword, and the reference
in the documentation is written from it. Values are brought to the declared types (texts to paths, lists to tuples) and
held against bounds and choices when the request is made, so that everybody gets the same error. No torch is needed
for that.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from darkside_cli.config.paths import DataRoot, data_root
from darkside_cli.config.schema import without_none
from darkside_cli.errors import UnknownNameError, UsageError
from darkside_cli.registry import Registry
from darkside_cli.registry import resolve as import_target

#: Groups of options, which help shows as panels.
MAIN, DATA, DEVICE, ADVANCED = "Main options", "Data in and out", "Device and speed", "Advanced"

#: In place of a default: the field has none.
REQUIRED: Any = dataclasses.MISSING

_METADATA_KEY = "ask"
# What the command line takes for yes in an environment variable.
_YES = ("1", "true", "t", "yes", "y", "on")
R = TypeVar("R", bound="Request")


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is known of a field of a request beyond its type and default; see :func:`ask`."""

    help: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    group: str = MAIN
    choices_from: str | None = None
    kind: str = "value"
    open_ended: bool = False
    minimum: float | None = None
    maximum: float | None = None
    setting: str | None = None
    envvar: str | None = None
    argument: bool = False
    show_default: bool = True

    def choices(self) -> tuple[str, ...]:
        """Names that ``choices_from`` points to, imported now; aliases of registry entries are included."""
        if self.choices_from is None:
            return ()
        source = import_target(self.choices_from)
        if isinstance(source, Registry):
            return tuple(source.names(aliases=True))
        return tuple(source() if callable(source) else source)


def ask(default: Any, *, help: str, **known: Any) -> Any:
    """Declare a field of a request; ``default`` is REQUIRED where it has to be given.

    ``flags`` are its options on the command line (``--name`` if none are given), ``group`` the panel they are shown
    in, ``metavar`` what help calls the value. ``choices_from`` is "module:attribute" of a registry, of names or of a
    function that returns names; ``kind`` is what an unknown one is called ("model"). ``open_ended`` choices only
    complete in the shell, since a path may be given too. ``minimum`` and ``maximum``, both inclusive, hold for
    every number in the value. ``setting`` is the key of a training's configuration that the field stands for.
    ``argument`` makes it a positional argument.
    """
    return field(default=default, metadata={_METADATA_KEY: Ask(help=help, **known)})


@dataclass(frozen=True)
class Asked:
    """One field of a request type, its annotation evaluated."""

    name: str
    annotation: Any
    ask: Ask
    default: Any


def asked(request: type[Request]) -> Mapping[str, Asked]:
    """Fields of a request type by name: its own first, then those of the types that it builds on."""
    key: Any = request  # mypy does not see that a type can be hashed
    return _asked(key)


@cache
def _asked(request: type[Request]) -> Mapping[str, Asked]:
    hints = get_type_hints(request)
    declared = {each.name: each for each in dataclasses.fields(request)}
    order = dict.fromkeys(
        name for cls in request.__mro__ for name in inspect.get_annotations(cls) if name in declared
    )
    return {
        name: Asked(name, hints[name], declared[name].metadata[_METADATA_KEY], declared[name].default)
        for name in order
        if _METADATA_KEY in declared[name].metadata
    }


@dataclass(frozen=True, kw_only=True)
class Request:
    """What every job may be told."""

    data_dir: Path | None = ask(
        None,
        help="Root of weights and data sets (else DARKSIDE_HOME, CIRTORCH_ROOT, user data).",
        metavar="DIR",
        group=DATA,
    )
    offline: bool = ask(
        False, help="Never touch the network.", flags=("--offline",), envvar="DARKSIDE_OFFLINE", group=DATA
    )

    #: The field that a call from Python may give without its name, if there is one.
    positional: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        for each in asked(type(self)).values():
            value = coerce(each, getattr(self, each.name))
            object.__setattr__(self, each.name, value)
            check_value(each, value)
        self.check()

    def check(self) -> None:
        """Raise UsageError if what is asked for contradicts itself. Looks at no file but those that are named."""

    @property
    def root(self) -> DataRoot:
        """Where weights and data sets are for this call."""
        return data_root(self.data_dir)

    @property
    def why_offline(self) -> str:
        """What keeps this call from the network: the variable that is set, or the option; "" if nothing does."""
        if not self.offline:
            return ""
        wanted = os.environ.get("DARKSIDE_OFFLINE", "").strip().lower() in _YES
        return "DARKSIDE_OFFLINE is set" if wanted else "--offline was given"

    def settings(self) -> dict[str, Any]:
        """Settings of a training's configuration that the fields stand for, as far as they were given."""
        pairs = ((each.ask.setting, getattr(self, each.name)) for each in asked(type(self)).values())
        return {key: value for key, value in pairs if key is not None and value is not None and value != ()}


@dataclass(frozen=True, kw_only=True)
class Getting(Request):
    """A request of a job that may get what it lacks."""

    download: bool = ask(
        False,
        help="Get published weights and data first if they are missing.",
        flags=("--download",),
        group=DATA,
    )


def make(request: type[R], *arguments: Any, **options: Any) -> R:
    """A request of values as people give them. Raises UsageError for unknown names and what the request refuses."""
    known = asked(request)
    for name in options:
        if name not in known:
            raise UnknownNameError("option", name, known)
    if arguments:
        if len(arguments) > 1 or request.positional is None or request.positional in options:
            raise UsageError(
                f"{request.__name__} takes its values by name", hint=f"known: {', '.join(known)}"
            )
        options[request.positional] = arguments[0]
    missing = [name for name, each in known.items() if each.default is REQUIRED and name not in options]
    if missing:
        raise UsageError(f"{request.__name__} needs {' and '.join(missing)}")
    return request(**options)


def coerce(asked: Asked, value: Any) -> Any:
    """Bring ``value`` to the declared type: texts to paths, one value or a list to a tuple."""
    annotation = without_none(asked.annotation)
    if value is None:
        return () if get_origin(annotation) is tuple and asked.default == () else None
    if get_origin(annotation) is tuple:
        one = isinstance(value, (str, bytes, os.PathLike)) or not isinstance(value, Iterable)
        inner = get_args(annotation)[0]
        return tuple(_one(inner, each) for each in ([value] if one else value))
    return _one(annotation, value)


def _one(annotation: Any, value: Any) -> Any:
    if annotation is Path and isinstance(value, (str, bytes, os.PathLike)):
        return Path(os.fsdecode(value))
    if annotation is str and isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def check_value(asked: Asked, value: Any) -> None:
    """Raise UsageError if ``value`` is outside of the field's bounds, UnknownNameError if it is no choice of it."""
    known = asked.ask
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, (int, float)) and not isinstance(each, bool):
            low, high = known.minimum, known.maximum
            inside = (low is None or each >= low) and (high is None or each <= high)
            if not inside or math.isnan(each):
                bounds = " and ".join(
                    f"{words} {bound:g}"
                    for words, bound in (("at least", low), ("at most", high))
                    if bound is not None
                )
                raise UsageError(f"{asked.name} must be {bounds or 'a number'}, not {each}")
        if known.choices_from is not None and not known.open_ended and isinstance(each, str):
            choices = known.choices()
            if each not in choices:
                raise UnknownNameError(known.kind, each, choices)

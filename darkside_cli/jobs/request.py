"""What a request is: a frozen dataclass that says all about one call of a job, and checks itself.

::

    @dataclass(frozen=True, kw_only=True)
    class SortRequest(Request):
        images: tuple[Path, ...] = ask("Images or folders.", (), argument=True)
        output: Path | None = ask("Folder of the lists.", short="-o", group=DATA)

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
from dataclasses import dataclass, field, replace
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
class Asked:
    """What is known of a field of a request: what :func:`ask` was told, its name, its type and its default."""

    help: str
    flag: str = ""
    short: str = ""
    metavar: str | None = None
    group: str = MAIN
    choices_from: Any = None
    kind: str = "value"
    open_ended: bool = False
    minimum: float | None = None
    maximum: float | None = None
    setting: str | None = None
    envvar: str | None = None
    argument: bool = False
    show_default: bool = True
    name: str = ""
    annotation: Any = None
    default: Any = None

    def choices(self) -> tuple[str, ...]:
        """Names that ``choices_from`` points to, imported now; aliases of registry entries are included."""
        if self.choices_from is None:
            return ()
        source = import_target(self.choices_from) if isinstance(self.choices_from, str) else self.choices_from
        if isinstance(source, Registry):
            return tuple(source.names(aliases=True))
        return tuple(source() if callable(source) else source)


def ask(help: str, default: Any = None, **known: Any) -> Any:
    """Declare a field of a request; ``default`` is REQUIRED where it has to be given.

    On the command line it is ``--name``, with ``--no-name`` where the default is not False, or what ``flag`` says, and
    ``short``, in the panel ``group``; ``metavar`` is what help calls the value, and ``argument`` makes it positional.
    ``choices_from`` is a registry, names, a function that returns names, or "module:attribute" of one of these;
    ``kind`` is what an unknown one is called ("model"). ``open_ended`` choices only complete in the shell, since a path
    may be given too. ``minimum`` and ``maximum``, both inclusive, hold for every number in the value. ``setting`` is
    the key of a training's configuration that the field stands for.
    """
    return field(default=default, metadata={_METADATA_KEY: Asked(help=help, default=default, **known)})


def asked(request: type[Request]) -> Mapping[str, Asked]:
    """Fields of a request type by name: its own first, then those of the types that it builds on."""
    key: Any = request  # mypy does not see that a type can be hashed
    return _asked(key)


@cache
def _asked(request: type[Request]) -> Mapping[str, Asked]:
    hints = get_type_hints(request)
    known = {each.name: each.metadata.get(_METADATA_KEY) for each in dataclasses.fields(request)}
    names = dict.fromkeys(name for cls in request.__mro__ for name in inspect.get_annotations(cls))
    return {
        name: replace(found, name=name, annotation=hints[name])
        for name in names
        if (found := known.get(name)) is not None
    }


@dataclass(frozen=True, kw_only=True)
class Request:
    """What every job may be told."""

    data_dir: Path | None = ask(
        "Root of weights and data sets (else DARKSIDE_HOME, CIRTORCH_ROOT, user data).",
        metavar="DIR",
        group=DATA,
    )
    offline: bool = ask("Never touch the network.", False, envvar="DARKSIDE_OFFLINE", group=DATA)

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
        pairs = ((each.setting, getattr(self, each.name)) for each in asked(type(self)).values())
        return {key: value for key, value in pairs if key is not None and value is not None and value != ()}


@dataclass(frozen=True, kw_only=True)
class Getting(Request):
    """A request of a job that may get what it lacks."""

    download: bool = ask("Get published weights and data first if they are missing.", False, group=DATA)


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
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, (int, float)) and not isinstance(each, bool):
            low, high = asked.minimum, asked.maximum
            inside = (low is None or each >= low) and (high is None or each <= high)
            if not inside or math.isnan(each):
                bounds = " and ".join(
                    f"{words} {bound:g}"
                    for words, bound in (("at least", low), ("at most", high))
                    if bound is not None
                )
                raise UsageError(f"{asked.name} must be {bounds or 'a number'}, not {each}")
        if asked.choices_from is not None and not asked.open_ended and isinstance(each, str):
            choices = asked.choices()
            if each not in choices:
                raise UnknownNameError(asked.kind, each, choices)

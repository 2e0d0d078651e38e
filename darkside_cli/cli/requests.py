"""Options of a command, made of the request of the job that it calls (see :mod:`darkside_cli.jobs.request`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

from darkside_cli.config.schema import without_none
from darkside_cli.errors import UnknownNameError
from darkside_cli.jobs.request import REQUIRED, Ask, Asked, Request, asked


def parameters(request: type[Request], *, without: Iterable[str] = ()) -> list[inspect.Parameter]:
    """A parameter for each field of ``request`` but those named in ``without``, as Typer reads them."""
    left_out = set(without)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(each),
            annotation=Annotated[_annotation(each), _info(each)],
        )
        for each in asked(request).values()
        if each.name not in left_out
    ]


def _default(each: Asked) -> Any:
    if each.default is REQUIRED:
        return inspect.Parameter.empty
    return None if isinstance(each.default, tuple) and not each.default else each.default


def _annotation(each: Asked) -> Any:
    inner = without_none(each.annotation)
    if get_origin(inner) is tuple:
        # Arguments come as they were written: "-" is standard input, and an address is no path.
        return list[str if each.ask.argument else get_args(inner)[0]] | None  # type: ignore[misc]
    return each.annotation


def _info(each: Asked) -> Any:
    known = each.ask
    settings: dict[str, Any] = {"help": known.help, "show_default": known.show_default}
    if known.metavar is not None:
        settings["metavar"] = known.metavar
    if known.argument:
        if known.choices_from is not None:
            settings["autocompletion"] = _completion(known)
        return typer.Argument(**settings)
    settings["rich_help_panel"] = known.group
    if known.minimum is not None:
        settings["min"] = known.minimum
    if known.maximum is not None:
        settings["max"] = known.maximum
    if known.envvar is not None:
        settings["envvar"] = known.envvar
    if known.choices_from is not None:
        settings.setdefault("metavar", known.kind.upper())
        settings["autocompletion"] = _completion(known)
        if not known.open_ended:
            settings["callback"] = _check(known)
    return typer.Option(*_flags(each), **settings)


def _flags(each: Asked) -> tuple[str, ...]:
    if each.ask.flags:
        return each.ask.flags
    flag = "--" + each.name.rstrip("_").replace("_", "-")
    return (f"{flag}/--no-{flag[2:]}",) if without_none(each.annotation) is bool else (flag,)


def _completion(known: Ask) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [name for name in known.choices() if name.startswith(incomplete)]

    return complete


def _check(known: Ask) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        for each in [value] if isinstance(value, (str, Path)) else value or []:
            if str(each) not in known.choices():
                raise UnknownNameError(known.kind, str(each), known.choices())
        return value

    return check

"""Options of a command, made of the request of the job that it calls (see :mod:`darkside_cli.jobs.request`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

from darkside_cli.config.schema import without_none
from darkside_cli.errors import UnknownNameError
from darkside_cli.jobs.request import REQUIRED, Asked, Request, asked


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
        return list[str if each.argument else get_args(inner)[0]] | None  # type: ignore[misc]
    return each.annotation


def _info(each: Asked) -> Any:
    settings: dict[str, Any] = {"help": each.help, "show_default": each.show_default}
    settings["metavar"] = each.metavar or (each.kind.upper() if each.choices_from else None)
    if each.choices_from is not None:
        settings["autocompletion"] = completion(each.choices)
    if each.argument:
        return typer.Argument(**settings)
    if each.choices_from is not None and not each.open_ended:
        settings["callback"] = _check(each)
    bounds = {"min": each.minimum, "max": each.maximum}
    return typer.Option(*_flags(each), envvar=each.envvar, rich_help_panel=each.group, **settings, **bounds)


def _flags(each: Asked) -> list[str]:
    flag = each.flag or "--" + each.name.rstrip("_").replace("_", "-")
    if not each.flag and without_none(each.annotation) is bool and each.default is not False:
        flag = f"{flag}/--no-{flag[2:]}"
    return [flag, each.short] if each.short else [flag]


def completion(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What completes a word in the shell to one of ``names``."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


def _check(asked: Asked) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        for each in [value] if isinstance(value, (str, Path)) else value or []:
            if str(each) not in asked.choices():
                raise UnknownNameError(asked.kind, str(each), asked.choices())
        return value

    return check

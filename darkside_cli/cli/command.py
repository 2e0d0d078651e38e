"""How a function becomes a command: its options, made of the request of the job that it calls, and the common ones."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer

from darkside_cli.cli.help_pages import PANEL_OF, Command, Group, metavar_of
from darkside_cli.cli.output import Output
from darkside_cli.cli.session import Session
from darkside_cli.config.schema import without_none
from darkside_cli.errors import UnknownNameError
from darkside_cli.jobs.request import ADVANCED, REQUIRED, Asked, Request, asked

F = TypeVar("F", bound=Callable[..., Any])


def root_options_wanted() -> bool:
    """Whether the root's own --help, --install-completion and --show-completion can play a part in this call.

    Typer loads its validation library to find them absent, even when a sub-command's help is all that is asked for,
    which costs as much as everything else together; so they are declared only where they can be seen or used.
    """
    return "_DARKSIDE_COMPLETE" in os.environ or not sys.argv[1:] or sys.argv[1].startswith("-")


#: The program. Modules of commands add theirs to it when they are imported; see :mod:`darkside_cli.cli.app`.
app = typer.Typer(
    name="darkside",
    cls=Group,
    no_args_is_help=True,
    add_completion=root_options_wanted(),
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def parameters(request: type[Request], *, without: Iterable[str] = ()) -> list[inspect.Parameter]:
    """A parameter for each field of ``request`` but those named in ``without``, as Typer reads them."""
    fields = [each for each in asked(request).values() if each.name not in set(without)]
    return [
        _parameter(each.name, Annotated[_annotation(each), _info(each)], _default(each)) for each in fields
    ]


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _default(each: Asked) -> Any:
    if each.default is REQUIRED:
        return inspect.Parameter.empty
    return None if each.default == () else each.default


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
        settings["callback"] = lambda value: _check(each, value)
    settings |= {"min": each.minimum, "max": each.maximum, "envvar": each.envvar}
    return typer.Option(*_flags(each), rich_help_panel=each.group, **settings)


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


def _check(asked: Asked, value: Any) -> Any:
    for each in [value] if isinstance(value, (str, Path)) else value or []:
        if str(each) not in asked.choices():
            raise UnknownNameError(asked.kind, str(each), asked.choices())
    return value


def _switch(name: str, *names: str, help: str) -> inspect.Parameter:
    option = typer.Option(*names, help=help, rich_help_panel=ADVANCED)
    return _parameter(name, Annotated[bool, option], False)


#: Options of every command: those of every request, and how much is said.
COMMON: dict[str, inspect.Parameter] = {
    each.name: each
    for each in (
        *parameters(Request),
        _switch("quiet", "--quiet", "-q", help="No progress, no summary: errors only."),
        _switch("verbose", "--verbose", "-v", help="Say more, one line per item."),
        _switch("debug", "--debug", help="Show the traceback of an error."),
    )
}


def command(
    app: typer.Typer,
    name: str,
    *,
    request: type[Request] | None = None,
    without: Iterable[str] = (),
    **settings: Any,
) -> Callable[[F], F]:
    """Register ``function(session, ...)`` as a command of ``app`` with the common options added.

    With ``request``, the command has an option for each field of that request but those named ``without``, and the
    function is ``function(session, request, ...)``: it gets the request made of them. What the command line alone needs
    (``--json``) are parameters of the function's own. ``settings`` are handed on to Typer.
    """

    def register(function: F) -> F:
        # Not typing.get_type_hints: under Python 3.10 it wraps what defaults to None in an Optional, behind which
        # Typer does not find the option's names.
        own = list(inspect.signature(function, eval_str=True).parameters.values())[
            1 if request is None else 2 :
        ]
        asked = [] if request is None else parameters(request, without={*without, *COMMON})

        def make_request(session: Session, values: Mapping[str, Any]) -> Request:
            assert request is not None  # noqa: S101 - only such commands call this
            fields = {each.name: _files_called_dash(values[each.name]) for each in asked}
            return request(data_dir=session.data_dir, offline=session.offline, **fields)

        @functools.wraps(function)
        def wrapper(**values: Any) -> None:
            common = {key: values.pop(key) for key in COMMON}
            session = Session(**common, output=Output(null=values.get("null", False)))
            given = {each.name: values.pop(each.name) for each in asked}
            made = () if request is None else (make_request(session, given),)
            code = function(session, *made, **values)
            if code:
                raise typer.Exit(code)

        every = [*asked, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *COMMON.values()]
        for each in every:
            _name_value(each.annotation)
        wrapper.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in every}
        del wrapper.__wrapped__
        if request is not None:
            wrapper.make_request = make_request  # type: ignore[attr-defined]
        app.command(name, cls=Command, rich_help_panel=PANEL_OF.get(name), **settings)(wrapper)
        return function

    return register


def _files_called_dash(value: Any) -> Any:
    """``value`` with "./-" made whole: "-" alone is standard input, and paths drop their "./"."""
    if not isinstance(value, list):
        return value
    return [str(Path.cwd() / "-") if each == "./-" else each for each in value]


def _name_value(annotation: Any) -> None:
    """Have help call the value of an option by what it is (N, PATH) where its declaration says nothing."""
    value, *rest = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    for info in rest:
        if not getattr(info, "metavar", "") and hasattr(info, "metavar"):
            info.metavar = metavar_of(value)

"""What every command shares: the common options, the output sink and the progress renderer, in one place.

:func:`command` registers a function as a command. The function's first parameter is the :class:`Session`; the
common options (``--quiet --verbose --debug --data-dir --offline``) are added to its signature here, so that no
command declares them itself.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer

from darkside_cli.cli.errors import say
from darkside_cli.cli.help_pages import Command, metavar_of
from darkside_cli.cli.live.progress import ProgressRenderer
from darkside_cli.cli.live.screen import Screen
from darkside_cli.cli.output import Output
from darkside_cli.cli.requests import parameters
from darkside_cli.config.paths import DataRoot, data_root
from darkside_cli.jobs.request import ADVANCED, Request

F = TypeVar("F", bound=Callable[..., Any])


def _flag(*names: str, help: str) -> Any:
    return Annotated[bool, typer.Option(*names, help=help, rich_help_panel=ADVANCED)]


#: Options of every command: those of every request, and how much is said.
COMMON: dict[str, tuple[Any, Any]] = {
    **{each.name: (each.annotation, each.default) for each in parameters(Request)},
    "quiet": (_flag("--quiet", "-q", help="No progress, no summary: errors only."), False),
    "verbose": (_flag("--verbose", "-v", help="Say more, one line per item."), False),
    "debug": (_flag("--debug", help="Show the traceback of an error."), False),
}


@dataclass(frozen=True)
class Session:
    """The common options of one command call."""

    data_dir: Path | None = None
    offline: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    output: Output = field(default_factory=Output)

    def progress(self) -> ProgressRenderer:
        """Renderer of a job's events, as quiet or verbose as asked for; it and the results share a terminal."""
        renderer = ProgressRenderer(quiet=self.quiet, verbose=self.verbose)
        self.output.above_bar = renderer.above_bar
        return renderer

    def screen(self, *, title: str = "") -> Screen:
        """What shows a job's events, as quiet or verbose as asked for; it and the results share a terminal.

        ``title`` names a training.
        """
        screen = Screen(quiet=self.quiet, verbose=self.verbose, title=title)
        self.output.above_bar = screen.above_bar
        return screen

    def announce(self, text: str) -> None:
        """Say on a terminal what begins, before what takes seconds to load is loaded: nobody looks at a blank screen.

        Nothing where it is to be quiet, where stderr is no terminal, and in the processes of a shared work.
        """
        if not self.quiet and "RANK" not in os.environ and sys.stderr is not None and sys.stderr.isatty():
            say(text)

    @property
    def root(self) -> DataRoot:
        """Where weights and data sets live for this call."""
        return data_root(self.data_dir)


def debug_wanted() -> bool:
    """Whether tracebacks were asked for, known before the options are parsed."""
    return "--debug" in sys.argv or bool(os.environ.get("DARKSIDE_DEBUG"))


def command(
    app: typer.Typer,
    name: str | None = None,
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
        skip = 1 if request is None else 2
        own = list(inspect.signature(function, eval_str=True).parameters.values())[skip:]
        asked = [] if request is None else parameters(request, without={*without, *COMMON})
        common = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in COMMON.items()
        ]

        def make_request(session: Session, values: Mapping[str, Any]) -> Request:
            assert request is not None  # noqa: S101 - only such commands call this
            fields = {each.name: _files_called_dash(values[each.name]) for each in asked}
            return request(data_dir=session.data_dir, offline=session.offline, **fields)

        @functools.wraps(function)
        def wrapper(**values: Any) -> None:
            session = Session(
                **{key: values.pop(key) for key in COMMON}, output=Output(null=values.get("null", False))
            )
            if request is None:
                code = function(session, **values)
            else:
                made = make_request(session, {each.name: values.pop(each.name) for each in asked})
                code = function(session, made, **values)
            if code:
                raise typer.Exit(code)

        every = [*asked, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *common]
        for each in every:
            _name_value(each.annotation)
        wrapper.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in every}
        del wrapper.__wrapped__
        if request is not None:
            wrapper.make_request = make_request  # type: ignore[attr-defined]
        app.command(name, cls=Command, **settings)(wrapper)
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
        if isinstance(getattr(info, "metavar", ""), (str, type(None))) and not getattr(info, "metavar", ""):
            info.metavar = metavar_of(value)

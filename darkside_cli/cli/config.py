"""``darkside config``: what a command would work with and where each value came from; scenarios as TOML."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, say
from darkside_cli.cli.session import COMMON, Session, command
from darkside_cli.errors import UnknownNameError, UsageError
from darkside_cli.jobs.request import MAIN

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved

ACTIONS = ("show", "convert")
_OWN = "config"
_PRINT = "print_config"


def _program(context: typer.Context) -> Any:
    """The ``darkside`` that this command belongs to, with all its commands."""
    return context.find_root().command


def _commands(context: typer.Context) -> dict[str, Any]:
    return {name: each for name, each in _program(context).commands.items() if name != _OWN}


def _complete(ctx: typer.Context, incomplete: str) -> list[str]:
    from darkside_cli.scenario.files import published_scenarios

    return [word for word in [*_commands(ctx), *published_scenarios()] if word.startswith(incomplete)]


def config(
    session: Session,
    ctx: typer.Context,
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION",
            help="show (what a command would work with) or convert (a scenario into TOML).",
            autocompletion=lambda incomplete: [a for a in ACTIONS if a.startswith(incomplete)],
            show_default=False,
        ),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND [OPTIONS]... | SCENARIO.yml [OVERLAY.yml | KEY=VALUE]...",
            help="A command line to show, without 'darkside', or a scenario to convert.",
            autocompletion=_complete,
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Target to convert (default: train, or the only one).",
            show_default=False,
            rich_help_panel=MAIN,
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(help="Step to convert, if there are several.", show_default=False, rich_help_panel=MAIN),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write here, not to stdout.",
            show_default=False,
            rich_help_panel=MAIN,
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Show what a command would work with; convert scenarios of gandtr.

    Each value is shown with where it came from; scenarios become settings in TOML:

        darkside config show train-gan --model hedngan --set optim.lr=1e-4

        darkside config convert iccv23/train/hedngan.yml -o hedngan.toml

    What is converted is used with --config: darkside train-gan --config hedngan.toml, or darkside finetune.
    """
    if action not in ACTIONS:
        raise UnknownNameError("action", action, ACTIONS)
    if action == "show":
        if target is not None or step is not None:
            raise UsageError("--target and --step are for convert", hint="darkside config convert FILE.yml")
        return _show(session, ctx, list(words or []), output, json=json)
    return _convert(session, list(words or []), target, step, output, json=json)


def _show(session: Session, ctx: typer.Context, words: list[str], output: Path | None, *, json: bool) -> int:
    known = _commands(ctx)
    if not words:
        raise UsageError("no command is given", hint=f"darkside config show with one of {', '.join(known)}")
    name, arguments = words[0], words[1:]
    if name not in known:
        raise UnknownNameError("command", name, known)
    if output is not None:  # an option of ours and of theirs; here theirs is meant
        arguments += ["--output", str(output)]
    context = known[name].make_context(f"darkside {name}", list(arguments))
    values = _settings(session, context)
    if json:
        session.output.json({"command": name, "values": values})
    else:
        rows = [(key, _text(entry["value"]), entry["origin"]) for key, entry in values.items()]
        session.output.table(("key", "value", "from"), rows)
    return EXIT_DONE


def _settings(session: Session, context: Any) -> dict[str, dict[str, Any]]:
    """Every value that the command works with, by key: its configuration's, and those of options without a key."""
    root = session.root
    values: dict[str, dict[str, Any]] = {"data_dir": {"value": str(root.path), "origin": root.origin}}
    for key, value in context.params.items():
        if key not in COMMON and key != _PRINT:
            values[key.rstrip("_")] = {"value": _plain(value), "origin": _origin(context, key)}
    if _PRINT not in context.params:
        return values
    own = Session(**{key: context.params[key] for key in COMMON})
    resolved: Resolved[Any] = context.command.callback.make_request(own, context.params).resolved
    config = resolved.as_dict()
    for key, origin in resolved.origins.items():
        values[key] = {"value": _at(config, key), "origin": str(origin)}
    return values


def _origin(context: Any, key: str) -> str:
    source = getattr(context.get_parameter_source(key), "name", "DEFAULT")
    if source == "ENVIRONMENT":
        option = next(each for each in context.command.params if each.name == key)
        return f"environment, {option.envvar}"
    return "command line" if source == "COMMANDLINE" else "default"


def _at(table: Any, key: str) -> Any:
    from darkside_cli.config.sources import parse_key

    for part in parse_key(key):
        table = table[part]
    return table


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _text(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else jsonlib.dumps(value, ensure_ascii=False)


def _convert(
    session: Session,
    words: list[str],
    target: str | None,
    step: str | None,
    output: Path | None,
    *,
    json: bool,
) -> int:
    from darkside_cli.scenario.convert import convert

    converted = convert(words, session.root.path, target=target, step=step)
    for note in converted.notes:
        if not session.quiet:
            say(note)
    if json:
        session.output.json(converted.document())
    if output is None:
        if not json:
            session.output.text(converted.toml)
        return EXIT_DONE
    from darkside_cli.atomic import write_bytes_atomic

    if output.is_dir():
        raise UsageError(f"{output} is a folder", hint="name a file, such as hedngan.toml")
    write_bytes_atomic(output, converted.toml.encode())
    if not json:
        session.output.path(output)
    return EXIT_DONE


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, _OWN, no_args_is_help=True, context_settings={"ignore_unknown_options": True})(config)

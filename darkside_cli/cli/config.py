"""``darkside config``: what a command would work with and where each value came from; scenarios as TOML."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.command import COMMON, app, command
from darkside_cli.cli.errors import EXIT_DONE
from darkside_cli.cli.session import Session
from darkside_cli.errors import UnknownNameError, UsageError
from darkside_cli.jobs.request import REQUIRED, Request, ask

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved

ACTIONS = ("show", "convert")
_OWN = "config"
_PRINT = "print_config"


def _known_words() -> list[str]:
    from darkside_cli.scenario.files import published_scenarios

    commands = [each.name or "" for each in app.registered_commands if each.name != _OWN]
    return [*commands, *published_scenarios()]


@dataclass(frozen=True, kw_only=True)
class ConfigRequest(Request):
    """What is shown or converted."""

    action: str = ask(
        "show (what a command would work with) or convert (a scenario into TOML).",
        REQUIRED,
        kind="action",
        choices_from=ACTIONS,
        argument=True,
    )
    words: tuple[str, ...] = ask(
        "A command line to show, without 'darkside', or a scenario to convert.",
        (),
        metavar="COMMAND [OPTIONS]... | SCENARIO.yml [OVERLAY.yml | KEY=VALUE]...",
        choices_from=_known_words,
        open_ended=True,
        argument=True,
    )
    target: str | None = ask("Target to convert (default: train, or the only one).")
    step: str | None = ask("Step to convert, if there are several.")
    output: Path | None = ask("Write here, not to stdout.", short="-o", metavar="FILE")


@command(
    app, _OWN, request=ConfigRequest, no_args_is_help=True, context_settings={"ignore_unknown_options": True}
)
def config(session: Session, request: ConfigRequest, ctx: typer.Context, json: options.Json = False) -> int:
    """Show what a command works with; convert scenarios of gandtr.

    Each value is shown with where it came from; scenarios become settings in TOML:

        darkside config show train-gan --model hedngan --set optim.lr=1e-4

        darkside config convert iccv23/train/hedngan.yml -o hedngan.toml

    What is converted is used with --config: darkside train-gan --config hedngan.toml, or darkside finetune.
    """
    if request.action == "show":
        if request.target is not None or request.step is not None:
            raise UsageError("--target and --step are for convert", hint="darkside config convert FILE.yml")
        return _show(session, ctx, request, json=json)
    return _convert(session, request, json=json)


def _show(session: Session, ctx: typer.Context, request: ConfigRequest, *, json: bool) -> int:
    program: Any = ctx.find_root().command
    known = {name: each for name, each in program.commands.items() if name != _OWN}
    if not request.words:
        raise UsageError("no command is given", hint=f"darkside config show with one of {', '.join(known)}")
    name, *arguments = request.words
    if name not in known:
        raise UnknownNameError("command", name, known)
    if request.output is not None:  # an option of ours and of theirs; here theirs is meant
        arguments += ["--output", str(request.output)]
    context = known[name].make_context(f"darkside {name}", arguments)
    values = _settings(session, context)
    if json:
        session.output.json({"command": name, "values": values})
    else:
        rows = [(key, _text(entry["value"]), entry["origin"]) for key, entry in values.items()]
        session.output.table(("key", "value", "from"), rows)
    return EXIT_DONE


def _settings(session: Session, context: Any) -> dict[str, dict[str, Any]]:
    """Every value that the command works with, by key: its configuration's, and those of options without a key."""
    from darkside_cli.config.sources import parse_key

    root = session.root
    values: dict[str, dict[str, Any]] = {"data_dir": {"value": str(root.path), "origin": root.origin}}
    # As people write it: --set, whatever the field is called that it fills.
    written = {
        each.name: max(each.opts, key=len).lstrip("-").replace("-", "_") for each in context.command.params
    }
    for key, value in context.params.items():
        if key not in COMMON and key != _PRINT:
            values[written[key]] = {"value": _plain(value), "origin": _origin(context, key)}
    if _PRINT not in context.params:
        return values
    own = Session(**{key: context.params[key] for key in COMMON})
    resolved: Resolved[Any] = context.command.callback.make_request(own, context.params).resolved
    config = resolved.as_dict()
    for key, origin in resolved.origins.items():
        value = reduce(getitem, parse_key(key), config)
        values[key] = {"value": value, "origin": str(origin)}
    return values


def _origin(context: Any, key: str) -> str:
    source = getattr(context.get_parameter_source(key), "name", "DEFAULT")
    if source == "ENVIRONMENT":
        option = next(each for each in context.command.params if each.name == key)
        return f"environment, {option.envvar}"
    return "command line" if source == "COMMANDLINE" else "default"


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


def _convert(session: Session, request: ConfigRequest, *, json: bool) -> int:
    from darkside_cli.atomic import write_bytes_atomic
    from darkside_cli.scenario.convert import convert

    output = request.output
    converted = convert(list(request.words), session.root.path, target=request.target, step=request.step)
    session.say(*converted.notes)
    if json:
        session.output.json(converted.document())
    if output is None:
        if not json:
            session.output.text(converted.toml)
        return EXIT_DONE
    if output.is_dir():
        raise UsageError(f"{output} is a folder", hint="name a file, such as hedngan.toml")
    write_bytes_atomic(output, converted.toml.encode())
    if not json:
        session.output.path(output)
    return EXIT_DONE

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
    from darkside_cli.scenario.options import Training
    from darkside_cli.scenario.steps import TargetPlan, TranslatedStep

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
    from darkside_cli.scenario.load import load_scenario
    from darkside_cli.scenario.plan import FinetuneStep, TrainGanStep
    from darkside_cli.scenario.steps import plan_target, require_translated

    scenario = load_scenario(words)
    names = scenario.targets()
    chosen = target or ("train" if "train" in names else names[0] if len(names) == 1 else None)
    if chosen is None:
        raise UsageError(
            "which target is to be converted?", hint=f"--target with one of {', '.join(names) or 'none'}"
        )
    plan = plan_target(scenario, chosen, session.root.path)
    picked = _pick(plan, step)
    require_translated([picked])
    for note in plan.notes:
        if not session.quiet:
            say(note)
    assert isinstance(picked.step, (TrainGanStep, FinetuneStep))  # noqa: S101 - see _pick
    text = to_toml(picked.step, plan, session.root.path)
    if json:
        session.output.json({"target": chosen, "step": picked.source.name, "toml": text})
    if output is None:
        if not json:
            session.output.text(text)
        return EXIT_DONE
    from darkside_cli.atomic import write_bytes_atomic

    if output.is_dir():
        raise UsageError(f"{output} is a folder", hint="name a file, such as hedngan.toml")
    write_bytes_atomic(output, text.encode())
    if not json:
        session.output.path(output)
    return EXIT_DONE


def _pick(plan: TargetPlan, step: str | None) -> TranslatedStep:
    """The step that is to be converted: the one that is called so, or the only one that trains."""
    from darkside_cli.scenario.plan import FinetuneStep, TrainGanStep

    names = [each.source.name for each in plan.steps]
    if step is not None and step not in names:
        raise UnknownNameError("step", step, names, extra_hint=f"in {plan.target}")
    able = [
        each
        for each in plan.steps
        if step in (None, each.source.name)
        and (isinstance(each.step, (TrainGanStep, FinetuneStep)) or each.step is None)
    ]
    if len(able) == 1:
        return able[0]
    if able:
        raise UsageError(
            f"{plan.target} has several steps with settings",
            hint=f"--step with one of {', '.join(each.source.name for each in able)}",
        )
    raise UsageError(
        f"{step or plan.target} has no settings to convert: nothing is trained there",
        hint=f"darkside run {plan.target} FILE.yml --print-steps shows the commands that do the same",
    )


def to_toml(step: Training, plan: TargetPlan, root: Path) -> str:
    """Settings of a training as ``--config`` takes them; the steps around it are comments."""
    import tomli_w

    from darkside_cli.scenario.commands import commands
    from darkside_cli.scenario.options import flags, under
    from darkside_cli.scenario.plan import EvaluateStep, FinetuneStep, WhitenStep

    nested: dict[str, Any] = {}
    for key, value in flags(step, root).items():
        table = nested
        *parts, last = key.split(".")
        for part in parts:
            table = table.setdefault(part, {})
        table[last] = str(value) if isinstance(value, Path) else value
    lines = [f"# {step.path}, converted from a scenario of gandtr. In its place:"]
    for each in plan.steps:
        if each.step is step:
            run = f" --output {under(root, step.run)}" if step.run is not None else ""
            lines.append(f"#   darkside {step.kind} --config THIS_FILE{run}")
            if isinstance(step, FinetuneStep):
                lines.append("#   (which learns the whitening and evaluates, too)")
        elif not (isinstance(step, FinetuneStep) and isinstance(each.step, (WhitenStep, EvaluateStep))):
            lines += [f"#   {line}" for line in ([] if each.problems else commands(each.step, root))]
    return "\n".join(lines) + "\n\n" + tomli_w.dumps(nested)


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, _OWN, no_args_is_help=True, context_settings={"ignore_unknown_options": True})(config)

"""``darkside run``: gandtr's scenario files, planned, shown, checked and carried out."""

from __future__ import annotations

import io
import json as jsonlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, say
from darkside_cli.cli.output import Output
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import DarksideError, UsageError

if TYPE_CHECKING:
    from darkside_cli.cli.step_settings import Settings
    from darkside_cli.scenario.load import Scenario
    from darkside_cli.scenario.resolve import Order
    from darkside_cli.scenario.steps import TargetPlan

ORDERS = ("mended", "original")
LIST, VALIDATE = "list", "validate"
#: Targets of the published scenarios, for completion.
TARGETS = ("download", "train", "output", "finetune", "finetune_r101", "all", "eval", "eval_r101")


def _complete(incomplete: str) -> list[str]:
    from darkside_cli.scenario.files import published_scenarios

    words = [LIST, VALIDATE, *TARGETS, *published_scenarios()]
    return [word for word in words if word.startswith(incomplete)]


def run(
    session: Session,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET SCENARIO.yml [OVERLAY.yml | KEY=VALUE]...",
            help="What to run of which scenario, and what to lay over it from left to right; or 'list', or "
            "'validate', and a scenario.",
            autocompletion=_complete,
            show_default=False,
        ),
    ] = None,
    list_: Annotated[
        bool,
        typer.Option(
            "--list",
            help="Show the published scenarios, or the targets of one.",
            rich_help_panel=options.MAIN,
        ),
    ] = False,
    validate: Annotated[
        bool,
        typer.Option(
            "--validate",
            help="Check every target of a scenario, or one; run nothing.",
            rich_help_panel=options.MAIN,
        ),
    ] = False,
    print_steps: Annotated[
        bool,
        typer.Option(
            "--print-steps",
            help="Show what would run, and the commands that do the same; run nothing.",
            rich_help_panel=options.MAIN,
        ),
    ] = False,
    order: Annotated[
        str,
        options.choice(
            "order",
            lambda: ORDERS,
            help="Of the steps: mended, or original (by name as text, as in gandtr).",
            rich_help_panel=options.ADVANCED,
        ),
    ] = "mended",
    lenient: Annotated[
        bool,
        typer.Option(
            "--lenient",
            help="Go on without keys that cannot be translated; they are told.",
            rich_help_panel=options.ADVANCED,
        ),
    ] = False,
    download: Annotated[
        bool,
        typer.Option(
            "--download/--no-download",
            help="Let steps fetch published weights and data that are missing.",
            rich_help_panel=options.DATA,
        ),
    ] = True,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    workers: options.Workers = None,
    json: options.Json = False,
) -> int:
    """Run a scenario of gandtr: its files work as they are.

        darkside run train iccv23/train/hedngan.yml

        darkside run eval iccv23/eval/hedngan.yml

        ls *.jpg | darkside run output iccv23/train/hedngan.yml output.1_output.output.inference.image_dir=night

    A scenario is a file, or one of the published ones by name: darkside run list. Relative paths in it are below the
    data folder. Steps go on where an earlier run stopped. Trainings use several GPUs under torchrun.
    """
    mode, target, files = parse_words(words or [], list_=list_, validate=validate, print_steps=print_steps)
    wanted: Order = "original" if order == "original" else "mended"
    if mode == LIST:
        return _list(session, files, wanted, json=json)
    from darkside_cli.scenario.load import load_scenario

    scenario = load_scenario(files)
    if mode == VALIDATE:
        return _validate(session, scenario, target, wanted, json=json)
    from darkside_cli.scenario.steps import plan_target

    plan = plan_target(scenario, target or "", session.root.path, order=wanted)
    if mode == "print-steps":
        return _print(session, plan, json=json)
    from darkside_cli.cli.step_executors import is_first_process
    from darkside_cli.cli.step_settings import Settings

    if not is_first_process():  # started by torchrun: the first one speaks for all
        session = replace(session, quiet=True, output=Output(stream=io.BytesIO()))
    _tell(session, plan, lenient=lenient)
    settings = Settings(
        session=session, device=device, precision=precision, workers=workers, download=download, json=json
    )
    return _carry_out(scenario, plan, settings, wanted)


def parse_words(
    words: Sequence[str], *, list_: bool, validate: bool, print_steps: bool
) -> tuple[str, str | None, list[str]]:
    """What is to be done ("list", "validate", "print-steps" or "run"), the target, and the scenario's arguments.

    Raises UsageError for words that do not make sense.
    """
    rest = list(words)
    if sum((list_, validate, print_steps)) > 1:
        raise UsageError("--list, --validate and --print-steps exclude each other", hint="choose one")
    if rest and rest[0] in (LIST, VALIDATE) and not (list_ or validate or print_steps):
        mode = rest.pop(0)
    else:
        mode = LIST if list_ else VALIDATE if validate else "print-steps" if print_steps else "run"
    target = rest.pop(0) if rest and not _is_scenario(rest[0]) else None
    if mode == LIST:
        if target is not None:
            raise UsageError(
                f"'{target}' is no scenario file", hint="darkside run list FILE.yml shows its targets"
            )
        return mode, None, rest
    if not rest:
        raise UsageError(
            "no scenario is given",
            hint="darkside run TARGET FILE.yml; darkside run list shows the published ones",
        )
    if target is None and mode != VALIDATE:
        raise UsageError("no target is given", hint=f"darkside run TARGET {rest[0]}")
    return mode, target, rest


def _is_scenario(word: str) -> bool:
    return "=" in word or word.endswith((".yml", ".yaml")) or Path(word).is_file()


def _list(session: Session, files: list[str], order: Order, *, json: bool) -> int:
    from darkside_cli.scenario.files import published_scenarios
    from darkside_cli.scenario.load import load_scenario
    from darkside_cli.scenario.resolve import TargetResolver

    if not files:
        rows = [(name, load_scenario([name]).targets()) for name in published_scenarios()]
        if json:
            session.output.json({"scenarios": [{"name": name, "targets": list(t)} for name, t in rows]})
        else:
            session.output.table(("scenario", "targets"), [(name, ", ".join(t)) for name, t in rows])
        return EXIT_DONE
    scenario = load_scenario(files)
    steps = {target: TargetResolver(scenario, target, order=order).order for target in scenario.targets()}
    if json:
        session.output.json(
            {"scenario": scenario.name, "targets": [{"name": t, "steps": list(s)} for t, s in steps.items()]}
        )
    else:
        session.output.table(("target", "steps"), [(t, ", ".join(s)) for t, s in steps.items()])
    for note in scenario.notes:
        _note(session, note)
    return EXIT_DONE


def _validate(session: Session, scenario: Scenario, target: str | None, order: Order, *, json: bool) -> int:
    """Check all targets, or one; the exit code is 2 if something cannot be run."""
    from darkside_cli.scenario.steps import plan_target

    rows: list[tuple[str, str, str]] = []
    answer: list[dict[str, Any]] = []
    notes: list[str] = []
    for name in [target] if target else scenario.targets():
        reasons: list[str] = []
        count = 0
        try:
            plan = plan_target(scenario, name, session.root.path, order=order)
        except DarksideError as error:
            if target:
                raise
            reasons = [str(error)]
        else:
            reasons = [str(problem) for problem in plan.problems]
            notes += plan.notes
            count = len(plan.steps)
        rows += [(name, "problem", reason) for reason in reasons] or [(name, "good", f"{count} steps")]
        answer.append({"target": name, "valid": not reasons, "problems": reasons})
    if not rows:
        raise UsageError(
            f"{' + '.join(scenario.arguments)} has no target", hint="a target is a mapping of steps"
        )
    notes = list(dict.fromkeys(notes))
    if json:
        session.output.json({"scenario": scenario.name, "targets": answer, "notes": notes})
    else:
        session.output.table(("target", "state", "what"), rows)
        for note in notes:
            _note(session, note)
    return EXIT_DONE if all(each["valid"] for each in answer) else EXIT_USAGE


def _print(session: Session, plan: TargetPlan, *, json: bool) -> int:
    from darkside_cli.scenario.commands import as_json, commands, describe
    from darkside_cli.scenario.plan import jsonable

    root = session.root.path
    if json:
        session.output.json({**as_json(plan, root), "data_dir": root})
        return EXIT_USAGE if plan.problems else EXIT_DONE
    lines: list[str] = []
    for number, each in enumerate(plan.steps, 1):
        lines.append(f"{number}. {each.source.name}: {describe(each.step)}  [{each.source.function}]")
        lines += [f"     {problem}" for problem in each.problems]
        lines += [f"   $ {line}" for line in ([] if each.problems else commands(each.step, root))]
        if session.verbose:
            lines += [f"     {finding}" for finding in each.without_effect]
            shown = jsonlib.dumps(jsonable(each.source.plain()), indent=2, ensure_ascii=False)
            lines += [f"     {line}" for line in shown.splitlines()]
    session.output.text("\n".join(lines))
    for note in plan.notes:
        _note(session, note)
    return EXIT_USAGE if plan.problems else EXIT_DONE


def _note(session: Session, note: str) -> None:
    if not session.quiet:
        say(note)


def _tell(session: Session, plan: TargetPlan, *, lenient: bool) -> None:
    """Say what is to be known before the first step runs. Raises ConfigError for what cannot be translated."""
    from darkside_cli.scenario.steps import require_translated

    _note(session, f"relative paths of the scenario are below {session.root} ({session.root.origin})")
    for note in plan.notes:
        _note(session, note)
    if not lenient or any(each.step is None for each in plan.steps):
        require_translated(list(plan.steps))
    for problem in plan.problems:
        say(f"left out: {problem}")


def _carry_out(scenario: Scenario, plan: TargetPlan, settings: Settings, order: Order) -> int:
    from darkside_cli.cli.step_executors import execute
    from darkside_cli.scenario.commands import describe
    from darkside_cli.scenario.plan import PrintScoresStep, jsonable
    from darkside_cli.scenario.resolve import TargetResolver
    from darkside_cli.scenario.steps import translate_step

    session = settings.session
    resolver = TargetResolver(scenario, plan.target, order=order)
    prints = [isinstance(each.step, PrintScoresStep) for each in plan.steps]
    worst = EXIT_DONE
    answer: list[dict[str, Any]] = []
    for number, name in enumerate(resolver.order, 1):
        step = translate_step(resolver.resolve(name)).step
        if step is None:
            raise UsageError(
                f"{plan.target}.{name} cannot be translated", hint="darkside run validate FILE.yml"
            )
        if not session.quiet:
            say(f"[{number}/{len(plan.steps)}] {name}: {describe(step)}")
        began = time.monotonic()
        try:
            outcome = execute(step, replace(settings, printed_later=any(prints[number:])))
        except DarksideError as error:
            if settings.json:  # what the steps before it gave is not lost, and programs read what is missing
                failed = {"name": name, **_as_json(error, session)}
                document = {
                    "scenario": scenario.name,
                    "target": plan.target,
                    "steps": answer,
                    "failed": failed,
                }
                session.output.json(document)
            raise
        resolver.finish(name, outcome.outputs)
        answer.append(
            {
                "name": name,
                "kind": step.kind,
                "exit_code": outcome.code,
                "seconds": round(time.monotonic() - began, 1),
                "outputs": jsonable(outcome.outputs),
            }
        )
        worst = max(worst, outcome.code)
        if outcome.code == EXIT_INTERRUPTED:
            break
    if settings.json:
        session.output.json({"scenario": scenario.name, "target": plan.target, "steps": answer})
    return worst


def _as_json(error: DarksideError, session: Session) -> dict[str, Any]:
    from darkside_cli.cli.evaluation_needs import LackingError

    facts: dict[str, Any] = {"exit_code": error.exit_code, "reason": error.message, "hint": error.hint}
    if isinstance(error, LackingError):
        facts |= {"missing": {"sets": error.sets, "weights": error.weights}}
    if session.offline:
        facts |= {"offline": session.why_offline}
    return facts


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "run")(run)

"""``darkside run``: gandtr's scenario files, planned, shown, checked and carried out."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_SOME_FAILED, EXIT_USAGE, say
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.events import Event, ImageReady, ItemSkipped
from darkside_cli.jobs.request import MAIN
from darkside_cli.scenario.request import RunRequest

if TYPE_CHECKING:
    from darkside_cli.cli.live.screen import Screen
    from darkside_cli.scenario.run import StepBegun, StepEnded

LIST, VALIDATE, PRINT = "list", "validate", "print-steps"
#: Targets of the published scenarios, for completion.
TARGETS = ("download", "train", "output", "finetune", "finetune_r101", "all", "eval", "eval_r101")


def _complete(incomplete: str) -> list[str]:
    from darkside_cli.scenario.files import published_scenarios

    words = [LIST, VALIDATE, *TARGETS, *published_scenarios()]
    return [word for word in words if word.startswith(incomplete)]


def run(
    session: Session,
    request: RunRequest,
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
            "--list", help="Show the published scenarios, or the targets of one.", rich_help_panel=MAIN
        ),
    ] = False,
    validate: Annotated[
        bool,
        typer.Option(
            "--validate", help="Check every target of a scenario, or one; run nothing.", rich_help_panel=MAIN
        ),
    ] = False,
    print_steps: Annotated[
        bool,
        typer.Option(
            "--print-steps",
            help="Show what would run, and the commands that do the same; run nothing.",
            rich_help_panel=MAIN,
        ),
    ] = False,
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
    request = replace(request, target=target or "", files=tuple(files))
    if mode == LIST:
        return _list(session, request, json=json)
    if mode == VALIDATE:
        return _validate(session, request, json=json)
    if mode == PRINT:
        return _print(session, request, json=json)
    return _carry_out(session, replace(request, names=_names_on_stdin), json=json)


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
        mode = LIST if list_ else VALIDATE if validate else PRINT if print_steps else "run"
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


def _list(session: Session, request: RunRequest, *, json: bool) -> int:
    from darkside_cli.scenario.files import published_scenarios
    from darkside_cli.scenario.load import load_scenario

    if not request.files:
        rows = [(name, load_scenario([name]).targets()) for name in published_scenarios()]
        if json:
            session.output.json({"scenarios": [{"name": name, "targets": list(t)} for name, t in rows]})
        else:
            session.output.table(("scenario", "targets"), [(name, ", ".join(t)) for name, t in rows])
        return EXIT_DONE
    scenario = request.scenario
    steps = {target: request.resolver(target).order for target in scenario.targets()}
    if json:
        session.output.json(
            {"scenario": scenario.name, "targets": [{"name": t, "steps": list(s)} for t, s in steps.items()]}
        )
    else:
        session.output.table(("target", "steps"), [(t, ", ".join(s)) for t, s in steps.items()])
    _note(session, scenario.notes)
    return EXIT_DONE


def _validate(session: Session, request: RunRequest, *, json: bool) -> int:
    """Check all targets, or one; the exit code is 2 if something cannot be run."""
    from darkside_cli.scenario.run import validate

    found = validate(request)
    notes = list(dict.fromkeys(note for each in found for note in each.notes))
    if json:
        targets = [
            {"target": each.target, "valid": not each.problems, "problems": list(each.problems)}
            for each in found
        ]
        session.output.json({"scenario": request.scenario.name, "targets": targets, "notes": notes})
    else:
        rows = [
            row
            for each in found
            for row in [(each.target, "problem", problem) for problem in each.problems]
            or [(each.target, "good", f"{each.steps} steps")]
        ]
        session.output.table(("target", "state", "what"), rows)
        _note(session, notes)
    return EXIT_USAGE if any(each.problems for each in found) else EXIT_DONE


def _print(session: Session, request: RunRequest, *, json: bool) -> int:
    from darkside_cli.scenario.commands import as_json, commands, describe
    from darkside_cli.scenario.plan import jsonable

    plan = request.plan()
    root = request.root.path
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
    _note(session, plan.notes)
    return EXIT_USAGE if plan.problems else EXIT_DONE


def _note(session: Session, notes: Sequence[str]) -> None:
    for note in [] if session.quiet else notes:
        say(note)


def _names_on_stdin() -> Iterator[Path]:
    """Names of images, one a line of standard input. Raises UsageError if that is a terminal."""
    from darkside_cli.datasets.listing import iter_path_tokens

    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "no images given", hint="pipe their names in: find . -name '*.jpg' | darkside run output FILE.yml"
        )
    return iter_path_tokens(sys.stdin.buffer, null=False)


def _carry_out(session: Session, request: RunRequest, *, json: bool) -> int:
    from darkside_cli.events import ignore
    from darkside_cli.scenario.run import run as run_scenario
    from darkside_cli.training.distributed import Ranks

    if not Ranks.from_environment().is_first:  # started by torchrun: the first process speaks for all
        return max((_code(each) for each in run_scenario(request, emit=ignore)), default=EXIT_DONE)
    with _Told(session, json=json) as told:
        try:
            run_scenario(request, emit=told.emit)
        except DarksideError as error:
            if (
                json and told.begun
            ):  # what the steps before it gave is not lost, and programs read what is missing
                _answer(session, request, told.ended, failed={"name": told.begun, **_facts(error, request)})
            raise
    if json:
        _answer(session, request, told.ended)
    return max(map(_code, told.ended), default=EXIT_DONE)


class _Told:
    """Shows how the steps of a scenario go: their progress on stderr, and on stdout what they made, unless ``json``."""

    def __init__(self, session: Session, *, json: bool) -> None:
        self.begun = ""
        self.ended: list[StepEnded] = []
        self._session, self._json = session, json
        self._stack = ExitStack()
        self._screen = self._new_screen()
        self._prints_images = False

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def emit(self, event: Event) -> None:
        """Show ``event``."""
        from darkside_cli.scenario.execute import StepNotice
        from darkside_cli.scenario.run import StepBegun, StepEnded

        if isinstance(event, StepBegun):
            self._begin(event)
        elif isinstance(event, StepEnded):
            self._end(event)
        elif isinstance(event, StepNotice):
            say(event.text)
        else:
            self._screen.emit(event)
            if self._prints_images and isinstance(event, (ImageReady, ItemSkipped)) and event.target:
                self._session.output.path(event.target)

    def _new_screen(self, title: str = "") -> Screen:
        self._stack.close()
        return self._stack.enter_context(self._session.screen(title=title))

    def _begin(self, event: StepBegun) -> None:
        self.begun = event.name
        self._screen = self._new_screen(getattr(event.step, "method", ""))
        self._prints_images = event.step.kind == "translate" and not self._json
        _note(self._session, [f"[{event.number}/{event.total}] {event.name}: {event.what}"])

    def _end(self, event: StepEnded) -> None:
        self._screen = self._new_screen()
        self.ended.append(event)
        outcome = event.outcome
        if not self._json:
            for path in outcome.paths:
                self._session.output.path(path)
            if outcome.lines:
                from darkside_cli.cli.evaluate import print_scores

                print_scores(self._session.output, outcome.lines)
        if outcome.trained is not None:
            from darkside_cli.cli import finetune, train_gan, training

            of = train_gan if event.kind == "train-gan" else finetune
            training.finish(self._session, outcome.trained, next_command=of.next_command(outcome.trained))


def _code(ended: StepEnded) -> int:
    if ended.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_SOME_FAILED if ended.outcome.failed else EXIT_DONE


def _answer(session: Session, request: RunRequest, ended: Sequence[StepEnded], **more: Any) -> None:
    """Print what the steps gave as JSON."""
    from darkside_cli.scenario.plan import jsonable

    steps = [
        {
            "name": each.name,
            "kind": each.kind,
            "exit_code": _code(each),
            "seconds": round(each.seconds, 1),
            "outputs": jsonable(each.outcome.outputs),
        }
        for each in ended
    ]
    session.output.json({"scenario": request.scenario.name, "target": request.target, "steps": steps, **more})


def _facts(error: DarksideError, request: RunRequest) -> dict[str, Any]:
    """What programs read of an error."""
    from darkside_cli.scenario.needs import LackingError

    facts: dict[str, Any] = {"exit_code": error.exit_code, "reason": error.message, "hint": error.hint}
    if isinstance(error, LackingError):
        facts |= {"missing": {"sets": error.sets, "weights": error.weights}}
    if request.offline:
        facts |= {"offline": request.why_offline}
    return facts


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "run", request=RunRequest)(run)

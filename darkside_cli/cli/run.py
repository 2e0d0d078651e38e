"""``darkside run``: gandtr's scenario files, planned, shown, checked and carried out."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.cli import options
from darkside_cli.cli.command import app, command
from darkside_cli.cli.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_SOME_FAILED, EXIT_USAGE, say
from darkside_cli.cli.session import Screen, Session
from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.events import Event, ImageReady, ItemSkipped, ignore
from darkside_cli.jobs.request import ask
from darkside_cli.scenario.request import RunRequest

if TYPE_CHECKING:
    from darkside_cli.scenario.run import StepBegun, StepEnded

LIST, VALIDATE, PRINT = "list", "validate", "print-steps"
#: Targets of the published scenarios, for completion.
TARGETS = ("download", "train", "output", "finetune", "finetune_r101", "all", "eval", "eval_r101")


def _known_words() -> list[str]:
    from darkside_cli.scenario.files import published_scenarios

    return [LIST, VALIDATE, *TARGETS, *published_scenarios()]


@dataclass(frozen=True, kw_only=True)
class RunOptions(RunRequest):
    """What is to be done with a scenario, as words or as options."""

    words: tuple[str, ...] = ask(
        "What to run of which scenario, and what to lay over it from left to right; or 'list', or "
        "'validate', and a scenario.",
        (),
        metavar="TARGET SCENARIO.yml [OVERLAY.yml | KEY=VALUE]...",
        choices_from=_known_words,
        open_ended=True,
        argument=True,
    )
    list: bool = ask("Show the published scenarios, or the targets of one.", False)
    validate: bool = ask("Check every target of a scenario, or one; run nothing.", False)
    print_steps: bool = ask("Show what would run, and the commands that do the same; run nothing.", False)


@command(app, "run", request=RunOptions)
def run(session: Session, request: RunOptions, json: options.Json = False) -> int:
    """Run a scenario of gandtr: its files work as they are.

        darkside run train iccv23/train/hedngan.yml

        darkside run eval iccv23/eval/hedngan.yml

        ls *.jpg | darkside run output iccv23/train/hedngan.yml output.1_output.output.inference.image_dir=night

    A scenario is a file, or one of the published ones by name: darkside run list. Relative paths in it are below the
    data folder. Steps go on where an earlier run stopped. Trainings use several GPUs under torchrun.
    """
    mode, target, files = parse_words(
        request.words, list_=request.list, validate=request.validate, print_steps=request.print_steps
    )
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
    modes = [mode for mode, on in ((LIST, list_), (VALIDATE, validate), (PRINT, print_steps)) if on]
    if len(modes) > 1:
        raise UsageError("--list, --validate and --print-steps exclude each other", hint="choose one")
    if not modes and rest and rest[0] in (LIST, VALIDATE):
        modes = [rest.pop(0)]
    mode = modes[0] if modes else "run"
    target = rest.pop(0) if rest and not _is_scenario(rest[0]) else None
    if mode == LIST:
        if target is not None:
            hint = "darkside run list FILE.yml shows its targets"
            raise UsageError(f"'{target}' is no scenario file", hint=hint)
    elif not rest:
        hint = "darkside run TARGET FILE.yml; darkside run list shows the published ones"
        raise UsageError("no scenario is given", hint=hint)
    elif target is None and mode != VALIDATE:
        raise UsageError("no target is given", hint=f"darkside run TARGET {rest[0]}")
    return mode, target, rest


def _is_scenario(word: str) -> bool:
    return "=" in word or word.endswith((".yml", ".yaml")) or Path(word).is_file()


def _list(session: Session, request: RunRequest, *, json: bool) -> int:
    from darkside_cli.scenario.files import published_scenarios
    from darkside_cli.scenario.load import load_scenario

    found: dict[str, Sequence[str]]
    if request.files:
        scenario = request.scenario
        found = {target: request.resolver(target).order for target in scenario.targets()}
        outer, one, many, notes = "targets", "target", "steps", scenario.notes
    else:
        found = {name: load_scenario([name]).targets() for name in published_scenarios()}
        outer, one, many, notes = "scenarios", "scenario", "targets", ()
    if json:
        named = {"scenario": scenario.name} if request.files else {}
        rows = [{"name": name, many: list(parts)} for name, parts in found.items()]
        session.output.json({**named, outer: rows})
    else:
        session.output.table((one, many), [(name, ", ".join(parts)) for name, parts in found.items()])
    session.say(*notes)
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
        session.say(*notes)
    return EXIT_USAGE if any(each.problems for each in found) else EXIT_DONE


def _print(session: Session, request: RunRequest, *, json: bool) -> int:
    from darkside_cli.scenario.run import plan_of
    from darkside_cli.scenario.step import jsonable

    plan = plan_of(request)
    root = request.root.path
    if json:
        session.output.json({**plan.as_json(root), "data_dir": root})
        return EXIT_USAGE if plan.problems else EXIT_DONE
    lines: list[str] = []
    for number, each in enumerate(plan.steps, 1):
        lines.append(f"{number}. {each.source.name}: {each.describe()}  [{each.source.function}]")
        lines += [f"     {problem}" for problem in each.problems]
        lines += [f"   $ {line}" for line in each.commands(root)]
        if session.verbose:
            lines += [f"     {finding}" for finding in each.without_effect]
            shown = jsonlib.dumps(jsonable(each.source.plain()), indent=2, ensure_ascii=False)
            lines += [f"     {line}" for line in shown.splitlines()]
    session.output.text("\n".join(lines))
    session.say(*plan.notes)
    return EXIT_USAGE if plan.problems else EXIT_DONE


def _names_on_stdin() -> Iterator[Path]:
    """Names of images, one a line of standard input. Raises UsageError if that is a terminal."""
    from darkside_cli.datasets.names import iter_path_tokens

    if sys.stdin is None or sys.stdin.isatty():
        hint = "pipe their names in: find . -name '*.jpg' | darkside run output FILE.yml"
        raise UsageError("no images given", hint=hint)
    return iter_path_tokens(sys.stdin.buffer, null=False)


def _carry_out(session: Session, request: RunRequest, *, json: bool) -> int:
    from darkside_cli.scenario.run import run as run_scenario
    from darkside_cli.training.distributed import Ranks

    if not Ranks.from_environment().is_first:  # started by torchrun: the first process speaks for all
        return max((_code(each) for each in run_scenario(request, emit=ignore)), default=EXIT_DONE)
    with _StepPrinter(session, json=json) as printer:
        try:
            run_scenario(request, emit=printer.emit)
        except DarksideError as error:
            # What the steps before it gave is not lost, and programs read what is missing.
            if json and printer.begun:
                failed = {"name": printer.begun, **_facts(error, request)}
                _answer(session, request, printer.ended, failed=failed)
            raise
    if json:
        _answer(session, request, printer.ended)
    return max(map(_code, printer.ended), default=EXIT_DONE)


class _StepPrinter:
    """Shows how the steps of a scenario go: their progress on stderr, and on stdout what they made, unless ``json``."""

    def __init__(self, session: Session, *, json: bool) -> None:
        self.begun = ""
        self.ended: list[StepEnded] = []
        self._session, self._json = session, json
        self._stack = ExitStack()
        self._screen = self._new_screen()
        self._prints_images = False

    def __enter__(self) -> _StepPrinter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def emit(self, event: Event) -> None:
        """Show ``event``."""
        from darkside_cli.scenario.run import StepBegun, StepEnded
        from darkside_cli.scenario.step import StepNotice

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
        self._session.say(f"[{event.number}/{event.total}] {event.name}: {event.what}")

    def _end(self, event: StepEnded) -> None:
        from darkside_cli.cli.descriptors import print_scores
        from darkside_cli.cli.training import say_what_is_next

        self._screen = self._new_screen()
        self.ended.append(event)
        outcome = event.outcome
        if not self._json:
            self._session.output.path(*outcome.paths)
            if outcome.lines:
                print_scores(self._session.output, outcome.lines)
        if outcome.trained is not None:
            say_what_is_next(self._session, outcome.trained, event.kind)


def _code(ended: StepEnded) -> int:
    if ended.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_SOME_FAILED if ended.outcome.failed else EXIT_DONE


def _answer(session: Session, request: RunRequest, ended: Sequence[StepEnded], **more: Any) -> None:
    """Print what the steps gave as JSON."""
    from darkside_cli.scenario.step import jsonable

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
    from darkside_cli.scenario.evaluation import LackingError

    facts: dict[str, Any] = {"exit_code": error.exit_code, "reason": error.message, "hint": error.hint}
    if isinstance(error, LackingError):
        facts |= {"missing": {"sets": error.sets, "weights": error.weights}}
    if request.offline:
        facts |= {"offline": request.why_offline}
    return facts

"""Runs a target of a scenario: its steps, one after the other, each with what the steps before it gave back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.events import Emit, Event, Notice, ignore
from darkside_cli.scenario.evaluation import EvaluateStep
from darkside_cli.scenario.plan import TargetPlan, plan_target, require_translated, translate_step
from darkside_cli.scenario.request import RunRequest
from darkside_cli.scenario.step import Outcome, PlannedStep, PrintScoresStep, StepNotice


@dataclass(frozen=True)
class StepBegun(Event):
    """Step ``number`` (from 1) of ``total`` begins; ``what`` it does, in words."""

    name: str
    number: int
    total: int
    what: str
    step: PlannedStep


@dataclass(frozen=True)
class StepEnded(Event):
    """A step ended: its ``outcome`` after so many ``seconds``, without scores that a later step gives once more."""

    name: str
    kind: str
    outcome: Outcome
    seconds: float

    @property
    def interrupted(self) -> bool:
        """Whether it is a training that was stopped."""
        return self.outcome.trained is not None and not self.outcome.trained.complete

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its name, its kind, and what it gave back."""
        return {"name": self.name, "kind": self.kind, "outputs": self.outcome.outputs}


def plan_of(request: RunRequest, target: str | None = None) -> TargetPlan:
    """What the steps of ``target`` (None: the request's) are here. Raises ConfigError."""
    return plan_target(request.scenario, target or request.target, request.root.path, order=request.order)


def run(request: RunRequest, *, emit: Emit = ignore) -> list[StepEnded]:
    """Run the target of ``request``. Steps go on where an earlier run stopped; after an interrupted one none follows.

    Raises ConfigError for what cannot be translated, and what the jobs of the steps raise.
    """
    from darkside_cli.training.distributed import Ranks

    plan = plan_of(request)
    emit(Notice(f"relative paths of the scenario are below {request.root} ({request.root.origin})"))
    for note in plan.notes:
        emit(Notice(note))
    if not request.lenient or any(each.step is None for each in plan.steps):
        require_translated(plan.steps)
    for problem in plan.problems:
        emit(StepNotice(f"left out: {problem}"))
    resolver = request.resolver()
    prints = [isinstance(each.step, PrintScoresStep) for each in plan.steps]
    is_first = Ranks.from_environment().is_first
    ended: list[StepEnded] = []
    for number, name in enumerate(resolver.order, 1):
        step = translate_step(resolver.resolve(name)).step
        if step is None:
            raise UsageError(
                f"{plan.target}.{name} cannot be translated", hint="darkside run validate FILE.yml"
            )
        emit(StepBegun(name, number, len(plan.steps), step.describe(), step))
        began = time.monotonic()
        outcome = step.execute(request, emit) if is_first or step.shared else Outcome()
        resolver.finish(name, outcome.outputs)
        if isinstance(step, EvaluateStep) and any(prints[number:]):
            outcome = replace(outcome, lines=())
        ended.append(StepEnded(name, step.kind, outcome, time.monotonic() - began))
        emit(ended[-1])
        if ended[-1].interrupted:
            break
    return ended


@dataclass(frozen=True)
class Validation:
    """Why ``target`` cannot be run, ``problems``; else it has so many ``steps``. ``notes`` are worth knowing."""

    target: str
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    steps: int = 0


def validate(request: RunRequest) -> list[Validation]:
    """Hold the target of ``request``, or all of the scenario, against what darkside has; nothing is run.

    Raises UsageError if there is no target, ConfigError for what is wrong with the one that is asked for.
    """
    found = []
    for target in [request.target] if request.target else request.scenario.targets():
        try:
            plan = plan_of(request, target)
        except DarksideError as error:
            if request.target:
                raise
            found.append(Validation(target, (str(error),)))
        else:
            found.append(Validation(target, tuple(map(str, plan.problems)), plan.notes, len(plan.steps)))
    if not found:
        raise UsageError(f"{' + '.join(request.files)} has no target", hint="a target is a mapping of steps")
    return found

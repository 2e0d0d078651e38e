"""Targets of scenarios in our terms: what each function becomes, what cannot be translated, and the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from darkside_cli.errors import ConfigError
from darkside_cli.scenario import values
from darkside_cli.scenario.describing import translate_extraction, translate_whitening
from darkside_cli.scenario.evaluation import translate_evaluation
from darkside_cli.scenario.finetune import FinetuneStep, translate_finetune
from darkside_cli.scenario.gan import TrainGanStep, translate_gan
from darkside_cli.scenario.images import translate_translation
from darkside_cli.scenario.load import FUNCTION, Scenario
from darkside_cli.scenario.resolve import ResolvedStep, TargetResolver
from darkside_cli.scenario.rules import Finding, Rule, Translated, apply_rules
from darkside_cli.scenario.step import DownloadStep, PrintScoresStep, jsonable, under
from darkside_cli.scenario.training import TrainingStep

#: Assets that the reference's download functions bring.
DOWNLOADS = {
    "mdir.utils.download.rsfm120k": (
        "retrieval-sfm-120k",
        "retrieval-sfm-120k-whiten",
        "day-night-lists",
        "day-night-examples",
    ),
    "mdir.utils.download.roxf5k_rpar6k_247tokyo1k": ("roxford5k", "rparis6k", "tokyo247"),
    "cirtorch.utils.download.download_train": (
        "retrieval-sfm-120k",
        "retrieval-sfm-120k-whiten",
        "retrieval-sfm-30k",
    ),
    "cirtorch.utils.download.download_test": ("oxford5k", "paris6k", "roxford5k", "rparis6k"),
}


def _download(step: ResolvedStep) -> Translated:
    result = apply_rules(step, [])
    result.step = DownloadStep(**step.identity, names=DOWNLOADS[step.function])
    return result


def _print_scores(step: ResolvedStep) -> Translated:
    result = apply_rules(step, [Rule("metadata", lambda _: {})], whole=("metadata",))
    result.step = PrintScoresStep(**step.identity, metadata=step.plain().get("metadata", {}))
    return result


def _train(step: ResolvedStep) -> Translated:
    is_descriptor = values.at(step.plain(), "network.type") == "CirSequentialNetwork"
    return translate_finetune(step) if is_descriptor else translate_gan(step)


def _infer(step: ResolvedStep) -> Translated:
    makes_descriptors = values.at(step.plain(), "output.inference.name") == "embedding"
    return translate_extraction(step) if makes_descriptors else translate_translation(step)


FUNCTIONS: dict[str, Callable[[ResolvedStep], Translated]] = {
    **dict.fromkeys(DOWNLOADS, _download),
    "mdir.stages.train.train": _train,
    "mdir.stages.infer.infer": _infer,
    "mdir.stages.validate.validate": translate_evaluation,
    "mdir.stages.multistep.infer_and_learn_whitening": translate_whitening,
    "print_scores": _print_scores,
}


def translate_step(step: ResolvedStep) -> Translated:
    """Translate a step, whose variables have been replaced. What cannot be is in the result's ``problems``."""
    if step.function in FUNCTIONS:
        return FUNCTIONS[step.function](step)
    result = Translated(step)
    reason = f"darkside does not know this function; it knows {', '.join(FUNCTIONS)}"
    result.refuse(FUNCTION, step.function, reason)
    return result


def require_translated(steps: Sequence[Translated]) -> None:
    """Raise ConfigError, naming every key that cannot be translated, if there is one."""
    problems = [problem for each in steps for problem in each.problems]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ConfigError(
            f"this scenario cannot be translated: {problems[0]}{more}",
            hint="darkside run validate FILE.yml lists all; --lenient goes on without these keys",
        )


@dataclass(frozen=True)
class TargetPlan:
    """A target's steps in the order in which they run, and what a person should know about them."""

    target: str
    steps: tuple[Translated, ...]
    notes: tuple[str, ...]

    @property
    def problems(self) -> list[Finding]:
        """Keys that cannot be translated, of all steps."""
        return [problem for each in self.steps for problem in each.problems]

    def as_json(self, root: Path) -> dict[str, Any]:
        """All of it in JSON's types."""
        document: dict[str, Any] = {
            "target": self.target,
            "steps": [
                {
                    "name": each.source.name,
                    "function": each.source.function,
                    "parameters": each.source.plain(),
                    "plan": each.step.as_dict() if each.step is not None else None,
                    "commands": each.commands(root),
                    "problems": [asdict(finding) for finding in each.problems],
                    "without_effect": [asdict(finding) for finding in each.without_effect],
                }
                for each in self.steps
            ],
            "notes": list(self.notes),
        }
        plain: dict[str, Any] = jsonable(document)
        return plain


def plan_target(scenario: Scenario, target: str, root: Path, *, order: str = "mended") -> TargetPlan:
    """Resolve and translate all steps of ``target``, and hold their options against our configuration.

    Raises ConfigError for what is wrong with the scenario itself.
    """
    resolver = TargetResolver(scenario, target, order=order, outputs_known=False)
    steps = [translate_step(resolver.resolve(name)) for name in resolver.order]
    for each in steps:
        _check(each, root)
    notes = (*scenario.notes, *resolver.notes(), *generator_notes(steps), *_outside(steps, root))
    return TargetPlan(target, tuple(steps), notes)


def generator_notes(steps: Sequence[Translated]) -> list[str]:
    """Where the generator that a step trains is not the one that a later one takes."""
    planned = [each.step for each in steps if each.step is not None]
    return [
        f"{step.path} takes the published generator {step.generator}, not the one that {training.path} trains; "
        f"network.augment.path={training.run}/epochs/generator_X_best.pth takes that"
        for step in planned
        if isinstance(step, FinetuneStep) and isinstance(step.generator, str)
        for training in planned
        if isinstance(training, TrainGanStep) and training.run
    ]


def _outside(steps: Sequence[Translated], root: Path) -> list[str]:
    """What is to be known of steps that write outside the data folder, which a scenario does by a whole path only."""
    return [
        f"{each.source.name} writes outside the data folder: {under(root, path)}"
        for each in steps
        for path in (getattr(each.step, "run", None), getattr(each.step, "output", None))
        if isinstance(path, PurePosixPath) and not under(root, path).is_relative_to(root)
    ]


def _check(translated: Translated, root: Path) -> None:
    """Add what our configuration has against the options of a training to the step's problems."""
    if not isinstance(translated.step, TrainingStep):
        return
    try:
        translated.step.configuration(root)
    except ConfigError as error:
        # The message begins with our key; what a person can change is the scenario's.
        key = max((key for key in translated.origins if error.message.startswith(key)), key=len, default=None)
        if key is not None:
            problem = replace(translated.origins[key], reason=str(error))
        else:
            problem = Finding(translated.step.path, str(translated.source.place), None, error.message)
        translated.problems.append(problem)

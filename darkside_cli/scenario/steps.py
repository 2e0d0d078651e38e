"""Steps of a scenario in our terms: what each function becomes, what of it cannot be translated, and its plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from darkside_cli.errors import ConfigError
from darkside_cli.scenario.finetune import translate_finetune
from darkside_cli.scenario.gan import translate_gan
from darkside_cli.scenario.load import Scenario
from darkside_cli.scenario.options import configuration, under
from darkside_cli.scenario.plan import (
    DownloadStep,
    FinetuneStep,
    PlannedStep,
    PrintScoresStep,
    TrainGanStep,
)
from darkside_cli.scenario.resolve import ResolvedStep, TargetResolver
from darkside_cli.scenario.retrieval import (
    translate_evaluation,
    translate_inference,
    translate_whitening,
)
from darkside_cli.scenario.rules import Finding, Translated, apply_rules, into
from darkside_cli.scenario.tree import dotted, plain

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


@dataclass(frozen=True)
class TranslatedStep:
    """A step of a scenario and what it is here.

    ``step`` is None where that cannot be said. ``problems`` are keys that could not be translated,
    ``without_effect`` those that change nothing here, with the reason. ``origins`` says of our keys which key
    of the scenario each comes from.
    """

    source: ResolvedStep
    step: PlannedStep | None
    problems: tuple[Finding, ...] = ()
    without_effect: tuple[Finding, ...] = ()
    origins: Mapping[str, Finding] = field(default_factory=dict)


def _download(step: ResolvedStep) -> tuple[PlannedStep, Translated]:
    result = apply_rules(step.parameters, [], dotted(step.path))
    return DownloadStep(
        name=step.name, path=dotted(step.path), function=step.function, names=DOWNLOADS[step.function]
    ), result


def _print_scores(step: ResolvedStep) -> tuple[PlannedStep, Translated]:
    given = {key: node for key, node in step.parameters.entries.items() if key != "metadata"}
    rest = type(step.parameters)(given, step.parameters.place)
    result = apply_rules(rest, [into("metadata", lambda _: {})], dotted(step.path))
    metadata = step.parameters.entries.get("metadata")
    return PrintScoresStep(
        name=step.name,
        path=dotted(step.path),
        function=step.function,
        metadata={} if metadata is None else plain(metadata),
    ), result


def _train(step: ResolvedStep) -> tuple[PlannedStep | None, Translated]:
    network: Any = step.plain().get("network")
    if isinstance(network, dict) and network.get("type") == "CirSequentialNetwork":
        return translate_finetune(step)
    return translate_gan(step)


FUNCTIONS: dict[str, Callable[[ResolvedStep], tuple[PlannedStep | None, Translated]]] = {
    **dict.fromkeys(DOWNLOADS, _download),
    "mdir.stages.train.train": _train,
    "mdir.stages.infer.infer": translate_inference,
    "mdir.stages.validate.validate": translate_evaluation,
    "mdir.stages.multistep.infer_and_learn_whitening": translate_whitening,
    "print_scores": _print_scores,
}


def translate_step(step: ResolvedStep) -> TranslatedStep:
    """Translate a step, whose variables have been replaced. What cannot be is in the result's ``problems``."""
    if step.function not in FUNCTIONS:
        finding = Finding(
            f"{dotted(step.path)}.__function__",
            str(step.place),
            step.function,
            f"darkside does not know this function; it knows {', '.join(FUNCTIONS)}",
        )
        return TranslatedStep(step, None, (finding,))
    planned, result = FUNCTIONS[step.function](step)
    return TranslatedStep(step, planned, tuple(result.problems), tuple(result.without_effect), result.sources)


def require_translated(steps: list[TranslatedStep]) -> None:
    """Raise ConfigError, naming every key that cannot be translated, if there is one."""
    problems = [problem for each in steps for problem in each.problems]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ConfigError(
            f"this scenario cannot be translated: {problems[0]}{more}",
            hint="darkside run validate FILE.yml lists all; --lenient goes on without these keys",
        )


def plan_notes(steps: list[TranslatedStep]) -> list[str]:
    """What is worth knowing of steps that follow one another."""
    notes = []
    trained = [each.step for each in steps if isinstance(each.step, TrainGanStep) and each.step.run]
    for each in steps:
        generator = getattr(each.step, "generator", None)
        for training in trained:
            if isinstance(generator, str) and each.step is not None:
                notes.append(
                    f"{each.step.path} takes the published generator {generator}, not the one that "
                    f"{training.path} trains; network.augment.path={training.run}/epochs/generator_X_best.pth "
                    "takes that"
                )
    return notes


@dataclass(frozen=True)
class TargetPlan:
    """A target's steps in the order in which they run, and what a person should know about them."""

    target: str
    steps: tuple[TranslatedStep, ...]
    notes: tuple[str, ...]

    @property
    def problems(self) -> list[Finding]:
        """Keys that cannot be translated, of all steps."""
        return [problem for each in self.steps for problem in each.problems]


def plan_target(scenario: Scenario, target: str, root: Path, *, order: str = "mended") -> TargetPlan:
    """Resolve and translate all steps of ``target``, and hold their options against our configuration.

    Raises ConfigError for what is wrong with the scenario itself.
    """
    resolver = TargetResolver(scenario, target, order=order, outputs_known=False)
    steps = [translate_step(resolver.resolve(name)) for name in resolver.order]
    checked = [replace(each, problems=(*each.problems, *check(each, root))) for each in steps]
    notes = (*scenario.notes, *resolver.notes(), *plan_notes(checked), *_outside(checked, root))
    return TargetPlan(target, tuple(checked), notes)


def _outside(steps: list[TranslatedStep], root: Path) -> list[str]:
    """What is to be known of steps that write outside the data folder, which a scenario does by a whole path only."""
    notes = []
    for each in steps:
        for key in ("run", "output"):
            path = getattr(each.step, key, None)
            if isinstance(path, PurePosixPath) and not under(root, path).is_relative_to(root):
                notes.append(f"{each.source.name} writes outside the data folder: {under(root, path)}")
    return notes


def check(step: TranslatedStep, root: Path) -> list[Finding]:
    """What our configuration has against the options of a step."""
    if not isinstance(step.step, (TrainGanStep, FinetuneStep)):
        return []
    try:
        configuration(step.step, root)
    except ConfigError as error:
        # The message begins with our key; what a person can change is the scenario's.
        key = max((key for key in step.origins if error.message.startswith(key)), key=len, default=None)
        if key is None:
            return [Finding(step.step.path, str(step.source.place), None, error.message)]
        return [
            replace(step.origins[key], reason=f"{error.message}{f' ({error.hint})' if error.hint else ''}")
        ]
    return []

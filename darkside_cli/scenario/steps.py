"""Steps of a scenario in our terms: which function becomes what, and what of it cannot be translated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from darkside_cli.errors import ConfigError
from darkside_cli.scenario.finetune import translate_finetune
from darkside_cli.scenario.gan import translate_gan
from darkside_cli.scenario.plan import DownloadStep, PlannedStep, PrintScoresStep, TrainGanStep
from darkside_cli.scenario.resolve import ResolvedStep
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

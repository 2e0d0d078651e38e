"""Scenarios for the commands: planned as a whole, checked against our configuration, and as command lines of ours."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from darkside_cli.compat.scenario_plan import (
    DownloadStep,
    EvaluateStep,
    ExtractStep,
    FinetuneStep,
    PlannedStep,
    PrintScoresStep,
    TrainGanStep,
    TranslateStep,
    Weights,
    WhitenStep,
    jsonable,
)
from darkside_cli.compat.scenario_steps import TranslatedStep, plan_notes, translate_step
from darkside_cli.errors import ConfigError

if TYPE_CHECKING:
    from darkside_cli.compat.scenario import Scenario
    from darkside_cli.compat.scenario_resolve import Order
    from darkside_cli.compat.scenario_rules import Finding
    from darkside_cli.config.load import Resolved

SFM = "data/train/retrieval-SfM-120k"
#: What our trainings leave in a run's folder.
GENERATOR_FILE, DESCRIPTOR_FILE = "generator_day2night.safetensors", "descriptor.safetensors"
Training: TypeAlias = "TrainGanStep | FinetuneStep"
#: Pictures that the published trainings show their progress on; where they are not at hand, others do.
_EXAMPLES = PurePosixPath("data/val/day_night")
_SAFE = re.compile(r"[A-Za-z0-9_./:@%+-]+")


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


def plan_target(scenario: Scenario, target: str, root: Path, *, order: Order = "mended") -> TargetPlan:
    """Resolve and translate all steps of ``target``, and hold their options against our configuration.

    Raises ConfigError for what is wrong with the scenario itself.
    """
    from darkside_cli.compat.scenario_resolve import TargetResolver

    resolver = TargetResolver(scenario, target, order=order, outputs_known=False)
    steps = [translate_step(resolver.resolve(name)) for name in resolver.order]
    checked = [replace(each, problems=(*each.problems, *check(each, root))) for each in steps]
    notes = (*scenario.notes, *resolver.notes(), *plan_notes(checked))
    return TargetPlan(target, tuple(checked), notes)


def check(step: TranslatedStep, root: Path) -> list[Finding]:
    """What our configuration has against the options of a step."""
    from darkside_cli.compat.scenario_rules import Finding

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


def under(root: Path, path: PurePosixPath | str) -> Path:
    """Where a scenario's path is: relative ones are below the data root."""
    return root / Path(path).expanduser()


def find_trained(path: PurePosixPath, root: Path, ours: str) -> Path:
    """Where the weights ``path`` of a scenario are: there, or in the folder of the run whose ``epochs`` they name.

    gandtr keeps them as ``<run>/epochs/<network>_best.pth``, we as ``<run>/<ours>``. Of a folder of gandtr's, the best
    descriptor is meant. Where there is nothing yet, it is our training that will leave something.
    """
    place = under(root, path)
    epochs = next((folder for folder in (place, place.parent) if folder.name == "epochs"), None)
    if place.is_file() or epochs is None:
        return place
    candidates = [epochs.parent / ours, place / "embed_best.pth"]
    found = next((each for each in candidates if each.is_file()), None)
    if found is None and place.name in ("epochs", "generator_X_best.pth", "embed_best.pth"):
        return candidates[0]
    return found or place


def generator(weights: Weights, root: Path) -> str:
    """A generator as ``translate --model`` takes it: gandtr's file, or what our own training left in its place."""
    return weights if isinstance(weights, str) else str(find_trained(weights, root, GENERATOR_FILE))


def descriptor(weights: Weights, root: Path) -> str:
    """A descriptor as ``evaluate --model`` takes it, likewise."""
    return weights if isinstance(weights, str) else str(find_trained(weights, root, DESCRIPTOR_FILE))


def flags(step: Training, root: Path) -> dict[str, Any]:
    """Options of a training as flags for ``config.load.resolve``, paths below the data root."""
    given: dict[str, Any] = {}
    for key, value in step.options.items():
        if key == "samples.pictures" and value == _EXAMPLES and not under(root, value).is_dir():
            continue
        given[key] = (
            "none" if value is None else under(root, value) if isinstance(value, PurePosixPath) else value
        )
    if isinstance(step, TrainGanStep):
        return {**given, "method": step.method}
    if step.generator is None:
        return {**given, "augment.kind": "none"}
    return {**given, "augment.kind": "generator", "augment.models": [generator(step.generator, root)]}


def schema(step: Training) -> type[Any]:
    """The class of a training's configuration."""
    from darkside_cli.registry import resolve as load

    if isinstance(step, TrainGanStep):
        from darkside_cli.gan.methods import METHODS

        made: type[Any] = load(METHODS.get(step.method).config)
        return made
    from darkside_cli.retrieval.config import FinetuneConfig

    return FinetuneConfig


def configuration(step: Training, root: Path) -> Resolved[Any]:
    """The configuration that a training of a scenario comes to. Raises ConfigError."""
    from darkside_cli.config.load import resolve

    return resolve(schema(step), flags=flags(step, root))


def overrides(step: Training, root: Path) -> list[str]:
    """What stands after ``--set`` where a training differs from our defaults.

    Whitening and evaluation are steps of their own in a scenario, so fine-tuning itself does neither.
    """
    from darkside_cli.config.load import resolve

    method = {"method": step.method} if isinstance(step, TrainGanStep) else {}
    alone = {"whitening.kind": "none", "evaluation.datasets": []} if isinstance(step, FinetuneStep) else {}
    wanted = _leaves(resolve(schema(step), flags={**flags(step, root), **alone}).as_dict())
    usual = _leaves(resolve(schema(step), flags=method).as_dict())
    return [f"{key}={toml(value)}" for key, value in wanted.items() if value != usual.get(key)]


def _leaves(table: Mapping[str, Any], base: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= _leaves(value, f"{base}{key}.")
        else:
            found[f"{base}{key}"] = value
    return found


def toml(value: Any) -> str:
    """``value`` as it is written after ``--set key=``."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value if _SAFE.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


def commands(step: PlannedStep | None, root: Path) -> list[str]:
    """Command lines of darkside that do what ``step`` does; none where there is no such command."""
    return [shlex.join(["darkside", *map(str, words)]) for words in _commands(step, root)]


def _commands(step: PlannedStep | None, root: Path) -> list[list[Any]]:
    if isinstance(step, DownloadStep):
        return [["download", *step.names]]
    if isinstance(step, (TrainGanStep, FinetuneStep)):
        run = ["--output", under(root, step.run)] if step.run is not None else []
        sets = [word for text in overrides(step, root) for word in ("--set", text)]
        method = ["train-gan", "--model", step.method] if isinstance(step, TrainGanStep) else ["finetune"]
        return [[*method, *run, *sets]]
    if isinstance(step, TranslateStep):
        size = ["--max-size", step.max_size_px] if step.max_size_px else []
        return [
            [
                "translate",
                "--model",
                descriptor(step.model, root),
                "--output",
                under(root, step.output),
                *size,
            ]
        ]
    if isinstance(step, ExtractStep):
        return [
            ["extract", "--model", descriptor(step.model, root), *_descriptor(step, root), *_size(step.image_size_px),
             "--output", under(root, step.output)]
        ]  # fmt: skip
    if isinstance(step, EvaluateStep):
        sizes = dict.fromkeys(each.image_size_px for each in step.sets)
        return [
            ["evaluate", "--model", descriptor(step.model, root), *_descriptor(step, root), *_size(size),
             *(word for each in step.sets if each.image_size_px == size for word in ("--dataset", each.name))]
            for size in sizes
        ]  # fmt: skip
    if isinstance(step, WhitenStep):
        data, images = whitening_data(step, root)
        return [
            ["whiten", data, "--model", descriptor(step.model, root), "--method", step.type, *_size(step.image_size_px),
             *([] if step.scales == "ms" else ["--scales", step.scales]),
             *([] if images is None else ["--images", images]), "--output", under(root, step.output)]
        ]  # fmt: skip
    return []


def _size(size: int | None) -> list[Any]:
    return [] if size == 1024 else ["--image-size", size or 0]


def _descriptor(step: EvaluateStep | ExtractStep, root: Path) -> list[Any]:
    words: list[Any] = [] if step.scales == "ms" else ["--scales", step.scales]
    if step.whitening is None:
        words += ["--no-whiten"]
    elif step.whitening != step.model:
        words += ["--whitening", whitening_file(step.whitening, root)]
    return words + (["--dim", step.dim] if step.dim is not None else [])


def whitening_file(whitening: Weights, root: Path) -> Path:
    """File of a whitening: of the published model of that name, or by path."""
    from darkside_cli.models.catalog import MODELS

    if isinstance(whitening, str):
        file = next(file for file in MODELS.get(whitening).files if file.role == "whitening")
        return root / file.path
    return under(root, whitening)


def whitening_data(step: WhitenStep, root: Path) -> tuple[str, Path | None]:
    """What a whitening is learned from, and the folder of its images where that is not the published one."""
    folder, _, name = (step.images or "").rpartition("/")
    published = isinstance(step.database, str) and folder == f"{SFM}/ims"
    images = under(root, folder) if folder and name == "*" and not published else None
    return (
        step.database.lower() if isinstance(step.database, str) else str(under(root, step.database))
    ), images


def describe(step: PlannedStep | None) -> str:
    """What a step does, in a few words."""
    if isinstance(step, DownloadStep):
        return f"download {', '.join(step.names)}"
    if isinstance(step, TrainGanStep):
        return f"train the generator of {step.method}"
    if isinstance(step, FinetuneStep):
        return f"fine-tune {step.options.get('backbone', 'a descriptor')}, night by {step.generator}"
    if isinstance(step, WhitenStep):
        return f"learn a whitening ({step.type}) for {step.model}"
    if isinstance(step, EvaluateStep):
        return f"evaluate {step.model} on {', '.join(each.name for each in step.sets)}"
    if isinstance(step, TranslateStep):
        return f"translate the images named on standard input with {step.model}"
    if isinstance(step, ExtractStep):
        return f"describe the images named on standard input with {step.model}"
    if isinstance(step, PrintScoresStep):
        return "print the scores"
    return "not translated"


def as_json(plan: TargetPlan, root: Path) -> dict[str, Any]:
    """A plan in JSON's types."""

    def findings(items: Sequence[Finding]) -> list[dict[str, Any]]:
        return [{"path": f.path, "place": f.place, "value": f.value, "reason": f.reason} for f in items]

    document: dict[str, Any] = {
        "target": plan.target,
        "steps": [
            {
                "name": each.source.name,
                "function": each.source.function,
                "parameters": each.source.plain(),
                "plan": each.step.as_dict() if each.step is not None else None,
                "commands": [] if each.problems else commands(each.step, root),
                "problems": findings(each.problems),
                "without_effect": findings(each.without_effect),
            }
            for each in plan.steps
        ],
        "notes": list(plan.notes),
    }
    plain: dict[str, Any] = jsonable(document)
    return plain

"""Steps of scenarios as command lines of ours, in words, and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.scenario.options import (
    descriptor,
    generator,
    overrides,
    under,
    whitening_data,
    whitening_file,
)
from darkside_cli.scenario.plan import (
    DownloadStep,
    EvaluateStep,
    ExtractStep,
    FinetuneStep,
    PlannedStep,
    PrintScoresStep,
    TrainGanStep,
    TranslateStep,
    WhitenStep,
    jsonable,
)

if TYPE_CHECKING:
    from darkside_cli.scenario.rules import Finding
    from darkside_cli.scenario.steps import TargetPlan


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
                generator(step.model, root),
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

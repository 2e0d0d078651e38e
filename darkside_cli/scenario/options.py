"""Options of a scenario's steps as our jobs take them: paths below the data root, weights, settings of trainings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from darkside_cli.networks.catalog import MODELS
from darkside_cli.registry import resolve as import_target
from darkside_cli.scenario.plan import FinetuneStep, TrainGanStep, Weights, WhitenStep
from darkside_cli.scenario.values import SFM

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved

#: What our trainings leave in a run's folder.
GENERATOR_FILE, DESCRIPTOR_FILE = "generator_day2night.safetensors", "descriptor.safetensors"
Training: TypeAlias = "TrainGanStep | FinetuneStep"
#: Images that the published trainings show their progress on; where they are not at hand, others do.
_EXAMPLES = PurePosixPath("data/val/day_night")
_SAFE = re.compile(r"[A-Za-z0-9_./:@%+-]+")


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


def whitening_file(whitening: Weights, root: Path) -> Path:
    """File of a whitening: of the published model of that name, or by path."""
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
    if isinstance(step, TrainGanStep):
        from darkside_cli.methods.catalog import METHODS

        made: type[Any] = import_target(METHODS.get(step.method).config)
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

"""What the trainings of a scenario have in common: their keys, and the configuration of ours that they come to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from darkside_cli.scenario import values
from darkside_cli.scenario.rules import Rule, Translated, all_must_be, ignored, must_be, to
from darkside_cli.scenario.step import Outcome, PlannedStep, under

if TYPE_CHECKING:
    from darkside_cli.config.load import Resolved
    from darkside_cli.jobs.training import Trained
    from darkside_cli.scenario.request import RunRequest

_REPORTS = "darkside reports by time, and always writes its page"
CHECKPOINTS = [
    to("learning.checkpoints.directory", "run", values.file_path),
    to("learning.checkpoints.store_every", "trainer.store_every", values.whole),
    to("learning.checkpoints.checkpoint_every", "trainer.checkpoint_every", values.whole),
    must_be("learning.checkpoints.directory_epoch_regex", None),
    must_be("learning.type", "TrainValLearning"),
    must_be("learning.training.type", "EpochTraining"),
    to("learning.training.epochs", "trainer.epochs", values.whole),
    to("learning.training.seed", "trainer.seed", values.whole),
    ignored(
        "learning.training.deterministic", "darkside's training repeats itself bit for bit on one machine"
    ),
    ignored("output.debug", "darkside has --verbose and --debug"),
    ignored("output.learning.progress.{print_each,print_each_val}", _REPORTS),
    ignored("output.learning.{progress,htmlreport}", _REPORTS),
    ignored("output.learning.htmlreport.*", _REPORTS),
]
#: Images that the published trainings show their progress on; where they are not at hand, others do.
_EXAMPLES = PurePosixPath("data/val/day_night")
_SAFE = re.compile(r"[A-Za-z0-9_./:@%+-]+")


def adam(pattern: str, ours: str) -> list[Rule]:
    """Rules of an optimiser."""
    return [
        must_be(f"{pattern}.algorithm", "adam"),
        to(f"{pattern}.lr", f"{ours}.lr", values.number),
        to(f"{pattern}.beta1", f"{ours}.betas[0]", values.number),
        to(f"{pattern}.beta2", f"{ours}.betas[1]", values.number),
        to(f"{pattern}.weight_decay", f"{ours}.weight_decay", values.number),
    ]


def single_network(pattern: str, transforms: str, mean_std: list[list[float]]) -> list[Rule]:
    """Rules of a network: that it is one, and what its input goes through."""
    return [
        must_be(f"{pattern}.type", "SingleNetwork"),
        *all_must_be(f"{pattern}.runtime.data", {"transforms": transforms, "mean_std": mean_std}),
    ]


@dataclass(frozen=True, kw_only=True)
class TrainingStep(PlannedStep):
    """Train something. ``options`` are dotted keys of the training's configuration; ``run`` is the run's folder."""

    shared = True
    #: Flags of a step that does nothing but train.
    alone: ClassVar[Mapping[str, Any]] = {}

    options: Mapping[str, Any]
    run: PurePosixPath | None

    @property
    def schema(self) -> type[Any]:
        """The class of its configuration."""
        raise NotImplementedError

    @property
    def usual(self) -> dict[str, Any]:
        """Flags without which our command would do something else."""
        return {}

    def flags(self, root: Path) -> dict[str, Any]:
        """Options as flags for ``config.load.resolve``, paths below the data root."""
        given: dict[str, Any] = {}
        for key, value in self.options.items():
            if key == "samples.pictures" and value == _EXAMPLES and not under(root, value).is_dir():
                continue
            path = under(root, value) if isinstance(value, PurePosixPath) else value
            given[key] = "none" if value is None else path
        return given | self.usual

    def configuration(self, root: Path) -> Resolved[Any]:
        """The configuration that it comes to. Raises ConfigError."""
        from darkside_cli.config.load import resolve

        return resolve(self.schema, flags=self.flags(root))

    def overrides(self, root: Path) -> list[str]:
        """What stands after ``--set`` where it differs from our defaults."""
        from darkside_cli.config.load import resolve

        wanted = _leaves(resolve(self.schema, flags={**self.flags(root), **self.alone}).as_dict())
        usual = _leaves(resolve(self.schema, flags=self.usual).as_dict())
        return [f"{key}={toml(value)}" for key, value in wanted.items() if value != usual.get(key)]

    def _words(self, root: Path) -> list[list[Any]]:
        model = ["--model", self.usual["method"]] if self.usual else []
        run = ["--output", under(root, self.run)] if self.run is not None else []
        return [[self.kind, *model, *run, *(w for text in self.overrides(root) for w in ("--set", text))]]

    def requested(self, request: RunRequest) -> dict[str, Any]:
        """Fields of the request of its job."""
        root = request.root.path
        return {
            **request.computing,
            "precision": None if request.precision == "auto" else request.precision,
            "output": under(root, self.run) if self.run is not None else None,
            "overrides": self.overrides(root),
        }


def planned(
    result: Translated, make: type[TrainingStep], betas: Mapping[str, list[float]], **fields: Any
) -> Translated:
    """Give ``result`` its step; ``key[0]`` and ``key[1]`` become one list, filled from ``betas``."""
    options = {key: value for key, value in result.values.items() if not key.endswith("]") and key != "run"}
    for key, default in betas.items():
        keys = [f"{key}[{position}]" for position in range(len(default))]
        if any(each in result.values for each in keys):
            options[key] = [result.values.get(each, usual) for each, usual in zip(keys, default, strict=True)]
    identity, run = result.source.identity, result.values.get("run")
    result.step = make(**identity, options=options, run=run, **fields)
    return result


def outcome_of(result: Trained) -> Outcome:
    """How a training ended."""
    return Outcome(outputs=result.document(), paths=tuple(result.outputs.values()), trained=result)


def _leaves(table: Mapping[str, Any], base: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _leaves(value, f"{base}{key}.") if isinstance(value, Mapping) else {f"{base}{key}": value}
    return found


def toml(value: Any) -> str:
    """``value`` as it is written after ``--set key=``."""
    if value is None:
        return "none"
    safe = isinstance(value, str) and _SAFE.fullmatch(value)
    return value if safe else json.dumps(value, ensure_ascii=False)

"""What an evaluation of a scenario needs, and what of that is not on this machine: all of it named at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.catalog import TEST_SETS
from darkside_cli.errors import MissingAssetError
from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.locate import missing_files
from darkside_cli.scenario.options import descriptor, whitening_file
from darkside_cli.scenario.plan import EvaluateStep


class LackingError(MissingAssetError):
    """Test ``sets`` and ``weights``, by the names that ``darkside download`` takes (or paths), are not here."""

    def __init__(self, message: str, *, hint: str, sets: Sequence[str], weights: Sequence[str]) -> None:
        super().__init__(message, hint=hint)
        self.sets = list(sets)
        self.weights = list(weights)


@dataclass(frozen=True)
class Needs:
    """What ``evaluate --dataset`` takes for each test set, None where it is not here; and weights that are not.

    ``weights`` maps a model's name, or the path of a file, to those of its files that are missing.
    """

    sets: dict[str, str | None]
    weights: dict[str, list[str]]

    @property
    def missing_sets(self) -> list[str]:
        """Names of test sets that are not here."""
        return [name for name, spec in self.sets.items() if spec is None]


def needs_of(step: EvaluateStep, root: Path) -> Needs:
    """Look for everything that ``step`` needs below the data root ``root``."""
    weights = _missing_weights(step, root)
    if step.whitening is not None and not step.has_own_whitening:
        path = whitening_file(step.whitening, root)
        if not path.exists():
            weights[str(path)] = [path.name]
    return Needs({each.name: _test_set(each.name, root) for each in step.sets}, weights)


def require(step: EvaluateStep, needs: Needs, root: DataRoot, *, forbidden: str) -> None:
    """Raise LackingError, which names every missing test set and weight, if the step can have no result.

    Weights may be fetched later, unless that is ``forbidden``: why, or "".
    """
    sets, weights = needs.missing_sets, needs.weights if forbidden else {}
    if len(sets) < len(needs.sets) and not weights:
        return
    where = f"{root} ({root.origin})"
    parts = []
    if len(sets) == len(needs.sets):
        parts.append(f"none of the test sets {', '.join(sets)} is in {where}")
    elif sets:
        parts.append(f"test sets that are not in {where}: {', '.join(sets)}")
    if weights:
        shown = ", ".join(f"{name} ({', '.join(files)})" for name, files in weights.items())
        parts.append(
            f"weights that are not there: {shown}" if parts else f"weights that are not in {where}: {shown}"
        )
    names = [*sets, *(name for name in weights if "/" not in name)]
    get = f"darkside download {' '.join(names)}" if names else "check the paths"
    raise LackingError(
        f"{step.path}: {'; '.join(parts)}",
        hint=f"{get}; {forbidden}" if forbidden else get,
        sets=sets,
        weights=list(weights),
    )


def _missing_weights(step: EvaluateStep, root: Path) -> dict[str, list[str]]:
    if isinstance(step.model, str):
        wanted = ("weights", "whitening") if step.has_own_whitening else ("weights",)
        files = [file for file in missing_files(MODELS.get(step.model), root) if file.role in wanted]
        return {step.model: [Path(file.path).name for file in files]} if files else {}
    place = descriptor(step.model, root)
    return {} if Path(place).exists() else {place: [Path(place).name]}


def _test_set(name: str, root: Path) -> str | None:
    """What ``evaluate --dataset`` takes for the set ``name``; None if it is not on this machine."""
    if name in TEST_SETS:
        entry = TEST_SETS.get(name)
        here = entry.ground_truth(root).is_file() and entry.images(root).is_dir()
        return entry.name if here else None
    own = root / "data" / "test" / name / f"gnd_{name}.pkl"
    return str(own) if own.is_file() else None

"""Evaluations of scenarios: what their keys are here, what they need, and how they are carried out.

The table in :func:`translate_evaluation` is the whole mapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.catalog import TEST_SETS
from darkside_cli.errors import MissingAssetError
from darkside_cli.events import Emit
from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.locate import missing_files
from darkside_cli.scenario import values
from darkside_cli.scenario.describing import WRAPPERS, DescribingStep, size_words, wrapper_options
from darkside_cli.scenario.request import RunRequest
from darkside_cli.scenario.resolve import ResolvedStep
from darkside_cli.scenario.rules import Rule, Translated, all_must_be, apply_rules, must_be, to
from darkside_cli.scenario.step import Outcome, StepNotice, descriptor, whitening_file


@dataclass(frozen=True, kw_only=True)
class TestSetOptions:
    """One set to evaluate on."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    name: str
    image_size_px: int | None


class LackingError(MissingAssetError):
    """Test ``sets`` and ``weights``, by the names that ``darkside download`` takes (or paths), are not here."""

    def __init__(self, message: str, *, hint: str, sets: Sequence[str], weights: Sequence[str]) -> None:
        super().__init__(message, hint=hint)
        self.sets = list(sets)
        self.weights = list(weights)


@dataclass(frozen=True, kw_only=True)
class EvaluateStep(DescribingStep):
    """Score ``model`` on test sets."""

    kind = "evaluate"

    sets: tuple[TestSetOptions, ...]

    def describe(self) -> str:
        """What it does, in a few words."""
        return f"evaluate {self.model} on {', '.join(each.name for each in self.sets)}"

    @property
    def _by_size(self) -> dict[int | None, list[str]]:
        """Names of the sets by the size of their images: one evaluation each."""
        sizes = dict.fromkeys(each.image_size_px for each in self.sets)
        return {size: [each.name for each in self.sets if each.image_size_px == size] for size in sizes}

    def _words(self, root: Path) -> list[list[Any]]:
        model = ["evaluate", "--model", descriptor(self.model, root), *self._description_words(root)]
        return [
            [*model, *size_words(size), *(word for name in names for word in ("--dataset", name))]
            for size, names in self._by_size.items()
        ]

    def execute(self, request: RunRequest, emit: Emit) -> Outcome:
        """Score a descriptor on the sets that are here; those that are not are told and left out."""
        from darkside_cli.jobs import evaluate as job

        root = request.root
        forbidden = "" if request.download else "--no-download was given"
        if request.offline:
            forbidden = f"the network is off limits: {request.why_offline}"
        found = {each.name: _test_set(each.name, root.path) for each in self.sets}
        missing = [name for name, spec in found.items() if spec is None]
        self._require(root, list(found), missing, forbidden=forbidden)
        for name in missing:
            emit(
                StepNotice(f"{self.path}: {name} is not in {root} and is left out; darkside download {name}")
            )
        results = [
            job.run(
                job.EvaluateRequest(
                    model=(descriptor(self.model, root.path),),
                    dataset=here,
                    image_size=size or 0,
                    **self._description(request),
                ),
                emit=emit,
            )
            for size, names in self._by_size.items()
            if (here := tuple(spec for name in names if (spec := found[name])))
        ]
        documents = [result.document() for result in results]
        outputs = {key: [each for document in documents for each in document[key]]
                   for key in ("lines", "results")}  # fmt: skip
        return Outcome(
            failed=bool(missing) or any(result.failed for result in results),
            outputs={**outputs, "missing": missing},
            lines=tuple(line for result in results for line in result.lines),
        )

    def _require(self, root: DataRoot, wanted: list[str], sets: list[str], *, forbidden: str) -> None:
        """Raise LackingError, which names the missing test ``sets`` and weights, if there can be no result.

        Weights may be fetched later, unless that is ``forbidden``: why, or "".
        """
        weights = self._missing_weights(root.path) if forbidden else {}
        if len(sets) < len(wanted) and not weights:
            return
        where = f"{root} ({root.origin})"
        parts = []
        if len(sets) == len(wanted):
            parts.append(f"none of the test sets {', '.join(sets)} is in {where}")
        elif sets:
            parts.append(f"test sets that are not in {where}: {', '.join(sets)}")
        if weights:
            shown = ", ".join(f"{name} ({', '.join(files)})" for name, files in weights.items())
            parts.append(f"weights that are not {'there' if parts else f'in {where}'}: {shown}")
        names = [*sets, *(name for name in weights if "/" not in name)]
        get = f"darkside download {' '.join(names)}" if names else "check the paths"
        raise LackingError(
            f"{self.path}: {'; '.join(parts)}",
            hint=f"{get}; {forbidden}" if forbidden else get,
            sets=sets,
            weights=list(weights),
        )

    def _missing_weights(self, root: Path) -> dict[str, list[str]]:
        """Names of missing files, by the name of their model or their path."""
        if isinstance(self.model, str):
            wanted = ("weights", "whitening") if self.has_own_whitening else ("weights",)
            files = [file for file in missing_files(MODELS.get(self.model), root) if file.role in wanted]
            missing = {self.model: [Path(file.path).name for file in files]} if files else {}
        else:
            place = Path(descriptor(self.model, root))
            missing = {} if place.exists() else {str(place): [place.name]}
        if self.whitening is not None and not self.has_own_whitening:
            path = whitening_file(self.whitening, root)
            if not path.exists():
                missing[str(path)] = [path.name]
        return missing


def _test_set(name: str, root: Path) -> str | None:
    """What ``evaluate --dataset`` takes for the set ``name``; None if it is not on this machine."""
    if name in TEST_SETS:
        entry = TEST_SETS.get(name)
        here = entry.ground_truth(root).is_file() and entry.images(root).is_dir()
        return entry.name if here else None
    own = root / "data" / "test" / name / f"gnd_{name}.pkl"
    return str(own) if own.is_file() else None


def translate_evaluation(step: ResolvedStep) -> Translated:
    """Scores of a descriptor on test sets."""
    rules = [
        to("network.path", "model", values.weights),
        Rule(WRAPPERS, wrapper_options),
        must_be("validation.type", "MultiCriterialValidation", "SingleValidation"),
        must_be("validation.decisive_criterion", None),
        must_be("data", {}),
    ]
    for part in ("validation", "validation.*"):
        rules += all_must_be(part, {
            "criterion.type": "cirdatasetap", "frequency": None, "network_overlay": None, "data": None
        })  # fmt: skip
        rules.append(Rule(f"{part}.criterion.{{dataset,image_size}}", lambda _: {}))  # see _test_sets
    rules.append(must_be("validation.*.type", "SingleValidation"))
    result = apply_rules(step, rules, whole=(WRAPPERS,))
    sets = _test_sets(step.plain().get("validation"), result)
    if result.is_complete({"model": "network.path"}) and sets:
        given = {"whitening": None, "dim": None, "scales": "ss", **result.values}
        result.step = EvaluateStep(**step.identity, **given, sets=tuple(sets))
    return result


def _test_sets(validation: Any, result: Translated) -> list[TestSetOptions]:
    sets = []
    if isinstance(validation, Mapping):
        for path, part in [
            ("validation", validation),
            *((f"validation.{k}", v) for k, v in validation.items()),
        ]:
            criterion = part.get("criterion") if isinstance(part, Mapping) else None
            if not isinstance(criterion, Mapping):
                continue
            name, size = criterion.get("dataset"), criterion.get("image_size")
            try:
                if not isinstance(name, str) or "/" in name:
                    raise ValueError("this is not the name of a test set")
                size_px = None if size is None else values.whole(size)
                sets.append(TestSetOptions(name=name, image_size_px=size_px))
            except ValueError as error:
                result.refuse(f"{path}.criterion", criterion, str(error))
    if not sets:
        result.refuse("validation", validation, "there is nothing to evaluate on")
    return sets

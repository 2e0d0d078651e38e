"""What the keys of a scenario's whitening, evaluation and inference are here: the tables are the whole mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from darkside_cli.scenario.plan import (
    EvaluateStep,
    ExtractStep,
    TestSetOptions,
    TranslateStep,
    WhitenStep,
)
from darkside_cli.scenario.resolve import ResolvedStep
from darkside_cli.scenario.rules import (
    Finding,
    Translated,
    apply_rules,
    into,
    must_be,
    no_matter,
    to,
)
from darkside_cli.scenario.tree import dotted
from darkside_cli.scenario.values import (
    CLAHE_TRANSFORMS,
    HALF,
    IMAGENET,
    LOADERS,
    database,
    downscaled,
    file_path,
    image_pattern,
    scales,
    weights,
    whitening,
    whole,
    wrappers_of,
)

_ASYNC = "darkside always writes while it computes"

_IMAGES = [
    must_be("data.test.dataset.name", "CirImageList"),
    to("data.test.dataset.image_dir", "images", image_pattern),
    to("data.test.dataset.image_size", "image_size_px", whole),
    must_be("data.test.transforms", CLAHE_TRANSFORMS),
    must_be("data.test.mean_std", IMAGENET),
    no_matter("data.test.loader.*", LOADERS),
]
_EMBEDDING = [
    to("network.path", "model", weights),
    no_matter("output.debug", "darkside has --verbose and --debug"),
    must_be("output.inference.name", "embedding"),
    no_matter("output.inference.async", _ASYNC),
]


_WRAPPERS = "network.runtime.wrappers"


def _descriptor_wrappers(value: Any) -> dict[str, Any]:
    """Scales and whitening around a descriptor; where training and evaluation have their own, those of evaluation."""
    options: dict[str, Any] = {"scales": "ss", "whitening": None, "dim": None}
    if isinstance(value, Mapping) and set(value) <= {"train", "eval"}:
        if value.get("train"):
            raise ValueError("only wrappers of eval are translated here, not those of train")
        value = value.get("eval")
    for name, given in wrappers_of(value):
        if name == "cirmultiscale":
            options["scales"] = scales(_only(given, ["scales"])["scales"])
        elif name == "cirwhiten":
            arguments = _only(given, ["whitening", "dimensions"])
            options["whitening"] = whitening(arguments["whitening"])
            size = arguments["dimensions"]
            options["dim"] = None if size is None or size == "None" else whole(size)
        else:
            raise ValueError(f"the wrapper {name} is not translated here")
    return options


def _only(given: Sequence[Any] | Mapping[str, Any], keys: list[str]) -> dict[str, Any]:
    """Options by name, whether they were given by name or by place."""
    named = dict(given) if isinstance(given, Mapping) else dict(zip(keys, given, strict=False))
    unknown = [str(key) for key in named if key not in keys]
    if unknown or len(given) > len(keys):
        raise ValueError(f"a wrapper takes {', '.join(keys)}, and {', '.join(unknown) or 'more'} was given")
    return {"scales": True, "whitening": None, "dimensions": None, **named}


def _scales_only(value: Any) -> dict[str, Any]:
    options = _descriptor_wrappers(value)
    if options["whitening"] is not None:
        raise ValueError("a whitening is learned from descriptors that are not whitened")
    return {"scales": options["scales"]}


def translate_whitening(step: ResolvedStep) -> tuple[WhitenStep | None, Translated]:
    """Learning of a whitening."""
    rules = [
        *_EMBEDDING,
        *_IMAGES,
        into(_WRAPPERS, _scales_only),
        to("whitening.type", "type"),
        to("whitening.directory", "directory", file_path),
        to("whitening.dataset_pkl", "database", database),
    ]
    result = apply_rules(step.parameters, rules, dotted(step.path), whole=(_WRAPPERS,))
    values = result.values
    kind = values.get("type", "lw")
    if kind not in ("lw", "pca"):
        _add(result, step, "whitening.type", kind, "only lw and pca are translated")
    if not _complete(result, step, {"model": "network.path", "directory": "whitening.directory",
                                    "database": "whitening.dataset_pkl"}):  # fmt: skip
        return None, result
    made = WhitenStep(
        **_names(step),
        model=values["model"],
        type=kind,
        database=values["database"],
        images=values.get("images"),
        image_size_px=values.get("image_size_px"),
        scales=values.get("scales", "ss"),
        output=values["directory"] / "whitening" / f"{kind}-retrieval.pkl",
    )
    return made, result


def translate_evaluation(step: ResolvedStep) -> tuple[EvaluateStep | None, Translated]:
    """Scores of a descriptor on test sets."""
    rules = [
        to("network.path", "model", weights),
        into(_WRAPPERS, _descriptor_wrappers),
        *(
            rule
            for part in ("validation", "validation.*")
            for rule in (
                must_be(f"{part}.criterion.type", "cirdatasetap"),
                into(f"{part}.criterion.{{dataset,image_size}}", lambda _: {}),  # see _test_sets
            )
        ),
        must_be("validation.type", "MultiCriterialValidation", "SingleValidation"),
        must_be("validation.decisive_criterion", None),
        must_be("validation.{frequency,network_overlay,data}", None),
        must_be("validation.*.type", "SingleValidation"),
        must_be("validation.*.{frequency,network_overlay,data}", None),
        must_be("data", {}),
    ]
    result = apply_rules(step.parameters, rules, dotted(step.path), whole=(_WRAPPERS,))
    sets = _test_sets(step.plain().get("validation"), result, step)
    if not _complete(result, step, {"model": "network.path"}) or not sets:
        return None, result
    made = EvaluateStep(
        **_names(step),
        model=result.values["model"],
        whitening=result.values.get("whitening"),
        dim=result.values.get("dim"),
        scales=result.values.get("scales", "ss"),
        sets=tuple(sets),
    )
    return made, result


def _test_sets(validation: Any, result: Translated, step: ResolvedStep) -> list[TestSetOptions]:
    if not isinstance(validation, Mapping):
        _add(result, step, "validation", validation, "there is nothing to evaluate on")
        return []
    parts = [("validation", validation), *((f"validation.{k}", v) for k, v in validation.items())]
    sets = []
    for path, part in parts:
        criterion = part.get("criterion") if isinstance(part, Mapping) else None
        if not isinstance(criterion, Mapping):
            continue
        name, size = criterion.get("dataset"), criterion.get("image_size")
        try:
            if not isinstance(name, str) or "/" in name:
                raise ValueError("this is not the name of a test set")
            sets.append(TestSetOptions(name=name, image_size_px=None if size is None else whole(size)))
        except ValueError as error:
            _add(result, step, f"{path}.criterion", criterion, str(error))
    if not sets:
        _add(result, step, "validation", validation, "there is nothing to evaluate on")
    return sets


def translate_inference(step: ResolvedStep) -> tuple[TranslateStep | ExtractStep | None, Translated]:
    """Inference on the images that standard input names: translated images, or descriptors."""
    inference: Any = step.plain().get("output")
    inference = inference.get("inference") if isinstance(inference, Mapping) else None
    name = inference.get("name") if isinstance(inference, Mapping) else None
    if name == "embedding":
        return _translate_extraction(step)
    rules = [
        to("network.path", "model", weights),
        must_be("network.runtime.wrappers", "", None),
        must_be("data.test.dataset.name", "ImageList"),
        to("data.test.dataset.image_dir", "images", image_pattern),
        to("data.test.transforms", "max_size_px", downscaled),
        must_be("data.test.mean_std", HALF),
        no_matter("data.test.loader.*", LOADERS),
        no_matter("output.debug", "darkside has --verbose and --debug"),
        must_be("output.inference.name", "rgb"),
        to("output.inference.image_dir", "output", file_path),
        no_matter("output.inference.async", _ASYNC),
        must_be("output.inference.stretch_by", "meanstd"),
    ]
    result = apply_rules(step.parameters, rules, dotted(step.path))
    values = result.values
    if not _complete(result, step, {"model": "network.path", "output": "output.inference.image_dir"}):
        return None, result
    made = TranslateStep(
        **_names(step),
        model=values["model"],
        images=values.get("images") or "*",
        output=values["output"],
        max_size_px=values.get("max_size_px"),
    )
    return made, result


def _translate_extraction(step: ResolvedStep) -> tuple[ExtractStep | None, Translated]:
    rules = [*_EMBEDDING, *_IMAGES, into(_WRAPPERS, _descriptor_wrappers)]
    result = apply_rules(step.parameters, rules, dotted(step.path), whole=(_WRAPPERS,))
    if not _complete(result, step, {"model": "network.path"}):
        return None, result
    values = {"whitening": None, "dim": None, "scales": "ss", "image_size_px": None, **result.values}
    # The names of steps are anybody's: they must not become folders.
    output = PurePosixPath("outputs", f"{dotted(step.path).replace('/', '_')}.h5")
    return ExtractStep(**_names(step), **{"images": "*", **values, "output": output}), result


def _names(step: ResolvedStep) -> dict[str, Any]:
    return {"name": step.name, "path": dotted(step.path), "function": step.function}


def _complete(result: Translated, step: ResolvedStep, needed: Mapping[str, str]) -> bool:
    """Whether all ``needed`` values are there; the keys of those that are not are noted as problems."""
    told = {finding.path for finding in result.problems}
    missing = [key for ours, key in needed.items() if result.values.get(ours) is None]
    for key in missing:
        if f"{dotted(step.path)}.{key}" not in told:
            _add(result, step, key, None, "this is needed and not there")
    return not missing


def _add(result: Translated, step: ResolvedStep, key: str, value: Any, reason: str) -> None:
    result.problems.append(Finding(f"{dotted(step.path)}.{key}", str(step.place), value, reason))

"""Steps of scenarios that describe images: what scales and whitening are here, whitening and extraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from darkside_cli.events import Emit, Notice
from darkside_cli.scenario import values
from darkside_cli.scenario.images import NO_ASYNC, named_images
from darkside_cli.scenario.request import RunRequest
from darkside_cli.scenario.resolve import ResolvedStep
from darkside_cli.scenario.rules import Rule, Translated, apply_rules, ignored, must_be, to
from darkside_cli.scenario.step import Outcome, PlannedStep, Weights, descriptor, under, whitening_file

WRAPPERS = "network.runtime.wrappers"
_RULES = [
    to("network.path", "model", values.weights),
    ignored("output.debug", "darkside has --verbose and --debug"),
    must_be("output.inference.name", "embedding"),
    ignored("output.inference.async", NO_ASYNC),
    must_be("data.test.dataset.name", "CirImageList"),
    to("data.test.dataset.image_dir", "images", values.image_pattern),
    to("data.test.dataset.image_size", "image_size_px", values.whole),
    must_be("data.test.transforms", values.CLAHE_TRANSFORMS),
    must_be("data.test.mean_std", values.IMAGENET),
    ignored("data.test.loader.*", values.LOADERS),
]


def size_words(size: int | None) -> list[Any]:
    """Words for the size of images, where it is not the usual one."""
    return [] if size == 1024 else ["--image-size", size or 0]


def _scale_words(scales: str) -> list[Any]:
    return [] if scales == "ms" else ["--scales", scales]


@dataclass(frozen=True, kw_only=True)
class DescribingStep(PlannedStep):
    """Describe images. ``whitening`` is a file, or the name of the model whose own it is; None: no whitening.

    ``scales`` are "ms", "ss" or numbers between commas, as on the command line.
    """

    model: Weights
    whitening: Weights | None
    dim: int | None
    scales: str

    @property
    def has_own_whitening(self) -> bool:
        """Whether the whitening is the published one of the model itself."""
        return isinstance(self.whitening, str) and self.whitening == self.model

    def _description_words(self, root: Path) -> list[Any]:
        words = _scale_words(self.scales)
        if self.whitening is None:
            words += ["--no-whiten"]
        elif self.whitening != self.model:
            words += ["--whitening", whitening_file(self.whitening, root)]
        return words + (["--dim", self.dim] if self.dim is not None else [])

    def _description(self, request: RunRequest) -> dict[str, Any]:
        """Fields of a request: scales and whitening."""
        other = None if self.has_own_whitening else self.whitening
        return {
            **request.computing,
            "scales": self.scales,
            "whiten": self.whitening is not None,
            "whitening": whitening_file(other, request.root.path) if other else None,
            "dim": self.dim,
        }


@dataclass(frozen=True, kw_only=True)
class WhitenStep(PlannedStep):
    """Learn a whitening for ``model`` from ``database``: an asset's name, or a path. ``type`` is "lw" or "pca".

    ``scales`` as in :class:`DescribingStep`; ``output`` is the file.
    """

    kind, summary = "whiten", "learn a whitening ({0.type}) for {0.model}"

    model: Weights
    type: str
    database: Weights
    images: str | None
    image_size_px: int | None
    scales: str
    output: PurePosixPath

    def _data(self, root: Path) -> tuple[str, Path | None]:
        """What it is learned from, and the folder of its images where that is not the published one."""
        folder, _, name = (self.images or "").rpartition("/")
        published = isinstance(self.database, str) and folder == f"{values.SFM}/ims"
        images = under(root, folder) if folder and name == "*" and not published else None
        database = self.database.lower() if isinstance(self.database, str) else under(root, self.database)
        return str(database), images

    def _words(self, root: Path) -> list[list[Any]]:
        data, images = self._data(root)
        return [
            ["whiten", data, "--model", descriptor(self.model, root), "--method", self.type,
             *size_words(self.image_size_px), *_scale_words(self.scales),
             *([] if images is None else ["--images", images]), "--output", under(root, self.output)]
        ]  # fmt: skip

    def execute(self, request: RunRequest, emit: Emit) -> Outcome:
        """Learn a whitening; one that is newer than the model stays."""
        from darkside_cli.jobs import whiten as job

        root = request.root.path
        model, target = descriptor(self.model, root), under(root, self.output)
        # Of a published model, whose name is no file, the whitening is learned anew.
        if (
            target.is_file()
            and Path(model).is_file()
            and target.stat().st_mtime >= Path(model).stat().st_mtime
        ):
            emit(Notice(f"{self.name}: {target} is there already"))
            return Outcome(outputs={"file": str(target)})
        data, images = self._data(root)
        wanted = job.WhitenRequest(
            data=data,
            model=model,
            output=target,
            method=self.type,
            images=images,
            image_size=self.image_size_px or 0,
            scales=self.scales,
            overwrite=True,
            **request.computing,
        )
        result = job.run(wanted, emit=emit)
        return Outcome(failed=bool(result.failed), outputs=result.document(), paths=(result.file,))


@dataclass(frozen=True, kw_only=True)
class ExtractStep(DescribingStep):
    """Describe the images that are named on standard input into the file ``output``."""

    kind, summary = "extract", "describe the images named on standard input with {0.model}"

    images: str
    image_size_px: int | None
    output: PurePosixPath

    def _words(self, root: Path) -> list[list[Any]]:
        model = ["extract", "--model", descriptor(self.model, root), *self._description_words(root)]
        return [[*model, *size_words(self.image_size_px), "--output", under(root, self.output)]]

    def execute(self, request: RunRequest, emit: Emit) -> Outcome:
        """Describe the images that are named."""
        from darkside_cli.jobs import extract as job
        from darkside_cli.training.distributed import Ranks

        named = named_images(request, self.images)
        if not named:
            emit(Notice("no image names came in: nothing to do"))
            return Outcome(outputs={"file": None})
        root = request.root.path
        target = under(root, self.output)
        wanted = job.ExtractRequest(
            named=named,
            model=descriptor(self.model, root),
            output=target,
            image_size=self.image_size_px or 0,
            **self._description(request),
        )
        result = job.run(wanted, emit=emit, ranks=Ranks())
        return Outcome(
            failed=bool(result.failed),
            outputs={"file": str(target), "done": result.done, "failed": list(result.failed)},
            paths=(result.file,) if result.file is not None else (),
        )


def wrapper_options(value: Any) -> dict[str, Any]:
    """Scales and whitening around a descriptor; where training and evaluation have their own, those of evaluation."""
    options: dict[str, Any] = {"scales": "ss", "whitening": None, "dim": None}
    if isinstance(value, Mapping) and set(value) <= {"train", "eval"}:
        if value.get("train"):
            raise ValueError("only wrappers of eval are translated here, not those of train")
        value = value.get("eval")
    for name, given in values.wrappers_of(value):
        if name == "cirmultiscale":
            options["scales"] = values.scales(_only(given, ["scales"])["scales"])
        elif name == "cirwhiten":
            arguments = _only(given, ["whitening", "dimensions"])
            options["whitening"] = values.whitening(arguments["whitening"])
            size = arguments["dimensions"]
            options["dim"] = None if size is None or size == "None" else values.whole(size)
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
    options = wrapper_options(value)
    if options["whitening"] is not None:
        raise ValueError("a whitening is learned from descriptors that are not whitened")
    return {"scales": options["scales"]}


def translate_whitening(step: ResolvedStep) -> Translated:
    """Learning of a whitening."""
    rules = [
        *_RULES,
        Rule(WRAPPERS, _scales_only),
        to("whitening.type", "type"),
        to("whitening.directory", "directory", values.file_path),
        to("whitening.dataset_pkl", "database", values.database),
    ]
    result = apply_rules(step, rules, whole=(WRAPPERS,))
    given = {"type": "lw", "images": None, "image_size_px": None, "scales": "ss", **result.values}
    if given["type"] not in ("lw", "pca"):
        result.refuse("whitening.type", given["type"], "only lw and pca are translated")
    needed = {
        "model": "network.path",
        "directory": "whitening.directory",
        "database": "whitening.dataset_pkl",
    }
    if result.is_complete(needed):
        output = given.pop("directory") / "whitening" / f"{given['type']}-retrieval.pkl"
        result.step = WhitenStep(**step.identity, **given, output=output)
    return result


def translate_extraction(step: ResolvedStep) -> Translated:
    """Descriptors of the images that standard input names."""
    result = apply_rules(step, [*_RULES, Rule(WRAPPERS, wrapper_options)], whole=(WRAPPERS,))
    if result.is_complete({"model": "network.path"}):
        usual = {"whitening": None, "dim": None, "scales": "ss", "image_size_px": None, "images": "*"}
        # The names of steps are anybody's: they must not become folders.
        output = PurePosixPath("outputs", f"{step.path.replace('/', '_')}.h5")
        result.step = ExtractStep(**step.identity, **{**usual, **result.values}, output=output)
    return result

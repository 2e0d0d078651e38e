"""Images that a scenario is about, found by the names that are given as the reference finds them; their translation."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from darkside_cli.assets.entries import shard_path
from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit
from darkside_cli.scenario import values
from darkside_cli.scenario.request import RunRequest
from darkside_cli.scenario.resolve import ResolvedStep
from darkside_cli.scenario.rules import Translated, apply_rules, ignored, must_be, to
from darkside_cli.scenario.step import Outcome, PlannedStep, Weights, generator, under

NO_ASYNC = "darkside always writes while it computes"
_RULES = [
    to("network.path", "model", values.weights),
    must_be("network.runtime.wrappers", "", None),
    must_be("data.test.dataset.name", "ImageList"),
    to("data.test.dataset.image_dir", "images", values.image_pattern),
    to("data.test.transforms", "max_size_px", values.downscaled),
    must_be("data.test.mean_std", values.HALF),
    ignored("data.test.loader.*", values.LOADERS),
    ignored("output.debug", "darkside has --verbose and --debug"),
    must_be("output.inference.name", "rgb"),
    to("output.inference.image_dir", "output", values.file_path),
    ignored("output.inference.async", NO_ASYNC),
    must_be("output.inference.stretch_by", "meanstd"),
]


@dataclass(frozen=True, kw_only=True)
class TranslateStep(PlannedStep):
    """Translate the images that are named on standard input; ``images`` is the reference's pattern for names."""

    kind, summary = "translate", "translate the images named on standard input with {0.model}"

    model: Weights
    images: str
    output: PurePosixPath
    max_size_px: int | None = None

    def _words(self, root: Path) -> list[list[Any]]:
        size = ["--max-size", self.max_size_px] if self.max_size_px else []
        model, output = generator(self.model, root), under(root, self.output)
        return [["translate", "--model", model, "--output", output, *size]]

    def execute(self, request: RunRequest, emit: Emit) -> Outcome:
        """Translate the images that are named."""
        from darkside_cli.jobs import translate as job

        root = request.root.path
        wanted = job.TranslateRequest(
            named=named_images(request, self.images),
            model=generator(self.model, root),
            output=under(root, self.output),
            max_size=self.max_size_px or 0,
            **request.computing,
        )
        result = job.run(wanted, emit=emit)
        written = [os.fsdecode(image.target) for image in result.images if image.target is not None]
        outputs = {"images": written, "failed": result.failed} if result.images else {"images": []}
        return Outcome(failed=result.failed > 0, outputs=outputs)


def translate_translation(step: ResolvedStep) -> Translated:
    """Translation of the images that standard input names."""
    result = apply_rules(step, _RULES)
    if result.is_complete({"model": "network.path", "output": "output.inference.image_dir"}):
        images = result.values.get("images") or "*"
        result.step = TranslateStep(**step.identity, **{**result.values, "images": images})
    return result


def join_image_dir(image_dir: str, name: str) -> str:
    """Path of the image ``name`` in ``image_dir``, which may be a folder or a pattern.

    In a pattern ``*`` stands for the name: ``ims/*/x.jpg`` and ``abc`` give ``ims/abc/x.jpg``. Where the
    pattern ends in ``*`` and a suffix, this is the suffix of names that have none; with ``!`` behind it
    (``ims/*.png!``) it takes the place of any. A folder without ``*`` is the pattern ``folder/*.jpg``.
    Absolute names stay as they are.
    """
    if posixpath.isabs(name):
        return name
    pattern = image_dir if "*" in image_dir else posixpath.join(image_dir, "*.jpg")
    before, _, after = pattern.partition("*")
    if "/" in after:
        return before + name + after
    stem, suffix = posixpath.splitext(name)
    if after.endswith("!"):
        return before + stem + after.removesuffix("!")
    return before + (name if suffix else name + after)


def named_images(request: RunRequest, pattern: str) -> tuple[tuple[Path, str], ...]:
    """Files of the images that ``request`` names, and what their results are called.

    ``*`` in the pattern stands for the name, as in :func:`join_image_dir`. Of names that lead to no file there, a
    retrieval-SfM id is looked for in its own folder, and any other name from the working directory. Results keep the
    names, as far as these lead nowhere else. Raises UsageError if no images are given.
    """
    if request.names is None:
        raise UsageError("no images given", hint="name the images that the scenario is about")
    root, folder = request.root.path, pattern.partition("*")[0]
    given: dict[Path, Path] = {}
    paths = []
    for name in request.names():
        text = os.fspath(name)
        candidates = [root / join_image_dir(pattern, text)]
        if len(name.parts) == 1 and len(text) >= 6:
            candidates.append(root / folder / shard_path(text))
        candidates.append(name)
        paths.append(next((each for each in candidates if each.is_file()), candidates[0]))
        given[paths[-1]] = name
    return tuple(
        (image.path, os.fspath(given[image.path] if _is_inside(given.get(image.path)) else image.relative))
        for image in expand_inputs(paths, recursive=False, exclude=None)
    )


def _is_inside(name: Path | None) -> bool:
    """Whether a name below the folder of results stays in it."""
    return name is not None and not name.is_absolute() and ".." not in name.parts and bool(name.name)

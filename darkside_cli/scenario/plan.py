"""What a scenario's steps are in our terms: one frozen dataclass for each thing that darkside can do.

Weights are either a registered model's name, a text, or a path, which is a :class:`PurePosixPath`. Relative
paths are below the data root, as they are for the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, ClassVar, TypeAlias

Weights: TypeAlias = "str | PurePosixPath"


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """One step. ``name`` is its name in the scenario, ``path`` where it is there, ``function`` what it names."""

    kind: ClassVar[str] = ""

    name: str
    path: str
    function: str

    def as_dict(self) -> dict[str, Any]:
        """Everything in JSON's types."""
        return {"kind": self.kind, **{each.name: jsonable(getattr(self, each.name)) for each in fields(self)}}


@dataclass(frozen=True, kw_only=True)
class DownloadStep(PlannedStep):
    """Get assets by ``names``."""

    kind: ClassVar[str] = "download"

    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrainGanStep(PlannedStep):
    """Train a generator. ``options`` are dotted keys of the method's configuration; ``run`` is the run's folder."""

    kind: ClassVar[str] = "train-gan"

    method: str
    options: Mapping[str, Any]
    run: PurePosixPath | None


@dataclass(frozen=True, kw_only=True)
class FinetuneStep(PlannedStep):
    """Train a descriptor. ``options`` are dotted keys of the fine-tuning's configuration.

    ``generator`` makes night of a share of the anchors; None: none does.
    """

    kind: ClassVar[str] = "finetune"

    generator: Weights | None
    options: Mapping[str, Any]
    run: PurePosixPath | None


@dataclass(frozen=True, kw_only=True)
class WhitenStep(PlannedStep):
    """Learn a whitening for ``model`` from ``database``: an asset's name, or a path. ``type`` is "lw" or "pca".

    ``scales`` are "ms", "ss" or numbers between commas, as on the command line; ``output`` is the file.
    """

    kind: ClassVar[str] = "whiten"

    model: Weights
    type: str
    database: Weights
    images: str | None
    image_size_px: int | None
    scales: str
    output: PurePosixPath


@dataclass(frozen=True, kw_only=True)
class TestSetOptions:
    """One set to evaluate on."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    name: str
    image_size_px: int | None


@dataclass(frozen=True, kw_only=True)
class _Describing(PlannedStep):
    """Describe images. ``whitening`` is a file, or the name of the model whose own it is; None: no whitening."""

    model: Weights
    whitening: Weights | None
    dim: int | None
    scales: str

    @property
    def has_own_whitening(self) -> bool:
        """Whether the whitening is the published one of the model itself."""
        return isinstance(self.whitening, str) and self.whitening == self.model


@dataclass(frozen=True, kw_only=True)
class EvaluateStep(_Describing):
    """Score ``model`` on test sets."""

    kind: ClassVar[str] = "evaluate"

    sets: tuple[TestSetOptions, ...]


@dataclass(frozen=True, kw_only=True)
class TranslateStep(PlannedStep):
    """Translate the images that are named on standard input; ``images`` is the reference's pattern for names."""

    kind: ClassVar[str] = "translate"

    model: Weights
    images: str
    output: PurePosixPath
    max_size_px: int | None = None


@dataclass(frozen=True, kw_only=True)
class ExtractStep(_Describing):
    """Describe the images that are named on standard input into the file ``output``."""

    kind: ClassVar[str] = "extract"

    images: str
    image_size_px: int | None
    output: PurePosixPath


@dataclass(frozen=True, kw_only=True)
class PrintScoresStep(PlannedStep):
    """Print the scores of an earlier step: what it gave back, under ``metadata``."""

    kind: ClassVar[str] = "print-scores"

    metadata: Any = field(default_factory=dict)


def jsonable(value: Any) -> Any:
    """``value`` in JSON's types: paths as texts, infinity as "inf", what is no number as None."""
    if isinstance(value, PurePosixPath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(each) for each in value]
    if isinstance(value, TestSetOptions):
        return {"name": value.name, "image_size_px": value.image_size_px}
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value

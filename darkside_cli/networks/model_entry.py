"""What is known of a published model: its files, also those that Python packages bring, and what it expects.

Torch-free. A package is found without importing it, which may pull in much.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

from darkside_cli.registry import Entry

Triple = tuple[float, float, float]

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """A file of weights in a package.

    ``path``, inside of the folder of ``module``, may have wildcards; ``install`` is the command that gets the package,
    ``note`` says what the weights are.
    """

    package: str
    module: str
    path: str
    install: str
    licence: str
    note: str = ""

    def find(self) -> Path | None:
        """The file; None if the package is not installed."""
        found = find_spec(self.module)
        folders = found.submodule_search_locations if found is not None else None
        return next((each for folder in folders or () for each in sorted(Path(folder).glob(self.path))), None)

    def __str__(self) -> str:
        """The package, with its version where that is known."""
        try:
            return f"{self.package} {version(self.package)}"
        except PackageNotFoundError:
            return self.package


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One file of a model.

    ``path`` is relative to the data root, with forward slashes; that of an ``embedded`` file to this package, which
    brings it. ``urls`` are tried in order. ``sha256`` is the whole hash or its known beginning in hexadecimal
    digits, ``size_bytes`` the exact size; None if unknown. ``role`` is "weights" or "whitening". ``stand_in`` is used
    where the file is not there.
    """

    path: str
    urls: tuple[str, ...]
    role: str = "weights"
    sha256: str | None = None
    size_bytes: int | None = None
    embedded: bool = False
    stand_in: PackageFile | None = None

    def under(self, root: str | PathLike[str]) -> Path:
        """Where the file is, or belongs: under the data root ``root``, or in this package."""
        return (_PACKAGE if self.embedded else Path(root)) / self.path

    def here(self, root: str | PathLike[str]) -> tuple[Path, PackageFile | None] | None:
        """Where it is on this machine, and the package that brings what stands in for it; None if it is nowhere."""
        if (path := self.under(root)).is_file():
            return path, None
        found = self.stand_in.find() if self.stand_in is not None else None
        return None if found is None else (found, self.stand_in)


@dataclass(frozen=True, kw_only=True)
class ModelEntry(Entry):
    """One published model.

    ``kind`` is "generator", "descriptor" or "edge-detector"; ``method`` is how it was trained. ``mean`` and
    ``std`` (in ``colour_order``, of channels in [0, 1]) are what the network's input is normalised with.
    ``direction`` is "day2night", "night2day" or None. ``scores`` maps a data set (or "avg") to the published
    mAP in percent. ``record`` is the path, in this package, of a JSON file that says how a model of ours was trained:
    command, images with their sources and terms, time, machine, versions, scores. ``by_name_only`` models are in no
    group of what can be downloaded.
    """

    kind: str
    method: str
    files: tuple[WeightFile, ...]
    mean: Triple
    std: Triple
    licence: str
    source: str
    paper: str
    direction: str | None = None
    colour_order: str = "rgb"
    record: str = ""
    licence_note: str = ""
    by_name_only: bool = False
    scores: Mapping[str, float] = field(default_factory=dict, hash=False)

    def training(self) -> dict[str, Any]:
        """What ``record`` says; empty for published models."""
        if not self.record:
            return {}
        facts: dict[str, Any] = json.loads((_PACKAGE / self.record).read_text(encoding="utf-8"))
        return facts

    def pictures(self) -> Counter[str]:
        """How many pictures of which set ``record`` lists; empty for published models."""
        return Counter(picture["set"] for picture in self.training().get("pictures", ()))

    @property
    def install(self) -> str:
        """The command that installs what brings the model, where it can be had no other way; else empty."""
        package = self.weights.stand_in
        return package.install if package is not None and not self.weights.urls else ""

    @property
    def embedded(self) -> bool:
        """Whether the package itself brings the model."""
        return all(file.embedded for file in self.files)

    @property
    def weights(self) -> WeightFile:
        """The file that holds the network's weights."""
        return next(file for file in self.files if file.role == "weights")

"""Nights that generators made, scored side by side: against real nights, and against the days they were made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.errors import ImageError, UsageError
from darkside_cli.events import Emit, ImageReady, ItemFailed, Notice, RunStarted, ignore
from darkside_cli.images.colour import Pixels
from darkside_cli.images.images import read_rgb
from darkside_cli.methods.night_features import NETWORK, ImageFeatures
from darkside_cli.methods.quality import evenly
from darkside_cli.metrics.nights import distance_between_halves, kernel_distance, lost_edges, sky_light
from darkside_cli.metrics.translation import NightReference, score_translations

#: Longest side, in pixels, at which edges, sky and light are measured, and the shortest that is sound for that.
_MEASURED_PX, _SMALLEST_PX = 512, 64
#: Of fewer photographs of a kind, the kernel distance varies by as much as good generators differ.
_FEW = 20


@dataclass(frozen=True)
class NightScores:
    """Figures of one row: ``kind`` is "model", "translations" or "reference" (what needs no learning).

    ``scores`` are those of :func:`darkside_cli.metrics.translation.score_translations`, and ``kernel_distance``,
    ``lost_edges`` and ``sky_light``; the last two are left out where no photograph has strong edges, or sky.
    ``pictures`` are some of the translations by day photograph, (H, W, 3) uint8.
    """

    name: str
    kind: str
    images: int
    scores: Mapping[str, float]
    pictures: Mapping[Path, Pixels] = field(default_factory=dict, repr=False)

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        return {"name": self.name, "kind": self.kind, "images": self.images, "scores": dict(self.scores)}


class NightComparison:
    """Day photographs, real nights, and figures of what is made of the first ones: ``rows`` grow by :meth:`add`.

    ``limit`` takes so many of each kind, evenly, and ``max_size_px`` shrinks them (0: no limit); ``pictures`` of the
    translations are kept. ``features`` names the network that compares. What cannot be read is told of and is in
    ``failed``. Raises UsageError for fewer than two photographs of a kind, MissingAssetError without the network.
    """

    def __init__(
        self,
        day: Path,
        night: Path,
        *,
        features: str = NETWORK,
        limit: int = 0,
        max_size_px: int = 0,
        pictures: int = 0,
        device: torch.device | str = "cpu",
        emit: Emit = ignore,
    ) -> None:
        self._folder, self._limit, self._max_size_px, self._emit = day, limit, max_size_px, emit
        self.rows: list[NightScores] = []
        self.failed: list[Path] = []
        self._features = ImageFeatures(features, device=device)
        self._days = self._listed(day)
        self._shown = set(evenly(self._days, pictures)) if self._days and pictures else set()
        nights = self._listed(night)
        self._tell_of_both(nights, night)
        emit(RunStarted("real nights", len(nights)))
        read = (image for path in nights if (image := self._read(path)) is not None)
        found = [(self._features(image), _measured(image)) for image in read]
        self.nights = len(found)
        self._require_enough(night)
        self._real = np.stack([features for features, _ in found])
        self._reference = NightReference.of(small for _, small in found)
        self.floor = distance_between_halves(self._real) if self.nights >= 4 else None

    def _tell_of_both(self, nights: Sequence[Path], folder: Path) -> None:
        both = {path.resolve() for path in self._days} & {path.resolve() for path in nights}
        if both:
            said = "1 file is" if len(both) == 1 else f"{len(both)} files are"
            where = self._folder if self._folder == folder else f"{self._folder} and {folder}"
            self._emit(Notice(f"{said} both day photograph and real night ({where})", "warning"))

    def _require_enough(self, folder: Path) -> None:
        """See that there are two photographs of each kind, and tell where figures would be by chance."""
        kinds = (("day photographs", len(self._days), self._folder), ("real nights", self.nights, folder))
        for what, count, where in kinds:
            if count < 2:
                hint = f"{where} has {count or 'none'}" + (" that can be read" if self.failed else "")
                raise UsageError(f"it takes at least two {what}", hint=hint)
        few = [f"{count} {what}" for what, count, _ in kinds if count < _FEW]
        if few:
            advice = f"are few: differences may be chance; {_FEW} of a kind and more say something"
            self._emit(Notice(f"{' and '.join(few)} {advice}", "warning"))

    def _listed(self, folder: Path) -> list[Path]:
        paths = [image.path for image in expand_inputs([folder], recursive=True, exclude=None)]
        return evenly(paths, self._limit) if self._limit and paths else paths

    def open(self, path: Path) -> Pixels:
        """An image of at most the size that is asked for. Raises ImageError."""
        image = read_rgb(path, max_size_px=self._max_size_px or None)
        if min(image.size) < _SMALLEST_PX:
            raise ImageError(f"{image.width}x{image.height} is too small to be measured")
        return np.asarray(image)

    def _read(self, path: Path) -> Pixels | None:
        try:
            image = self.open(path)
        except ImageError as error:
            self._fail(path, error.message)
            return None
        self._emit(ImageReady(path, None, image.shape[1::-1], 0.0))
        return image

    def _fail(self, path: Path, reason: str) -> None:
        if path not in self.failed:  # once, however many rows it is missing in
            self._emit(ItemFailed(path, reason))
        self.failed.append(path)

    def made_in(self, folder: Path) -> dict[Path, Path]:
        """Translations in ``folder`` by their day photographs: of the same name, or of one with "_…" or "-…" added."""
        names = {path.relative_to(self._folder).with_suffix(""): path for path in self._days}
        found: dict[Path, Path] = {}
        for image in expand_inputs([folder], recursive=True, exclude=None):
            name = image.path.relative_to(folder).with_suffix("")
            while name not in names and (cut := max(map(name.name.rfind, "_-"))) > 0:
                name = name.with_name(name.name[:cut])
            if name in names:
                found.setdefault(names[name], image.path)
            elif not self._limit:
                self._fail(image.path, f"no photograph in {self._folder} is called so")
        if len(found) < 2:
            raise UsageError(
                f"{folder} has fewer than two translations of photographs in {self._folder}",
                hint="'darkside translate -r DAY -o DIR' makes them, under the same names",
            )
        return found

    def add(
        self,
        name: str,
        kind: str,
        translate: Callable[[Path, Pixels], Pixels],
        days: Sequence[Path] | None = None,
    ) -> None:
        """Score what ``translate`` makes of each photograph, told its path and its pixels; of all, or of ``days``.

        Raises UsageError if fewer than two are left.
        """
        features, pairs = [], []
        pictures: dict[Path, Pixels] = {}
        measured: dict[str, list[float]] = {"lost_edges": [], "sky_light": []}
        days = self._days if days is None else days
        self._emit(RunStarted(name, len(days), model=name if kind == "model" else None))
        for path in days:
            if (day := self._read(path)) is None:
                continue
            try:
                night = translate(path, day)
            except ImageError as error:
                self._fail(path, f"{name}: {error.message}")
                continue
            features.append(self._features(night))
            before = _measured(day)
            after = _measured(night, like=before)
            pairs.append((before, after))
            for figure, measure in (("lost_edges", lost_edges), ("sky_light", sky_light)):
                if (value := measure(before, after)) is not None:
                    measured[figure].append(value)
            if path in self._shown:
                pictures[path] = after
        if len(features) < 2:
            raise UsageError(f"{name}: fewer than two photographs could be scored")
        means = {figure: float(np.mean(values)) for figure, values in measured.items() if values}
        scores = {
            "kernel_distance": kernel_distance(np.stack(features), self._real),
            **score_translations(pairs, self._reference),
            **means,
        }
        self.rows.append(NightScores(name, kind, len(features), scores, pictures))


def _measured(image: Pixels, *, like: Pixels | None = None) -> Pixels:
    """An image in the size that figures are taken at, or in that of another one."""
    factor = min(1.0, _MEASURED_PX / max(image.shape[:2]))
    height, width = (
        (max(1, round(side * factor)) for side in image.shape[:2]) if like is None else like.shape[:2]
    )
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))

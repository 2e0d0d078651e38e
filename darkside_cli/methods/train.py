"""A training run from its configuration: images, networks, validation and trainer, put together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from darkside_cli.config.paths import DataRoot
from darkside_cli.config.values import check_values
from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.datasets.names import iter_path_tokens
from darkside_cli.datasets.unpaired import UnpairedImages
from darkside_cli.datasets.unpaired_sets import UnpairedSet
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.methods.catalog import METHODS
from darkside_cli.methods.config import GanConfig, SampleOptions
from darkside_cli.methods.edge_detectors import load_edge_detector
from darkside_cli.methods.quality import QualityValidator, evenly
from darkside_cli.methods.samples import SampleWriter
from darkside_cli.methods.task import GanTask
from darkside_cli.networks.weights import save_network
from darkside_cli.registry import resolve
from darkside_cli.training.distributed import Ranks
from darkside_cli.training.trainer import Trainer

#: What may differ between a run and the one it goes on from: it changes no weight.
CHANGEABLE = (
    "samples", "data.workers", "data.prefetch", "data.cache_mb", "data.nightfall_size", "pictures",
)  # fmt: skip


class Validation:
    """Measures a generator on fixed day images, and shows what it makes of them every few epochs."""

    def __init__(
        self,
        days: list[Path],
        nights: list[Path],
        options: SampleOptions,
        *,
        epochs: int,
        device: torch.device,
        emit: Emit = ignore,
    ) -> None:
        self._quality: QualityValidator | None = None
        try:
            self._quality = QualityValidator(
                days,
                nights,
                size_px=options.size_px,
                day_limit=options.measured,
                fid=options.fid,
                kernel=options.kernel,
                emit=emit,
            )
        except UsageError as error:
            if options.pictures is not None or options.fid or options.kernel:
                raise
            emit(Notice(f"{error.message}: the training goes without", "warning"))
        shown = evenly(days, options.count) if options.every else []
        self._samples = SampleWriter(shown, options.size_px, max(1, options.every))
        self._epochs, self._device = epochs, device
        self.back: nn.Module | None = None

    def __call__(self, translate: Any, epoch: int, folder: Path) -> Mapping[str, float]:
        """Scores by name; a sheet of images goes into ``folder`` when one is due."""
        if self._samples.due(epoch, self._epochs):
            self._samples.write(folder, epoch, translate, back=self.back, device=self._device)
        return {} if self._quality is None else self._quality(translate, epoch, folder)


def make_trainer(
    config: GanConfig,
    *,
    run: Path,
    root: DataRoot,
    device: torch.device,
    ranks: Ranks | None = None,
    resolved: Mapping[str, Any] | None = None,
    emit: Emit = ignore,
) -> Trainer[Any]:
    """Open the images, build the task of ``config.method`` and make its trainer, which writes to the folder ``run``.

    ``resolved`` is the whole configuration as it is stored with checkpoints. Raises MissingAssetError where images
    or an edge detector's weights are not on this machine, UsageError where the images cannot be trained on,
    ConfigError for settings that are out of their bounds.
    """
    check_values(config)
    ranks = ranks or Ranks()
    if ranks.is_first and (idle := config.generator.idle()):
        needed = next(iter(idle.values()))
        names = ", ".join(f"generator.{name}" for name in idle)
        emit(Notice(f"{names}: nothing is made of that without generator.{needed}", "warning"))
    data = UnpairedImages(
        config.data, seed=config.trainer.seed, rank=ranks.rank, ranks=ranks.size, root=root, emit=emit
    )
    entry = METHODS.get(config.method)
    detector = None
    if entry.needs_detector:
        detector = load_edge_detector(getattr(config, "edge_detector"), root)  # noqa: B009 - of some methods only
    task: GanTask = resolve(entry.target).build(config, device=device, edge_detector=detector)
    if ranks.is_first and config.trainer.validate_every:
        task.validator = _validation(config, data, task, device, emit)
    return Trainer(
        task,
        data,
        config.trainer,
        run=run,
        device=device,
        ranks=ranks,
        resolved={**(resolved or {}), "pictures": data.describe()},
        changeable=CHANGEABLE,
        save_network=save_network,
        batch_size=config.data.batch_size * ranks.size,
        emit=emit,
    )


def _validation(
    config: GanConfig, data: UnpairedImages, task: GanTask, device: torch.device, emit: Emit
) -> Validation:
    options = config.samples
    days = _usable(data.day) if options.pictures is None else _images(options.pictures)
    validation = Validation(
        days, _usable(data.night), options, epochs=config.trainer.epochs, device=device, emit=emit
    )
    if "generator_night2day" in task.networks:
        validation.back = task.networks["generator_night2day"]
    return validation


def _usable(images: UnpairedSet) -> list[Path]:
    return [path for index, path in enumerate(images.paths) if index not in images.unusable]


def _images(source: Path) -> list[Path]:
    """Images of a folder, or those that a list names, relative to its own folder."""
    if source.is_dir():
        return [image.path for image in expand_inputs([source], recursive=False, exclude=None)]
    if not source.is_file():
        raise UsageError(f"there is no list or folder {source}", hint="check samples.pictures")
    with source.open("rb") as stream:
        return [source.parent / name for name in iter_path_tokens(stream, null=False)]

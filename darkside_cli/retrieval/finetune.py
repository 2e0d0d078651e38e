"""A fine-tuning from its configuration: data sets, network, mining and trainer, put together.

What is made here is a :class:`~darkside_cli.retrieval.finetune_stages.FinetuneRun`, whose stages do the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from darkside_cli.config.paths import DataRoot
from darkside_cli.config.values import check_values
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, Notice, TrainingStarted, ignore
from darkside_cli.networks.backbones import smallest_side_px
from darkside_cli.networks.retrieval_net import RetrievalNet
from darkside_cli.networks.weights import save_network
from darkside_cli.retrieval.config import CHANGEABLE, LEAST_RANDOM_RATE, RANDOM_RATE, FinetuneConfig
from darkside_cli.retrieval.describe import overlap
from darkside_cli.retrieval.finetune_data import is_published, mining_of, night_of, open_sets
from darkside_cli.retrieval.finetune_stages import WHITENING_FILE, FinetuneRun, remove_own_whitening
from darkside_cli.retrieval.mining.night import NightMaker
from darkside_cli.retrieval.mining.tuple_data import TupleBatch, TupleData, validation_tuples
from darkside_cli.retrieval.mining.tuple_images import ImageDescriber, TupleImages
from darkside_cli.retrieval.task import DescriptorTask, clahe_settings
from darkside_cli.training.distributed import Ranks
from darkside_cli.training.trainer import Trainer

#: Images that are described at once on a GPU.
_GPU_BATCH = 32


def prepare_finetune(
    config: FinetuneConfig,
    *,
    run: Path,
    root: DataRoot,
    network: RetrievalNet,
    generators: Sequence[NightMaker] = (),
    device: torch.device,
    ranks: Ranks | None = None,
    resolved: Mapping[str, Any] | None = None,
    emit: Emit = ignore,
) -> FinetuneRun:
    """Open the data sets, put ``network`` and what is mined together, ready to be trained in the folder ``run``.

    ``network`` is what training begins with (:func:`darkside_cli.retrieval.initial.initial_network`); ``generators``
    make night where ``config.augment.kind`` is "generator". ``resolved`` is the whole configuration as it is stored
    with checkpoints. All that will be needed is looked for now, not after days of training.

    Raises MissingAssetError where data is not on this machine, UsageError where it cannot be learned from, ConfigError
    for settings that are out of their bounds.
    """
    check_values(config)
    ranks = ranks or Ranks()
    _refuse_what_cannot_learn(config, ranks, emit)
    sets = open_sets(config, root, emit=emit)
    night = night_of(config, generators, root, emit=emit)
    images = TupleImages(
        sets.training,
        size_px=config.data.image_size_px,
        upright=not is_published(config.data.spec),
        night=night,
        share=config.augment.share,
        clahe=clahe_settings(config),
        mean=network.config.mean,
        std=network.config.std,
        cache_bytes=config.data.cache_mb << 20,
        smallest_px=smallest_side_px(network.config.backbone),
    )
    facts = {
        "night": None if night is None else night.fingerprint,
        "tuples": sets.training.describe(),
        "validation": None if sets.validation is None else sets.validation.describe(),
    }
    task = DescriptorTask(
        config,
        network,
        device=device,
        facts={
            "backbone": network.config.backbone,
            **facts,
            overlap.KEY: overlap.record(sets.training.paths),
        },
    )
    batch_size = None if device.type == "cpu" else _GPU_BATCH
    describer = ImageDescriber(images, task.describe, workers=sets.workers, batch_size=batch_size, emit=emit)
    data = TupleData(
        describer,
        mining_of(config.mining, sets.training, emit=emit),
        seed=config.trainer.seed,
        batch_size=config.data.batch_size,
        ranks=ranks,
        workers=sets.workers,
        prefetch=config.data.prefetch,
        device=device,
        emit=emit,
    )
    task.mining = data
    if sets.validation is not None and config.validates:
        held_out = describer.of(sets.validation)
        validation_mining = mining_of(config.validation_mining, sets.validation)

        def validation_loss() -> float:
            found = validation_tuples(held_out, validation_mining, device=device, emit=emit)
            return float(task.losses(*found).mean())

        task.validator = validation_loss

    def tell(event: Event) -> None:
        if isinstance(event, TrainingStarted) and event.epoch < event.epochs:
            remove_own_whitening(run / WHITENING_FILE)  # it is of the network as it was
        emit(event)

    trainer: Trainer[TupleBatch] = Trainer(
        task,
        data,
        config.trainer,
        run=run,
        device=device,
        ranks=ranks,
        resolved={**(resolved or {"trainer": asdict(config.trainer)}), **facts},
        changeable=CHANGEABLE,
        save_network=save_network,
        batch_size=config.data.batch_size * ranks.size,
        emit=tell,
    )
    return FinetuneRun(config, task, data, trainer, run, root, sets, device, night)


def _refuse_what_cannot_learn(config: FinetuneConfig, ranks: Ranks, emit: Emit) -> None:
    """Raise UsageError for batch norms that learn in several processes; warn of a rate too low for random weights."""
    if ranks.size > 1 and not config.freeze_norms:
        raise UsageError(
            "batch norms that learn statistics need one process", hint="leave freeze_norms on, or --nproc out"
        )
    if config.init == "random" and config.optim.lr < LEAST_RANDOM_RATE:
        emit(
            Notice(
                f"a learning rate of {config.optim.lr:g} is for features that are learned already, and random weights "
                f"learn next to nothing with it: take --set optim.lr={RANDOM_RATE:g}",
                "warning",
            )
        )

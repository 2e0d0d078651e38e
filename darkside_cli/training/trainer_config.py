"""Options of the trainer that have nothing to do with any method. Loads no torch, so that help pages can list them."""

from __future__ import annotations

from dataclasses import dataclass

from darkside_cli.config.limits import MAX_EPOCHS, MAX_MINUTES, MAX_SEED, MAX_WEIGHT
from darkside_cli.config.schema import option

#: Options by which a run may differ from the one it goes on from: they change no weight, or only how many there are
#: to come.
CHANGEABLE = frozenset(
    {
        "epochs",
        "compile",
        "checkpoint_every",
        "checkpoint_minutes",
        "keep",
        "store_every",
        "validate_every",
        "log_every_s",
    }
)


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How long, how exactly and how safely a task is trained."""

    epochs: int = option(50, help="epochs in all, those already done included", minimum=1, maximum=MAX_EPOCHS)
    seed: int = option(0, help="seed of all that is drawn at random", minimum=0, maximum=MAX_SEED)
    precision: str = option(
        "fp32",
        help="fp32 (exact), bf16, fp16, or auto: bf16 or fp16 on a GPU",
        choices_from="darkside_cli.training.trainer_config:PRECISION_NAMES",
    )
    tf32: bool = option(False, help="let GPUs round the factors of fp32 products to 10 bits, which is faster")
    channels_last: bool = option(
        False,
        help="keep features pixel by pixel instead of channel by channel: faster with batch norm, on CPUs too",
    )
    compile: bool = option(False, help="compile the networks with torch.compile: pays on GPUs and long runs")
    clip_norm: float | None = option(
        None,
        help="longest gradient, per optimiser; longer ones are scaled down to it",
        minimum=0,
        maximum=MAX_WEIGHT,
    )
    ema_decay: float | None = option(
        None,
        help="keep a moving average of the resulting networks with this decay, and save and validate that",
        minimum=0,
        maximum=1,
    )
    checkpoint_every: int = option(
        2, help="epochs between checkpoints", unit="epochs", minimum=1, maximum=MAX_EPOCHS
    )
    checkpoint_minutes: float = option(
        15.0,
        help="longest time without a checkpoint, inside of epochs too; 0: only at their ends",
        minimum=0,
        maximum=MAX_MINUTES,
    )
    keep: int = option(2, help="newest checkpoints to keep", minimum=1, maximum=MAX_EPOCHS)
    store_every: int = option(
        10, help="keep the checkpoint of every n-th epoch for good; 0: none", minimum=0, maximum=MAX_EPOCHS
    )
    validate_every: int = option(
        5, help="epochs between validations; 0: never", unit="epochs", minimum=0, maximum=MAX_EPOCHS
    )
    log_every_s: float = option(
        5.0, help="seconds between reports of the losses", unit="s", minimum=0, maximum=MAX_MINUTES
    )


PRECISION_NAMES = ("auto", "fp32", "bf16", "fp16")

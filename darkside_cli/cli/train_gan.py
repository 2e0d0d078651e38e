"""``darkside train-gan``: day and night images in, a generator out."""

from __future__ import annotations

from typing import Any

from darkside_cli.cli import options, training
from darkside_cli.cli.session import Session, command
from darkside_cli.jobs import train_gan as job
from darkside_cli.jobs.training import Trained


def train_gan(
    session: Session,
    request: job.TrainGanRequest,
    nproc: training.Nproc = None,
    json: options.Json = False,
    print_config: training.PrintConfig = False,
) -> int:
    """Train a generator that turns day photographs into night ones.

    It learns by one of the six methods of the paper, or by relighting (relight). Defaults are the published
    hyper-parameters, on the published lists of day and night pictures:

        darkside train-gan --model hedngan

        darkside train-gan --model hedngan --edge-detector sobel --day photos/day --night photos/night

        darkside train-gan --model hedngan --edge-detector sobel --data nightfall --preset tiny

    A run that was stopped (Ctrl-C saves it) goes on when the same command is given again. The result is used at once:
    darkside translate --model RUN. Prints the path of the generator.
    """
    return training.train(
        session, job, request, nproc=nproc, json=json, print_config=print_config, next_command=next_command
    )


def next_command(result: Trained) -> str:
    """What people do with the result."""
    return f"darkside translate PHOTOS --model {training.shell_word(result.run)}"


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, job.COMMAND, request=job.TrainGanRequest)(train_gan)

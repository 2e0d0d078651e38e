"""``darkside finetune``: images of places in, a descriptor out that finds them at night, too."""

from __future__ import annotations

from typing import Any

from darkside_cli.cli import options, training
from darkside_cli.cli.output import Output
from darkside_cli.cli.session import Session, command
from darkside_cli.jobs import finetune as job
from darkside_cli.jobs.training import Trained


def finetune(
    session: Session,
    request: job.FinetuneRequest,
    nproc: training.Nproc = None,
    json: options.Json = False,
    print_config: training.PrintConfig = False,
) -> int:
    """Fine-tune a descriptor so that it finds places at night, too.

    It is trained with night augmentation, its whitening is learned, and it is evaluated. Defaults are the published
    hyper-parameters, on the published images:

        darkside finetune --model hedngan --backbone vgg16

        darkside finetune --data my-places --augment gamma --backbone resnet18 --init torchvision

    A run that was stopped (Ctrl-C saves it) goes on when the same command is given again, at whatever stage it was.
    The result is used at once: darkside evaluate --model RUN. Prints the descriptor's path and the scores.
    """
    return training.train(
        session,
        job,
        request,
        nproc=nproc,
        json=json,
        print_config=print_config,
        next_command=None if json else next_command,
        also=_print_scores,
    )


def _print_scores(output: Output, result: job.FinetuneResult) -> None:
    if result.lines:
        from darkside_cli.cli.evaluate import print_scores

        print_scores(output, result.lines)


def next_command(result: Trained) -> str:
    """What people do with the result."""
    return f"darkside extract PHOTOS --model {training.shell_word(result.run)} -o descriptors.h5"


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, job.COMMAND, request=job.FinetuneRequest)(finetune)

"""``darkside whiten``: a whitening learned from pairs of images, or from descriptors, in one file."""

from __future__ import annotations

from typing import Any

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.offer import run_job
from darkside_cli.cli.session import Session, command
from darkside_cli.jobs.whiten import WhitenRequest, run


def whiten(session: Session, request: WhitenRequest, *, json: options.Json = False) -> int:
    """Learn a whitening of descriptors from images of the same places.

    For a model, whose images are described first, or for descriptors that are there already. Prints the path of its
    file:

        darkside whiten my-places --model mine.safetensors

        darkside whiten pairs.csv --descriptors plain.h5 -o lw.pkl

    'extract' and 'evaluate' take the file with --whitening.
    """
    result = run_job(session, request, run)
    if json:
        session.output.json(result.document())
    else:
        session.output.path(result.file)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "whiten", request=WhitenRequest)(whiten)

"""``darkside extract``: image files in, one file of their global descriptors out."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from darkside_cli.cli import options
from darkside_cli.cli.errors import EXIT_DONE, EXIT_SOME_FAILED
from darkside_cli.cli.offer import run_job
from darkside_cli.cli.output import Output
from darkside_cli.cli.session import Session, command
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Event, ImageReady, ImagesNamed, ItemFailed, ItemSkipped, ignore
from darkside_cli.jobs.extract import ExtractRequest, ExtractResult, run


def extract(
    session: Session,
    request: ExtractRequest,
    null: options.Null = False,
    json: options.Json = False,
    jsonl: options.Jsonl = False,
) -> int:
    """Describe images: one vector each, all in one file.

    Vectors are multi-scale and whitened. Reads image files, folders, or names piped into standard input, and prints
    the path of the file:

        darkside extract photos -r --model gem_resnet101_hedngan -o photos.h5

    Images are called by their paths from the folder given, or from --image-root, whatever else is given. On several
    GPUs: torchrun --nproc-per-node 8 -m darkside_cli extract ... A run that was stopped is continued when it is
    started again.
    """
    from darkside_cli.training.distributed import Ranks

    with Ranks.from_environment() as ranks:
        # One process reads standard input for all: each would get another part of it.
        request = ranks.broadcast(_with_names(request, null=null) if ranks.is_first else None)

        def extract_here(request: ExtractRequest, *, emit: Emit) -> ExtractResult:
            return run(request, emit=emit, ranks=ranks)

        result = run_job(
            replace(session, quiet=session.quiet or not ranks.is_first),
            request,
            extract_here,
            then=_Lines(session.output).emit if jsonl else ignore,
        )
        if not ranks.is_first:
            return EXIT_DONE  # the first process answers for all
    if json:
        session.output.json(result.document())
    elif not jsonl and result.file is not None:
        session.output.path(result.file)
    return EXIT_SOME_FAILED if result.failed else EXIT_DONE


def _with_names(request: ExtractRequest, *, null: bool) -> ExtractRequest:
    """``request`` with the images and names that standard input gives in place of ``-``, or of no image at all."""
    from darkside_cli.datasets.rooted import listed_names

    request = replace(request, null=null)
    paths = [os.fspath(path) for path in request.images]
    if request.image_root is None and request.image_list is None:
        return replace(request, images=tuple(options.input_paths(paths, null=null)))
    if request.image_list is not None and os.fspath(request.image_list) == "-":
        if "-" in paths:
            raise UsageError("standard input is given twice", hint="as PATHS or as --image-list, not both")
        root = request.image_root if request.image_root is not None else Path()
        request = replace(request, names=tuple(listed_names(sys.stdin.buffer, root, null=null)))
    elif request.image_list is None and paths:
        request = replace(request, names=())  # an empty pipe is no image, and not all of them
    return replace(request, images=tuple(options.input_paths(paths, null=null)) if paths else ())


class _Lines:
    """Writes what becomes of each image as a line of JSON."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._named = ImagesNamed({}, "")

    def emit(self, event: Event) -> None:
        """Write a line if ``event`` is about an image."""
        facts: dict[str, Any]
        if isinstance(event, ImagesNamed):
            self._named = event
            return
        if isinstance(event, ImageReady):
            facts = {"size": list(event.size_px), "seconds": round(event.seconds, 4)}
        elif isinstance(event, ItemSkipped):
            facts = {"skipped": True}
        elif isinstance(event, ItemFailed):
            facts = {"error": event.reason}
        else:
            return
        name, model = self._named.names[event.source], self._named.model
        self._output.jsonl({"input": event.source, "name": name, **facts, "model": model})


def register(app: Any) -> None:
    """Add the command to ``app``."""
    command(app, "extract", request=ExtractRequest)(extract)

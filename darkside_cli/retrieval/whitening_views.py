"""What a PCA whitening learns from where images are few: random views of each, and nights of it.

A covariance of a few hundred photographs says little of a thousand dimensions, and nothing of what night does to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from darkside_cli.datasets.tuples import TupleSet, without_broken
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, ignore
from darkside_cli.images.transforms import shrink
from darkside_cli.images.views import random_view
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.extract import extract_array
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob
from darkside_cli.retrieval.mining.night import NightMaker, ReadyNights
from darkside_cli.retrieval.whitening.whiten import WhiteningSource, known_facts

Change = Callable[[Image.Image], Image.Image]


def source_from_views(
    describer: Describer,
    tuples: TupleSet,
    *,
    views: int,
    nights: int,
    night: NightMaker | None,
    seed: int,
    options: ExtractOptions,
    keep: Path | None = None,
    emit: Emit = ignore,
) -> WhiteningSource:
    """Describe ``views`` of each image of ``tuples`` by day (0: it as it is) and ``nights`` by night.

    A view that becomes night is one of its own, and so is the night that ``night`` makes of it, since both go by their
    names, of which ``seed`` is a part. Ready nights are seen in views, too. Without ``night`` there is day alone.
    ``keep`` as in :func:`darkside_cli.retrieval.whitening.whiten.describe_tuples`.
    """
    usable = without_broken(tuples, emit=emit)
    seen = view_jobs(
        usable, views=views, nights=nights, night=night, seed=seed, size_px=options.image_size_px
    )
    jobs, places = [job for job, _ in seen], np.array([place for _, place in seen], np.int64)
    label = f"{describer.name} on {len(jobs)} views of {usable.name}"
    rows = extract_array(jobs, describer, options=options, keep=keep, label=label, emit=emit)
    facts = {**known_facts(describer, options), "views": views, "nights": nights if night else 0}
    return WhiteningSource(usable.name, rows, usable, facts, places)


def view_jobs(
    tuples: TupleSet, *, views: int, nights: int, night: NightMaker | None, seed: int, size_px: int | None
) -> list[tuple[ImageJob, int]]:
    """Jobs that describe the views and nights of each image, once of each file, and the numbers of their places."""
    jobs: dict[str, tuple[ImageJob, int]] = {}
    done: set[Path] = set()
    for number, (path, name) in enumerate(zip(tuples.paths, tuples.names, strict=True)):
        if path in done and tuples.boxes is None:
            continue  # another view of a photograph that is alone in its place
        done.add(path)
        job = ImageJob(path, name, None if tuples.boxes is None else tuples.boxes[number])
        place = int(tuples.clusters[number])
        for view in range(views):
            own = f"{seed}/view-{view}/{name}"
            jobs[own] = replace(job, name=own, change=partial(random_view, size_px=size_px, seed=own)), place
        if not views:
            jobs[name] = job, place
        if night is None or (isinstance(night, ReadyNights) and night.find(name) is None):
            continue
        for each in range(nights):
            own = f"{seed}/night-{each}/{name}"
            change: Change = partial(_shrunk, size_px=size_px)
            if views:
                change = partial(random_view, size_px=size_px, seed=own)
            made_as = name if isinstance(night, ReadyNights) else own
            seen = partial(_night, night=night, name=made_as, change=change)
            jobs[own] = replace(job, name=own, change=seen), place
    return list(jobs.values())


def _shrunk(image: Image.Image, size_px: int | None) -> Image.Image:
    return image if size_px is None else shrink(image, size_px)


def _night(image: Image.Image, *, night: NightMaker, name: str, change: Change) -> Image.Image:
    """The night of a view; of a ready one, which is there whole, a view."""
    ready = isinstance(night, ReadyNights)
    made = night(np.asarray(image if ready else change(image)), name)
    if made is None:
        raise UsageError(f"there is no night of {name}")
    result = Image.fromarray(np.rint(made.clip(0, 1) * 255).astype(np.uint8))
    return change(result) if ready else result

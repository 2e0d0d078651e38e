"""A few night searches with both descriptors, side by side, for the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from darkside_cli.config.paths import DataRoot
from darkside_cli.demo.request import DATASETS, NIGHT
from darkside_cli.events import Emit, ignore
from darkside_cli.jobs.evaluate import EvaluateRequest, run
from darkside_cli.retrieval.config import FinetuneConfig
from darkside_cli.retrieval.search.benchmark import open_benchmark

SHOWN, TOP = 8, 5


def search(
    descriptors: Mapping[str, Path],
    config: FinetuneConfig,
    root: DataRoot,
    *,
    device: str = "auto",
    emit: Emit = ignore,
) -> list[dict[str, Any]]:
    """Ask for ``SHOWN`` night queries, evenly spread over all, with each of the ``descriptors``.

    Gives for each query its file's name, and by descriptor its average precision and the files' names of the first
    ``TOP`` images, each with whether it is right; in JSON's types.
    """
    truth = open_benchmark(DATASETS[NIGHT], root).truth
    results = {
        name: run(
            EvaluateRequest(
                model=(str(path),),
                dataset=(DATASETS[NIGHT],),
                data_dir=root.path,
                device=device,
                precision=config.trainer.precision,
                image_size=config.evaluation.image_size_px or 0,
                scales=config.evaluation.scales,
                whiten=config.whitening.kind != "none",
                batch_size=1,
                top=TOP,
                with_top=True,
            ),
            emit=emit,
        )
        .evaluations[0]
        .scores
        for name, path in descriptors.items()
    }
    places = np.linspace(0, len(truth.queries) - 1, min(SHOWN, len(truth.queries))).astype(int)
    return [
        {
            "query": truth.image_path(truth.queries[place].name).name,
            "found": {
                name: {
                    "precision": round(float(result.protocols[0].average_precisions[place]), 4),
                    "images": [
                        (truth.image_path(each.name).name, each.group is not None)
                        for each in (result.top or ())[place]
                        if each.name is not None
                    ],
                }
                for name, result in results.items()
            },
        }
        for place in places.tolist()
    ]

"""A few night searches with both descriptors, side by side, for the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from darkside_cli.config.paths import DataRoot
from darkside_cli.demo.request import DATASETS, NIGHT
from darkside_cli.events import Emit, ignore
from darkside_cli.inference.device import pick_device
from darkside_cli.retrieval.config import FinetuneConfig
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions
from darkside_cli.retrieval.describe.load import load_descriptor
from darkside_cli.retrieval.describe.scales import parse_scales
from darkside_cli.retrieval.search.benchmark import open_benchmark
from darkside_cli.retrieval.search.evaluate import describe_benchmark
from darkside_cli.retrieval.search.score import score

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
    benchmark = open_benchmark(DATASETS[NIGHT], root)
    truth = benchmark.truth
    read = ExtractOptions(
        image_size_px=config.evaluation.image_size_px, upright=benchmark.upright, batch_size=1
    )
    results = {}
    for name, path in descriptors.items():
        describer = load_descriptor(
            path, root=root, device=device, precision=config.trainer.precision,
            scales=parse_scales(config.evaluation.scales), whiten=config.whitening.kind != "none",
        )  # fmt: skip
        rows = describe_benchmark(truth, describer, options=read, emit=emit)
        results[name] = score(rows.database, rows.queries, truth, top=TOP, device=pick_device(device))
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

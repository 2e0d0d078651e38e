"""An index of 100,000 images: the memory and time of looking images up in it, and of adding to it.

    python tests/benchmarks/bench_index.py [--images 100000] [--dim 2048] [--queries 100] [--added 100] [--forms h5,npz]
        [--network gem_lite_night]

Descriptors are made up (random directions). Each step runs in a process of its own: "search" opens the file and finds
the ten nearest of each query; "append" adds images, whose descriptors are made up too, so that what is measured is
the file and not the network. With --network a real one describes an image that is looked up and those added;
it decides how many dimensions there are. Memory is the peak of the whole process, with Python, NumPy and PyTorch
(which take what "nothing" shows), in MiB; the target is 1 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from darkside_cli.retrieval.describe.extract import extract_files, settings_digest
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob
from darkside_cli.retrieval.describe.load import load_descriptor
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.describe.write import write_descriptors
from darkside_cli.retrieval.search.nearest import nearest

TARGET_MB = 1000
BLOCK = 4096


class MadeUp:
    """Describes an image by a random direction that its first pixel decides."""

    name, precision, fingerprint, asynchronous = "made-up", "fp32", "made-up", False

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.metadata: dict[str, Any] = {"model": "made-up"}

    def transform(self, image: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()

    def check_size(self, height: int, width: int) -> None:
        pass

    def batch_size(self, height: int, width: int) -> int:
        return 16

    def submit(self, images: Tensor) -> MadeUp:
        self._rows = np.stack([unit_rows(int(each[0, 0, 0]), 1, self.dim)[0] for each in images])
        return self

    def result(self) -> np.ndarray:
        return self._rows


def unit_rows(seed: int, count: int, dim: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def describer_of(network: str, dim: int) -> Any:
    return load_descriptor(network, device="cpu") if network else MadeUp(dim)


def make_index(path: Path, images: int, describer: Any) -> None:
    dim = describer.dim

    def blocks() -> Iterator[np.ndarray]:
        for first in range(0, images, BLOCK):
            yield unit_rows(first, min(BLOCK, images - first), dim)

    names = [f"{number % 1000:03}/{number:032x}.jpg" for number in range(images)]
    digest = settings_digest(describer, ExtractOptions())
    write_descriptors(path, names, blocks(), dim, metadata={"model": "made-up", "digest": digest})


def search(path: Path, queries: int, network: str) -> None:
    stored = open_descriptors(path)
    if network:
        describer = describer_of(network, 0)
        side = describer.image_size_px
        photograph = Image.effect_noise((side, side * 3 // 4), 90).convert("RGB")
        nearest(stored, describer(photograph)[None], 10)
    # The first row of each block is looked for, and so has to be found.
    wanted = list(range(0, stored.count, BLOCK))
    rows = np.concatenate([unit_rows(first, 1, stored.dim) for first in wanted])
    asked = np.concatenate([rows, unit_rows(10**9, max(0, queries - len(rows)), stored.dim)])
    found, scores = nearest(stored, asked, 10)
    assert found[: len(wanted), 0].tolist() == wanted
    assert float(scores[: len(wanted), 0].min()) > 0.999


def append(path: Path, added: int, network: str) -> None:
    stored = open_descriptors(path)
    count, dim = stored.count, stored.dim
    jobs = []
    for number in range(added):
        place = path.parent / f"{number}.png"
        Image.new("RGB", (64, 64) if network else (8, 8), (number % 256, 0, 0)).save(place)
        jobs.append(ImageJob(place, f"new/{number}.png"))
    summary = extract_files(jobs, describer_of(network, dim), path, options=ExtractOptions(append=True))
    assert summary.images == count + added


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--added", type=int, default=100)
    parser.add_argument("--forms", default="h5,npz")
    parser.add_argument("--network", default="")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        started = time.perf_counter()
        if asked.step == "make":
            make_index(asked.index, asked.images, describer_of(asked.network, asked.dim))
        elif asked.step == "search":
            search(asked.index, asked.queries, asked.network)
        elif asked.step == "append":
            append(asked.index, asked.added, asked.network)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"mib": round(peak), "seconds": round(time.perf_counter() - started, 1)}))
        return
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        for form in asked.forms.split(","):
            path = Path(folder) / f"index.{form}"
            for step in ("nothing", "make", "search", "append", "search"):
                line = [sys.executable, __file__, "--step", step, "--index", str(path)]
                line += ["--images", str(asked.images), "--dim", str(asked.dim)]
                line += [
                    "--network",
                    asked.network,
                    "--queries",
                    str(asked.queries),
                    "--added",
                    str(asked.added),
                ]
                told = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
                print(f"{form:4} {step:8} {told['mib']:6} MiB {told['seconds']:7} s", flush=True)
                worst = max(worst, told["mib"])
            print(f"{form:4} file     {path.stat().st_size / 2**20:6.0f} MiB", flush=True)
            path.unlink()
    print(f"most: {worst} MiB, {'within' if worst * 2**20 <= TARGET_MB * 10**6 else 'MORE THAN'} 1 GB")


if __name__ == "__main__":
    main()

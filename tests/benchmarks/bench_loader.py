"""How many images a second training gets: threads against processes, decoded anew and out of memory.

    python tests/benchmarks/bench_loader.py [--photos 40] [--size 1024x768] [--pairs 200]

Processes are started afresh ("spawn", for a device may be in use) and send their crops back, as a loader with
worker processes does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.unpaired import UnpairedConfig, UnpairedImages

_LOADER: list[UnpairedImages] = []


def make_images(folder: Path, count: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        noise = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8))
        noise.filter(ImageFilter.GaussianBlur(2)).save(folder / f"{number:03}.jpg", quality=90)


def loader(folder: Path, pairs: int, workers: int, cache_mb: int) -> UnpairedImages:
    config = UnpairedConfig(
        day=folder / "day",
        night=folder / "night",
        size=pairs,
        batch_size=4,
        workers=workers,
        cache_mb=cache_mb,
    )
    return UnpairedImages(config, seed=0, root=DataRoot(folder, "benchmark"))


def prepare(*arguments: Any) -> None:
    _LOADER.append(loader(*arguments))


def one_batch(number: int) -> Any:
    batch = next(iter(_LOADER[0].epoch(0, start=number)))
    return batch.day.numpy(), batch.night.numpy()


def rate(pairs: int, batches: Iterable[Any]) -> str:
    started, cpu = time.perf_counter(), time.process_time()
    for _ in batches:
        pass
    seconds = time.perf_counter() - started
    return f"{2 * pairs / seconds:7.1f} pictures/s   {(time.process_time() - cpu) / pairs * 500:5.1f} ms CPU each here"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--size", default="1024x768")
    parser.add_argument("--pairs", type=int, default=200)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("day", "night"):
            make_images(folder / kind, options.images, (width, height))
        for workers in (0, 1, 2, 4):
            data = loader(folder, options.pairs, workers, 0)
            print(f"{workers} threads               {rate(options.pairs, data.epoch(0))}", flush=True)
        for workers in (1, 2):
            with ProcessPoolExecutor(
                workers, multiprocessing.get_context("spawn"), prepare, (folder, options.pairs, 0, 0)
            ) as pool:
                list(pool.map(one_batch, range(workers)))
                batches = pool.map(one_batch, range(options.pairs // 4))
                print(f"{workers} processes             {rate(options.pairs, batches)}", flush=True)
        data = loader(folder, options.pairs, 2, 1024)
        for _ in data.epoch(0):
            pass
        print(f"2 threads, out of memory {rate(options.pairs, data.epoch(0))}", flush=True)


if __name__ == "__main__":
    main()

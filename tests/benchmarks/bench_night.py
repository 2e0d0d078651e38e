"""darkside-night against darkside-mini, as `translate` runs them: bytes in, bytes out, side by side.

    python tests/benchmarks/bench_night.py [--sizes 512x384 1024x768 4000x3000] [--rounds 5] [--threads 2]

Every round runs both once, in turn; printed are the medians, by processor time and by the clock, and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from darkside_cli import load_generator

NAMES = ("darkside-night", "darkside-mini")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["512x384", "1024x768", "4000x3000"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="torch threads (0: torch's choice)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    translators = {name: load_generator(name, device="cpu") for name in NAMES}
    for size in arguments.sizes:
        width, height = (int(side) for side in size.split("x"))
        day = np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype(np.uint8)
        clock: dict[str, list[float]] = {name: [] for name in NAMES}
        work: dict[str, list[float]] = {name: [] for name in NAMES}
        for index in range(arguments.rounds + 1):
            for name, translator in translators.items():
                start = time.perf_counter(), time.process_time()
                translator.translate(day)
                if index:  # the first round warms up
                    clock[name].append(time.perf_counter() - start[0])
                    work[name].append(time.process_time() - start[1])
        for what, times in (("clock", clock), ("processor", work)):
            night, mini = (statistics.median(times[name]) for name in NAMES)
            print(
                f"{size} {what}: night {night:.3f} s, mini {mini:.3f} s: {night / mini:.2f}x the time",
                flush=True,
            )


if __name__ == "__main__":
    main()

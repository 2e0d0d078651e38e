"""A guided generator against a ResNet generator of the same width and depth, both prepared, side by side.

    python tests/benchmarks/bench_guided.py [--sizes 512x384 1024x768 4000x3000] [--rounds 5] [--threads 2]

Weights are random, which does not matter for time; form and working size are darkside-mini's. Every round runs both
once, in turn; printed is the ratio of medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import fields

import torch

from darkside_cli.interop.load import open_checkpoint
from darkside_cli.kernels import prepare
from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.configs import ResnetGeneratorConfig
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.guided import GuidedGenerator


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
    config = open_checkpoint(MODELS.get("darkside-mini").weights.under("")).config
    plain = ResnetGeneratorConfig(
        **{each.name: getattr(config, each.name) for each in fields(ResnetGeneratorConfig)}
    )
    networks = {"guided": GuidedGenerator(config), "ResNet": ResnetGenerator(plain)}
    prepared = {name: prepare(each.eval(), device="cpu", precision="fp32") for name, each in networks.items()}
    for size in arguments.sizes:
        width, height = (int(side) for side in size.split("x"))
        x = torch.rand(1, 3, height, width) * 2 - 1
        times: dict[str, list[float]] = {name: [] for name in prepared}
        with torch.inference_mode():
            for index in range(arguments.rounds + 1):
                for name, network in prepared.items():
                    start = time.perf_counter()
                    network(x)
                    if index:  # the first round warms up
                        times[name].append(time.perf_counter() - start)
        guided, resnet = (statistics.median(times[name]) for name in ("guided", "ResNet"))
        print(
            f"{size}: guided {guided:.3f} s, ResNet {resnet:.3f} s: {resnet / guided:.1f}x the speed",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""The generator alone on the CPU: plain eager against what ``prepare`` makes of it, in one process.

    python tests/benchmarks/bench_generator_cpu.py [--size 512] [--rounds 7] [--threads 2]

Every round runs all contestants once, in turn, so that what else the machine does hits all alike; ratios are the
medians over the rounds. The best matrix products seen in the same rounds are what the processor has to give: "direct"
GFLOP/s count the multiply-adds of the convolutions by definition, so Winograd's may exceed them. Images are compared
as uint8, truncated as in the files that ``translate`` writes. The generator has the published shape and random weights.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from darkside_cli.kernels import prepare
from darkside_cli.kernels.dispatch import multiplies_bf16
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.inspect import describe

MATRIX_SIDE = 2048


def image(height: int, width: int) -> Tensor:
    """Photograph-like (1, 3, H, W) in [-1, 1]: soft shapes, edges and noise."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    total = torch.zeros(3, height, width)
    for fx, fy, phase, level, *colour in torch.rand(12, 7, generator=generator).tolist():
        edge = torch.sin(30 * fx * x + 30 * fy * y + 6 * phase) > 2 * level - 1
        total += torch.tensor(colour).view(3, 1, 1) * edge
    noise = torch.randn(total.shape, generator=generator) / 60
    return (total / total.max() * 1.8 - 0.9 + noise).clamp(-1, 1)[None]


def levels(y: Tensor) -> Tensor:
    return (y.double() * 0.5 + 0.5).mul(255).clamp(0, 255).to(torch.uint8).to(torch.int16)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="512", help="side, or HEIGHTxWIDTH, in pixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0, help="torch threads (0: torch's choice)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    height, width = (int(side) for side in (arguments.size.split("x") * 2)[:2])
    torch.manual_seed(0)
    network = ResnetGenerator().eval().requires_grad_(False)
    last = network.model[-2]
    if isinstance(last, nn.Conv2d):
        last.weight.mul_(4)  # random weights alone give nearly grey images
    x = image(height, width)
    gflop = 2 * describe(network, size_px=256).macs / 1e9 * height * width / 256**2

    def autocast() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y: Tensor = network(x)
        return y.float()

    contestants: dict[str, Callable[[], Tensor]] = {
        "plain eager fp32": partial(network, x),
        "plain eager, autocast bf16": autocast,
    }
    for precision in ("fp32", "bf16"):
        fast = prepare(network, device="cpu", precision=precision)
        contestants[f"prepared, {precision}"] = partial(fast, x)
    matrices = {
        name: torch.randn(MATRIX_SIDE, MATRIX_SIDE).to(dtype)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }

    with torch.inference_mode():
        images = {name: levels(run()) for name, run in contestants.items()}  # and warm up
        times: dict[str, list[float]] = {name: [] for name in contestants}
        products: dict[str, list[float]] = {name: [] for name in matrices}
        for _ in range(arguments.rounds):
            for name, run in contestants.items():
                times[name].append(seconds(run))
            for name, matrix in matrices.items():
                products[name] += [seconds(partial(torch.mm, matrix, matrix)) for _ in range(3)]

    best = {name: 2 * MATRIX_SIDE**3 / min(values) / 1e9 for name, values in products.items()}
    plain, *_ = contestants
    print(
        f"{height} x {width} px, {gflop:.0f} GFLOP by definition, {torch.get_num_threads()} threads, "
        f"{arguments.rounds} rounds; {'with' if multiplies_bf16() else 'without'} matrix units for bf16"
    )
    print(f"best matrix product: fp32 {best['fp32']:.0f} GFLOP/s, bf16 {best['bf16']:.0f} GFLOP/s")
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(times[plain], values, strict=True))
        median = statistics.median(values)
        difference = (images[name] - images[plain]).abs()
        print(
            f"{name:<27} {median:7.3f} s (best {min(values):.3f})  {ratio:5.2f}x  "
            f"direct {gflop / median:4.0f} GFLOP/s = {gflop / median / best['fp32']:4.0%} of fp32's best; "
            f"levels: mean difference {difference.double().mean():.5f}, largest {difference.max()}, "
            f"{(difference > 0).double().mean():.4%} differ"
        )
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()

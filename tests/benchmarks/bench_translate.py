"""Translating a folder: darkside's pipeline against the obvious loop, side by side in one run.

    python tests/benchmarks/bench_translate.py [--photos 64] [--size 512] [--device cpu] [--rounds 4]

The obvious loop takes one image at a time: decode, run the plain network eagerly in fp32, encode. Both write the same
files from the same images with the same (full-size, random) generator. Rounds alternate, each over an equal part of
the images; the figures are the medians over the rounds. What the processor could do at most is measured in the same
run: the best matrix-product rate in each precision, beside the rate that the network's multiply-adds were done at.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from darkside_cli.datasets.outputs import TranslationJob
from darkside_cli.jobs.translate_files import FileOptions, translate_files
from darkside_cli.methods.translate import Translator
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.inspect import describe


def make_images(folder: Path, count: int, size: int) -> list[Path]:
    """Photograph-like JPEGs: soft shapes, edges and sensor noise."""
    rng = np.random.default_rng(0)
    paths = []
    y, x = np.mgrid[0:size, 0:size] / size
    for i in range(count):
        image = np.zeros((size, size, 3))
        for _ in range(12):
            fx, fy, phase = rng.uniform(1, 30), rng.uniform(1, 30), rng.uniform(0, 6)
            image += rng.uniform(0, 1, 3) * (np.sin(fx * x + fy * y + phase)[..., None] > rng.uniform(-1, 1))
        image = image / image.max() * 220 + rng.normal(0, 4, image.shape)
        path = folder / f"{i:05}.jpg"
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(path, quality=92)
        paths.append(path)
    return paths


def obvious_loop(network: torch.nn.Module, jobs: list[TranslationJob], device: torch.device) -> None:
    for job in jobs:
        pixels = np.asarray(Image.open(job.source).convert("RGB"))
        x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(device).float() / 255
        with torch.no_grad():
            y = network((x - 0.5) / 0.5)[0]
        night = (y.double() * 0.5 + 0.5).mul(255).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        job.target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(night).save(job.target, quality=95, subsampling=0)


def best_matmul_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """GFLOP/s of the best of several square matrix products."""
    a, b = torch.randn(side, side, device=device).to(dtype), torch.randn(side, side, device=device).to(dtype)
    best = float("inf")
    for _ in range(12):
        started = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--precisions", default="fp32,bf16")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    network = ResnetGenerator().eval()
    # Random weights of the published kind of size give nearly constant images: amplify, so that levels are used.
    with torch.no_grad():
        network.model[-2].weight.mul_(4)
    gmacs = describe(network, size_px=arguments.size).macs / 1e9

    contestants: dict[str, Callable[[list[TranslationJob]], object]] = {}
    plain = ResnetGenerator().eval()
    plain.load_state_dict(network.state_dict())
    plain.to(device)
    contestants["obvious loop"] = lambda jobs: obvious_loop(plain, jobs, device)
    for precision in arguments.precisions.split(","):
        translator = Translator(network, device=device, precision=precision)
        contestants[f"darkside {precision}"] = lambda jobs, translator=translator: translate_files(
            jobs, lambda: translator, options=FileOptions(overwrite=True)
        )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = make_images(folder, arguments.images, arguments.size)
        parts = [images[i :: arguments.rounds] for i in range(arguments.rounds)]
        seconds: dict[str, list[float]] = {label: [] for label in contestants}
        for label, run in contestants.items():  # warm up: threads, packed weights, code
            run([TranslationJob(images[0], folder / "warm" / label / "0.jpg")])
        for part in parts:
            for label, run in contestants.items():
                jobs = [TranslationJob(image, folder / label / image.name) for image in part]
                started = time.perf_counter()
                run(jobs)
                seconds[label].append((time.perf_counter() - started) / len(part))
        side = 2048 if device.type == "cpu" else 8192
        rates = {
            "fp32": best_matmul_rate(device, torch.float32, side),
            "bf16": best_matmul_rate(device, torch.bfloat16, side),
        }
        print(
            f"{arguments.images} photos of {arguments.size} px, {gmacs:.1f} GMAC each, "
            f"{torch.get_num_threads()} threads"
        )
        print(f"best matrix product here: fp32 {rates['fp32']:.0f} GFLOP/s, bf16 {rates['bf16']:.0f} GFLOP/s")
        obvious = seconds["obvious loop"]
        for label, values in seconds.items():
            ratio = statistics.median(a / b for a, b in zip(obvious, values, strict=True))
            rate = 2 * gmacs / statistics.median(values)
            print(
                f"{label:<16} {1 / statistics.median(values):7.3f} images/s   {ratio:5.2f}x the obvious loop   "
                f"{rate:6.0f} GFLOP/s of the direct convolutions' arithmetic"
            )
        for precision in arguments.precisions.split(","):
            translator = Translator(network, device=device, precision=precision)
            reference = Translator(network, device=device, precision="fp32") if precision != "fp32" else None
            differences = []
            for image in images[:4]:
                pixels = np.asarray(Image.open(image))[None]
                ours = translator.translate(pixels).astype(int)
                if reference is not None:
                    theirs = reference.translate(pixels)
                else:
                    x = torch.from_numpy(pixels.copy()).to(device).permute(0, 3, 1, 2).float() / 255
                    with torch.no_grad():
                        y = plain((x - 0.5) / 0.5)
                    theirs = (
                        (y.double() * 0.5 + 0.5)
                        .mul(255)
                        .clamp(0, 255)
                        .to(torch.uint8)
                        .permute(0, 2, 3, 1)
                        .cpu()
                        .numpy()
                    )
                differences.append(np.abs(ours - theirs.astype(int)))
            level = np.concatenate(differences)
            against = "plain eager fp32" if precision == "fp32" else "darkside fp32"
            print(
                f"darkside {precision} against {against}: mean absolute difference {level.mean():.4f} levels, "
                f"largest {level.max()}, {(level > 0).mean():.4%} of values differ"
            )
    print(
        f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"
    )


if __name__ == "__main__":
    main()

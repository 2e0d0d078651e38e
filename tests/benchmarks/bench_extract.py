"""Describing a folder: darkside's extraction against the obvious loop, side by side in one run.

    python tests/benchmarks/bench_extract.py [--photos 24] [--size 1024] [--backbones vgg16,resnet101] [--device cpu]

The obvious loop takes one image at a time: decode, shrink, CLAHE, normalise, run the plain network eagerly in fp32 at
three scales, average, whiten. Both make the same descriptors of the same images with the same (full-size, random)
weights; that they are the same is shown. Rounds alternate, each over an equal part of the images; the figures are the
medians over the rounds. What the processor could do at most is measured in the same run: the best matrix-product rate
in each precision, beside the rate that the network's multiply-adds were done at.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from darkside_cli.images.settings import ClaheSettings, usable_cpus
from darkside_cli.images.transforms import descriptor_transform
from darkside_cli.networks.retrieval_net import IMAGENET_MEAN, IMAGENET_STD, RetrievalNet, RetrievalNetConfig
from darkside_cli.networks.weights import Whitening
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.descriptor import DescriptorModel
from darkside_cli.retrieval.describe.extract import extract_files
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob
from darkside_cli.retrieval.describe.scales import PAPER_SCALES
from darkside_cli.retrieval.describe.store import open_descriptors


def make_images(folder: Path, count: int, size: int) -> list[Path]:
    """Photograph-like JPEGs, a quarter larger than they are described at: soft shapes, edges and sensor noise."""
    rng = np.random.default_rng(0)
    width, height = round(size * 1.25), round(size * 0.9375)
    y, x = np.mgrid[0:height, 0:width] / size
    paths = []
    for i in range(count):
        image = np.zeros((height, width, 3))
        for _ in range(8):
            fx, fy, phase = rng.uniform(1, 30), rng.uniform(1, 30), rng.uniform(0, 6)
            image += rng.uniform(0, 1, 3) * (np.sin(fx * x + fy * y + phase)[..., None] > rng.uniform(-1, 1))
        image = image / image.max() * 220 + rng.normal(0, 4, image.shape)
        path = folder / f"{i:05}.jpg"
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(path, quality=92)
        paths.append(path)
    return paths


def obvious_loop(
    network: nn.Module, whitening: Whitening, paths: list[Path], size: int, device: torch.device
) -> np.ndarray:
    """Describe images one by one, as one writes it down first; (N, D)."""
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1)
    projection = torch.from_numpy(whitening.projection).float().to(device)
    shift = torch.from_numpy(whitening.mean).float().to(device)
    rows = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        lab = cv2.cvtColor(np.asarray(image).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        lightness = (lab[..., 0] / np.float32(100) * np.float32(255)).astype(np.uint8)
        equalised = cv2.createCLAHE(clipLimit=1.0, tileGridSize=(8, 8)).apply(lightness)
        lab[..., 0] = equalised.astype(np.float32) / 255 * 100
        x = torch.from_numpy(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)).permute(2, 0, 1).to(device)
        x = ((x - mean) / std)[None].contiguous()
        with torch.no_grad():
            p = network.pool.p
            sums = 0
            for scale in PAPER_SCALES:
                scaled = x if scale == 1 else F.interpolate(x, scale_factor=scale, mode="bilinear")
                sums = sums + network(scaled) ** p
            d = (sums / len(PAPER_SCALES)) ** (1 / p)
            d = projection @ (d / d.norm())[0] - projection @ shift
            rows.append((d / (d.norm() + 1e-6)).cpu().numpy())
    return np.stack(rows)


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


def gmacs_of(network: nn.Module, size: int) -> float:
    """Multiply-adds of the convolutions at all three scales, in units of 1e9, for an image of 4 to 3."""
    total = 0.0

    def count(module: nn.Module, _: object, y: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += y.numel() * module.weight[0].numel() / 1e9

    meta = RetrievalNet(network.config).to("meta")
    for module in meta.modules():
        module.register_forward_hook(count)
    for scale in PAPER_SCALES:
        meta(torch.empty(1, 3, int(size * 0.75 * scale), int(size * scale), device="meta"))
    return total


def new_model(backbone: str) -> tuple[RetrievalNet, Whitening]:
    """Network of full size with random weights, its norms as if trained, and a whitening of all dimensions."""
    torch.manual_seed(0)
    network = RetrievalNet(RetrievalNetConfig(backbone=backbone)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.3, 0.7)
    rng = np.random.default_rng(1)
    dim = network.config.dim
    return network, Whitening(rng.normal(size=dim) / dim, rng.normal(size=(dim, dim)))


def run(backbone: str, images: list[Path], folder: Path, arguments: argparse.Namespace) -> None:
    """Measure one backbone and print what came out."""
    device = torch.device(arguments.device)
    network, whitening = new_model(backbone)
    gmacs = gmacs_of(network, arguments.size)
    plain = RetrievalNet(network.config).eval()
    plain.load_state_dict(network.state_dict())
    plain.to(device)
    found: dict[str, list[np.ndarray]] = {}

    def ours(precision: str) -> Callable[[list[Path]], None]:
        transform = descriptor_transform(IMAGENET_MEAN, IMAGENET_STD, ClaheSettings())
        model = DescriptorModel(network, whitening=whitening, transform=transform)
        describer = Describer(model, device=device, precision=precision)
        options = ExtractOptions(image_size_px=arguments.size, overwrite=True, workers=min(8, usable_cpus()))

        def extract(paths: list[Path]) -> None:
            target = folder / f"{backbone}-{precision}.h5"
            extract_files([ImageJob(path, path.name) for path in paths], describer, target, options=options)
            found.setdefault(precision, []).append(open_descriptors(target).read())

        return extract

    def obvious(paths: list[Path]) -> None:
        found.setdefault("obvious", []).append(obvious_loop(plain, whitening, paths, arguments.size, device))

    precisions = arguments.precisions.split(",")
    contestants: dict[str, Callable[[list[Path]], None]] = {"obvious loop": obvious}
    contestants |= {f"darkside {precision}": ours(precision) for precision in precisions}
    seconds: dict[str, list[float]] = {label: [] for label in contestants}
    for contestant in contestants.values():  # warm up: threads, packed weights, code
        contestant(images[:1])
    found.clear()
    for part in (images[i :: arguments.rounds] for i in range(arguments.rounds)):
        for label, contestant in contestants.items():
            started = time.perf_counter()
            contestant(part)
            seconds[label].append((time.perf_counter() - started) / len(part))
    print(f"\n{backbone}: {2 * gmacs:.0f} GFLOP an image at three scales")
    for label, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds["obvious loop"], values, strict=True))
        print(
            f"  {label:<14} {1 / statistics.median(values):7.3f} images/s   {ratio:5.2f}x the obvious loop   "
            f"{2 * gmacs / statistics.median(values):6.0f} GFLOP/s of the direct convolutions' arithmetic"
        )
    expected = np.concatenate(found["obvious"])
    for precision in precisions:
        rows = np.concatenate(found[precision])
        cosine = (rows * expected).sum(axis=1)
        print(
            f"  darkside {precision} against the obvious loop: largest difference {np.abs(rows - expected).max():.1e}"
            f" (values are about {expected.std():.3f}), smallest cosine {cosine.min():.7f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--backbones", default="vgg16,resnet101")
    parser.add_argument("--precisions", default="fp32,bf16")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    side = 2048 if device.type == "cpu" else 8192
    rates = {
        name: best_matmul_rate(device, dtype, side)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    print(f"{arguments.images} photos at {arguments.size} px, {torch.get_num_threads()} threads")
    print(f"best matrix product here: fp32 {rates['fp32']:.0f} GFLOP/s, bf16 {rates['bf16']:.0f} GFLOP/s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = make_images(folder, arguments.images, arguments.size)
        for backbone in arguments.backbones.split(","):
            run(backbone, images, folder, arguments)
    print(
        f"\npeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"
    )


if __name__ == "__main__":
    main()

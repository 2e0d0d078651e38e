"""What half precision does to mAP: one benchmark described in fp32 and again with plain ``torch.autocast``.

    python tests/benchmarks/bench_precision_map.py --dataset nightfall --model gem_vgg16_hedngan [--device cuda]
    python tests/benchmarks/bench_precision_map.py --dataset PLACES --backbone vgg16 --image-size 224

bf16 everywhere, and fp16 on CUDA. On a CPU ``darkside --precision bf16`` computes in fp32 where that is faster, so
this takes the plain network, and rounds as bf16 does. ``--dataset`` is what ``darkside evaluate`` takes; left out, it
is ``nightfall``, which must be on this machine.

Without ``--model`` the network has random weights (``--seed``), and its mAP is that of chance: then only the
differences between the precisions tell something. Beside plain descriptors stand whitened ones: by the model's own
whitening, or, where there is none, by a PCA whitening of the database's fp32 descriptors, which takes the common part
of all descriptors away and so makes rounding count for more. The mAP of each precision, the largest absolute
difference of a descriptor's value from fp32, the smallest cosine with it, and how many queries have another AP are
printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from darkside_cli.config.paths import data_root
from darkside_cli.errors import MissingAssetError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import descriptor_transform
from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.descriptor import DescriptorModel
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions
from darkside_cli.retrieval.describe.load import load_model
from darkside_cli.retrieval.describe.scales import PAPER_SCALES, parse_scales
from darkside_cli.retrieval.search.benchmark import BenchmarkRows, open_benchmark, require_images
from darkside_cli.retrieval.search.evaluate import describe_benchmark
from darkside_cli.retrieval.search.score import score

Rows = NDArray[np.float32]
Whiten = Callable[[Rows], Rows]
KINDS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Done:
    """Descriptors on the device."""

    descriptors: Tensor

    def result(self) -> Rows:
        """Descriptors (B, D) float32."""
        return np.ascontiguousarray(self.descriptors.float().cpu().numpy())


class Plain:
    """The model as it is, eagerly, under plain autocast: what ``describe_benchmark`` asks of a describer."""

    asynchronous = False
    metadata: Mapping[str, Any] = {}

    def __init__(self, model: DescriptorModel, precision: str, device: torch.device) -> None:
        self.name, self.precision, self.dim = f"plain {precision}", precision, model.dim
        self.transform: Callable[[Image.Image], Tensor] = model.transform
        self.fingerprint = precision
        self._model, self._device = model.to(device).eval(), device
        self._sizes = Describer(model)  # knows which images are too small

    @torch.inference_mode()
    def submit(self, images: Tensor) -> Done:
        """Describe (B, 3, H, W)."""
        kind = KINDS[self.precision]
        with torch.autocast(self._device.type, kind) if kind is not None else nullcontext():
            return Done(self._model(images.to(self._device)))

    def check_size(self, height: int, width: int) -> None:
        """Raise ImageError for images that are too small."""
        self._sizes.check_size(height, width)

    def batch_size(self, height: int, width: int) -> int:
        """One at a time: the result of an image must not depend on its neighbours."""
        return 1

    def release_memory(self) -> None:
        """Give cached device memory back."""


def pca_whitening(database: Rows, dims: int) -> Whiten:
    """Centre, project on the ``dims`` strongest directions, give each unit variance, and unit length to the whole."""
    mean = database.mean(axis=0, dtype=np.float64)
    _, values, axes = np.linalg.svd(database - mean, full_matrices=False)
    dims = min(dims, int((values > values[0] * 1e-6).sum()))
    projection = axes[:dims] / values[:dims, None]

    def whiten(rows: Rows) -> Rows:
        found = (rows - mean) @ projection.T
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    return whiten


def load(args: argparse.Namespace, scales: tuple[float, ...]) -> tuple[DescriptorModel, Whiten | None, str]:
    """The model without whitening, its own whitening if it has one, and words for what it is."""
    if args.model is None:
        torch.manual_seed(args.seed)
        network = RetrievalNet(RetrievalNetConfig(backbone=args.backbone)).eval()
        config = network.config
        transform = descriptor_transform(config.mean, config.std, ClaheSettings())
        what = f"{args.backbone} with random weights (seed {args.seed})"
        return DescriptorModel(network, scales=scales, transform=transform).eval(), None, what
    plain = load_model(args.model, scales=scales, whiten=False).model
    try:
        layer = load_model(args.model, scales=scales).model.whitening
    except MissingAssetError:
        layer = None
    if layer is None:
        return plain, None, args.model
    layer = layer.to("cpu").eval()

    def whiten(rows: Rows) -> Rows:
        with torch.inference_mode():
            return np.asarray(layer(torch.from_numpy(rows)).numpy())

    return plain, whiten, args.model


def through(whiten: Whiten | None, rows: BenchmarkRows) -> BenchmarkRows:
    """Rows whitened, or as they are."""
    return rows if whiten is None else BenchmarkRows(whiten(rows.database), whiten(rows.queries))


def main() -> None:
    """Describe, score and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="nightfall")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--model", help="name or path; without it random weights")
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--image-size", type=int, default=1024)
    parser.add_argument("--scales", default="ms")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pca", type=int, default=32, help="dimensions of the PCA whitening")
    args = parser.parse_args()
    scales = PAPER_SCALES if args.scales == "ms" else parse_scales(args.scales)
    device = torch.device(args.device)
    benchmark = open_benchmark(args.dataset, data_root(args.data_dir), images=args.images)
    require_images(benchmark)
    model, own, what = load(args, scales)
    truth = benchmark.truth
    print(
        f"{what}; {truth.name}: {len(truth.queries)} queries, {len(truth.database)} images of {args.image_size} px"
    )
    print(f"scales {', '.join(f'{scale:.3g}' for scale in scales)}; {device}; torch {torch.__version__}")
    options = ExtractOptions(image_size_px=args.image_size, upright=benchmark.upright)
    found: dict[str, BenchmarkRows] = {}
    for precision in ("fp32", "bf16", "fp16") if device.type == "cuda" else ("fp32", "bf16"):
        started = time.perf_counter()
        found[precision] = describe_benchmark(truth, Plain(model, precision, device), options=options)
        if failed := found[precision].failed(truth):
            raise SystemExit(f"{len(failed)} images have no descriptor in {precision}")
        print(f"{precision}: {time.perf_counter() - started:.1f} s")
    ways: dict[str, Whiten | None] = {"plain": None}
    if own is not None:
        ways["its whitening"] = own
    else:
        ways[f"PCA whitening to {args.pca}"] = pca_whitening(found["fp32"].database, args.pca)
    for way, whiten in ways.items():
        exact = through(whiten, found["fp32"])
        reference = score(exact.database, exact.queries, truth)
        for precision, rows in found.items():
            report(way, precision, through(whiten, rows), exact, reference, truth)


def report(
    way: str, precision: str, rows: BenchmarkRows, exact: BenchmarkRows, reference: Any, truth: Any
) -> None:
    """Print a line for each protocol."""
    a, b = (np.concatenate([each.database, each.queries]).astype(np.float64) for each in (rows, exact))
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    result = score(rows.database, rows.queries, truth)
    for own, other in zip(result.protocols, reference.protocols, strict=True):
        pairs = zip(own.average_precisions, other.average_precisions, strict=True)
        moved = sum(x != y and x == x for x, y in pairs)
        difference = 100 * (own.mean_average_precision - other.mean_average_precision)
        figure = f"mAP {100 * own.mean_average_precision:6.2f} ({difference:+.2f})"
        print(
            f"{way:>20} {precision} {own.protocol:>6}: {figure}, "
            f"largest difference {np.abs(a - b).max():.1e}, smallest cosine {cosine.min():.7f}, "
            f"{moved} of {own.judged} queries with another AP"
        )


if __name__ == "__main__":
    main()

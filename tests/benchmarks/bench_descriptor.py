"""gem_lite_night's recipe on cameras that it was not trained on, against raw EfficientNet-lite2, in one run.

    python tests/benchmarks/bench_descriptor.py PHOTOS [--extra DIR] [--folds 4] [--seed 0] [--device cpu] [-o OUT]

PHOTOS has a folder for each place, with day and night in it (``darkside download webcams`` brings some), DIR further
photographs by day. For each fold `finetune --preset lite-night` learns from the day images of the other places and
from DIR, and is asked by night for the fold's places among the day images of all. Printed is mAP and recall@1, in
percent, by fold and in all: of the rival at the size that suits it, of gem_lite_night as it comes (trained on PHOTOS
if they are the webcams) and of the recipe. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import darkside_cli
from darkside_cli.demo.cameras import Cameras
from darkside_cli.demo.request import DAY, NIGHT
from darkside_cli.jobs.evaluate import evaluate
from darkside_cli.jobs.finetune import finetune

RIVAL, RIVAL_SIZES = (
    "efficientnet_lite2",
    (("384 px, one scale", 384, "ss"), ("384 px, three scales", 384, "ms")),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--extra", type=Path, action="append", default=[])
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench-descriptor"))
    arguments = parser.parse_args()
    cameras = Cameras.of(arguments.photos)
    arguments.output.mkdir(parents=True, exist_ok=True)
    totals: dict[str, list[float]] = {}
    for number, fold in enumerate(cameras.folds(arguments.folds)):
        truth = arguments.output / f"fold-{number}-night.json"
        truth.write_text(json.dumps(cameras.truth(fold, NIGHT)), encoding="utf-8")
        listed = arguments.output / f"fold-{number}-day.csv"
        listed.write_text(cameras.training_list(fold, (DAY,)), encoding="utf-8")
        run = arguments.output / f"seed-{arguments.seed}-fold-{number}"
        finetune(
            preset="lite-night",
            data=str(listed),
            images=cameras.folder,
            photographs=tuple(path.absolute() for path in arguments.extra),
            dataset=(str(truth),),
            output=run,
            seed=arguments.seed,
            device=arguments.device,
        )
        ways: list[tuple[str, str, int | None, str, bool]] = [
            (f"{RIVAL}, {name}", RIVAL, size, scales, False) for name, size, scales in RIVAL_SIZES
        ]
        ways += [("gem_lite_night as it comes", "gem_lite_night", None, "ms", True)]
        ways += [("its recipe without the fold", str(run), None, "ms", True)]
        print(f"without {', '.join(fold)}:")
        for name, model, size, scales, whiten in ways:
            (found,) = evaluate(
                model, dataset=str(truth), image_size=size, scales=scales, whiten=whiten, device=arguments.device
            ).evaluations  # fmt: skip
            (score,) = found.scores.to_document()["protocols"].values()
            count = score["queries_judged"]
            sums = totals.setdefault(name, [0.0, 0.0, 0.0])
            for index, value in enumerate((100 * score["mAP"], 100 * score["recall"]["1"], 1)):
                sums[index] += value * count
            print(f"  {name}: mAP {100 * score['mAP']:.1f}, R@1 {100 * score['recall']['1']:.1f}", flush=True)
    print(f"in all (darkside {darkside_cli.__version__}):")
    for name, (precision, recall, count) in totals.items():
        print(f"  {name}: mAP {precision / count:.1f}, R@1 {recall / count:.1f} of {count:.0f} queries")


if __name__ == "__main__":
    main()

"""The comparison on real photographs: descriptors that saw night or did not, asked for cameras that nobody trained on.

A script of the jobs behind ``finetune``, ``evaluate`` and ``translate``. The cameras are parted into folds. For each
fold descriptors are trained on the other cameras (``seed-0/fold-1/generated``), alike but for the night that they see,
and then asked for the fold's. A training that was stopped goes on where it was, and a finished stage is not done again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from darkside_cli.assets.ledger import sha256_of
from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.demo.brief import score_words
from darkside_cli.demo.cameras import TIMES
from darkside_cli.demo.photos_page import write_photos_page
from darkside_cli.demo.photos_plan import PhotosPlan
from darkside_cli.demo.photos_result import (
    ARMS,
    BY_DAY,
    RAW,
    TRAINED,
    PhotoScores,
    PhotosResult,
    sums_of,
)
from darkside_cli.demo.request import DAY, NIGHT, DemoRequest
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.jobs import evaluate, finetune, translate
from darkside_cli.jobs.evaluate import EvaluateRequest, Evaluation
from darkside_cli.jobs.translate import TranslateRequest
from darkside_cli.retrieval.finetune_stages import DESCRIPTOR_FILE, SCORES_FILE

RESULTS_FILE = "results.json"
_SHOWN, _TOP = 8, 5


def run(request: DemoRequest, *, emit: Emit = ignore) -> PhotosResult:
    """Do all of it, or what is still to be done of it, and write ``report.html`` and ``results.json``.

    Raises UsageError for photographs that cannot be compared, and what the jobs raise.
    """
    demo = _Demo(request, emit)
    demo.check()
    demo.tell_what_is_done()
    done: list[PhotoScores] = []
    report: Path | None = None
    raw = demo.raw()
    for seed in range(request.seed, request.seed + request.seeds):
        try:
            done.append(demo.seed(seed, raw))
        except Stopped:
            return PhotosResult(tuple(done), report, complete=False)
        first = request.seed
        result = PhotosResult(tuple(done), None)
        report = write_photos_page(request.folder, result, demo.nights(), demo.searches(first), demo.words())
        document = PhotosResult(tuple(done), report).document()
        write_bytes_atomic(
            request.folder / RESULTS_FILE, json.dumps(document, indent=1, default=str).encode()
        )
    return PhotosResult(tuple(done), report)


class Stopped(Exception):  # noqa: N818 - no error: somebody has stopped a training
    """A training was stopped; it can be gone on with."""


class _Demo(PhotosPlan):
    """The stages of a demonstration."""

    def seed(self, seed: int, raw: dict[str, list[float]]) -> PhotoScores:
        """Scores of one seed over all folds."""
        sums: dict[str, dict[str, list[float]]] = {RAW: raw}
        for arm in TRAINED:
            parts = [self._fold(seed, number, arm) for number in range(len(self.folds))]
            sums[arm] = {
                time: [sum(values) for values in zip(*(part[time] for part in parts), strict=True)]
                for time in TIMES
            }
        spent = {name: value for name, value in self.record.seconds.items() if f"seed-{seed}/" in name}
        seconds = {arm: sum(v for n, v in spent.items() if n.endswith(f"/{arm}")) for arm in TRAINED}
        mean_ap, recall_1 = (
            {time: {arm: sums[arm][time][which] / sums[arm][time][2] for arm in ARMS} for time in TIMES}
            for which in (0, 1)
        )
        return PhotoScores(seed, mean_ap, recall_1, seconds)

    def _fold(self, seed: int, number: int, arm: str) -> dict[str, list[float]]:
        """Sums over the queries of a fold, by time: of AP and of recall@1, in percent, and how many there are."""
        request, name = self.training(seed, number, arm), self.name_of(seed, number, arm)
        run = request.folder
        with self.stage(name, self.tags_of(request), made=[run / DESCRIPTOR_FILE]) as entry:
            if entry is not None:
                if not finetune.run(request, emit=self.emit).complete:
                    raise Stopped
                sets = json.loads((run / SCORES_FILE).read_text(encoding="utf-8"))["sets"]
                entry["value"] = {
                    time: sums_of(sets[str(self.sets[number, time])]["document"]["protocols"])
                    for time in TIMES
                }
                self.say(Notice(score_words(name, entry["value"])))
        value: dict[str, list[float]] = self.record.value(name)
        return value

    def raw(self) -> dict[str, list[float]]:
        """Sums over all queries of the network as ImageNet left it."""
        everything = len(self.folds)
        paths = {time: self.sets[everything, time] for time in TIMES}
        config = self.training(0, 0, BY_DAY).resolved.as_dict()
        with self.stage(RAW, [config, *map(sha256_of, paths.values())]) as entry:
            if entry is not None:
                found = [self._evaluate(None, path) for path in paths.values()]
                entry["value"] = {
                    time: sums_of(each.scores.to_document()["protocols"])
                    for time, each in zip(TIMES, found, strict=True)
                }
                self.say(Notice(score_words(RAW, entry["value"])))
        value: dict[str, list[float]] = self.record.value(RAW)
        return value

    def _evaluate(self, run: Path | None, dataset: Path, top: int = 0) -> Evaluation:
        config = self.training(0, 0, BY_DAY).resolved.value
        named = config.backbone if config.init in ("imagenet", "timm") else config.init
        request = EvaluateRequest(
            model=(named if run is None else str(run),),
            dataset=(str(dataset),),
            whiten=run is not None,
            image_size=config.evaluation.image_size_px,
            scales=config.evaluation.scales,
            precision=config.trainer.precision,
            data_dir=self.request.root.path,
            device=self.request.device,
            offline=self.request.offline,
            with_top=top > 0,
            top=top or _TOP,
        )
        return evaluate.run(request, emit=self.emit).evaluations[0]

    def nights(self) -> list[tuple[str, list[Path]]]:
        """Rows for the page: places by day, what the generator makes of them, the same places at night."""
        chosen = list(self.cameras.images.values())[:_SHOWN]
        days = [self.cameras.folder / each[DAY][len(each[DAY]) // 2] for each in chosen]
        nights = [self.cameras.folder / each[NIGHT][len(each[NIGHT]) // 2] for each in chosen]
        rows = [("by day", days)]
        for number, seed in enumerate((None, 1)):
            target = self.folder / "translated" / str(number)
            made = [target / f"{place}.jpg" for place in list(self.cameras.images)[:_SHOWN]]
            tag = [self.generator, [path.name for path in days]]
            with self.stage(f"translate-{number}", tag, made=made) as entry, suppress(UsageError):
                for day, path in zip(days if entry is not None else (), made, strict=False):
                    self._translate(day, path, seed)
            if made[0].is_file():  # else the generator makes one night of a day
                rows.append(("generated" if not number else "another one", made))
        return [*rows, ("at night", nights)]

    def _translate(self, day: Path, target: Path, seed: int | None) -> None:
        request = TranslateRequest(
            images=(day,),
            model=self.generator,
            max_size=320,
            seed=seed,
            overwrite=True,
            output=target,
            data_dir=self.request.root.path,
            device=self.request.device,
            offline=self.request.offline,
        )
        translate.run(request)

    def searches(self, seed: int) -> list[dict[str, Any]]:
        """Night searches of the first fold with three descriptors, for the page; in JSON's types."""
        arms = (RAW, BY_DAY, "generated")
        runs = {arm: self.folder / f"seed-{seed}" / "fold-0" / arm for arm in arms}
        made_of = [sha256_of(runs[arm] / DESCRIPTOR_FILE) for arm in arms[1:]]
        with self.stage("search", made_of) as entry:
            if entry is not None:
                path = self.sets[0, NIGHT]
                found = {
                    arm: self._evaluate(None if arm == RAW else runs[arm], path, top=_TOP).scores
                    for arm in arms
                }
                names = found[RAW].queries
                step = max(1, len(names) // _SHOWN)
                entry["value"] = [
                    {
                        "query": names[place],
                        "found": [
                            {
                                "arm": arm,
                                "precision": round(float(each.protocols[0].average_precisions[place]), 4),
                                "images": [
                                    (image.name, image.group is not None) for image in (each.top or ())[place]
                                ],
                            }
                            for arm, each in found.items()
                        ],
                    }
                    for place in range(0, len(names), step)
                ][:_SHOWN]
        searches: list[dict[str, Any]] = self.record.value("search")
        return [{**each, "folder": self.cameras.folder} for each in searches]

"""The comparison on real photographs: descriptors that saw night or did not, asked for cameras that nobody trained on.

A script of the jobs behind ``finetune``, ``evaluate`` and ``translate``. The cameras are parted into folds. For each
fold descriptors are trained on the other cameras (``seed-0/fold-1/generated``), alike but for the night that they see,
and then asked for the fold's. A training that was stopped goes on where it was, and a finished stage is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from darkside_cli.assets.ledger import sha256_of
from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.demo.brief import brief, score_words
from darkside_cli.demo.cameras import TIMES, Cameras, photographs
from darkside_cli.demo.photos_page import write_photos_page
from darkside_cli.demo.photos_result import (
    ARMS,
    BY_DAY,
    RAW,
    REAL,
    TRAINED,
    PhotoScores,
    PhotosResult,
    sums_of,
)
from darkside_cli.demo.record import Record, tag_of
from darkside_cli.demo.request import DAY, NIGHT, DemoRequest, setting
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.jobs import evaluate, finetune, translate
from darkside_cli.jobs.evaluate import EvaluateRequest, Evaluation
from darkside_cli.jobs.finetune import FinetuneRequest
from darkside_cli.jobs.translate import TranslateRequest
from darkside_cli.networks.locate import default_generator
from darkside_cli.retrieval.finetune_stages import DESCRIPTOR_FILE, SCORES_FILE

PRESET = "demo-photos"
RESULTS_FILE = "results.json"
_RECORD, _SHOWN, _TOP = "stages.json", 8, 5


def run(request: DemoRequest, *, emit: Emit = ignore) -> PhotosResult:
    """Do all of it, or what is still to be done of it, and write ``report.html`` and ``results.json``.

    Raises UsageError for photographs that cannot be compared, and what the jobs raise.
    """
    demo = _Demo(request, emit)
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


class _Demo:
    """The stages of a demonstration."""

    def __init__(self, request: DemoRequest, emit: Emit) -> None:
        assert request.photos is not None  # noqa: S101 - whoever calls this looked
        self.request, self.say, self.emit = request, emit, brief(emit)
        self.folder = request.folder.absolute()
        self.cameras = Cameras.of(photographs(request.photos, request.root))
        self.folds = self.cameras.folds(request.folds)
        self.generator, said = (
            (request.generator, None) if request.generator else default_generator(request.root)
        )
        if said:
            self.say(Notice(said))
        self.sets = {
            (number, time): self._written(f"lists/fold-{number}-{time}.json", json.dumps(truth, indent=1))
            for number, fold in enumerate([*self.folds, list(self.cameras.images)])
            for time in TIMES
            for truth in [self.cameras.truth(fold, time)]
        }
        self.record = Record(self.folder / _RECORD)

    def tell_what_is_done(self) -> None:
        """Say what is compared how, and how much of it is done already."""
        seeds = range(self.request.seed, self.request.seed + self.request.seeds)
        names = [
            (seed, number, arm) for seed in seeds for number in range(len(self.folds)) for arm in TRAINED
        ]
        finished = sum(self._is_done(*name) for name in names)
        before = f", {finished} of them done before" if finished else ""
        self.say(Notice(f"{self.words()}: {len(names)} trainings{before}"))
        self.say(
            Notice(
                "asked for are places not trained on; the database is all images by day, of other places too"
            )
        )

    def words(self) -> str:
        """What was compared, for the page."""
        counts = {time: sum(len(each[time]) for each in self.cameras.images.values()) for time in TIMES}
        return (
            f"{len(self.cameras.images)} cameras with {counts[DAY]} images by day and {counts[NIGHT]} at night, in "
            f"{len(self.folds)} folds; nights are generated by {Path(self.generator).name}"
        )

    def _written(self, name: str, text: str) -> Path:
        path = self.folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_bytes_atomic(path, text.encode())
        return path

    def _training(self, seed: int, number: int, arm: str) -> FinetuneRequest:
        real = arm == REAL
        text = self.cameras.training_list(self.folds[number], TIMES if real else (DAY,))
        settings = [setting("augment.cache", self.folder / "nights")]
        night: dict[str, Any] = {"augment": {"gamma": "gamma", "generated": "generator"}.get(arm, "none")}
        if arm == "generated":
            night["model"] = (self.generator,)
        return FinetuneRequest(
            preset=PRESET,
            overrides=(*self.request.set_finetune, *settings),
            data=str(self._written(f"lists/fold-{number}-{REAL if real else DAY}.csv", text)),
            images=self.cameras.folder,
            photographs=tuple(path.absolute() for path in self.request.extra),
            dataset=tuple(str(self.sets[number, time]) for time in TIMES),
            output=self.folder / self._name(seed, number, arm),
            seed=seed,
            data_dir=self.request.root.path,
            device=self.request.device,
            offline=self.request.offline,
            **night,
        )

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
        request, name = self._training(seed, number, arm), self._name(seed, number, arm)
        run = request.folder
        with self._stage(name, self._tags(request), made=[run / DESCRIPTOR_FILE]) as entry:
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

    def _name(self, seed: int, number: int, arm: str) -> str:
        return f"seed-{seed}/fold-{number}/{arm}"

    def _tags(self, request: FinetuneRequest) -> list[Any]:
        """What a training is made for."""
        inputs = [Path(str(request.data)), *(Path(name) for name in request.dataset)]
        return [request.resolved.as_dict(), *map(sha256_of, inputs)]

    def _is_done(self, seed: int, number: int, arm: str) -> bool:
        request = self._training(seed, number, arm)
        done = self.record.done(self._name(seed, number, arm), tag_of(self._tags(request)))
        return done and (request.folder / DESCRIPTOR_FILE).is_file()

    def raw(self) -> dict[str, list[float]]:
        """Sums over all queries of the network as ImageNet left it."""
        everything = len(self.folds)
        paths = {time: self.sets[everything, time] for time in TIMES}
        config = self._training(0, 0, BY_DAY).resolved.as_dict()
        with self._stage(RAW, [config, *map(sha256_of, paths.values())]) as entry:
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
        config = self._training(0, 0, BY_DAY).resolved.value
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
            with self._stage(f"translate-{number}", tag, made=made) as entry, suppress(UsageError):
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
        with self._stage("search", made_of) as entry:
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

    @contextmanager
    def _stage(self, name: str, settings: Any, made: Sequence[Path] = ()) -> Iterator[dict[str, Any] | None]:
        """Give what a stage that is to be done writes its value to; None if it is done, and ``made`` is there."""
        tag = tag_of(settings)
        if self.record.done(name, tag) and all(path.is_file() for path in made):
            yield None
            return
        with self.record.stage(name, tag) as entry:
            yield entry

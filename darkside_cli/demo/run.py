"""The whole method, once for each seed: a generator, images of it, two descriptors, their scores.

A script of the jobs behind the commands ``train-gan``, ``translate`` and ``finetune``, in the folder of the
demonstration: ``seed-0/generator`` and ``seed-0/without``, ``seed-0/with`` are runs as those commands leave them. A
training that was stopped goes on where it was, and a finished stage is not done again.

The paper fine-tunes features that know the world already. Here they are learned first, from random weights, by day
alone (``seed-0/base``); both descriptors of a seed begin with them and are fine-tuned alike, but that some of the
anchors of one of them are translated to night.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from darkside_cli.assets.ledger import sha256_of
from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.config.paths import DataRoot
from darkside_cli.demo.page import write_page
from darkside_cli.demo.record import Record, tag_of
from darkside_cli.demo.request import ARMS, DATASETS, DAY, NIGHT, DemoRequest, DemoResult, SeedScores, setting
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.jobs import evaluate, finetune, train_gan, translate
from darkside_cli.jobs.evaluate import EvaluateRequest, Evaluation
from darkside_cli.jobs.finetune import FinetuneRequest
from darkside_cli.jobs.translate import TranslateRequest
from darkside_cli.nightfall.asset import MAKER, City, ensure
from darkside_cli.nightfall.config import SIZES
from darkside_cli.retrieval.finetune_stages import DESCRIPTOR_FILE
from darkside_cli.retrieval.search.benchmark import open_benchmark

GENERATOR = "generator_day2night.safetensors"
RESULTS_FILE = "results.json"
_SAMPLES, _SEARCHES, _TOP = 6, 8, 5
_RECORD = "stages.json"


class _Stopped(Exception):  # noqa: N818 - no error: somebody has stopped a training
    """A training was stopped; it can be gone on with."""


def run(request: DemoRequest, *, emit: Emit = ignore) -> DemoResult:
    """Do all of it, or what is still to be done of it, and write ``report.html`` and ``results.json``.

    The city is made in the data root; if it is there in another size, in the folder of the demonstration instead.
    Raises what the jobs raise.
    """
    output = request.folder
    root = city_root(request.root, output, request.size)
    city = ensure(root, emit, size=request.size)
    done: list[SeedScores] = []
    searches: list[dict[str, Any]] = []
    report: Path | None = None
    try:
        for seed in range(request.seed, request.seed + request.seeds):
            one = _Seed(request, seed, root, city, emit)
            done.append(one.run())
            searches = searches or one.search()
            report = write_page(output, done, searches, root)
            document = DemoResult(tuple(done), report).document()
            write_bytes_atomic(output / RESULTS_FILE, json.dumps(document, indent=1, default=str).encode())
    except _Stopped:
        return DemoResult(tuple(done), report, complete=False)
    return DemoResult(tuple(done), report)


def city_root(root: DataRoot, output: Path, size: str) -> DataRoot:
    """The data root whose city of ``size`` is used: ``root``, unless there is one of another size."""
    SIZES.get(size)
    if any(folder.exists() for folder in MAKER.folders(root.path)) and not MAKER.right_size(root.path, size):
        return DataRoot((output / "city").absolute(), "the demonstration's output")
    return root


class _Seed:
    """The stages of one seed."""

    def __init__(self, request: DemoRequest, seed: int, root: DataRoot, city: City, emit: Emit) -> None:
        self.request, self.seed, self.root, self.city, self.emit = request, seed, root, city, emit
        self.folder = request.folder / f"seed-{seed}"
        self.record = Record(self.folder / _RECORD)

    def run(self) -> SeedScores:
        """All stages, one after the other."""
        generator = self.train_generator()
        self.translate_samples(generator)
        base = self.train_base()
        found = {arm: self.train_descriptor(arm, base, generator) for arm in ARMS}
        scores = {time: {arm: found[arm][time] for arm in ARMS} for time in (NIGHT, DAY)}
        return SeedScores(self.seed, scores, self.record.seconds)

    def train_generator(self) -> Path:
        """Train the generator on the city's unpaired images; its run folder."""
        run = self.folder / "generator"
        request = self.request.generator_training(
            setting("samples.pictures", self._sample_list()),
            day=self.city.day_list,
            night=self.city.night_list,
            seed=self.seed,
            **self._where(run),
        )
        with self._stage("generator", request.resolved.as_dict(), made=[run / GENERATOR]) as entry:
            if entry is not None:
                self._say("trains a generator that turns day into night, on pictures of places of its own")
                _completed(train_gan.run(request, emit=self.emit))
        return run

    def translate_samples(self, generator: Path) -> None:
        """Translate images of places that the generator has not seen, for the page."""
        target = self.folder / "translated"
        images = sample_images(self.root, DAY)[:_SAMPLES]
        made = [target / image.name for image in images]
        with self._stage("translate", sha256_of(generator / GENERATOR), made=made) as entry:
            if entry is not None:
                request = TranslateRequest(
                    images=tuple(images),
                    model=str(generator),
                    # The size that the descriptors learn from, which is what the generator was trained for.
                    max_size=self.request.tuned().resolved.value.data.image_size_px,
                    overwrite=True,
                    **self._where(target),
                )
                translate.run(request, emit=self.emit)

    def train_base(self) -> Path:
        """Train what both descriptors begin with, by day alone; its file."""
        run = self.folder / "base"
        request = self.request.base(seed=self.seed, **self._where(run))
        with self._stage("base", request.resolved.as_dict(), made=[run / DESCRIPTOR_FILE]) as entry:
            if entry is not None:
                self._say("trains what the descriptors begin with, by day alone")
                _completed(finetune.run(request, emit=self.emit))
        return run / DESCRIPTOR_FILE

    def train_descriptor(self, arm: str, base: Path, generator: Path) -> dict[str, float]:
        """Train, whiten and evaluate one descriptor; mAP in percent by time of day of the queries."""
        run = self.folder / arm
        request = self._descriptor(arm, base, generator)
        beginnings = [sha256_of(base), sha256_of(generator / GENERATOR) if arm == "with" else None]
        with self._stage(arm, request.resolved.as_dict(), beginnings, made=[run / DESCRIPTOR_FILE]) as entry:
            if entry is not None:
                self._say(f"trains a descriptor {arm} night augmentation")
                result = _completed(finetune.run(request, emit=self.emit))
                lines = {line.dataset: line.mean_average_precision for line in result.lines}
                entry["value"] = {time: float(lines[name] or 0.0) for time, name in DATASETS.items()}
        scores: dict[str, float] = self.record.value(arm)
        return scores

    def _descriptor(self, arm: str, base: Path, generator: Path) -> FinetuneRequest:
        where = {"init": str(base), "seed": self.seed, **self._where(self.folder / arm)}
        if arm == "without":
            return self.request.tuned(augment="none", **where)
        settings = [setting("augment.cache", self.request.folder / "night")]
        if self.request.share is not None:
            settings.append(setting("augment.share", self.request.share))
        return self.request.tuned(*settings, augment="generator", model=(str(generator),), **where)

    def search(self) -> list[dict[str, Any]]:
        """Some night searches, evenly spread over all, with both descriptors, for the page; in JSON's types.

        Of each the name of its file, and by descriptor its average precision and the names of the first images, with
        whether each is right.
        """
        files = {arm: self.folder / arm / DESCRIPTOR_FILE for arm in ARMS}
        with self._stage("search", {arm: sha256_of(path) for arm, path in files.items()}) as entry:
            if entry is not None:
                truth = open_benchmark(DATASETS[NIGHT], self.root).truth
                found = {arm: self._evaluate(path).scores for arm, path in files.items()}
                places = np.linspace(0, len(truth.queries) - 1, min(_SEARCHES, len(truth.queries)))
                entry["value"] = [
                    {
                        "query": truth.image_path(truth.queries[place].name).name,
                        "found": {
                            arm: {
                                "precision": round(float(scores.protocols[0].average_precisions[place]), 4),
                                "images": [
                                    (truth.image_path(each.name).name, each.group is not None)
                                    for each in (scores.top or ())[place]
                                    if each.name is not None
                                ],
                            }
                            for arm, scores in found.items()
                        },
                    }
                    for place in places.astype(int).tolist()
                ]
        searches: list[dict[str, Any]] = self.record.value("search")
        return searches

    def _evaluate(self, descriptor: Path) -> Evaluation:
        config = self.request.tuned(seed=self.seed).resolved.value
        request = EvaluateRequest(
            model=(str(descriptor),),
            dataset=(DATASETS[NIGHT],),
            data_dir=self.root.path,
            device=self.request.device,
            precision=config.trainer.precision,
            image_size=config.evaluation.image_size_px or 0,
            scales=config.evaluation.scales,
            whiten=config.whitening.kind != "none",
            batch_size=1,
            top=_TOP,
            with_top=True,
        )
        return evaluate.run(request, emit=self.emit).evaluations[0]

    def _where(self, output: Path) -> dict[str, Any]:
        return {"output": output, "data_dir": self.root.path}

    def _stage(
        self, name: str, *settings: Any, made: Sequence[Path] = ()
    ) -> AbstractContextManager[dict[str, Any] | None]:
        """Give what a stage that is to be done writes its value to; None if it is done, and ``made`` is there."""
        return self.record.unless_done(name, tag_of([*settings, self.city.config.fingerprint]), made)

    def _sample_list(self) -> Path:
        """A list of images for the progress of the generator: of validation places, never of those trained on."""
        path = self.folder / "samples.txt"
        names = "".join(f"{each}\n" for each in sample_images(self.root, DAY))
        if not path.is_file() or path.read_text(encoding="utf-8") != names:
            write_bytes_atomic(path, names.encode())
        return path

    def _say(self, what: str) -> None:
        self.emit(Notice(f"seed {self.seed} {what}"))


def _completed(result: Any) -> Any:
    if not result.complete:
        raise _Stopped
    return result


def sample_images(root: DataRoot, time: str) -> list[Path]:
    """Images of the validation places by day or by night, from the same spots, in the same order."""
    truth = open_benchmark("nightfall-val" if time == NIGHT else "nightfall-val-day", root).truth
    paths = [truth.image_path(query.name) for query in truth.queries]
    # The first query of each place; families of similar places lie side by side.
    first = {path.name.split("_")[1]: path for path in reversed(paths)}
    chosen = [first[place] for place in sorted(first)]
    step = max(1, len(chosen) // _SAMPLES)
    return chosen[::step]

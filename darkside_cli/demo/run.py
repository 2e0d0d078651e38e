"""The whole method, once for each seed: a generator, pictures of it, two descriptors, their scores.

Everything is done by the functions behind the commands ``train-gan``, ``translate`` and ``finetune``, in the folder
``output``: ``seed-0/generator`` and ``seed-0/without``, ``seed-0/with`` are runs as those commands leave them. A
training that was stopped goes on where it was, and a finished stage is not done again.

The paper fine-tunes features that know the world already. Here they are learned first, from random weights, by day
alone (``seed-0/base``); both descriptors of a seed begin with them and are fine-tuned alike, but that some of the
anchors of one of them are translated to night.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from darkside_cli.assets.ledger import sha256_of
from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.config.load import Resolved, resolve
from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.outputs import TranslationJob
from darkside_cli.demo.options import (
    ARMS,
    DATASETS,
    DAY,
    NIGHT,
    DemoOptions,
    DemoResult,
    SeedScores,
    document_of,
)
from darkside_cli.demo.page import write_page
from darkside_cli.demo.record import Record, tag_of
from darkside_cli.demo.search import search
from darkside_cli.events import Emit, Event, Notice, ignore
from darkside_cli.inference.device import pick_device
from darkside_cli.methods.methods import METHODS
from darkside_cli.methods.night import load_night
from darkside_cli.methods.train import prepare_gan
from darkside_cli.methods.translate import load_generator
from darkside_cli.methods.translate_files import FileOptions, translate_files
from darkside_cli.nightfall.asset import MAKER, City, ensure
from darkside_cli.nightfall.config import SIZES
from darkside_cli.registry import resolve as load
from darkside_cli.report.training import ReportWriter
from darkside_cli.retrieval.config import FinetuneConfig
from darkside_cli.retrieval.finetune import DESCRIPTOR_FILE, FinetuneRun, prepare_finetune
from darkside_cli.retrieval.initial import initial_network
from darkside_cli.retrieval.night import NightMaker
from darkside_cli.retrieval.search.evaluate import open_benchmark

GENERATOR = "generator_day2night.safetensors"
RESULTS_FILE = "results.json"
_SAMPLES = 6
_RECORD = "stages.json"

Listen = Callable[[Path, Resolved[Any], str], AbstractContextManager[Emit]]
"""Gives what takes the events of a training, by its run folder, its configuration and its title."""


class _Stopped(Exception):  # noqa: N818 - no error: somebody has stopped a training
    """A training was stopped; it can be gone on with."""


def run_demo(
    options: DemoOptions, *, output: Path, root: DataRoot, listen: Listen, emit: Emit = ignore
) -> DemoResult:
    """Do all of it, or what is still to be done of it, and write ``report.html`` and ``results.json``.

    The city is made in the data root ``root``; if it is there in another size, in ``output`` instead. Raises what the
    parts raise, UnknownNameError for a size or method that is none.
    """
    root = city_root(root, output, options.size)
    city = ensure(root, emit, size=options.size)
    done: list[SeedScores] = []
    searches: list[dict[str, Any]] = []
    report: Path | None = None
    try:
        for seed in options.seeds:
            folder = output / f"seed-{seed}"
            one = _Seed(options, seed, folder, output / "night", root, city, listen, emit)
            done.append(one.run())
            searches = searches or one.search()
            report = write_page(output, done, searches, root)
            write_bytes_atomic(output / RESULTS_FILE, _json(document_of(DemoResult(tuple(done), report))))
    except _Stopped:
        return DemoResult(tuple(done), report, complete=False)
    return DemoResult(tuple(done), report)


def city_root(root: DataRoot, output: Path, size: str) -> DataRoot:
    """The data root whose city of ``size`` is used: ``root``, unless there is one of another size."""
    SIZES.get(size)
    if any(folder.exists() for folder in MAKER.folders(root.path)) and not MAKER.right_size(root.path, size):
        return DataRoot((output / "city").absolute(), "the demonstration's output")
    return root


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, default=str).encode()


class _Seed:
    """The stages of one seed."""

    def __init__(
        self,
        options: DemoOptions,
        seed: int,
        folder: Path,
        nights: Path,
        root: DataRoot,
        city: City,
        listen: Listen,
        emit: Emit,
    ) -> None:
        self.options, self.seed, self.folder, self.nights = options, seed, folder, nights
        self.root, self.city, self.listen, self.emit = root, city, listen, emit
        self.device = pick_device(options.device)
        self.record = Record(folder / _RECORD)

    def run(self) -> SeedScores:
        """All stages, one after the other."""
        generator = self.train_generator()
        self.translate_samples(generator)
        base = self.train_base()
        found = {arm: self.train_descriptor(arm, base, generator) for arm in ARMS}
        scores = {time: {arm: found[arm][time] for arm in ARMS} for time in (NIGHT, DAY)}
        return SeedScores(self.seed, scores, self.record.seconds)

    def train_generator(self) -> Path:
        """Train the generator on the city's unpaired pictures; its run folder."""
        run = self.folder / "generator"
        resolved = self._gan_settings()
        tag = tag_of([resolved.as_dict(), self.city.config.fingerprint])
        if not (self.record.done("generator", tag) and (run / GENERATOR).is_file()):
            self._say("trains a generator that turns day into night, on pictures of places of its own")
            with self.record.stage("generator", tag), self.listen(run, resolved, "generator") as emit:
                ready = prepare_gan(
                    resolved.value, run=run, root=self.root, device=self.device, resolved=resolved.as_dict(),
                    emit=emit,
                )  # fmt: skip
                if not ready.fit().complete:
                    raise _Stopped
        return run

    def translate_samples(self, generator: Path) -> None:
        """Translate pictures of places that the generator has not seen, for the page."""
        target = self.folder / "translated"
        tag = tag_of([sha256_of(generator / GENERATOR), self.city.config.fingerprint])
        jobs = [
            TranslationJob(path, target / path.name) for path in sample_pictures(self.root, DAY)[:_SAMPLES]
        ]
        if self.record.done("translate", tag) and all(job.target.is_file() for job in jobs):
            return
        with self.record.stage("translate", tag):
            translator = load_generator(generator, device=self.options.device, root=self.root)
            target.mkdir(parents=True, exist_ok=True)
            for job in jobs:
                job.target.unlink(missing_ok=True)
            # At the size that the descriptors learn from, which is what the generator was trained for.
            size = self._finetune_settings("tuned", {}).value.data.image_size_px
            read = FileOptions(max_size_px=size)
            label = "translating samples"
            translate_files(jobs, translator, options=read, total=len(jobs), label=label, emit=self.emit)

    def train_base(self) -> Path:
        """Train what both descriptors begin with, by day alone; its file."""
        run = self.folder / "base"
        resolved = self._finetune_settings("base", {"augment.kind": "none", "whitening.kind": "none"})
        tag = tag_of([resolved.as_dict(), self.city.config.fingerprint])
        if not (self.record.done("base", tag) and (run / DESCRIPTOR_FILE).is_file()):
            self._say("trains what the descriptors begin with, by day alone")
            with self.record.stage("base", tag):
                self._fit(run, resolved, (), "base of the descriptors")
        return run / DESCRIPTOR_FILE

    def train_descriptor(self, arm: str, base: Path, generator: Path) -> dict[str, float]:
        """Train, whiten and evaluate one descriptor; mAP in percent by time of day of the queries."""
        run, night = self.folder / arm, arm == "with"
        resolved = self._finetune_settings("tuned", {"init": str(base), **self._augmentation(arm, generator)})
        beginnings = [sha256_of(base), sha256_of(generator / GENERATOR) if night else None]
        tag = tag_of([resolved.as_dict(), beginnings, self.city.config.fingerprint])
        if self.record.done(arm, tag) and (run / DESCRIPTOR_FILE).is_file():
            return {time: float(value) for time, value in self.record.value(arm).items()}
        self._say(f"trains a descriptor {arm} night augmentation")
        with self.record.stage(arm, tag) as entry:
            makers = [load_night(generator, self.root, device=self.device)] if night else []
            ready = self._fit(run, resolved, makers, f"descriptor {arm} night")
            page = ReportWriter(run, self.emit)

            def told(event: Event) -> None:
                self.emit(event)
                page.emit(event)

            ready.whiten(emit=told)
            lines = {line.dataset: line.mean_average_precision for line in ready.evaluate(emit=told)}
            scores = {time: float(lines[name] or 0.0) for time, name in DATASETS.items()}
            entry["value"] = scores
        return scores

    def _fit(
        self, run: Path, resolved: Resolved[FinetuneConfig], makers: Sequence[NightMaker], title: str
    ) -> FinetuneRun:
        config = resolved.value
        with self.listen(run, resolved, title) as emit:
            ready = prepare_finetune(
                config, run=run, root=self.root, network=initial_network(config, self.root),
                generators=makers, device=self.device, resolved=resolved.as_dict(), emit=emit,
            )  # fmt: skip
            if not ready.train().complete:
                raise _Stopped
        return ready

    def search(self) -> list[dict[str, Any]]:
        """Some searches with both descriptors, for the page."""
        files = {arm: self.folder / arm / DESCRIPTOR_FILE for arm in ARMS}
        tag = tag_of([{arm: sha256_of(path) for arm, path in files.items()}, self.city.config.fingerprint])
        if not self.record.done("search", tag):
            config = self._finetune_settings("tuned", {}).value
            with self.record.stage("search", tag) as entry:
                entry["value"] = search(files, config, self.root, device=self.options.device, emit=self.emit)
        found: list[dict[str, Any]] = self.record.value("search")
        return found

    def _gan_settings(self) -> Resolved[Any]:
        return resolve(
            load(METHODS.get(self.options.method).config),
            preset=self.options.gan_preset,
            overrides=self.options.gan_settings,
            flags={
                "method": self.options.method,
                "trainer.seed": self.seed,
                "data.day": self.city.day_list,
                "data.night": self.city.night_list,
                "samples.pictures": self._sample_list(),
            },
            command="train-gan",
        )

    def _sample_list(self) -> Path:
        """A list of pictures for the progress of the generator: of validation places, never of those trained on."""
        path = self.folder / "samples.txt"
        names = "".join(f"{each}\n" for each in sample_pictures(self.root, DAY))
        if not path.is_file() or path.read_text(encoding="utf-8") != names:
            write_bytes_atomic(path, names.encode())
        return path

    def _augmentation(self, arm: str, generator: Path) -> dict[str, Any]:
        if arm == "without":
            return {"augment.kind": "none"}
        return {
            "augment.kind": "generator",
            "augment.models": (str(generator),),
            "augment.cache": self.nights,
            "augment.share": self.options.share,
        }

    def _finetune_settings(self, stage: str, flags: dict[str, Any]) -> Resolved[FinetuneConfig]:
        """Settings of the training by day ("base") or of the fine-tuning ("tuned"), with ``flags`` of its own."""
        base = stage == "base"
        return resolve(
            FinetuneConfig,
            preset=self.options.base_preset if base else self.options.finetune_preset,
            overrides=self.options.base_settings if base else self.options.finetune_settings,
            flags={
                "trainer.seed": self.seed,
                "evaluation.datasets": () if base else tuple(DATASETS.values()),
                **flags,
            },
            command="finetune",
        )

    def _say(self, what: str) -> None:
        self.emit(Notice(f"seed {self.seed} {what}"))


def sample_pictures(root: DataRoot, time: str) -> list[Path]:
    """Pictures of the validation places by day or by night, from the same spots, in the same order."""
    truth = open_benchmark("nightfall-val" if time == NIGHT else "nightfall-val-day", root).truth
    paths = [truth.image_path(query.name) for query in truth.queries]
    # The first query of each place; families of similar places lie side by side.
    first = {path.name.split("_")[1]: path for path in reversed(paths)}
    chosen = [first[place] for place in sorted(first)]
    step = max(1, len(chosen) // _SAMPLES)
    return chosen[::step]

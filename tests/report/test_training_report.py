"""The page about a run: whole, unfinished, empty and odd runs; nothing outside is needed, nothing is believed."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darkside_cli.events import (
    EpochDone,
    EvalDone,
    Event,
    Notice,
    StageDone,
    StepDone,
    TrainingFinished,
    TrainingStarted,
)
from darkside_cli.report import scalars, training
from darkside_cli.report.scalars import JsonlScalars
from darkside_cli.report.training import ReportWriter, write_training_report


class Page(HTMLParser):
    """Texts, tags and attributes of a page; fails on tags that are not closed in order."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self._open[-1] not in ("style", "script"):
            self.texts.append(" ".join(data.split()))

    def count(self, tag: str, **attributes: str) -> int:
        return sum(name == tag and attributes.items() <= got.items() for name, got in self.tags)


def page_of(run: Path) -> Page:
    target = write_training_report(run)
    assert target == run / "report.html"
    text = target.read_text(encoding="utf-8")
    # Nothing is fetched: neither addresses nor links nor other files.
    assert not re.search(r"https?://|<link|<iframe|@import|\bsrc=\"(?!data:)|\bhref=\"(?!#)", text)
    assert "url(" not in re.sub(r"url\(#[^)]+\)", "", text)
    return Page(text)


def record(run: Path, *events: Event) -> None:
    with JsonlScalars(run / "scalars.jsonl") as sink:
        for event in events:
            sink.emit(event)


def start(run: Path, epochs: int = 2, epoch: int = 0) -> TrainingStarted:
    return TrainingStarted(run, epochs, epoch, 0, 4, 10, "cpu")


def epoch_events(epoch: int, epochs: int = 2, loss: float = 0.5) -> list[Event]:
    rates = {"g": 2e-4}
    return [
        *(StepDone(epoch, n, 4, {"edge": loss, "discriminator_night": 1.0}, rates, 12.5) for n in (2, 4)),
        EpochDone(epoch, epochs, {"edge": loss, "discriminator_night": 1.0}, rates, 90.0),
    ]


def test_a_complete_run(
    tmp_path: Path, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "mein läuf <b>"
    clock = iter(range(1_700_000_000, 1_700_010_000, 60))
    monkeypatch.setattr(scalars.time, "time", lambda: float(next(clock)))
    record(
        run,
        start(run),
        *epoch_events(1),
        EvalDone(1, {"edge_agreement": 0.625}, 2.0, best=True),
        Notice("one <i>odd</i> & broken.jpg", "warning"),
        Notice("one <i>odd</i> & broken.jpg", "warning"),
        *epoch_events(2, loss=0.25),
        EvalDone(2, {"edge_agreement": 0.5}, 4.0),
        TrainingFinished(run, 2, 600.0, True),
    )
    monkeypatch.undo()
    for epoch in (1, 2):
        make_image(run / "samples" / f"epoch_{epoch:04}.jpg", 64, 48)
    (run / "config.toml").write_text(
        'method = "hedgan"\nday = "<script>x</script> \\"ä\\""\n[optim]\nlr = 2e-4\n'
    )
    (run / "origins.json").write_text(
        json.dumps({"method": "default", "day": "command line, day", "optim.lr": "default"})
    )
    saved = run / "checkpoints" / "epoch_0002"
    saved.mkdir(parents=True)
    (saved / "meta.json").write_text(json.dumps({"epoch": 2, "step": 0, "best": {"epoch": 2}}))
    (saved / "state.pt").write_bytes(b"x" * 4000)
    (run / "generator_day2night.safetensors").write_bytes(b"x" * 1_500_000)
    page = page_of(run)
    texts = page.texts
    assert texts[:3] == ["mein läuf <b>"] * 2 + ["complete: 2 of 2 epochs"]
    assert page.count("i") == page.count("b", **{"class": "odd"}) == 0
    assert "one <i>odd</i> & broken.jpg (2 times)" in texts
    assert '"<script>x</script> \\"ä\\""' in texts
    assert page.count("img") == 2
    for text in (
        "hedgan", "edge agreement 0.625", "best (epoch 1)", "last validation (epoch 2)", "Generators",
        "Discriminators", "0.25", "good is above 0.5; best epoch 1: 0.625", "12.5", "1 min 30 s", "3.0 s",
            "optim.lr", "0.0002",
        "command line, day", "All 3 settings", "checkpoints/epoch_0002",
        "after 2 epochs, the best so far", "4.0 kB", "1.5 MB", "darkside",
        "torch",
    ):  # fmt: skip
        assert text in texts, text
    # After the start there are eleven lines more, a minute each.
    assert texts[texts.index("training time") + 1] == "11 min 00 s"
    assert page.count("svg") == 5  # two losses, a score, the rate, the speed
    assert page.count("script") == 1


@pytest.mark.parametrize("reason", ["interrupted", ""])
def test_a_stopped_run(tmp_path: Path, reason: str) -> None:
    record(tmp_path, start(tmp_path), *epoch_events(1), TrainingFinished(tmp_path, 1, 9.0, False, reason))
    assert f"stopped ({reason or 'no reason given'}): 1 of 2 epochs done" in page_of(tmp_path).texts


def test_a_run_that_was_cut_off(tmp_path: Path) -> None:
    record(tmp_path, start(tmp_path, 200), *epoch_events(1, 200))
    with (tmp_path / "scalars.jsonl").open("a") as file:
        file.write('{"event": "step", "ti')
    page = page_of(tmp_path)
    assert any(
        text.startswith("not finished: 1 of 200 epochs done, last sign of life 2") for text in page.texts
    )
    assert "scalars.jsonl: 1 damaged lines were passed over" in page.texts


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    record(tmp_path, start(tmp_path))
    assert any(text.startswith("not finished: 0 of 2 epochs") for text in page_of(tmp_path).texts)
    record(tmp_path, start(tmp_path), StepDone(1, 1, 4, {"edge": math.nan}, {}, 0.0))
    page = page_of(tmp_path)
    assert "not a number" in page.texts
    assert page.count("svg") == 1


def test_an_empty_folder(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert "nothing recorded yet" in page.texts
    assert page.count("h2") == 0


def test_files_that_make_no_sense_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("a = [")
    (tmp_path / "origins.json").write_bytes(b"\xff{")
    (tmp_path / "scalars.jsonl").write_bytes(b"\x00\n[]\n")
    for name in ("epoch_0003", "epoch_0003_step_000120", "epoch_0003 (damaged)", "epoch_0001"):
        checkpoint = tmp_path / "checkpoints" / name
        checkpoint.mkdir(parents=True)
        (checkpoint / "meta.json").write_text("[1]")
    texts = page_of(tmp_path).texts
    for start_of in ("config.toml cannot be read", "origins.json cannot be read", "scalars.jsonl: 2 damaged"):
        assert any(text.startswith(start_of) for text in texts)
    stages = [text for text in texts if text.startswith("after ")]
    assert stages == ["after 1 epoch", "after 2 epochs and 120 batches", "after 3 epochs"]


def test_images_of_an_older_run_in_the_same_folder_are_not_shown(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    for epoch in (1, 2):
        make_image(tmp_path / "samples" / f"epoch_{epoch:04}.jpg", 64, 48)
    assert page_of(tmp_path).count("img") == 2
    record(tmp_path, start(tmp_path), *epoch_events(1))
    assert page_of(tmp_path).count("img") == 1


def test_origins_may_be_objects_and_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("a = 1\nb = [1, 2]\n[c]\n'd e' = true\n")
    page = page_of(tmp_path)
    assert "from" not in page.texts
    assert {"a", "[1, 2]", 'c."d e"', "true"} <= set(page.texts)
    (tmp_path / "origins.json").write_text(json.dumps({"a": {"kind": "preset", "where": "train-gan/tiny"}}))
    assert "preset train-gan/tiny" in page_of(tmp_path).texts


def test_machines_of_several_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for epoch, machine in ((0, "first"), (1, "first"), (2, "second")):
        monkeypatch.setattr(scalars, "machine_facts", lambda device, machine=machine: {"processor": machine})
        record(tmp_path, start(tmp_path, 3, epoch), *epoch_events(epoch + 1, 3))
    texts = page_of(tmp_path).texts
    assert texts.count("first") == texts.count("second") == 1
    assert texts[texts.index("sessions") + 1] == "3"
    assert any(text.endswith("epoch 3") and text.startswith("from 2") for text in texts)


def test_texts_that_no_file_can_hold(tmp_path: Path) -> None:
    record(tmp_path, start(tmp_path), Notice("pho\udcfftos", "warning"))
    assert "pho\\udcfftos" in page_of(tmp_path).texts


def test_the_page_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, start(tmp_path))
    page_of(tmp_path)
    before = (tmp_path / "report.html").read_bytes()

    def cut_short(*_: Any, **__: Any) -> Iterator[str]:
        yield "<!doctype html>"
        raise OSError("disk full")

    monkeypatch.setattr("jinja2.Template.generate", cut_short)
    with pytest.raises(OSError, match="disk full"):
        write_training_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert {each.name for each in tmp_path.iterdir()} == {"report.html", "scalars.jsonl"}


def test_the_writer_writes_after_validations_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    said: list[Event] = []
    monkeypatch.setattr(training, "write_training_report", written.append)
    writer = ReportWriter(tmp_path, said.append)
    evaluation = EvalDone(1, {}, 1.0)
    for event in (start(tmp_path), *epoch_events(1), evaluation, TrainingFinished(tmp_path, 1, 1.0, True)):
        writer.emit(event)
    assert written == [tmp_path, tmp_path]
    writer.emit(StageDone(tmp_path, "whitening"))
    assert written == [tmp_path] * 3

    def fail(run: Path) -> Sequence[None]:
        raise OSError("disk full")

    monkeypatch.setattr(training, "write_training_report", fail)
    writer.emit(evaluation)
    assert said == [Notice(f"{tmp_path / 'report.html'} could not be written: disk full", "warning")]


@pytest.mark.slow
def test_a_long_run_takes_no_time_and_little_space(tmp_path: Path) -> None:
    """200 epochs, nine losses, 50,000 batches recorded, forty sheets of samples of 1.5 megapixels."""
    names = [f"loss_{i}" for i in range(9)]
    rng = np.random.default_rng(0)
    events: list[Event] = [start(tmp_path, 200)]
    for epoch in range(1, 201):
        values = dict(zip(names, rng.random(9).tolist(), strict=True))
        events += [StepDone(epoch, n * 4, 1000, values, {"g": 2e-4}, 3.0) for n in range(1, 251)]
        events.append(EpochDone(epoch, 200, values, {"g": 2e-4}, 60.0))
        if epoch % 5 == 0:
            events.append(EvalDone(epoch, {"agreement": 0.5}, 1.0))
    record(tmp_path, *events)
    (tmp_path / "samples").mkdir()
    coarse = Image.fromarray(rng.integers(0, 256, (150, 200, 3), np.uint8)).resize(
        (1400, 1050), Image.Resampling.BICUBIC
    )
    for epoch in range(5, 201, 5):
        coarse.save(tmp_path / "samples" / f"epoch_{epoch:04}.jpg", quality=95)
    began = time.process_time()
    target = write_training_report(tmp_path)
    assert time.process_time() - began < 3
    assert target.stat().st_size < 10_000_000

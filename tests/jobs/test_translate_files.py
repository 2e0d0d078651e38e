"""The file pipeline, driven by stubs: order, batches, memory, failures, interruption."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darkside_cli.datasets.outputs import TranslationJob
from darkside_cli.errors import NoSpaceError
from darkside_cli.events import Event, ImageReady, ItemFailed, ItemSkipped, Notice, RunFinished, RunStarted
from darkside_cli.images import images
from darkside_cli.jobs import translate_files as module
from darkside_cli.jobs.translate_files import GAP_PX, FileOptions, Summary, is_sheet, sheet_path, side_by_side

MakeImage = Callable[..., Path]


class Done:
    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def result(self) -> np.ndarray:
        return self.images


class Inverter:
    """255 - x; runs out of memory above ``capacity`` images."""

    asynchronous = False

    def __init__(self, wanted: int = 4, capacity: int = 1000) -> None:
        self.wanted = wanted
        self.capacity = capacity
        self.batches: list[tuple[int, int, int]] = []
        self.released = 0

    def submit(self, images: np.ndarray) -> Done:
        if len(images) > self.capacity:
            raise MemoryError
        self.batches.append(images.shape[:3])
        return Done(255 - images)

    def batch_size(self, height: int, width: int) -> int:
        return self.wanted

    def release_memory(self) -> None:
        self.released += 1


class AsynchronousInverter(Inverter):
    """Fails when fetched rather than when submitted, as a device may."""

    asynchronous = True

    class Late(Done):
        def __init__(self, images: np.ndarray, capacity: int) -> None:
            super().__init__(images)
            self.capacity = capacity

        def result(self) -> np.ndarray:
            if len(self.images) > self.capacity:
                raise MemoryError
            return self.images

    def submit(self, images: np.ndarray) -> Done:
        self.batches.append(images.shape[:3])
        return self.Late(255 - images, self.capacity)


def translate_files(jobs: list[TranslationJob], translator: Inverter, **options: Any) -> Summary:
    return module.translate_files(jobs, lambda: translator, **options)


@pytest.fixture
def jobs(tmp_path: Path, make_image: MakeImage) -> list[TranslationJob]:
    """Ten images of two sizes in turn, as PNG, so that pixels can be compared."""
    result = []
    for i in range(10):
        width = 20 if i % 2 else 12
        source = make_image(tmp_path / "in" / f"{i}.png", width, 16, seed=i)
        result.append(TranslationJob(source, tmp_path / "out" / f"{i}.png"))
    return result


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_every_image_is_translated_and_told_of_in_order(jobs: list[TranslationJob]) -> None:
    events: list[Event] = []
    summary = translate_files(jobs, Inverter(), label="invert", emit=events.append)
    assert (summary.done, summary.failed, summary.skipped) == (10, 0, 0)
    assert events[0] == RunStarted("invert", 10)
    ready = events[1:-1]
    assert [e.target for e in ready if isinstance(e, ImageReady)] == [job.target for job in jobs]
    assert [e.size_px for e in ready[:2] if isinstance(e, ImageReady)] == [(12, 16), (20, 16)]
    assert isinstance(events[-1], RunFinished)
    assert events[-1].done == 10
    for job in jobs:
        np.testing.assert_array_equal(pixels(job.target), 255 - pixels(job.source))


def test_images_of_one_size_share_batches(jobs: list[TranslationJob]) -> None:
    translator = Inverter(wanted=4)
    translate_files(jobs, translator, options=FileOptions(workers=2))
    assert sorted(translator.batches) == [(1, 16, 12), (1, 16, 20), (4, 16, 12), (4, 16, 20)]


def test_the_asked_batch_size_wins(jobs: list[TranslationJob]) -> None:
    translator = Inverter(wanted=1)
    translate_files(jobs, translator, options=FileOptions(batch_size=5))
    assert sorted(translator.batches) == [(5, 16, 12), (5, 16, 20)]


@pytest.mark.parametrize("kind", [Inverter, AsynchronousInverter])
def test_out_of_memory_halves_the_batch_and_goes_on(jobs: list[TranslationJob], kind: type[Inverter]) -> None:
    translator = kind(wanted=5, capacity=2)
    events: list[Event] = []
    summary = translate_files(jobs, translator, emit=events.append)
    assert (summary.done, summary.failed) == (10, 0)
    assert translator.released >= 1
    assert any(isinstance(e, Notice) and "out of device memory" in e.message for e in events)
    for job in jobs:
        np.testing.assert_array_equal(pixels(job.target), 255 - pixels(job.source))


@pytest.mark.parametrize("kind", [Inverter, AsynchronousInverter])
def test_an_image_that_alone_does_not_fit_is_named(jobs: list[TranslationJob], kind: type[Inverter]) -> None:
    events: list[Event] = []
    summary = translate_files(jobs[:2], kind(capacity=0), emit=events.append)
    assert (summary.done, summary.failed) == (0, 2)
    failures = [e for e in events if isinstance(e, ItemFailed)]
    assert [e.source for e in failures] == [job.source for job in jobs[:2]]
    assert "12x16 does not fit into the device's memory" in failures[0].reason
    assert "--max-size" in failures[0].reason


def test_other_errors_of_the_network_are_not_swallowed(jobs: list[TranslationJob]) -> None:
    class Broken(Inverter):
        def submit(self, images: np.ndarray) -> Done:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        translate_files(jobs, Broken())


def test_a_broken_image_is_named_and_the_others_go_on(jobs: list[TranslationJob]) -> None:
    jobs[3].source.write_bytes(b"no picture at all")
    jobs[5].source.unlink()
    events: list[Event] = []
    summary = translate_files(jobs, Inverter(), emit=events.append)
    assert (summary.done, summary.failed) == (8, 2)
    assert [e.source for e in events if isinstance(e, ItemFailed)] == [jobs[3].source, jobs[5].source]
    assert not jobs[3].target.exists()


def test_a_second_run_skips_what_is_done_and_overwrite_does_not(jobs: list[TranslationJob]) -> None:
    translate_files(jobs[:6], Inverter())
    jobs[0].target.write_bytes(b"mine")
    events: list[Event] = []
    summary = translate_files(jobs, Inverter(), emit=events.append)
    assert (summary.done, summary.failed, summary.skipped) == (4, 0, 6)
    assert [type(e) for e in events[1:7]] == [ItemSkipped] * 6
    assert jobs[0].target.read_bytes() == b"mine"
    summary = translate_files(jobs, Inverter(), options=FileOptions(overwrite=True))
    assert summary.done == 10
    np.testing.assert_array_equal(pixels(jobs[0].target), 255 - pixels(jobs[0].source))


def test_sheets_show_input_and_output(jobs: list[TranslationJob]) -> None:
    translate_files(jobs[:2], Inverter(), options=FileOptions(compare=True))
    with Image.open(sheet_path(jobs[0].target)) as sheet:
        assert sheet.size == (2 * 12 + GAP_PX, 16)
    # A result without its sheet is not done.
    sheet_path(jobs[0].target).unlink()
    summary = translate_files(jobs[:2], Inverter(), options=FileOptions(compare=True))
    assert (summary.done, summary.skipped) == (1, 1)


def test_a_missing_sheet_leaves_the_result_as_it_is(jobs: list[TranslationJob]) -> None:
    translate_files(jobs[:1], Inverter())
    Image.fromarray(np.zeros((16, 12, 3), np.uint8)).save(jobs[0].target)
    before = jobs[0].target.read_bytes()
    translate_files(jobs[:1], Inverter(), options=FileOptions(compare=True))
    assert jobs[0].target.read_bytes() == before
    with Image.open(sheet_path(jobs[0].target)) as sheet:
        assert np.asarray(sheet)[:, -10:].max() <= 8  # the black image that is there, through JPEG


@pytest.mark.parametrize("name", ["0.jpg", "0.png", "0.webp"])
def test_a_sheet_is_the_same_whoever_wrote_the_image_before(jobs: list[TranslationJob], name: str) -> None:
    """Made in one go, or of an image that a killed run or another process has written: equal byte for byte."""
    job = replace(jobs[0], target=jobs[0].target.with_name(name))
    translate_files([job], Inverter(), options=FileOptions(compare=True))
    whole = sheet_path(job.target).read_bytes()
    sheet_path(job.target).unlink()
    translate_files([job], Inverter(), options=FileOptions(compare=True))
    assert sheet_path(job.target).read_bytes() == whole


def test_sheets_lie_under_the_names_of_their_results_and_are_known_by_their_size(
    jobs: list[TranslationJob], make_image: MakeImage
) -> None:
    job = replace(jobs[0], target=jobs[0].target.with_name("street_night.jpg"))
    translate_files([job], Inverter(), options=FileOptions(compare=True))
    sheet = job.target.parent / "compare" / "street_night.jpg"
    assert [path.name for path in sheet.parent.iterdir()] == ["street_night.jpg"]
    assert is_sheet(sheet)
    assert not is_sheet(job.target)
    # Somebody's own photograph of the same name, in a folder of that name.
    make_image(sheet, 30, 20)
    assert not is_sheet(sheet)
    sheet.write_bytes(b"no picture")
    assert not is_sheet(sheet)


def test_a_result_that_cannot_be_read_for_its_sheet_is_named(jobs: list[TranslationJob]) -> None:
    jobs[0].target.parent.mkdir()
    jobs[0].target.write_bytes(b"mine")
    events: list[Event] = []
    translate_files(jobs[:1], Inverter(), options=FileOptions(compare=True), emit=events.append)
    (failure,) = [event for event in events if isinstance(event, ItemFailed)]
    assert f"no sheet of {jobs[0].target}: it is not an image" in failure.reason
    assert jobs[0].target.read_bytes() == b"mine"


def test_a_result_survives_a_sheet_that_cannot_be_written(jobs: list[TranslationJob]) -> None:
    sheet_path(jobs[0].target).mkdir(parents=True)
    summary = translate_files(jobs[:1], Inverter(), options=FileOptions(compare=True))
    assert summary.failed == 1
    np.testing.assert_array_equal(pixels(jobs[0].target), 255 - pixels(jobs[0].source))


def test_side_by_side_puts_the_input_left() -> None:
    left, right = np.zeros((2, 3, 3), np.uint8), np.full((2, 3, 3), 9, np.uint8)
    sheet = side_by_side(left, right)
    assert sheet.shape == (2, 6 + GAP_PX, 3)
    assert (sheet[:, :3] == 0).all()
    assert (sheet[:, 3:-3] == 255).all()
    assert (sheet[:, -3:] == 9).all()


def test_max_size_shrinks_first(jobs: list[TranslationJob]) -> None:
    translate_files(jobs[1:2], Inverter(), options=FileOptions(max_size_px=10))
    assert pixels(jobs[1].target).shape == (8, 10, 3)


def test_no_more_images_are_in_flight_than_the_threads_and_batches_need(
    jobs: list[TranslationJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files there are, the decoders never run away from the device."""
    workers, batch = 2, 3
    alive = peak = 0
    lock = threading.Lock()
    read, write = module.read_image, module.write_image

    def counting_read(*args: object, **kwargs: object) -> object:
        nonlocal alive, peak
        with lock:
            alive += 1
            peak = max(peak, alive)
        return read(*args, **kwargs)  # type: ignore[arg-type]

    def counting_write(*args: object, **kwargs: object) -> object:
        nonlocal alive
        with lock:
            alive -= 1
        return write(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "read_image", counting_read)
    monkeypatch.setattr(module, "write_image", counting_write)
    many = [replace(jobs[i % 10], target=jobs[0].target.parent / f"many{i}.png") for i in range(200)]
    summary = translate_files(many, Inverter(wanted=batch), options=FileOptions(workers=workers))
    assert summary.done == 200
    # ahead in the decoders, waiting in two groups, in one batch, and behind in the encoders
    assert peak <= (workers + 2) + (workers + 2 * batch + 1) + batch + (2 * workers + batch)


def test_an_interruption_leaves_whole_files_and_tells_of_them(jobs: list[TranslationJob]) -> None:
    class Interrupted(Inverter):
        def submit(self, images: np.ndarray) -> Done:
            if len(self.batches) == 4:
                raise KeyboardInterrupt
            return super().submit(images)

    events: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        translate_files(jobs, Interrupted(wanted=1), options=FileOptions(workers=1), emit=events.append)
    told = [e.target for e in events if isinstance(e, ImageReady)]
    there = sorted(p for p in jobs[0].target.parent.iterdir())
    assert sorted(told) == there
    assert 3 <= len(there) <= 4
    for path in there:
        Image.open(path).load()
    assert not any(isinstance(e, RunFinished) for e in events)


def test_an_unwritable_target_is_a_failure_of_that_image(jobs: list[TranslationJob], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = replace(jobs[1], target=tmp_path / "file" / "x.png")
    events: list[Event] = []
    summary = translate_files([jobs[0], blocked], Inverter(), emit=events.append)
    assert (summary.done, summary.failed) == (1, 1)
    assert isinstance(events[2], ItemFailed)
    assert events[2].source == blocked.source


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_run_after_the_first_image_without_room(
    jobs: list[TranslationJob], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Forty images and room for three: nobody computes the other ones only to see them fail one by one."""
    many = [replace(jobs[i % 10], target=jobs[0].target.parent / f"many{i}.png") for i in range(40)]
    tried: list[Path] = []
    write = images.write_bytes_atomic

    def write_three(path: Path, data: bytes, **kwargs: object) -> None:
        tried.append(path)
        if len(tried) > 3:
            raise OSError(number, os.strerror(number), str(path))
        write(path, data)

    monkeypatch.setattr(images, "write_bytes_atomic", write_three)
    events: list[Event] = []
    translator = Inverter(wanted=1)
    with pytest.raises(NoSpaceError, match="stopped, because the disk is full") as caught:
        translate_files(many, translator, options=FileOptions(workers=1), emit=events.append)
    assert caught.value.exit_code == 1
    failures = [event for event in events if isinstance(event, ItemFailed)]
    assert len(failures) == 1
    assert "no space left" in failures[0].reason
    told = {event.target for event in events if isinstance(event, ImageReady)}
    assert told == set(tried[:3]) == set(jobs[0].target.parent.iterdir())
    assert len(tried) == 4  # nothing is begun after the one without room
    assert len(translator.batches) <= 4 + 4  # and those on their way


def test_other_errors_of_the_disk_concern_one_image(
    jobs: list[TranslationJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = images.write_bytes_atomic

    def refuse_one(path: Path, data: bytes, **kwargs: object) -> None:
        if path == jobs[2].target:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        write(path, data)

    monkeypatch.setattr(images, "write_bytes_atomic", refuse_one)
    summary = translate_files(jobs, Inverter())
    assert (summary.done, summary.failed) == (9, 1)

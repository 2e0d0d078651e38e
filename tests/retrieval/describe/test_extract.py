"""Extraction of many files: order, broken images, resuming after anything, shards, flat memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stub_describer import StubDescriber, expected_row
from waiting import Process

from darkside_cli.errors import UsageError
from darkside_cli.events import Event, ImageReady, ItemFailed, ItemSkipped, Notice, RunFinished, RunStarted
from darkside_cli.retrieval.describe.extract import extract_array, extract_files
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob
from darkside_cli.retrieval.describe.journal import Journal, journal_folder
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.training.launch import port_kept

MakeImage = Callable[..., Path]
TESTS = Path(__file__).parents[2]


@pytest.fixture
def images(tmp_path: Path, make_image: MakeImage) -> list[ImageJob]:
    """Nine photographs of three sizes, by turns."""
    sizes = [(40, 32), (32, 40), (36, 36)]
    return [
        ImageJob(make_image(tmp_path / "in" / f"{i}.png", *sizes[i % 3], seed=i), f"dir/{8 - i}.png")
        for i in range(9)
    ]


def extract(
    jobs: Sequence[ImageJob], target: Path, describer: StubDescriber | None = None, **options: object
) -> tuple[object, list[Event]]:
    events: list[Event] = []
    summary = extract_files(
        jobs,
        describer or StubDescriber(),
        target,
        options=ExtractOptions(**options),  # type: ignore[arg-type]
        emit=events.append,
    )
    return summary, events


def kinds(events: list[Event]) -> str:
    letters = {ImageReady: "r", ItemFailed: "f", ItemSkipped: "s"}
    return "".join(letters.get(type(event), "") for event in events)


def assert_holds(target: Path, jobs: Sequence[ImageJob], factor: float = 1.0) -> None:
    stored = open_descriptors(target)
    assert stored.names == tuple(job.name for job in jobs)
    expected = [expected_row(job.path, factor) for job in jobs]
    np.testing.assert_allclose(stored.read(), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["h5", "npz", "npy"])
def test_rows_come_in_the_order_of_the_images(tmp_path: Path, images: list[ImageJob], kind: str) -> None:
    target = tmp_path / f"x.{kind}"
    describer = StubDescriber(batch=3)
    summary, events = extract(images, target, describer, workers=3)
    assert_holds(target, images)
    assert summary.path == target
    assert (summary.done, summary.skipped, summary.failed) == (9, 0, ())
    assert isinstance(events[0], RunStarted)
    assert events[0].total == 9
    assert [event.source for event in events if isinstance(event, ImageReady)] == [job.path for job in images]
    assert isinstance(events[-1], RunFinished)
    # Images of one size share batches, whatever their order; they are decoded in threads.
    assert sorted(describer.batches) == [(3, 3, 32, 40), (3, 3, 36, 36), (3, 3, 40, 32)]
    assert all(name.startswith("load") for name in describer.transform.threads)
    metadata = open_descriptors(target).metadata
    assert (metadata["model"], metadata["images"], metadata["failed"]) == ("stub", 9, [])
    assert not journal_folder(target).exists()


def test_sizes_and_boxes(tmp_path: Path, make_image: MakeImage) -> None:
    path = make_image(tmp_path / "a.png", 80, 40)
    jobs = [
        ImageJob(path, "whole"),
        ImageJob(path, "part", (10, 5, 50, 25)),
        ImageJob(path, "off", (90, 5, 95, 9)),
    ]
    target = tmp_path / "x.npz"
    summary, events = extract(jobs, target, image_size_px=40)
    assert summary.failed == ("off",)
    rows = open_descriptors(target).read()
    # The box is half as wide as the image: what is in it keeps the image's scale.
    assert rows[:, 3:].tolist() == [[40, 20], [20, 10]]
    with Image.open(path) as image:
        part = image.convert("RGB").crop((10, 5, 50, 25))
        part.thumbnail((20, 20), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(rows[1, :3], np.array(part, dtype=float).mean(axis=(0, 1)), rtol=1e-5)
    assert "holds nothing" in next(event.reason for event in events if isinstance(event, ItemFailed))
    full, _ = extract(jobs[:2], tmp_path / "y.npz", image_size_px=None)
    assert open_descriptors(full.path).read()[:, 3:].tolist() == [[80, 40], [40, 20]]


def broken(tmp_path: Path, images: list[ImageJob]) -> list[ImageJob]:
    """Three of the images are made unusable: cut short, missing, too small."""
    data = images[1].path.read_bytes()
    images[1].path.write_bytes(data[: len(data) // 2])
    images[4].path.unlink()
    Image.new("RGB", (3, 30)).save(images[7].path)
    return [images[1], images[4], images[7]]


def test_broken_images_are_left_out(tmp_path: Path, images: list[ImageJob]) -> None:
    bad = broken(tmp_path, images)
    good = [job for job in images if job not in bad]
    target = tmp_path / "x.h5"
    summary, events = extract(images, target)
    assert summary.failed == tuple(job.name for job in bad)
    assert kinds(events) == "rfrrfrrfr"
    assert [event.source for event in events if isinstance(event, ItemFailed)] == [job.path for job in bad]
    assert_holds(target, good)
    assert open_descriptors(target).metadata["failed"] == list(summary.failed)


def test_broken_images_as_nan(tmp_path: Path, images: list[ImageJob]) -> None:
    bad = broken(tmp_path, images)
    target = tmp_path / "x.npy"
    extract(images, target, on_error="nan")
    stored = open_descriptors(target)
    assert stored.names == tuple(job.name for job in images)
    missing = [job in bad for job in images]
    assert np.isnan(stored.read()).all(axis=1).tolist() == missing
    assert np.isnan(stored.read()).any(axis=1).tolist() == missing


def test_nothing_usable_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "x.h5"
    summary, events = extract([ImageJob(tmp_path / "none.jpg", "none.jpg")], target)
    assert summary.path is None
    assert summary.failed == ("none.jpg",)
    assert kinds(events) == "f"
    assert list(tmp_path.iterdir()) == []


def test_a_complete_file_is_left_alone_and_an_incomplete_one_completed(
    tmp_path: Path, images: list[ImageJob], make_image: MakeImage
) -> None:
    target = tmp_path / "x.h5"
    bad = broken(tmp_path, images)
    extract(images, target)
    for i, job in enumerate(bad[:2]):
        make_image(job.path, 40, 32, seed=20 + i)
    more = [*images, ImageJob(make_image(tmp_path / "in" / "new.png", seed=30), "new")]
    describer = StubDescriber()
    summary, _ = extract(more, target, describer)
    assert summary.failed == (bad[2].name,)
    assert (summary.done, summary.skipped) == (3, 6)
    assert sum(shape[0] for shape in describer.batches) == 3
    assert_holds(target, [job for job in more if job is not bad[2]])
    make_image(bad[2].path, 40, 32)
    extract(more, target)
    before = target.stat().st_mtime_ns
    describer = StubDescriber()
    summary, _ = extract(more, target, describer)
    assert (summary.done, summary.skipped, summary.failed) == (0, 10, ())
    assert describer.batches == []
    assert target.stat().st_mtime_ns == before
    # The order of the images is part of what is asked for.
    summary, _ = extract(more[::-1], target)
    assert summary.skipped == 10
    assert_holds(target, more[::-1])


def test_rows_of_nan_are_tried_again(tmp_path: Path, images: list[ImageJob], make_image: MakeImage) -> None:
    target = tmp_path / "x.npz"
    bad = broken(tmp_path, images)
    extract(images, target, on_error="nan")
    for job in bad:
        make_image(job.path, 40, 32)
    summary, _ = extract(images, target, on_error="nan")
    assert (summary.done, summary.skipped, summary.failed) == (3, 6, ())
    assert_holds(target, images)


def test_a_file_of_something_else_is_not_touched(tmp_path: Path, images: list[ImageJob]) -> None:
    target = tmp_path / "x.npz"
    extract(images, target)
    with pytest.raises(UsageError, match="made with another fingerprint") as caught:
        extract(images, target, StubDescriber(factor=2))
    assert "--overwrite" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"another image_size \(\w+, not 16\)"):
        extract(images, target, image_size_px=16)
    with pytest.raises(UsageError, match=r"4 images that were not asked for now, such as dir/0\.png"):
        extract(images[:5], target)
    np.savez(tmp_path / "y.npz", np.zeros((1, 5), dtype=np.float32))
    with pytest.raises(UsageError, match="not made by darkside"):
        extract(images, tmp_path / "y.npz")
    assert_holds(target, images)
    extract(images[:5], target, StubDescriber(factor=2), overwrite=True)
    assert_holds(target, images[:5], factor=2)


def test_images_of_one_name(tmp_path: Path, images: list[ImageJob]) -> None:
    twice = [*images, ImageJob(images[0].path, images[1].name)]
    with pytest.raises(UsageError, match="two images are called"):
        extract(twice, tmp_path / "x.h5")
    assert not list(tmp_path.glob(".*"))


def test_an_interrupted_run_goes_on(tmp_path: Path, images: list[ImageJob]) -> None:
    target = tmp_path / "x.h5"
    with pytest.raises(KeyboardInterrupt):
        extract(images, target, StubDescriber(batch=1, stop_after=4))
    assert not target.exists()
    assert journal_folder(target).is_dir()
    # One of those that are done is changed meanwhile: it is described anew.
    Image.new("RGB", (50, 20), (1, 2, 3)).save(images[1].path)
    describer = StubDescriber(batch=1)
    summary, events = extract(images, target, describer)
    assert kinds(events) == "srssrrrrr"
    assert (summary.done, summary.skipped) == (6, 3)
    assert_holds(target, images)
    assert not journal_folder(target).exists()


def test_an_interruption_keeps_what_was_computed(
    tmp_path: Path, images: list[ImageJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also rows that wait for a slow disk."""
    append, stopped = Journal.append, threading.Event()

    class Stopped(StubDescriber):
        def submit(self, images: torch.Tensor) -> object:
            try:
                return super().submit(images)
            except KeyboardInterrupt:
                stopped.set()
                raise

    def slow(journal: Journal, name: str, stamp: Hashable, row: np.ndarray) -> None:
        assert stopped.wait(60)
        append(journal, name, stamp, row)

    monkeypatch.setattr(Journal, "append", slow)
    target = tmp_path / "x.h5"
    with pytest.raises(KeyboardInterrupt):
        extract(images, target, Stopped(batch=1, stop_after=2), workers=1)
    monkeypatch.undo()
    summary, _ = extract(images, target, StubDescriber(batch=1))
    assert (summary.done, summary.skipped) == (7, 2)


def test_another_model_starts_afresh_and_says_so(tmp_path: Path, images: list[ImageJob]) -> None:
    target = tmp_path / "x.h5"
    with pytest.raises(KeyboardInterrupt):
        extract(images, target, StubDescriber(batch=1, stop_after=4))
    summary, events = extract(images, target, StubDescriber(factor=3))
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert len(notices) == 1
    assert "4 descriptors of an interrupted run" in notices[0]
    assert "afresh" in notices[0]
    assert (summary.done, summary.skipped) == (9, 0)
    assert_holds(target, images, factor=3)


def test_without_resume_everything_is_done_again(tmp_path: Path, images: list[ImageJob]) -> None:
    target = tmp_path / "x.h5"
    with pytest.raises(KeyboardInterrupt):
        extract(images, target, StubDescriber(batch=1, stop_after=4))
    summary, _ = extract(images, target, resume=False)
    assert (summary.done, summary.skipped) == (9, 0)
    assert_holds(target, images)


class NotFinite(StubDescriber):
    """Overflows, as half precision may."""

    def submit(self, images: object) -> object:  # type: ignore[override]
        done = super().submit(images)  # type: ignore[arg-type]
        done._rows[done._rows[:, 3] == 36] = np.inf
        return done


def test_numbers_that_are_not_finite_are_a_failure(tmp_path: Path, images: list[ImageJob]) -> None:
    summary, events = extract(images, tmp_path / "x.h5", NotFinite(batch=1))
    assert summary.failed == tuple(job.name for job in images[2::3])
    assert "not finite" in next(event.reason for event in events if isinstance(event, ItemFailed))


def test_into_memory(tmp_path: Path, images: list[ImageJob]) -> None:
    bad = broken(tmp_path, images)
    events: list[Event] = []
    jobs = [*images, images[0]]  # names need not differ here
    rows = extract_array(jobs, StubDescriber(), emit=events.append)
    assert kinds(events) == "rfrrfrrfrr"
    assert {event.target for event in events if isinstance(event, ImageReady)} == {None}  # nothing is written
    for job, row in zip(jobs, rows, strict=True):
        if job in bad:
            assert np.isnan(row).all()
        else:
            np.testing.assert_allclose(row, expected_row(job.path), rtol=1e-5)
    assert extract_array([], StubDescriber()).shape == (0, 5)


def test_options() -> None:
    with pytest.raises(UsageError, match="cannot be 'zero'"):
        ExtractOptions(on_error="zero")
    with pytest.raises(UsageError, match="0 pixels"):
        ExtractOptions(image_size_px=0)


# Real processes

SCRIPT = """
import os, resource, sys
from pathlib import Path
from stub_describer import StubDescriber
from darkside_cli.training.distributed import Ranks
from darkside_cli.retrieval.describe.extract import extract_files
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob
from darkside_cli.retrieval.describe.journal import Journal
append = Journal.append
def tell(word):
    os.write(1, f"{word}\\n".encode())  # at once: lines that several threads print mingle
def told(*given):
    append(*given)
    tell("Kept")
Journal.append = told
folder, target, stay_after, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
jobs = [ImageJob(path, path.name) for path in sorted(folder.iterdir())][:count]
with Ranks.from_environment() as ranks:
    summary = extract_files(
        jobs, StubDescriber(batch=1, stay_after=stay_after), target, options=ExtractOptions(), ranks=ranks,
        emit=lambda event: tell(type(event).__name__),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("done", ranks.rank, summary.done, summary.skipped, len(summary.failed), peak, flush=True)
"""


def start(
    folder: Path,
    target: Path,
    *,
    stay_after: int = -1,
    count: int = 10**6,
    rank: int | None = None,
    port: int = 0,
) -> Process[str]:
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS / "support")]),
        "OMP_NUM_THREADS": "1",
    }
    if rank is not None:
        env |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return Process(
        [sys.executable, "-c", SCRIPT, str(folder), str(target), str(stay_after), str(count)],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )


def last_line(started: Process[str]) -> list[str]:
    with started as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.splitlines()[-1].split()


def wait_for(process: Process[str], word: str, times: int) -> None:
    assert process.stdout is not None
    while times:
        line = process.stdout.readline()
        assert line, "the process has ended"
        times -= line.strip() == word


def test_kill_9_loses_nothing_that_was_told_of(tmp_path: Path, images: list[ImageJob]) -> None:
    folder, target = images[0].path.parent, tmp_path / "x.h5"
    # Of the eight, four at most are still being kept when it stays.
    with start(folder, target, stay_after=8) as process:
        wait_for(process, "ImageReady", 3)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not target.exists()
    done = last_line(start(folder, target))
    assert done[0] == "done"
    assert int(done[2]) + int(done[3]) == 9
    assert 3 <= int(done[3]) < 9
    assert_holds(target, [ImageJob(path, path.name) for path in sorted(folder.iterdir())])
    assert not journal_folder(target).exists()


def test_two_processes_make_one_ordered_file(tmp_path: Path, images: list[ImageJob]) -> None:
    """Both are killed once; then one process alone is interrupted with other rows; then both finish together."""
    folder, target = images[0].path.parent, tmp_path / "x.h5"
    images[3].path.write_bytes(b"broken")
    with (
        port_kept() as port,
        start(folder, target, stay_after=2, rank=0, port=port) as first,
        start(folder, target, stay_after=2, rank=1, port=port) as second,
    ):
        wait_for(first, "Kept", 1)
        wait_for(second, "Kept", 1)
        first.kill()
        second.kill()
    assert not target.exists()
    with (
        port_kept() as port,
        start(folder, target, rank=0, port=port) as first,
        start(folder, target, rank=1, port=port) as second,
    ):
        results = [last_line(first), last_line(second)]
    assert [result[1] for result in results] == ["0", "1"]
    assert sum(int(result[2]) + int(result[3]) for result in results) == 8
    assert all(int(result[3]) >= 1 for result in results)
    assert [result[4] for result in results] == ["1", "1"]  # each knows of all failures
    good = [ImageJob(path, path.name) for path in sorted(folder.iterdir()) if path != images[3].path]
    assert_holds(target, good)
    assert not journal_folder(target).exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, make_image: MakeImage) -> None:
    one = make_image(tmp_path / "one.png", 160, 120)
    (tmp_path / "in").mkdir()
    for i in range(1500):
        os.link(one, tmp_path / "in" / f"{i:04}.png")
    peaks = {}
    for count in (100, 1500):
        result = last_line(start(tmp_path / "in", tmp_path / f"{count}.h5", count=count))
        assert result[2] == str(count)
        peaks[count] = int(result[5])
    assert open_descriptors(tmp_path / "1500.h5").count == 1500
    assert peaks[1500] < 1.08 * peaks[100], json.dumps(peaks)

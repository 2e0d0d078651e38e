"""Adding to a descriptor file: what is in it stays and is not described again, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stub_describer import StubDescriber, expected_row

from darkside_cli.errors import UsageError
from darkside_cli.events import Event, ImageReady, ItemSkipped
from darkside_cli.retrieval.describe import extract as extraction
from darkside_cli.retrieval.describe.extract import ExtractSummary, extract_files
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob
from darkside_cli.retrieval.describe.journal import Journal, journal_folder
from darkside_cli.retrieval.describe.store import open_descriptors

MakeImage = Callable[..., Path]


@pytest.fixture
def images(tmp_path: Path, make_image: MakeImage) -> list[ImageJob]:
    return [ImageJob(make_image(tmp_path / f"{i}.png", 20 + i, 16, seed=i), f"in/{i}.png") for i in range(6)]


def add(
    jobs: list[ImageJob], target: Path, describer: StubDescriber | None = None, **options: object
) -> tuple[ExtractSummary, list[Event]]:
    events: list[Event] = []
    chosen = ExtractOptions(append=True, **options)  # type: ignore[arg-type]
    return extract_files(
        jobs, describer or StubDescriber(), target, options=chosen, emit=events.append
    ), events


def assert_holds(target: Path, jobs: list[ImageJob]) -> None:
    stored = open_descriptors(target)
    assert stored.names == tuple(job.name for job in jobs)
    assert stored.metadata["images"] == len(jobs)
    np.testing.assert_allclose(stored.read(), [expected_row(job.path) for job in jobs], rtol=1e-5)


@pytest.mark.parametrize("kind", ["h5", "npz"])
def test_new_images_follow_what_is_there(tmp_path: Path, images: list[ImageJob], kind: str) -> None:
    target = tmp_path / f"x.{kind}"
    summary, _ = add(images[3:5], target)  # nothing is there: it is made
    assert (summary.done, summary.images) == (2, 2)
    before = open_descriptors(target).read()
    images[3].path.unlink()  # what is there need not be there as an image
    describer = StubDescriber()
    summary, events = add([images[5], images[4], images[0]], target, describer)
    assert (summary.path, summary.done, summary.skipped, summary.images) == (target, 2, 1, 4)
    assert sum(shape[0] for shape in describer.batches) == 2
    assert [event.source for event in events if isinstance(event, ItemSkipped)] == [images[4].path]
    stored = open_descriptors(target)
    assert stored.names == tuple(images[number].name for number in (3, 4, 5, 0))
    np.testing.assert_array_equal(stored.read()[:2], before)
    np.testing.assert_allclose(stored.read()[2], expected_row(images[5].path), rtol=1e-5)
    assert not journal_folder(target).exists()
    state = target.stat()
    summary, events = add([images[0]], target)
    assert (summary.done, summary.skipped, summary.images) == (0, 1, 4)
    assert target.stat().st_mtime_ns == state.st_mtime_ns
    assert target.stat().st_ino == state.st_ino


def test_a_run_that_is_stopped_leaves_the_file_and_goes_on(tmp_path: Path, images: list[ImageJob]) -> None:
    target = tmp_path / "x.h5"
    add(images[:2], target)
    before = target.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        add(images[2:], target, StubDescriber(batch=1, stop_after=2), workers=1)
    assert target.read_bytes() == before
    summary, events = add(images[2:], target)
    assert len([event for event in events if isinstance(event, ImageReady)]) == summary.done == 2
    assert_holds(target, images)


def test_broken_images_are_tried_again(tmp_path: Path, images: list[ImageJob], make_image: MakeImage) -> None:
    for on_error in ("skip", "nan"):
        target = tmp_path / f"{on_error}.h5"
        images[1].path.write_bytes(b"broken")
        summary, _ = add(images[:3], target, on_error=on_error)
        assert summary.failed == ("in/1.png",)
        Image.new("RGB", (2, 2)).save(images[4].path)
        summary, _ = add(images[3:5], target, on_error=on_error)
        assert open_descriptors(target).metadata["failed"] == ["in/1.png", "in/4.png"]
        assert summary.images == (3 if on_error == "skip" else 5)
        make_image(images[1].path, 21, 16, seed=1)
        summary, _ = add([images[1]], target, on_error=on_error)
        assert (summary.done, summary.skipped, summary.failed) == (1, 0, ())
        assert open_descriptors(target).metadata["failed"] == ["in/4.png"]
        order = (0, 2, 3, 1) if on_error == "skip" else (0, 1, 2, 3, 4)
        stored = open_descriptors(target)
        assert stored.names == tuple(f"in/{number}.png" for number in order)
        for row, number in zip(stored.read(), order, strict=True):
            expected = np.full(5, np.nan) if number == 4 else expected_row(images[number].path)
            np.testing.assert_allclose(row, expected, rtol=1e-5)
        state = target.read_bytes()
        summary, _ = add([images[4]], target, on_error=on_error)  # still broken: nothing is written
        assert (summary.path, summary.failed, summary.images) == (target, ("in/4.png",), len(order))
        assert target.read_bytes() == state
        make_image(images[4].path, 24, 16, seed=4)


def test_other_settings_and_other_programs_files_are_refused(tmp_path: Path, images: list[ImageJob]) -> None:
    target = tmp_path / "x.npz"
    add(images[:2], target)
    before = target.read_bytes()
    with pytest.raises(UsageError, match=r"another image_size \(1024, not 64\)"):
        add(images[2:], target, image_size_px=64)
    with pytest.raises(UsageError, match="made with another fingerprint"):
        add(images[2:], target, StubDescriber(factor=2.0))
    assert target.read_bytes() == before
    np.savez(target, descriptors=np.zeros((2, 5), dtype=np.float32))
    with pytest.raises(UsageError, match="was not made by darkside extract"):
        add(images[2:], target)
    add(images[:2], tmp_path / "y.npz")
    with pytest.raises(UsageError, match="not asked for now") as caught:
        extract_files(images[2:], StubDescriber(), tmp_path / "y.npz")
    assert "--append adds to it" in str(caught.value.hint)


@pytest.mark.parametrize("there", [True, False])
def test_what_another_run_added_meanwhile_stays(
    tmp_path: Path, images: list[ImageJob], monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Between this run's first look and its hold on the file, another one came and went."""
    target = tmp_path / "x.h5"
    if there:
        add(images[:1], target)

    class Late(Journal):
        def __enter__(self) -> Journal:
            monkeypatch.setattr(extraction, "Journal", Journal)
            add(images[0:3], target)
            return super().__enter__()

    monkeypatch.setattr(extraction, "Journal", Late)
    add(images[2:5], target)
    assert_holds(target, images[:5])

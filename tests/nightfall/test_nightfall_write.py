"""Writing the city: the same files however it came to be; resumed, replaced, checked, and opened by name."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image
from waiting import Process, wait_until

from darkside_cli import nightfall
from darkside_cli.assets.disk import Stopped
from darkside_cli.assets.upkeep import leftovers, remove
from darkside_cli.assets.verify import verify
from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.catalog import TEST_SETS
from darkside_cli.errors import DarksideError, UnknownNameError
from darkside_cli.events import Event, ImageReady, Notice, RunFinished, RunStarted
from darkside_cli.interop.ground_truth import read_ground_truth
from darkside_cli.jobs.catalog import ASSETS, open_store
from darkside_cli.nightfall import asset, marker
from darkside_cli.nightfall.config import VERSION, NightfallConfig
from darkside_cli.nightfall.layout import FOLDERS, images
from darkside_cli.retrieval.training_sets import open_tuples

LEAST = NightfallConfig(
    image_px=24, samples=1, gan_places=1, gan_day=1, gan_night=1, train_places=1, train_day=2, val_places=1, val_day=2,
    val_queries=1, test_places=1, test_day=2, test_queries=1, distractor_places=1, distractor_day=1,
)  # fmt: skip


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((root / "data").rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the smallest city; not to be changed."""
    root = tmp_path_factory.mktemp("city")
    nightfall.write(root, LEAST, workers=1)
    return root


@pytest.fixture
def root(city: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    for path in city.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(city)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path


def told(root: Path, config: NightfallConfig = LEAST) -> list[Event]:
    events: list[Event] = []
    nightfall.write(root, config, events.append, workers=1)
    return events


def test_every_image_is_there_whole(city: Path) -> None:
    for each in images(LEAST):
        for path in each.paths:
            with Image.open(city / path) as image:
                assert (image.format, image.size) == ("JPEG", (24, 24))
                image.load()
    assert sorted(path.name for path in (city / "data" / "train").iterdir()) == ["nightfall"]
    assert not [path for path in city.rglob(".*") if path.name != ".darkside"]


def test_what_is_complete_stays(root: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"
    }
    assert told(root) == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_stopped_run_goes_on_and_ends_the_same(city: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    seen: list[Event] = []

    def emit(event: Event) -> None:
        seen.append(event)
        if sum(isinstance(each, ImageReady) for each in seen) == 4:
            stop.set()

    with pytest.raises(Stopped):
        nightfall.write(tmp_path, LEAST, emit, workers=1, stop=stop)
    assert not (tmp_path / FOLDERS[0]).exists()
    assert asset.MAKER.state(tmp_path).status == "partial"
    rest = told(tmp_path)
    made = [event for event in rest if isinstance(event, ImageReady)]
    total = len(images(LEAST))
    assert 0 < len(made) <= total - 4
    assert any(isinstance(event, Notice) and "going on" in event.message for event in rest)
    assert [event.total for event in rest if isinstance(event, RunStarted)] == [len(made)]
    assert [event.done for event in rest if isinstance(event, RunFinished)] == [len(made)]
    assert digests(tmp_path) == digests(city)


_MAKE = """
import sys
from darkside_cli.nightfall import NightfallConfig
from darkside_cli.nightfall import write
def told(event):
    print(type(event).__name__, flush=True)
write(sys.argv[1], NightfallConfig(**eval(sys.argv[2])), told, workers=1)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_the_same(city: Path, tmp_path: Path) -> None:
    for images_before in (1, 5, 9):
        with Process(
            [sys.executable, "-c", _MAKE, str(tmp_path), repr(asdict(LEAST))],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            ready = 0
            for line in process.stdout:
                ready += line.strip() == "ImageReady"
                if ready == images_before:
                    break
            process.send_signal(signal.SIGKILL)
    told(tmp_path)
    assert digests(tmp_path) == digests(city)


@pytest.mark.slow
def test_processes_write_what_one_does_and_end_with_it(tmp_path: Path) -> None:
    more = replace(LEAST, train_places=24, train_day=2)
    nightfall.write(tmp_path / "one", more, workers=1)
    events: list[Event] = []
    nightfall.write(tmp_path / "two", more, events.append, workers=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert sum(isinstance(event, ImageReady) for event in events) == len(images(more))


_RENDER = """
import hashlib
from darkside_cli.nightfall.place import build_scene
from darkside_cli.nightfall.render import render
from darkside_cli.nightfall.shot import draw_shot
for place in (30014, 30015):
    scene = build_scene(2023, place)
    for night in (False, True):
        picture = render(scene, draw_shot(scene, 0, night=night, size_px=24), samples=1)
        print(hashlib.sha256(picture.tobytes()).hexdigest())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fills memory as glibc's allocator can")
def test_no_pixel_comes_from_memory_that_nobody_wrote() -> None:
    seen = {
        subprocess.run(
            [sys.executable, "-c", _RENDER],
            check=True, capture_output=True, env={**os.environ, "MALLOC_PERTURB_": fill},
        ).stdout
        for fill in ("0", "85", "170")
    }  # fmt: skip
    assert len(seen) == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes")
def test_workers_do_not_outlive_a_killed_caller(tmp_path: Path) -> None:
    many = replace(LEAST, train_places=400)
    script = _MAKE.replace("workers=1", "workers=2")
    with Process(
        [sys.executable, "-c", script, str(tmp_path), repr(asdict(many))], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "ImageReady":
                break
        wait_until(lambda: len(_children(process.pid)) == 2, process=process)
        children = _children(process.pid)
        assert len(children) == 2
        process.kill()
    wait_until(lambda: not any(_lives(Path(f"/proc/{child}")) for child in children))


def _children(parent: int) -> list[int]:
    return [
        int(entry.name) for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and f"PPid:\t{parent}\n" in _status(entry)
    ]  # fmt: skip


def _lives(entry: Path) -> bool:
    return entry.exists() and "State:\tZ" not in _status(entry)


def _status(entry: Path) -> str:
    try:
        return (entry / "status").read_text()
    except OSError:
        return ""


def test_an_older_version_is_made_anew(root: Path, city: Path) -> None:
    for name in FOLDERS:
        path = root / name / marker.MARKER
        path.write_text(
            path.read_text()
            .replace(f'"version": {VERSION}', '"version": 0')
            .replace(LEAST.fingerprint, "0" * 16)
        )
    state = asset.MAKER.state(root)
    assert (state.status, state.lacking) == ("partial", (f"nightfall of version {VERSION}",))
    events = told(root)
    assert any(isinstance(event, Notice) and "of version 0" in event.message for event in events)
    assert digests(root) == digests(city)


def test_another_size_replaces_it_when_it_is_complete(root: Path) -> None:
    other = replace(LEAST, seed=7)
    old = (root / FOLDERS[1] / "gnd_nightfall.pkl").read_bytes()
    events: list[Event] = []
    stop = threading.Event()

    def emit(event: Event) -> None:
        events.append(event)
        assert (root / FOLDERS[1] / "gnd_nightfall.pkl").read_bytes() == old  # till then the old one is there
        if isinstance(event, ImageReady) and not stop.is_set():
            stop.set()

    with pytest.raises(Stopped):
        nightfall.write(root, other, emit, workers=1, stop=stop)
    assert asset.MAKER.state(root).status == "complete"
    told(root, other)
    assert marker.read_marker(root / FOLDERS[0]).fingerprint == other.fingerprint  # type: ignore[union-attr]
    assert not leftovers(open_store(root))


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / FOLDERS[1] / "holiday.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(DarksideError, match="not made by darkside") as caught:
        told(tmp_path)
    assert "move it away" in (caught.value.hint or "")
    assert mine.read_bytes() == b"mine"


def test_a_folder_that_lacks_a_file_is_made_again(root: Path, city: Path) -> None:
    (root / FOLDERS[1] / "jpg").rename(root / "moved")
    assert asset.MAKER.state(root).status == "partial"
    made = {event.target.name for event in told(root) if isinstance(event, ImageReady)}
    tested = {p.paths[-1].rpartition("/")[2] for p in images(LEAST) if p.part in ("test", "distractor")}
    assert made == tested  # and nothing of the other folders
    assert (
        digests(root)["data/test/nightfall/nightfall.json"]
        == digests(city)["data/test/nightfall/nightfall.json"]
    )


def test_damage_is_found_and_removal_removes(root: Path) -> None:
    store, entry = open_store(root), ASSETS.get("nightfall")
    assert {item.verdict for item in verify(store, [entry])} == {"ok"}
    victim = next((root / FOLDERS[1] / "jpg").iterdir())
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 255
    victim.write_bytes(data)
    damaged = [item for item in verify(store, [entry]) if item.verdict == "damaged"]
    assert [item.path for item in damaged] == [root / FOLDERS[1]]
    assert victim.name in damaged[0].reason
    remove(store, entry)
    assert store.state(entry).status == "missing"
    assert not (root / FOLDERS[0]).exists()


def test_the_store_makes_what_is_missing_and_counts_what_is_there(root: Path) -> None:
    store, entry = open_store(root), ASSETS.get("nightfall-day")
    assert entry.name == "nightfall"
    shutil.rmtree(root / FOLDERS[3])
    assert store.state(entry).status == "partial"
    got = store.get([entry])
    assert (got.complete, got.failed) == (("nightfall",), {})
    state = store.state(entry)
    assert (state.status, state.images) == (
        "complete",
        len(images(LEAST)) + 2,
    )  # two images are in two folders


def test_ensure_keeps_what_is_there_and_knows_its_sizes(root: Path) -> None:
    events: list[Event] = []
    city = nightfall.ensure(root, events.append)
    assert events == []
    assert city.config == LEAST
    assert all(path.exists() for name, path in vars(city).items() if name != "config")
    with pytest.raises(UnknownNameError, match="tiny"):
        nightfall.ensure(root, size="tyni")
    assert asset.MAKER.right_size(root, "")
    assert not asset.MAKER.right_size(root, "tiny")


def test_test_sets_and_tuples_open_by_name(city: Path) -> None:
    for name in ("nightfall", "nightfall-day", "nightfall-val", "nightfall-val-day"):
        entry = TEST_SETS.get(name)
        truth = read_ground_truth(entry.ground_truth(city), name=name, images=entry.images(city))
        names = [*truth.database, *(query.name for query in truth.queries)]
        assert all(truth.image_path(image).is_file() for image in names)
    data = DataRoot(city, "a test")
    for spec, split, pairs in (
        ("nightfall", "train", 2),
        ("nightfall", "val", 2),
        ("nightfall-whiten", None, 1),
    ):
        tuples = open_tuples(spec, data, split=split)
        assert tuples.pairs == pairs
        assert all(path.is_file() for path in tuples.paths)
    where = nightfall.ensure(city)
    for path in (where.day_list, where.night_list):
        listed = [path.parent / line for line in path.read_text().splitlines()]
        assert len(listed) == 1
        assert all(each.is_file() for each in listed)

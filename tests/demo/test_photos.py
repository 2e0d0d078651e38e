"""The comparison on photographs, as small as it can be: what is trained on, and that nothing is done twice."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_descriptor import BACKBONE, write_small_descriptor
from stub_tuples import write_places

from darkside_cli.assets.webcams import FOLDER, webcam_files
from darkside_cli.config.paths import data_root
from darkside_cli.demo.cameras import Cameras, photographs
from darkside_cli.demo.photos import run
from darkside_cli.demo.photos_result import ARMS, TRAINED
from darkside_cli.demo.request import DemoRequest
from darkside_cli.errors import DarksideError, MissingAssetError, UsageError
from darkside_cli.events import Event, Notice

TINY = (
    f"backbone={BACKBONE}", "data.image_size_px=32", "data.batch_size=2", "data.workers=1", "mining.anchors=2",
    "mining.negatives=1", "whitening.image_size_px=32", "whitening.views=1", "whitening.nights=1", "whitening.dim=4",
    "evaluation.image_size_px=32",
)  # fmt: skip


def write_cameras(folder: Path, count: int = 3) -> Path:
    for time in ("day", "night"):
        write_places(folder / "written", count, 2, sides=((32, 32),))
        for place in range(count):
            target = folder / "cameras" / f"c{place}"
            target.mkdir(parents=True, exist_ok=True)
            (folder / "written" / f"p{place:02d}").rename(target / time)
    return folder / "cameras"


def test_folds_and_lists_keep_cameras_apart(tmp_path: Path) -> None:
    cameras = Cameras.of(write_cameras(tmp_path, 5))
    folds = cameras.folds(4)
    assert folds == [["c0", "c4"], ["c1"], ["c2"], ["c3"]]
    assert len(cameras.folds(9)) == 5
    rows = list(csv.DictReader(cameras.training_list(folds[0], ("day",)).splitlines()))
    assert {row["place"] for row in rows} == {"c1", "c2", "c3"}
    assert all("/day/" in row["image"] for row in rows)
    night, day = (cameras.truth(folds[0], time) for time in ("night", "day"))
    assert len(night["database"]) == 10
    assert [query["name"].split("/")[:2] for query in night["queries"]] == [["c0", "night"]] * 2 + [
        ["c4", "night"]
    ] * 2
    assert all(len(query["ok"]) == 2 and not query["junk"] for query in night["queries"])
    assert all(
        query["junk"] == [query["name"]] and query["name"] not in query["ok"] for query in day["queries"]
    )


def test_folders_that_cannot_be_compared(tmp_path: Path) -> None:
    write_places(tmp_path / "other", 2, 2)
    with pytest.raises(UsageError, match=r"0 places.*p00 has no images by day or at night"):
        Cameras.of(tmp_path / "other")
    with pytest.raises(UsageError, match="--photos"):
        DemoRequest(extra=(tmp_path,))
    few = write_cameras(tmp_path, 2)
    with pytest.raises(UsageError, match=r"cameras has 2 places .* three or more are needed") as caught:
        Cameras.of(few)
    assert (caught.value.exit_code, "--extra" in (caught.value.hint or "")) == (2, True)
    assert len(Cameras.of(few, fewest=2).images) == 2
    shutil.rmtree(few / "c1")
    with pytest.raises(UsageError, match=r"1 place with .* two or more"):
        Cameras.of(few, fewest=2)


def test_places_by_day_or_at_night_alone_are_named(tmp_path: Path) -> None:
    folder = write_cameras(tmp_path, 6)
    shutil.rmtree(folder / "c1" / "night")
    for path in (folder / "c3" / "day").iterdir():
        path.unlink()
    (folder / ".cache").mkdir()
    (folder / "notes.txt").touch()
    cameras = Cameras.of(folder)
    assert cameras.left_out == ("c1 has no images at night", "c3 has no images by day")
    assert set(cameras.images) == {"c0", "c2", "c4", "c5"}
    for place in cameras.images:
        (first, *others) = sorted((folder / place / "day").iterdir())
        assert first
        for path in others:
            path.unlink()
    with pytest.raises(UsageError, match=r"no place .* two images by day"):
        Cameras.of(folder)


def test_folders_in_capitals_and_folders_in_folders_count(tmp_path: Path) -> None:
    """As ``evaluate`` and ``finetune`` take them; they were passed over without a word."""
    folder = write_cameras(tmp_path, 3)
    (folder / "c0" / "day").rename(folder / "c0" / "Day")
    inner = folder / "c1" / "night" / "2015" / "november"
    inner.mkdir(parents=True)
    first, *_ = sorted(path for path in (folder / "c1" / "night").iterdir() if path.is_file())
    first.rename(inner / first.name)
    (folder / "c1" / "night" / ".thumbnails").mkdir()
    (folder / "c1" / "night" / ".thumbnails" / "x.jpg").touch()
    images = Cameras.of(folder).images
    assert [name.split("/")[1] for name in images["c0"]["day"]] == ["Day", "Day"]
    assert len(images["c1"]["night"]) == 2
    assert f"c1/night/2015/november/{first.name}" in images["c1"]["night"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"generator": "darkside-nigth"}, "darkside-night"),
        ({"generator": "gem_lite_night"}, "gem_lite_night"),
        ({"extra": (Path("nothere"),)}, "nothere"),
        ({"extra": (Path("empty"),)}, "no images in"),
        ({"set_finetune": ("optim.rl=1",)}, "optim.rl"),
        ({"set_finetune": (*TINY, "evaluation.scales=xx")}, "xx"),
        ({"folds": 2}, "1 place of 3 is left to train on without c0 and c2, and two are needed"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained_or_described(
    options: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKSIDE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    shutil.rmtree(write_cameras(tmp_path, 4) / "c3" / "night")
    beginning = write_small_descriptor(tmp_path / "beginning.safetensors", whitened=False)
    events: list[Event] = []
    settings = {"generator": "darkside-mini", "set_finetune": (*TINY, f"init={json.dumps(str(beginning))}")}
    with pytest.raises(DarksideError) as caught:
        run(
            DemoRequest(photos=Path("cameras"), output=Path("out"), **{**settings, **options}),
            emit=events.append,
        )
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert not [event for event in events if not isinstance(event, Notice)]
    assert {event.message for event in events if isinstance(event, Notice)} <= {
        "c3 has no images at night: left out"
    }
    assert not list(tmp_path.glob("out/seed-*"))


def test_a_name_is_what_was_downloaded_unless_there_is_such_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = data_root(tmp_path / "home")
    webcams = root.path / FOLDER
    with pytest.raises(MissingAssetError, match="no folder webcams, and the pictures") as caught:
        photographs(Path("webcams"), root)
    assert (caught.value.hint, caught.value.exit_code) == ("darkside download webcams", 3)

    for file in webcam_files():
        path = root.path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
    assert photographs(Path("webcams"), root) == webcams
    assert len(Cameras.of(webcams).images) == 8
    for file in webcam_files()[:2]:
        (root.path / file.path).unlink()
    with pytest.raises(MissingAssetError, match="2 of the 226 pictures"):
        photographs(Path("webcams"), root)

    (tmp_path / "webcams").mkdir()
    assert photographs(Path("webcams"), root) == Path("webcams")


@pytest.mark.parametrize(
    ("given", "hint"), [("webcam", "did you mean webcams"), ("WebCams", "webcams"), ("a/b", "check the path")]
)
def test_what_is_neither_a_folder_nor_a_name(given: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match=f"there is no folder {given}") as caught:
        photographs(Path(given), data_root(tmp_path))
    assert caught.value.hint is not None
    assert hint in caught.value.hint


@pytest.mark.slow
def test_all_arms_and_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKSIDE_HOME", str(tmp_path / "home"))
    write_places(tmp_path / "more", 1, 2, sides=((40, 32),))
    beginning = write_small_descriptor(tmp_path / "beginning.safetensors", whitened=False)
    request = DemoRequest(
        photos=write_cameras(tmp_path),
        extra=(tmp_path / "more" / "p00",),
        generator="darkside-mini",
        folds=2,
        output=tmp_path / "out",
        device="cpu",
        set_finetune=(*TINY, f"init={json.dumps(str(beginning))}"),
    )
    events: list[Event] = []
    result = run(request, emit=events.append)
    assert result.complete
    assert result.report is not None
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    (seed,) = document["seeds"]
    for time in ("night", "day"):
        assert set(seed["mean_ap"][time]) == set(ARMS)
        assert all(0 < value <= 100 for value in seed["mean_ap"][time].values())
        assert document["difference"]["mean_ap"][time]["day"] == 0
    told = [event for event in events if isinstance(event, Notice)]
    trainings = [each.message for each in told if each.message.startswith("seed-0/fold-")]
    assert len(trainings) == 2 * len(TRAINED)
    assert all(line.endswith(" (mAP/R@1)") for line in trainings)
    assert not [each.message for each in told if "say little" in each.message]
    assert len([each for each in told if each.level != "warning"]) == len(trainings) + 3
    page = result.report.read_text()
    assert page.count("data:image/jpeg") > 10
    for arm in TRAINED:
        config = (tmp_path / "out" / "seed-0" / "fold-0" / arm / "config.toml").read_text()
        assert "fold-0" in config

    events.clear()
    assert run(request, emit=events.append).document()["seeds"] == result.document()["seeds"]
    last = [event.message for event in events if isinstance(event, Notice)]
    assert not [message for message in last if message.startswith("seed-0")]
    assert "8 trainings, 8 of them done before" in last[0]

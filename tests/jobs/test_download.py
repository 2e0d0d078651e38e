"""What ``darkside_cli.download`` brings from Python: the same as the command, as values instead of text."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_makers import jpeg_bytes, tar_bytes, tree
from faulty_server import FaultyServer

import darkside_cli
from darkside_cli.errors import ConfigError, DarksideError, UnknownNameError, UsageError
from darkside_cli.events import Event, Notice, TransferFinished
from darkside_cli.jobs import cache
from darkside_cli.jobs.cache import CacheRequest
from darkside_cli.jobs.download import AssetList, DownloadPlan, DownloadRequest, DownloadResult, Verification

DAY, NIGHT = b"id1\nid2\n", b"id3\n"
LISTS = "data/train/retrieval-SfM-120k/dataset"
OXFORD = {f"all_souls_{n:06}.jpg": jpeg_bytes(n) for n in range(3)}


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        running.add("/train_day.txt", DAY)
        running.add("/train_night.txt", NIGHT)
        yield running


@pytest.fixture
def mirror(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The only address that answers; published ones lead to a port where nobody listens."""
    for name in ("DARKSIDE_OFFLINE", "DARKSIDE_MIRROR", "DARKSIDE_HOME", "CIRTORCH_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return server.base


def test_what_is_named_comes_and_events_tell_of_it(mirror: str, tmp_path: Path) -> None:
    events: list[Event] = []
    done = darkside_cli.download("day-night-lists", data_dir=tmp_path, mirror=mirror, emit=events.append)
    assert isinstance(done, DownloadResult)
    assert done.complete == ("day-night-lists",)
    assert done.paths == (tmp_path / LISTS / "train_day.txt", tmp_path / LISTS / "train_night.txt")
    assert done.paths[0].read_bytes() == DAY
    assert sorted(each.name for each in events if isinstance(each, TransferFinished)) == [
        "train_day.txt",
        "train_night.txt",
    ]
    assert done.document() == {
        "data_dir": tmp_path,
        "imported": [],
        "refused": [],
        "complete": ["day-night-lists"],
        "failed": {},
    }


def test_what_fails_is_in_the_result_and_the_rest_comes(
    mirror: str, server: FaultyServer, tmp_path: Path
) -> None:
    del server.files["/train_night.txt"]
    done = darkside_cli.download(["day-night-lists"], data_dir=tmp_path, mirror=mirror, retries=0)
    assert isinstance(done, DownloadResult)
    assert (done.complete, done.paths) == ((), ())
    assert "train_night.txt could not be downloaded" in done.failed["day-night-lists"].message
    assert (tmp_path / LISTS / "train_day.txt").read_bytes() == DAY


def test_lists_plans_and_checks_are_values_too(mirror: str, server: FaultyServer, tmp_path: Path) -> None:
    listed = darkside_cli.download("day-night-lists", list=True, data_dir=tmp_path)
    assert isinstance(listed, AssetList)
    assert [(asset.name, state.status) for asset, state in listed.assets][-1] == (
        "day-night-lists",
        "missing",
    )
    plan = darkside_cli.download("day-night-lists", dry_run=True, data_dir=tmp_path, mirror=mirror)
    assert isinstance(plan, DownloadPlan)
    assert plan.plan.needed == len(DAY + NIGHT)
    assert [each[0] for each in plan.addresses] == [
        f"{mirror}/{LISTS}/train_day.txt",
        f"{mirror}/{LISTS}/train_night.txt",
    ]
    assert not list(tmp_path.iterdir())
    darkside_cli.download("day-night-lists", data_dir=tmp_path, mirror=mirror)
    (tmp_path / LISTS / "train_day.txt").write_bytes(b"other\n")
    checked = darkside_cli.download(verify=True, data_dir=tmp_path)
    assert isinstance(checked, Verification)
    assert [each.verdict for each in checked.checked] == ["damaged", "ok"]


def test_what_the_user_has_is_taken_over(mirror: str, tmp_path: Path) -> None:
    source = tmp_path / "oxbuild_images.tgz"
    source.write_bytes(tar_bytes(OXFORD))
    events: list[Event] = []
    done = darkside_cli.download(from_=source, data_dir=tmp_path / "data", emit=events.append)
    assert isinstance(done, DownloadResult)
    folder = tmp_path / "data/data/test/oxford5k/jpg"
    assert done.paths == (folder,)
    assert tree(folder) == OXFORD
    said = [each.message for each in events if isinstance(each, Notice)]
    assert "oxford5k: 3 of 5,063 images are here now; it is not complete yet" in said


def test_a_refused_file_is_an_error_alone_and_a_result_among_others(mirror: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "oxbuild_images.tgz", tmp_path / "paris_1-v1.tgz"
    good.write_bytes(tar_bytes(OXFORD))
    bad.write_bytes(random.Random(1).randbytes(2000))
    with pytest.raises(DarksideError):
        darkside_cli.download(from_=bad, data_dir=tmp_path / "data")
    done = darkside_cli.download(from_=[bad, good], data_dir=tmp_path / "data")
    assert isinstance(done, DownloadResult)
    assert [path for path, _ in done.refused] == [bad]
    assert [each.asset for each in done.imported] == ["oxford5k"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, UsageError, "nothing to download is named"),
        ({"names": "hedngn"}, UnknownNameError, "hedngan"),
        ({"list": True, "verify": True}, UsageError, "exclude each other"),
        ({"from_": "a.zip", "dry_run": True}, UsageError, "--from imports"),
        ({"names": "hedngan", "size": "huge"}, UnknownNameError, "huge"),
        ({"names": "hedngan", "jobs": 0}, UsageError, "jobs must be at least 1"),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything(
    options: dict[str, object], error: type[DarksideError], message: str
) -> None:
    with pytest.raises(error, match=message):
        DownloadRequest(**options)  # type: ignore[arg-type]


def test_a_mirror_that_is_none_is_refused(mirror: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither an address nor a folder"):
        darkside_cli.download("hedngan", data_dir=tmp_path, mirror="not/there")


@pytest.mark.parametrize(
    ("variable", "words"),
    [("", "--offline was given"), ("0", "--offline was given"), ("1", "DARKSIDE_OFFLINE is set")],
)
def test_what_keeps_a_call_offline_is_told(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, words: str
) -> None:
    monkeypatch.setenv("DARKSIDE_OFFLINE", variable)
    done = darkside_cli.download("day-night-lists", data_dir=tmp_path, offline=True)
    assert isinstance(done, DownloadResult)
    assert words in done.failed["day-night-lists"].message


def test_nothing_is_deleted_before_it_is_applied(mirror: str, tmp_path: Path) -> None:
    darkside_cli.download("day-night-lists", data_dir=tmp_path, mirror=mirror)
    part = tmp_path / LISTS / "train_day.txt.part"
    part.write_bytes(b"12345")
    found = cache.contents(CacheRequest(data_dir=tmp_path))
    assert [asset.name for asset, _, _ in found.assets] == ["day-night-lists"]
    assert (found.used, found.leftovers) == (len(DAY + NIGHT), 5)
    rest = cache.leftover_removal(CacheRequest(data_dir=tmp_path, action="prune"))
    assert (rest.items, part.exists()) == ((str(part),), True)
    assert (rest.apply(), part.exists()) == (5, False)
    lists = cache.removal(CacheRequest(data_dir=tmp_path, action="rm", names=("day-night-lists",)))
    assert (lists.items, lists.size) == (("day-night-lists",), len(DAY + NIGHT))
    assert (tmp_path / LISTS / "train_day.txt").exists()
    assert lists.apply() == len(DAY + NIGHT)
    assert not (tmp_path / LISTS / "train_day.txt").exists()


def test_files_that_somebody_else_deleted_are_forgotten(mirror: str, tmp_path: Path) -> None:
    darkside_cli.download("day-night-lists", data_dir=tmp_path, mirror=mirror)
    for name in ("train_day.txt", "train_night.txt"):
        (tmp_path / LISTS / name).unlink()
    events: list[Event] = []
    request = CacheRequest(data_dir=tmp_path, action="rm", names=("day-night-lists",))
    assert cache.removal(request).apply(events.append) == 0
    (said,) = [each.message for each in events if isinstance(each, Notice)]
    assert said.startswith("forgot the digests of 2 files that are gone: ")
    assert cache.forget(CacheRequest(data_dir=tmp_path, action="forget", names=request.names)) == []

"""Verify, remove, prune: the data root is checked and tidied without harm to what others use."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest
from archive_makers import JPEG, tree
from asset_world import IMAGES, JPG, NAMES, open_store
from faulty_server import FaultyServer
from filelock import FileLock

from darkside_cli.assets.disk import Stopped, lock_path
from darkside_cli.assets.upkeep import dependents, kept_images, last_used, leftovers, prune, removable, remove
from darkside_cli.assets.verify import Verified, verify
from darkside_cli.events import Event, TransferProgress


def verdicts(found: list[Verified]) -> list[tuple[str, str]]:
    return [(item.asset, item.verdict) for item in found]


def test_what_came_whole_is_ok(full: FaultyServer, tmp_path: Path) -> None:
    store = open_store(full, tmp_path)
    store.get(store.select(["all"]))
    found = verify(store, store.select(["all"]))
    assert verdicts(found) == [
        ("net", "ok"),
        ("paris", "ok"),
        ("paris", "ok"),
        ("rparis", "ok"),
        ("sfm", "ok"),
    ]
    assert [item.files for item in found] == [1, 1, 8, 1, 3]


def test_the_manifest_can_be_checked_without_us(full: FaultyServer, tmp_path: Path) -> None:
    store = open_store(full, tmp_path)
    store.get(store.select(["paris"]))
    for manifest in (tmp_path / ".darkside" / "manifests").iterdir():
        subprocess.run(["sha256sum", "--check", "--quiet", str(manifest)], cwd=tmp_path / JPG, check=True)


def test_damage_is_found_and_named(full: FaultyServer, tmp_path: Path) -> None:
    store = open_store(full, tmp_path)
    store.get(store.select(["all"]))
    (tmp_path / JPG / NAMES[1]).write_bytes(IMAGES[NAMES[1]][:-1] + b"?")
    (tmp_path / JPG / NAMES[2]).unlink()
    path = tmp_path / "w" / "net.bin"
    status = path.stat()
    path.write_bytes(b"weights of a netw0rk")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # neither size nor time tells
    found = verify(store, store.select(["net", "paris"]))
    assert verdicts(found) == [("net", "damaged"), ("paris", "ok"), ("paris", "damaged")]
    assert "instead of the recorded" in found[0].reason
    assert found[2].reason.startswith(f"2 images are damaged or gone ({NAMES[1]}, {NAMES[2]})")
    path.unlink()
    assert verdicts(verify(store, store.select(["net"]))) == [("net", "missing")]


def test_what_was_there_before_is_recorded_then_enforced(full: FaultyServer, tmp_path: Path) -> None:
    for name, content in IMAGES.items():
        (tmp_path / JPG).mkdir(parents=True, exist_ok=True)
        (tmp_path / JPG / name).write_bytes(content)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "net.bin").write_bytes(b"mine")
    store = open_store(full, tmp_path)
    assets = [store.assets.get(name) for name in ("net", "paris")]
    assert verdicts(verify(store, assets)) == [
        ("net", "recorded"),
        ("paris", "missing"),
        ("paris", "recorded"),
    ]
    assert verdicts(verify(store, assets)) == [("net", "ok"), ("paris", "missing"), ("paris", "ok")]
    (tmp_path / JPG / NAMES[0]).write_bytes(b"x" * 3000)
    (tmp_path / "w" / "net.bin").write_bytes(b"mine, changed")
    assert verdicts(verify(store, assets)) == [("net", "damaged"), ("paris", "missing"), ("paris", "damaged")]


def test_a_root_that_cannot_be_written_is_checked_all_the_same(
    full: FaultyServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "net.bin").write_bytes(b"mine")
    store = open_store(full, tmp_path)

    def read_only(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store.ledger, "record", read_only)
    assert verdicts(verify(store, store.select(["net"]))) == [("net", "recorded")]


def test_checking_tells_its_progress_and_stops(
    full: FaultyServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = open_store(full, tmp_path)
    store.get(store.select(["paris"]))
    monkeypatch.setattr("darkside_cli.assets.transfer.EVERY_S", 0.0)
    events: list[Event] = []
    verify(store, store.select(["paris"]), events.append)
    counts = [event.done for event in events if isinstance(event, TransferProgress) and event.name == "paris"]
    assert counts == [3000 * n for n in range(1, 9)]
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        verify(store, store.select(["paris"]), stop=stop)


def test_removing_frees_and_forgets_digests(full: FaultyServer, tmp_path: Path) -> None:
    store = open_store(full, tmp_path)
    store.get(store.select(["rparis", "net"]))
    paris, rparis, net = (store.assets.get(name) for name in ("paris", "rparis", "net"))
    assert dependents(store, paris) == ["rparis"]
    assert remove(store, rparis) == store.state(store.assets.get("rparis")).size + len(
        full.files["/rgnd.txt"].content
    )
    assert not (tmp_path / "data/test/rparis/jpg").is_symlink()
    assert tree(tmp_path / JPG) == IMAGES  # the link went, not what it leads to
    assert dependents(store, paris) == []
    assert remove(store, paris) == sum(map(len, IMAGES.values())) + len(full.files["/gnd.txt"].content)
    assert not (tmp_path / JPG).exists()
    assert store.state(paris).status == "missing"
    assert list((tmp_path / ".darkside" / "manifests").iterdir()) == []
    assert "w/net.bin" in store.ledger.read().files
    remove(store, net)
    assert "w/net.bin" not in store.ledger.read().files
    assert store.get(store.select(["paris"])).failed == {}


def test_images_of_an_earlier_program_stay_and_are_not_counted_as_freed(
    full: FaultyServer, tmp_path: Path
) -> None:
    earlier = tmp_path / "data" / "test" / "rparis" / "jpg"
    earlier.mkdir(parents=True)
    (earlier / NAMES[0]).write_bytes(JPEG)
    store = open_store(full, tmp_path)
    paris = store.assets.get("paris")
    assert store.state(paris).size == len(JPEG)
    assert kept_images(store, paris) == earlier
    assert removable(store, paris) == 0
    names = tmp_path / "data" / "test" / "paris" / "gnd.txt"
    names.parent.mkdir(parents=True)
    names.write_bytes(b"123")
    assert removable(store, paris) == remove(store, paris) == 3
    assert tree(earlier) == {NAMES[0]: JPEG}
    assert not names.exists()


def test_images_on_another_disk_are_not_deleted_through_a_link(full: FaultyServer, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / NAMES[0]).write_bytes(b"x")
    (tmp_path / "root" / JPG).parent.mkdir(parents=True)
    (tmp_path / "root" / JPG).symlink_to(shelf)
    store = open_store(full, tmp_path / "root")
    assert kept_images(store, store.assets.get("paris")) == tmp_path / "root" / JPG
    assert remove(store, store.assets.get("paris")) == 0
    assert not (tmp_path / "root" / JPG).is_symlink()
    assert tree(shelf) == {NAMES[0]: b"x"}


def test_leftovers_are_found_and_pruned_and_what_is_in_use_is_not(full: FaultyServer, tmp_path: Path) -> None:
    store = open_store(full, tmp_path)
    store.get(store.select(["paris"]), keep_archives=True)
    for name in ("w/net.bin.part", "w/net.bin.part.json", "w/old.bin.damaged", "w/.darkside-123-abc.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    half = tmp_path / "data/test/paris/.jpg.p1-v1.tgz.unpacking"
    half.mkdir()
    (half / "a.jpg").write_bytes(b"12345")
    mine = tmp_path / "w" / "my own.pth"
    mine.write_bytes(b"precious")
    kinds = {str(item.path.relative_to(tmp_path)): item.what for item in leftovers(store)}
    assert kinds == {
        "downloads/p1-v1.tgz": "archive that was unpacked",
        "downloads/p2-v1.tgz": "archive that was unpacked",
        "data/test/paris/.jpg.p1-v1.tgz.unpacking": "half-unpacked archive",
        "w/net.bin.part": "beginning of a download",
        "w/net.bin.part.json": "beginning of a download",
        "w/old.bin.damaged": "damaged file that was put aside",
        "w/.darkside-123-abc.bin": "file of a run that was killed",
    }
    with FileLock(lock_path(store.ledger.folder, "w/net.bin")), FileLock(lock_path(store.ledger.folder, JPG)):
        busy = {item.path.name for item in leftovers(store)}
    assert "net.bin.part" not in busy
    assert half.name not in busy
    found = leftovers(store)
    assert prune(found) == sum(item.size for item in found) > 25
    assert leftovers(store) == []
    assert mine.read_bytes() == b"precious"
    assert tree(tmp_path / JPG) == IMAGES


def test_when_an_asset_was_last_used(full: FaultyServer, tmp_path: Path) -> None:
    store = open_store(full, tmp_path)
    net = store.assets.get("net")
    assert last_used(store, net) is None
    store.get([net])
    os.utime(tmp_path / "w" / "net.bin", (1_600_000_000, 1_500_000_000))
    assert last_used(store, net) == "2020-09-13T12:26:40+00:00"
    store.ledger.touch("net")
    assert str(last_used(store, net)) > "2025"


def test_what_is_no_image_is_damage_and_does_not_count(full: FaultyServer, tmp_path: Path) -> None:
    (tmp_path / JPG).mkdir(parents=True)
    for name in NAMES[:-1]:
        (tmp_path / JPG / name).write_bytes(IMAGES[name])
    (tmp_path / JPG / NAMES[-1]).write_bytes(b"x")
    store = open_store(full, tmp_path)
    paris = store.assets.get("paris")
    assert paris.images is not None
    assert store.inventory.images(paris.images).images == 7
    assert store.inventory.images(paris.images).status == "partial"
    (tmp_path / JPG / NAMES[-1]).write_bytes(b"<html>please log in, and come back</html>")
    found = verify(store, [paris])[-1]
    assert (found.verdict, found.files) == ("damaged", 8)
    assert NAMES[-1] in found.reason
    assert store.ledger.read().archives == {}  # nothing of it was recorded
    (tmp_path / JPG / NAMES[-1]).write_bytes(b"x")
    assert store.get(store.select(["paris"])).failed == {}  # nothing stands in the way of the right one
    assert tree(tmp_path / JPG) == IMAGES

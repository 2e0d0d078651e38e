"""Getting assets: files, images out of archives, links; what is there is recognised and used in place."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from archive_makers import JPEG, jpeg_bytes, tar_bytes, tree, zip_bytes
from asset_world import CIDS, FIRST, GND, IMAGES, JPG, NAMES, open_store, registry
from faulty_server import Fault, FaultyServer
from waiting import Process

from darkside_cli.assets.entries import shard_path
from darkside_cli.assets.ledger import sha256_of
from darkside_cli.errors import MissingAssetError
from darkside_cli.events import Event, Notice, TransferFinished


def fetched(server: FaultyServer) -> list[str]:
    return sorted(seen.path for seen in server.seen if seen.method == "GET")


def test_everything_comes_and_is_complete(full: FaultyServer, tmp_path: Path) -> None:
    store = open_store(full, tmp_path)
    events: list[Event] = []
    assert store.state(store.assets.get("paris")).status == "missing"
    got = store.get(store.select(["rparis", "net"]), events.append)
    assert (got.complete, got.failed) == (("paris", "rparis", "net"), {})
    assert tree(tmp_path / JPG) == IMAGES
    link = tmp_path / "data" / "test" / "rparis" / "jpg"
    assert link.is_symlink()
    assert not link.readlink().is_absolute()  # so that the tree can be moved
    assert tree(link) == IMAGES
    assert list((tmp_path / "downloads").iterdir()) == []
    assert (tmp_path / "w" / "net.bin").read_bytes() == b"weights of a network"
    state = store.state(store.assets.get("paris"))
    assert (state.status, state.images, state.lacking) == ("complete", 8, ())
    assert state.size == sum(map(len, IMAGES.values())) + len(GND)
    assert any(isinstance(e, Notice) and "known to be broken" in e.message for e in events)
    assert {e.name for e in events if isinstance(e, TransferFinished) and e.activity == "unpack"} == {
        "p1-v1.tgz",
        "p2-v1.tgz",
    }


def test_a_second_time_nothing_is_asked(full: FaultyServer, tmp_path: Path) -> None:
    store = open_store(full, tmp_path)
    store.get(store.select(["all"]))
    full.seen.clear()
    got = store.get(store.select(["all"]))
    assert got.complete == ("net", "paris", "rparis", "sfm")
    assert full.seen == []


def test_archives_can_be_kept_and_are_used_when_there(full: FaultyServer, tmp_path: Path) -> None:
    store = open_store(full, tmp_path)
    store.get(store.select(["paris"]), keep_archives=True)
    assert sorted(tree(tmp_path / "downloads")) == ["p1-v1.tgz", "p2-v1.tgz"]
    (tmp_path / JPG / NAMES[6]).unlink()
    (tmp_path / "downloads" / "p1-v1.tgz").rename(tmp_path / "downloads" / "p1.tgz")  # as people have it
    full.seen.clear()
    got = open_store(full, tmp_path, offline=True).get(store.select(["paris"]), keep_archives=True)
    assert got.complete == ("paris",)
    assert full.seen == []
    assert tree(tmp_path / JPG) == IMAGES


def test_what_fails_is_named_with_its_way_out_and_the_rest_is_done(
    full: FaultyServer, tmp_path: Path
) -> None:
    full.files["/p2.tgz"].always = Fault(status=404)
    store = open_store(full, tmp_path)
    got = store.get(store.select(["rparis", "net"]))
    assert got.complete == ("net",)
    assert list(got.failed) == ["paris", "rparis"]
    assert "HTTP 404" in got.failed["paris"].message
    assert "get them from the shelf" in str(got.failed["paris"].hint)
    assert "rparis needs paris" in got.failed["rparis"].message
    assert all(error.exit_code == 3 for error in got.failed.values())
    state = store.state(store.assets.get("paris"))
    assert (state.status, state.images, state.lacking) == ("partial", 5, tuple(NAMES[5:]))
    full.files["/p2.tgz"].always = Fault()
    full.seen.clear()
    assert store.get(store.select(["rparis"])).failed == {}
    assert fetched(full) == ["/p2.tgz"]
    assert tree(tmp_path / JPG) == IMAGES


def test_an_archive_whose_length_was_a_lie_is_fetched_anew(full: FaultyServer, tmp_path: Path) -> None:
    full.files["/p1.tgz"].always = Fault(claim=-700)
    store = open_store(full, tmp_path)
    got = store.get(store.select(["paris"]))
    assert "damaged or cut short" in got.failed["paris"].message
    assert not (tmp_path / "downloads" / "p1-v1.tgz").exists()
    full.files["/p1.tgz"].always = Fault()
    assert store.get(store.select(["paris"])).failed == {}
    assert tree(tmp_path / JPG) == IMAGES


def test_a_hostile_archive_touches_nothing_and_is_not_fetched_twice(
    full: FaultyServer, tmp_path: Path
) -> None:
    full.add("/p1.tgz", tar_bytes({**FIRST, "../../../../evil.jpg": b"evil"}))
    store = open_store(full, tmp_path)
    for _ in range(2):
        got = store.get(store.select(["paris"]))
        assert "leads out of the folder" in got.failed["paris"].message
        assert "shelf" not in str(got.failed["paris"].hint)
        assert not list(tmp_path.rglob("evil*"))
        assert not set(NAMES[:5]) & set(tree(tmp_path / JPG))
    assert fetched(full).count("/p1.tgz") == 1


def test_a_cirtorch_tree_is_used_in_place(full: FaultyServer, tmp_path: Path) -> None:
    for name, content in IMAGES.items():
        path = tmp_path / JPG / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "data/test/paris/gnd.txt").write_bytes(GND)
    (tmp_path / "data/test/rparis").mkdir()
    (tmp_path / "data/test/rparis/gnd.txt").write_bytes(GND)
    (tmp_path / "data/test/rparis/jpg").symlink_to(tmp_path / JPG)  # an absolute link, as cirtorch makes them
    store = open_store(full, tmp_path)
    assert store.state(store.assets.get("rparis")).status == "complete"
    assert store.get(store.select(["rparis"])).complete == ("paris", "rparis")
    assert full.seen == []


def test_images_that_only_lie_where_the_revision_has_them_are_found(
    full: FaultyServer, tmp_path: Path
) -> None:
    folder = tmp_path / "data/test/rparis/jpg"
    folder.mkdir(parents=True)
    for name, content in IMAGES.items():
        (folder / name).write_bytes(content)
    store = open_store(full, tmp_path)
    assert store.get(store.select(["rparis"])).complete == ("paris", "rparis")
    assert fetched(full) == ["/gnd.txt", "/rgnd.txt"]
    assert tree(tmp_path / JPG) == IMAGES
    assert (tmp_path / JPG).is_symlink()


def test_the_ground_truth_says_what_complete_is(full: FaultyServer, tmp_path: Path) -> None:
    images = registry("").get("paris").images
    assert images is not None
    inventory = open_store(full, tmp_path).inventory
    folder = tmp_path / JPG
    folder.mkdir(parents=True)
    for name in NAMES[:7]:
        (folder / name).write_bytes(IMAGES[name])
    (folder / "paris_x_000099.jpg").write_bytes(b"302 Found")  # broken: does not count
    (folder / "somebody elses.jpg").write_bytes(b"x")
    state = inventory.images(images)
    assert (state.status, state.images, state.lacking) == ("partial", 7, ())  # 7 of 8, nobody knows which
    (tmp_path / "data/test/paris/gnd.txt").write_text(" ".join(NAMES[:7]))
    assert inventory.images(images).status == "complete"
    (tmp_path / "data/test/paris/gnd.txt").write_bytes(GND)
    os.utime(tmp_path / "data/test/paris/gnd.txt", (later := time.time() + 10, later))
    assert inventory.images(images).lacking == (NAMES[7],)
    (folder / NAMES[7]).write_bytes(b"")  # an empty file is none
    assert inventory.images(images).status == "partial"
    (folder / NAMES[7]).write_bytes(IMAGES[NAMES[7]])
    assert inventory.images(images).status == "complete"


def test_a_sharded_set_is_judged_by_lists_databases_and_folders(full: FaultyServer, tmp_path: Path) -> None:
    store = open_store(full, tmp_path)
    asset = store.assets.get("sfm")
    images = asset.images
    assert images is not None
    folder = tmp_path / images.folder
    for number in range(255):
        (folder / f"{number:02x}").mkdir(parents=True)
    assert store.state(asset).status == "partial"
    (folder / "ff").mkdir()
    assert store.state(asset).status == "complete"  # as cirtorch leaves it, with nothing that says more
    (tmp_path / "data/train/sfm/day.txt").write_text(f"{shard_path(CIDS[0])}\n{CIDS[1]}\n")
    state = store.state(asset)
    assert (state.status, state.lacking) == ("partial", (shard_path(CIDS[0]), shard_path(CIDS[1])))
    assert store.get([asset]).complete == ("sfm",)
    assert tree(folder) == {shard_path(cid): jpeg_bytes(int(cid[:2], 16)) for cid in CIDS}
    assert store.state(asset).images == 3
    (tmp_path / "data/train/sfm/db.pkl").write_text("ab" * 16)
    assert store.inventory.images(images).status == "complete"
    assert store.inventory.images(images, deep=True).lacking == (shard_path("ab" * 16),)


def test_a_plan_counts_what_comes_and_what_comes_out_of_it(full: FaultyServer, tmp_path: Path) -> None:
    store = open_store(full, tmp_path)
    one, two = (len(full.files[f"/p{n}.tgz"].content) for n in (1, 2))
    plan = store.plan(store.select(["paris", "net"]))
    assert plan.needed == len(GND) + len(b"weights of a network") + 2 * (one + two)
    assert plan.unknown == ()
    assert all(seen.method == "HEAD" for seen in full.seen)
    assert tree(tmp_path) == {}
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "p1.tgz").write_bytes(full.files["/p1.tgz"].content)
    del full.files["/net"]
    plan = store.plan(store.select(["paris", "net"]))
    assert plan.needed == len(GND) + one + 2 * two
    assert plan.unknown == ("net.bin",)


def test_too_small_a_disk_is_told_before_anything_starts(
    full: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(full, tmp_path)
    monkeypatch.setattr("darkside_cli.assets.store.free_bytes", lambda folder: 5000)
    with pytest.raises(MissingAssetError, match=r"not enough space for paris: .* needed, 5.0 kB free"):
        store.get(store.select(["paris"]))
    assert fetched(full) == []


def test_a_disk_that_fills_while_unpacking_is_an_error_with_a_way_on(
    full: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(full, tmp_path)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("darkside_cli.assets.unpack._write_one", full_disk)
        got = store.get(store.select(["paris"]))
    assert "No space left" in got.failed["paris"].message
    assert got.failed["paris"].exit_code == 3
    assert not (tmp_path / JPG).exists()
    full.seen.clear()
    assert store.get(store.select(["paris"])).failed == {}
    assert fetched(full) == []  # the archives were kept


def test_where_links_cannot_be_made_the_files_get_second_names(
    full: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(self: Path, target: object, target_is_directory: bool = False) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    store = open_store(full, tmp_path)
    assert store.get(store.select(["rparis"])).failed == {}
    link = tmp_path / "data/test/rparis/jpg"
    assert not link.is_symlink()
    assert tree(link) == IMAGES
    assert (link / NAMES[0]).stat().st_nlink == 2


def test_images_that_the_user_has_in_another_form_stay(full: FaultyServer, tmp_path: Path) -> None:
    own = tmp_path / JPG / NAMES[0]
    own.parent.mkdir(parents=True)
    own.write_bytes(JPEG)  # not blurred, say
    events: list[Event] = []
    store = open_store(full, tmp_path)
    assert store.get(store.select(["paris"]), events.append).failed == {}
    assert own.read_bytes() == JPEG
    assert any(isinstance(e, Notice) and e.level == "warning" and NAMES[0] in e.message for e in events)


def test_an_archive_that_lacks_images_is_told(full: FaultyServer, tmp_path: Path) -> None:
    full.add("/p2.tgz", zip_bytes({"paris/" + NAMES[5]: IMAGES[NAMES[5]]}))
    store = open_store(full, tmp_path)
    got = store.get(store.select(["paris"]))
    assert f"still missing: {NAMES[6]}, {NAMES[7]}" in got.failed["paris"].message
    assert "shelf" in str(got.failed["paris"].hint)


SCRIPT = textwrap.dedent(
    """
    import sys, time
    sys.path.insert(0, sys.argv[3])
    from pathlib import Path
    from asset_world import AssetStore, Options, read_names, registry
    from darkside_cli.assets import unpack
    members, stay_after = unpack.members, int(sys.argv[4])
    def some(*given, **named):
        for number, member in enumerate(members(*given, **named)):
            if number == stay_after:
                print("half", flush=True)
                sys.stdin.readline()
            yield member
    unpack.members = some
    store = AssetStore(Path(sys.argv[1]), registry(sys.argv[2]), Options(spare_bytes=0), read_names)
    print("ready", flush=True)
    sys.stdin.readline()
    print(sorted(store.get(store.select(["paris"])).complete))
    """
)


def start(root: Path, base: str, stay_after: int = -1) -> Process[bytes]:
    """Start a process that gets "paris" when it is let ``go``, and stays after so many members of an archive."""
    tests = str(Path(__file__).resolve().parents[1] / "support")
    return Process(
        [sys.executable, "-c", SCRIPT, str(root), base, tests, str(stay_after)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def go(process: Process[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdin.write(b"\n")
    process.stdin.flush()


def test_two_processes_at_once_fetch_and_unpack_once(full: FaultyServer, tmp_path: Path) -> None:
    for name in ("/p1.tgz", "/p2.tgz"):
        full.files[name].always = Fault(trickle_s=1.0)  # long enough for both to be at it
    with start(tmp_path, full.base) as first, start(tmp_path, full.base) as second:
        go(first)
        go(second)
        for process in (first, second):
            assert process.communicate(timeout=120)[0] == b"['paris']\n"
    assert fetched(full) == ["/gnd.txt", "/p1.tgz", "/p2.tgz"]
    assert tree(tmp_path / JPG) == IMAGES


def test_killed_while_unpacking_a_rerun_completes(full: FaultyServer, tmp_path: Path) -> None:
    many = {f"paris/paris_y_{n:06}.jpg": JPEG for n in range(300)}
    full.add("/p1.tgz", tar_bytes(FIRST | many))
    half = tmp_path / "data/test/paris/.jpg.p1-v1.tgz.unpacking"
    with start(tmp_path, full.base, stay_after=100) as process:
        go(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.kill()
    assert any(half.iterdir())
    store = open_store(full, tmp_path)
    assert not (tmp_path / JPG / NAMES[0]).exists()
    assert store.state(store.assets.get("paris")).status == "partial"
    before = fetched(full).count("/p1.tgz")
    assert store.get(store.select(["paris"])).failed == {}
    assert fetched(full).count("/p1.tgz") == before == 1
    assert not half.exists()
    assert len(tree(tmp_path / JPG)) == 308


def test_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a").startswith("ba7816bf")

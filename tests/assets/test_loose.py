"""Pictures that are published one by one: told of as one, over few connections, each of them checked."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from archive_makers import jpeg_bytes, tar_bytes, zip_bytes
from asset_world import QUICK
from faulty_server import Fault, FaultyServer

from darkside_cli.assets.disk import Stopped
from darkside_cli.assets.entries import MISSING, PARTIAL, Asset, LooseFiles, RemoteFile
from darkside_cli.assets.local import Imported, import_local
from darkside_cli.assets.loose import fetch_loose
from darkside_cli.assets.mirrors import Mirror, read_mirrors
from darkside_cli.assets.store import AssetStore
from darkside_cli.assets.upkeep import leftovers, remove
from darkside_cli.assets.verify import verify
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.events import (
    Event,
    Notice,
    TransferFinished,
    TransferProgress,
    TransferRetrying,
    TransferStarted,
)
from darkside_cli.registry import Registry

FOLDER = "data/cams"
#: What is published, by path in the repository, and where it goes.
PICTURES = {
    f"{'training' if n % 3 else 'test'}/day/2015_{n:03}.jpg": jpeg_bytes(n, 1500 + n) for n in range(30)
}


def place(path: str) -> str:
    name = path.rpartition("/")[2]
    return f"{FOLDER}/place{int(name[5:8]) % 4}/day/{name}"


def cams(base: str) -> Asset:
    files = tuple(
        RemoteFile(path=place(path), urls=(f"{base}/repo/{path}",), sha256=hashlib.sha256(data).hexdigest())
        for path, data in PICTURES.items()
    )
    loose = LooseFiles(folder=FOLDER, count=len(files), base=f"{base}/repo", listed=lambda: files)
    return Asset(name="cams", summary="cameras", loose=loose, by_hand="clone it")


def open_store(base: str, root: Path, **changes: object) -> AssetStore:
    return AssetStore(root, Registry("asset", (cams(base),)), replace(QUICK, **changes))  # type: ignore[arg-type]


@pytest.fixture
def full(server: FaultyServer) -> FaultyServer:
    for path, data in PICTURES.items():
        server.add(f"/repo/{path}", data)
    return server


@pytest.fixture
def store(full: FaultyServer, tmp_path: Path) -> AssetStore:
    return open_store(full.base, tmp_path / "root")


def here(store: AssetStore) -> dict[str, bytes]:
    """Files under the root but the ledger's."""
    return {
        path.relative_to(store.root).as_posix(): path.read_bytes()
        for path in store.root.rglob("*")
        if path.is_file() and ".darkside" not in path.parts
    }


WHOLE = {place(path): data for path, data in PICTURES.items()}


def put_clone(folder: Path) -> Path:
    for path, data in PICTURES.items():
        target = folder / "1_1" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    (folder / "readme.jpg").write_bytes(b"something else")
    return folder


def test_all_come_over_few_connections_and_are_told_of_as_one(store: AssetStore, full: FaultyServer) -> None:
    events: list[Event] = []
    got = store.get(store.select(["cams"]), events.append)
    assert (got.complete, got.failed) == (("cams",), {})
    assert here(store) == WHOLE
    assert full.connections <= QUICK.jobs
    assert {seen.method for seen in full.seen} == {"GET"}  # sizes are not asked for one by one
    assert len(full.seen) == len(PICTURES)
    told = [event for event in events if not isinstance(event, TransferProgress)]
    assert told == [TransferStarted("cams"), told[-1]]
    finished = told[-1]
    assert isinstance(finished, TransferFinished)
    assert (finished.path, finished.files) == (store.root / FOLDER, len(PICTURES))
    assert finished.size == sum(map(len, PICTURES.values()))
    locks = [path.name for path in (store.root / ".darkside").rglob("*.lock")]
    assert len(locks) <= 1
    assert not store.ledger.read().files


def test_progress_counts_files(full: FaultyServer, tmp_path: Path) -> None:
    for path in list(PICTURES)[::3]:
        full.files[f"/repo/{path}"].always = Fault(trickle_s=0.06)
    events: list[Event] = []
    store = open_store(full.base, tmp_path / "root")
    store.get(store.select(["cams"]), events.append)
    moved = [event for event in events if isinstance(event, TransferProgress)]
    assert moved
    assert {(event.name, event.total, event.of_files) for event in moved} == {("cams", None, len(PICTURES))}
    assert [event.files for event in moved] == sorted(event.files for event in moved)
    assert [event.done for event in moved] == sorted(event.done for event in moved)


def test_what_is_there_and_right_is_not_fetched_again(store: AssetStore, full: FaultyServer) -> None:
    store.get(store.select(["cams"]))
    full.seen.clear()
    paths = sorted(WHOLE)
    (store.root / paths[0]).unlink()
    (store.root / paths[1]).write_bytes(b"damaged")
    events: list[Event] = []
    assert store.get(store.select(["cams"]), events.append).complete == ("cams",)
    assert len(full.seen) == 2
    assert {name: data for name, data in here(store).items() if not name.endswith(".damaged")} == WHOLE
    assert [event.files for event in events if isinstance(event, TransferFinished)] == [2]
    assert [item.what for item in leftovers(store)] == ["damaged file that was put aside"]

    events.clear()
    full.seen.clear()
    assert store.get(store.select(["cams"]), events.append).complete == ("cams",)
    assert (full.seen, events) == ([], [])


def test_many_that_are_wrong_are_not_a_line_each(store: AssetStore) -> None:
    for path in WHOLE:
        (store.root / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / path).write_bytes(b"scaled")
    events: list[Event] = []
    assert store.get(store.select(["cams"]), events.append).complete == ("cams",)
    said = [event.message for event in events if isinstance(event, Notice)]
    assert len(said) == 4
    assert said[-1] == "cams: 27 more files were put aside"


def test_what_was_begun_is_gone_on_with(store: AssetStore, full: FaultyServer) -> None:
    path = f"/repo/{next(iter(PICTURES))}"
    full.files[path].faults.extend([Fault(drop_after=700), Fault(status=404)])
    assert "404" in store.get(store.select(["cams"])).failed["cams"].message
    assert any(name.endswith(".part") for name in here(store))
    assert store.state(store.assets.get("cams")).status == PARTIAL
    assert store.get(store.select(["cams"])).complete == ("cams",)
    assert full.sent(path) == len(full.files[path].content)
    assert here(store) == WHOLE


def test_one_that_is_gone_does_not_keep_the_others(store: AssetStore, full: FaultyServer) -> None:
    gone = sorted(PICTURES)[7]
    del full.files[f"/repo/{gone}"]
    error = store.get(store.select(["cams"])).failed["cams"]
    assert isinstance(error, MissingAssetError)
    assert error.message.startswith("1 of the 30 files of cams is lacking: ")
    assert "HTTP 404" in error.message
    assert error.hint == "what has come is kept, run the same command again to go on; clone it"
    assert here(store) == {name: data for name, data in WHOLE.items() if name != place(gone)}
    state = store.state(store.assets.get("cams"))
    assert (state.status, state.images, state.lacking) == (PARTIAL, 29, (place(gone),))


def test_a_server_that_has_none_is_not_asked_for_all(server: FaultyServer, tmp_path: Path) -> None:
    store = open_store(server.base, tmp_path / "root")
    error = store.get(store.select(["cams"])).failed["cams"]
    assert error.message.startswith("30 of the 30 files of cams are lacking")
    assert "the others were not asked for" in error.message
    assert len(server.seen) < 5 + QUICK.jobs
    assert store.state(store.assets.get("cams")).status == MISSING


def test_a_host_that_is_not_there_is_tried_by_few(full: FaultyServer, tmp_path: Path) -> None:
    """A dead mirror costs the tries of a file for each worker, not of each file; waits are told once."""
    dead = Mirror("http://127.0.0.1:9")
    store = open_store(full.base, tmp_path / "root", mirrors=(dead,), attempts=6)
    events: list[Event] = []
    assert store.get(store.select(["cams"]), events.append).complete == ("cams",)
    assert here(store) == WHOLE
    retries = [event for event in events if isinstance(event, TransferRetrying)]
    assert 1 <= len(retries) <= 2 * QUICK.jobs
    assert {(event.name, event.source) for event in retries} == {("cams", dead.base)}


def test_offline_is_one_line(store: AssetStore, full: FaultyServer, tmp_path: Path) -> None:
    store.get(store.select(["cams"]))
    for path in sorted(WHOLE)[:8]:  # more than are tried in a row
        (store.root / path).unlink()
    full.seen.clear()
    offline = open_store(full.base, store.root, offline=True, why_offline="as it is")
    error = offline.get(offline.select(["cams"])).failed["cams"]
    assert error.message == "8 of the 30 files of cams are lacking, and the network is off limits (as it is)"
    assert not full.seen
    full_one = open_store(full.base, tmp_path / "other", offline=True)
    import_local(full_one, store.root / FOLDER)
    assert full_one.state(full_one.assets.get("cams")).images == 22


def test_a_plan_asks_no_server(store: AssetStore, full: FaultyServer) -> None:
    plan = store.plan(store.select(["cams"]))
    assert [(item.path, item.state, item.size) for item in plan.files] == [
        (store.root / FOLDER, "missing", None)
    ]
    assert (len(plan.unknown), plan.needed, full.seen) == (30, 0, [])
    store.get(store.select(["cams"]))
    plan = store.plan(store.select(["cams"]))
    assert [(item.state, item.remaining) for item in plan.files] == [("there", 0)]
    assert plan.unknown == ()


def test_it_is_stopped_as_everything_is(store: AssetStore) -> None:
    stop = threading.Event()
    stop.set()
    loose = store.assets.get("cams").loose
    assert loose is not None
    with pytest.raises(Stopped):
        fetch_loose(store.downloads, "cams", loose, lambda _: None, stop)
    assert here(store) == {}


@pytest.mark.parametrize("by_prefix", [False, True])
def test_mirrors_are_asked_first(full: FaultyServer, tmp_path: Path, by_prefix: bool) -> None:
    """A folder as the data root is, or a clone that stands for the beginning of the addresses."""
    if by_prefix:
        put_clone(tmp_path / "clone")
        (tmp_path / "list").write_text(f"{full.base}/repo {tmp_path}/clone/1_1")
        mirrors = read_mirrors([str(tmp_path / "list")], "")
    else:
        for path, data in WHOLE.items():
            (tmp_path / "lab" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "lab" / path).write_bytes(data)
        mirrors = read_mirrors([str(tmp_path / "lab")], "")
    store = open_store(full.base, tmp_path / "root", mirrors=mirrors)
    assert store.get(store.select(["cams"])).complete == ("cams",)
    assert here(store) == WHOLE
    assert not full.seen


@pytest.mark.parametrize("form", ["clone", "zip", "tar", "flat"])
def test_a_copy_of_the_repository_is_taken_over(full: FaultyServer, tmp_path: Path, form: str) -> None:
    source = tmp_path / "source"
    if form == "clone":
        put_clone(source)
    elif form == "flat":
        source.mkdir()
        for path, data in PICTURES.items():
            (source / path.rpartition("/")[2]).write_bytes(data)
    else:
        files = {f"repo-main/1_1/{path}": data for path, data in PICTURES.items()} | {"repo-main/a.txt": b"x"}
        source.write_bytes(zip_bytes(files) if form == "zip" else tar_bytes(files))
    store = open_store(full.base, tmp_path / "root", offline=True)
    events: list[Event] = []
    assert import_local(store, source, events.append) == [Imported("cams", store.root / FOLDER, 30)]
    assert here(store) == WHOLE
    assert store.get(store.select(["cams"])).complete == ("cams",)
    finished = [event for event in events if isinstance(event, TransferFinished)]
    assert [(event.name, event.files, event.activity) for event in finished] == [("cams", 30, "copy")]
    assert not full.seen


def test_what_a_copy_lacks_is_fetched(store: AssetStore, full: FaultyServer, tmp_path: Path) -> None:
    clone = put_clone(tmp_path / "clone")
    paths = sorted(PICTURES)
    (clone / "1_1" / paths[0]).unlink()
    (clone / "1_1" / paths[1]).write_bytes(jpeg_bytes(99))
    events: list[Event] = []
    (imported,) = import_local(store, clone, events.append)
    assert (imported.files, imported.left_out) == (28, 1)
    (warning,) = [event for event in events if isinstance(event, Notice)]
    assert "1 left out, called as files of cams" in warning.message
    assert store.get(store.select(["cams"])).complete == ("cams",)
    assert len(full.seen) == 2
    assert here(store) == WHOLE


def test_pictures_that_are_not_the_published_ones_are_refused(store: AssetStore, tmp_path: Path) -> None:
    folder = tmp_path / "scaled"
    folder.mkdir()
    for number, path in enumerate(PICTURES):
        (folder / path.rpartition("/")[2]).write_bytes(jpeg_bytes(1000 + number))
    with pytest.raises(UsageError, match="30 files that are called as those of cams"):
        import_local(store, folder)
    assert here(store) == {}


def test_verify_reads_them_and_says_it_in_one_line(store: AssetStore) -> None:
    asset = store.assets.get("cams")
    assert [item.verdict for item in verify(store, [asset])] == ["missing"]
    store.get([asset])
    (found,) = verify(store, [asset])
    assert (found.verdict, found.path, found.files) == ("ok", store.root / FOLDER, 30)
    paths = sorted(WHOLE)
    (store.root / paths[0]).unlink()
    (store.root / paths[1]).write_bytes(WHOLE[paths[2]])
    (found,) = verify(store, [asset])
    assert found.verdict == "damaged"
    assert found.reason.startswith("2 files are damaged or gone (")


def test_they_go_and_what_is_beside_them_stays(store: AssetStore, full: FaultyServer) -> None:
    asset = store.assets.get("cams")
    path = f"/repo/{next(iter(PICTURES))}"
    full.files[path].faults.extend([Fault(drop_after=700), Fault(status=404)])
    store.get([asset])
    (store.root / FOLDER / "place1" / "notes.txt").write_text("mine")
    assert [item.what for item in leftovers(store)] == ["beginning of a download"] * 2
    size = store.state(asset).size
    assert size == sum(map(len, PICTURES.values())) - len(full.files[path].content) + 700
    assert remove(store, asset) == size
    assert here(store) == {f"{FOLDER}/place1/notes.txt": b"mine"}
    assert [each.name for each in (store.root / FOLDER).iterdir()] == ["place1"]
    (store.root / FOLDER / "place1" / "notes.txt").unlink()
    assert store.state(asset).status == MISSING


def test_one_picture_alone_is_known_by_its_name(store: AssetStore, tmp_path: Path) -> None:
    path, data = next(iter(PICTURES.items()))
    source = tmp_path / path.rpartition("/")[2]
    source.write_bytes(data)
    assert import_local(store, source)[0].files == 1
    assert here(store) == {place(path): data}

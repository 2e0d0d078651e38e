"""What the user has already is recognised by name and content, and taken over."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from archive_makers import jpeg_bytes, tar_bytes, tree, zip_bytes

from darkside_cli.assets.archive_limits import ArchiveError
from darkside_cli.assets.catalog import DATA
from darkside_cli.assets.download_options import Options
from darkside_cli.assets.local import Imported, import_local
from darkside_cli.assets.store import AssetStore
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.events import Event, TransferFinished

OXFORD = {f"all_souls_{n:06}.jpg": jpeg_bytes(n) for n in range(6)}
PARIS = {f"paris_louvre_{n:06}.jpg": jpeg_bytes(n) for n in range(10, 16)}
TOKYO = {f"{n:05}.jpg": jpeg_bytes(n) for n in range(20, 25)}
BROKEN = {"paris_louvre_000136.jpg": b"302 Found"}


def nested(files: dict[str, bytes], prefix: str) -> dict[str, bytes]:
    return {prefix + name: content for name, content in files.items()}


@pytest.fixture
def store(tmp_path: Path) -> AssetStore:
    return AssetStore(tmp_path / "root", DATA, Options(offline=True, spare_bytes=0))


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def jpg(store: AssetStore, name: str) -> dict[str, bytes]:
    return tree(store.root / "data" / "test" / name / "jpg")


@pytest.mark.parametrize("name", ["paris_1.tgz", "paris_1-v1.tgz"])
def test_an_archive_is_known_by_its_name(store: AssetStore, tmp_path: Path, name: str) -> None:
    source = put(tmp_path, name, tar_bytes(nested(PARIS | BROKEN, "paris/louvre/")))
    found = import_local(store, source)
    assert found == [Imported("paris6k", store.root / "data/test/paris6k/jpg", 6)]
    assert jpg(store, "paris6k") == PARIS
    assert (store.root / "data/test/rparis6k/jpg").is_symlink()
    assert source.exists()
    record = store.ledger.read().archives["data/test/paris6k/jpg"]["paris_1-v1.tgz"]
    assert record.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert [archive.name for archive in store.inventory.wanting(DATA.get("paris6k"))] == ["paris_2-v1.tgz"]  # type: ignore[arg-type]


@pytest.mark.parametrize("zipped", [False, True])
def test_an_archive_of_any_name_is_known_by_its_images(
    store: AssetStore, tmp_path: Path, zipped: bool
) -> None:
    files = nested(OXFORD, "some/where/")
    source = put(tmp_path, "my photos", zip_bytes(files) if zipped else tar_bytes(files))
    assert [found.asset for found in import_local(store, source)] == ["oxford5k"]
    assert jpg(store, "oxford5k") == OXFORD


def test_an_archive_of_two_sets_is_parted(store: AssetStore, tmp_path: Path) -> None:
    """As Kaggle gives it when it has opened the archives itself."""
    files = nested(OXFORD, "oxbuild_images/") | nested(PARIS, "paris_1/paris/louvre/")
    found = import_local(store, put(tmp_path, "archive.zip", zip_bytes(files)))
    assert [item.asset for item in found] == ["oxford5k", "paris6k"]
    assert (jpg(store, "oxford5k"), jpg(store, "paris6k")) == (OXFORD, PARIS)


def test_an_archive_of_archives_is_opened(store: AssetStore, tmp_path: Path) -> None:
    inner = {
        "oxbuild_images.tgz": tar_bytes(OXFORD),
        "paris_1.tgz": tar_bytes(nested(dict(list(PARIS.items())[:3]), "paris/louvre/")),
        "paris_2.tgz": tar_bytes(nested(dict(list(PARIS.items())[3:]), "paris/louvre/")),
    }
    found = import_local(store, put(tmp_path, "archive.zip", zip_bytes(inner)))
    assert [(item.asset, item.files) for item in found] == [("oxford5k", 6), ("paris6k", 3), ("paris6k", 3)]
    assert (jpg(store, "oxford5k"), jpg(store, "paris6k")) == (OXFORD, PARIS)
    assert not (store.root / "downloads").exists() or tree(store.root / "downloads") == {}


def test_a_hostile_archive_inside_an_archive_is_refused(store: AssetStore, tmp_path: Path) -> None:
    evil = tar_bytes({**OXFORD, "../../../../evil.jpg": b"evil"})
    source = put(tmp_path, "archive.zip", zip_bytes({"oxbuild_images.tgz": evil}))
    with pytest.raises(ArchiveError, match="leads out of the folder"):
        import_local(store, source)
    assert not list(tmp_path.rglob("evil*"))
    assert jpg(store, "oxford5k") == {}


def test_a_folder_is_searched_for_archives_files_and_images(store: AssetStore, tmp_path: Path) -> None:
    home = tmp_path / "home"
    put(home, "old/oxbuild_images.tgz", tar_bytes(OXFORD))
    put(home, "247query_v3/00020.csv", b"x")
    for name, content in TOKYO.items():
        put(home, f"247query_v3/{name}", content)
    put(home, "notes.txt", b"x")
    gnd = put(home, "gnd_roxford5k.pkl", b"\x80\x04N.")
    (home / "loop").symlink_to(home)
    found = import_local(store, home)
    assert sorted(item.asset for item in found) == ["oxford5k", "roxford5k", "tokyo247"]
    assert (jpg(store, "oxford5k"), jpg(store, "247tokyo1k")) == (OXFORD, TOKYO)
    assert (store.root / "data/test/roxford5k/gnd_roxford5k.pkl").read_bytes() == gnd.read_bytes()
    assert len(tree(home)) == 10  # nothing was moved (a link among them)


def test_images_of_plain_numbers_need_more_than_their_names(store: AssetStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no images of a set"):
        import_local(store, put(tmp_path, "holiday.zip", zip_bytes(TOKYO)))
    assert [
        i.asset for i in import_local(store, put(tmp_path, "t.zip", zip_bytes(nested(TOKYO, "247query_v3/"))))
    ] == ["tokyo247"]


def test_a_single_file_is_copied_checked_and_recorded(store: AssetStore, tmp_path: Path) -> None:
    content = b"id1\nid2\n"
    events: list[Event] = []
    source = put(tmp_path, "train_day.txt", content)
    (found,) = import_local(store, source, events.append)
    target = store.root / "data/train/retrieval-SfM-120k/dataset/train_day.txt"
    assert found == Imported("day-night-lists", target, 1)
    assert target.read_bytes() == content
    name = target.relative_to(store.root).as_posix()
    assert store.ledger.read().files[name].sha256 == hashlib.sha256(content).hexdigest()
    assert any(isinstance(event, TransferFinished) and event.activity == "copy" for event in events)
    put(tmp_path, "train_day.txt", b"other\n")
    with pytest.raises(UsageError, match="differs from the file recorded"):
        import_local(store, source)
    assert target.read_bytes() == content


def test_a_file_that_is_not_the_published_one_is_refused(store: AssetStore, tmp_path: Path) -> None:
    name = "imagenet-caffe-vgg16-features-d369c8e.pth"
    with pytest.raises(UsageError, match="instead of d369c8e"):
        import_local(store, put(tmp_path, name, b"\x80\x02 something else"))
    assert tree(store.root) == {}


def test_what_is_not_known_is_told_with_what_would_be(store: AssetStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of the files") as caught:
        import_local(store, put(tmp_path, "thesis.pdf", b"%PDF-1.7"))
    assert "paris_1.tgz" in str(caught.value.hint)
    with pytest.raises(UsageError, match="no images of a set"):
        import_local(store, put(tmp_path, "holiday.tar.gz", tar_bytes({"beach.jpg": b"x"})))
    put(tmp_path / "empty", "x", b"")
    with pytest.raises(UsageError, match="nothing in"):
        import_local(store, tmp_path / "empty")
    with pytest.raises(MissingAssetError, match="there is no file"):
        import_local(store, tmp_path / "not there.tgz")


def test_the_place_itself_is_not_imported_into_itself(store: AssetStore) -> None:
    folder = store.root / "data/test/oxford5k/jpg"
    for name, content in OXFORD.items():
        put(folder, name, content)
    with pytest.raises(UsageError, match="is where the images of oxford5k belong"):
        import_local(store, folder)
    assert jpg(store, "oxford5k") == OXFORD


def test_importing_twice_changes_nothing(store: AssetStore, tmp_path: Path) -> None:
    source = put(tmp_path, "oxbuild_images.tgz", tar_bytes(OXFORD))
    import_local(store, source)
    before = tree(store.root / "data")
    import_local(store, source)
    assert tree(store.root / "data") == before


def test_a_zip_that_only_claims_to_hold_an_archive_is_told(store: AssetStore, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("paris_1.tgz", b"<html>please log in</html>")
    with pytest.raises(ArchiveError, match="neither a tar nor a zip"):
        import_local(store, put(tmp_path, "archive.zip", stream.getvalue()))

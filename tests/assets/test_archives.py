"""Archives: good ones come out whole, hostile and damaged ones are refused with nothing written outside."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import stat
import struct
import tarfile
import threading
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import pytest
from archive_makers import JPEG, jpeg_bytes, tar_bytes, tar_header, tree, zip_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkside_cli.assets import unpack as unpack_module
from darkside_cli.assets.archive_limits import ArchiveError, Limits, safe_parts
from darkside_cli.assets.archives import kind_of, members
from darkside_cli.assets.disk import Stopped
from darkside_cli.assets.unpack import flat, sharded, unpack, working_folder
from darkside_cli.events import Event, TransferFinished, TransferProgress, TransferStarted

GOOD = {"paris/defense/a.jpg": JPEG, "paris/louvre/b.jpg": JPEG * 1000, "readme.txt": b"not an image"}


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    """Path of an archive to write, and the folder to unpack it into; the whole tree is watched by the tests."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "innocent").write_bytes(b"as it was")
    return tmp_path / "archive", tmp_path / "home" / "set" / "jpg"


def refused(place: tuple[Path, Path], content: bytes, *, limits: Limits | None = None) -> ArchiveError:
    """Unpack what must be refused; nothing is left of it anywhere."""
    archive, folder = place
    archive.write_bytes(content)
    before = tree(archive.parent)
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, folder, flat, limits=limits)
    assert tree(archive.parent) == before
    assert caught.value.exit_code == 3
    return caught.value


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_a_good_archive_comes_out_flat_hashed_and_with_progress(place: tuple[Path, Path], mode: str) -> None:
    archive, folder = place
    archive.write_bytes(zip_bytes(GOOD) if mode == "zip" else tar_bytes(GOOD, mode=mode))
    assert kind_of(archive) == ("zip" if mode == "zip" else "tar")
    events: list[Event] = []
    result = unpack(archive, folder, flat, emit=events.append)
    assert tree(folder) == {"a.jpg": JPEG, "b.jpg": JPEG * 1000}
    assert result.digests == {name: hashlib.sha256(data).hexdigest() for name, data in tree(folder).items()}
    assert (result.size, result.ignored, result.kept, result.skipped) == (len(JPEG) * 1001, 1, (), ())
    assert events[0] == TransferStarted("archive", archive.stat().st_size, activity="unpack")
    assert isinstance(events[-1], TransferFinished)
    assert (events[-1].files, events[-1].size) == (2, result.size)
    assert [path.name for path in folder.parent.iterdir()] == ["jpg"]


def test_progress_is_in_bytes_of_the_archive(
    place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, folder = place
    archive.write_bytes(tar_bytes({f"{n}.jpg": JPEG * 5000 for n in range(20)}, mode="w"))
    monkeypatch.setattr("darkside_cli.assets.transfer.EVERY_S", 0.0)
    events: list[Event] = []
    unpack(archive, folder, flat, emit=events.append)
    done = [event.done for event in events if isinstance(event, TransferProgress)]
    assert done == sorted(done)
    assert len(done) > 5
    assert done[-1] == archive.stat().st_size


def test_retrieval_sfm_images_go_where_their_id_says(place: tuple[Path, Path]) -> None:
    archive, folder = place
    cid = "ea66c06c1e1c05fa9f1aa39d98dc5bc1"
    for prefix in ("ims/c1/5b/dc/", "c1/5b/dc/", ""):
        archive.write_bytes(tar_bytes({prefix + cid: JPEG, "ims/README": b"x"}))
        unpack(archive, folder / str(len(prefix)), sharded)
        assert tree(folder / str(len(prefix))) == {f"c1/5b/dc/{cid}": JPEG}


HOSTILE_NAMES = [
    "/etc/passwd.jpg",
    "../outside.jpg",
    "a/../../outside.jpg",
    "..",
    "C:/windows/x.jpg",
    "C:x.jpg",
    "a\\..\\..\\x.jpg",
    "\\\\server\\share\\x.jpg",
    "a\nb.jpg",
    "a\rb.jpg",
    "a\x1b[2Jb.jpg",
    "a\x7fb.jpg",
    "evil\u202egpj.jpg",
    "x" * 300 + ".jpg",
    "/".join("abcdefghij" * 5) + ".jpg",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_hostile_names_are_refused(place: tuple[Path, Path], make: object, name: str) -> None:
    content = make([("good.jpg", JPEG), (name, b"evil")])  # type: ignore[operator]
    assert refused(place, content).hostile


def test_a_nul_in_a_zip_name_hides_nothing(place: tuple[Path, Path]) -> None:
    content = zip_bytes({"good.jpgX../../evil.sh": b"evil"}).replace(b"good.jpgX", b"good.jpg\0")
    refused(place, content)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.lists(st.sampled_from(["..", ".", "", "a", "b.jpg", "/", "\\", "C:", "\0", "~"]), max_size=8).map(
            "/".join
        ),
    )
)
def test_a_name_is_refused_or_stays_inside(name: str) -> None:
    root = Path("/srv/data/jpg")
    try:
        parts = safe_parts(name)
    except ArchiveError:
        return
    joined = root.joinpath(*parts)
    assert joined == root or root in joined.parents
    assert ".." not in joined.parts
    assert all(part.isprintable() and "/" not in part and part not in ("", ".", "..") for part in parts)


def test_a_refusal_shows_the_name_without_its_control_characters() -> None:
    with pytest.raises(ArchiveError) as caught:
        safe_parts("a\x1b[2J\n.jpg" + "x" * 500)
    assert caught.value.hostile
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.lists(
            st.sampled_from(["..", ".", "a", "B", "b", "x.jpg", "y.JPG", "é.jpg"]), min_size=1, max_size=4
        )
        .map("/".join)
        .flatmap(lambda name: st.sampled_from([name, "/" + name, "./" + name])),
        min_size=1,
        max_size=4,
    ),
    zipped=st.booleans(),
)
def test_whatever_the_names_nothing_is_written_outside(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], zipped: bool
) -> None:
    base = tmp_path_factory.mktemp("base")
    archive, folder = base / "archive", base / "deep" / "er" / "jpg"
    pairs = [(name, b"content of " + name.encode()) for name in names]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of the double names we make
        archive.write_bytes(zip_bytes(pairs) if zipped else tar_bytes(pairs))
    try:
        unpack(archive, folder, flat)
    except ArchiveError:
        assert tree(base) == {"archive": archive.read_bytes()}
        return
    inside = tree(folder)
    assert set(tree(base)) == {"archive", *(f"deep/er/jpg/{name}" for name in inside)}
    wanted = {[part for part in name.split("/") if part != "."][-1]: content for name, content in pairs}
    assert inside == {name: c for name, c in wanted.items() if name.lower().endswith(".jpg")}


@pytest.mark.parametrize(
    "kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b"Z"], ids=repr
)
def test_special_files_are_refused(place: tuple[Path, Path], kind: bytes) -> None:
    content = tar_bytes({"good.jpg": JPEG}, tar_header("node.jpg", kind))
    if kind == tarfile.CONTTYPE:  # a contiguous file is a file
        archive, folder = place
        archive.write_bytes(content)
        # It is left out for what is in it, nothing, and not for its kind.
        assert unpack(archive, folder, flat).spoiled == (("node.jpg", "it is empty"),)
    else:
        assert refused(place, content).hostile


def test_special_files_in_a_zip_are_refused(place: tuple[Path, Path]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("node.jpg")
        info.external_attr = (stat.S_IFIFO | 0o644) << 16
        archive.writestr(info, b"")
    assert refused(place, stream.getvalue()).hostile


LEAVING = [
    "../good.jpg",
    "x/../../good.jpg",
    "/etc/passwd",
    "../../../etc/passwd",
    "../x.jpg",
    "C:/x.jpg",
    "a\\..\\..\\x.jpg",
    "a\nb",
]


@pytest.mark.parametrize("target", LEAVING, ids=ascii)
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, None], ids=["sym", "hard", "zip"])
def test_links_that_leave_the_folder_are_refused(
    place: tuple[Path, Path], kind: bytes | None, target: str
) -> None:
    if kind is None:
        content = zip_bytes({"good.jpg": JPEG}, ("link.jpg", target))
    else:
        content = tar_bytes({"good.jpg": JPEG}, tar_header("link.jpg", kind, target))
    assert refused(place, content).hostile


@pytest.mark.parametrize("target", ["nowhere.jpg", "folder", ".", "link.jpg"])
def test_links_to_what_the_archive_does_not_hold_are_refused(place: tuple[Path, Path], target: str) -> None:
    """So a link to a folder, through which a later member could be written elsewhere, is never made."""
    header = tar_header("link.jpg", tarfile.SYMTYPE, target)
    assert refused(place, tar_bytes({"good.jpg": JPEG, "folder/b.jpg": JPEG}, header)).hostile


def test_writing_through_a_link_is_impossible(place: tuple[Path, Path], tmp_path: Path) -> None:
    link = tar_header("door", tarfile.SYMTYPE, str(tmp_path))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(link)
        header = tarfile.TarInfo("door/evil.jpg")
        header.size = len(JPEG)
        archive.addfile(header, io.BytesIO(JPEG))
    assert refused(place, stream.getvalue()).hostile


@pytest.mark.parametrize("zipped", [False, True])
def test_a_link_to_a_file_of_the_archive_becomes_that_file(place: tuple[Path, Path], zipped: bool) -> None:
    archive, folder = place
    if zipped:
        archive.write_bytes(zip_bytes({"one/good.jpg": JPEG}, ("two/same.jpg", "../one/good.jpg")))
    else:
        archive.write_bytes(
            tar_bytes(
                {"one/good.jpg": JPEG},
                tar_header("two/same.jpg", tarfile.SYMTYPE, "../one/good.jpg"),
                tar_header("two/hard.jpg", tarfile.LNKTYPE, "one/good.jpg"),
                tar_header("two/notes.txt", tarfile.SYMTYPE, "../one/good.jpg"),
            )
        )
    result = unpack(archive, folder, flat)
    names = ["good.jpg", "same.jpg"] if zipped else ["good.jpg", "hard.jpg", "same.jpg"]
    assert tree(folder) == dict.fromkeys(names, JPEG)
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert sorted(result.digests) == names


def test_setuid_bits_are_dropped(place: tuple[Path, Path]) -> None:
    archive, folder = place
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        header = tarfile.TarInfo("suid.jpg")
        header.mode, header.size, header.uid = 0o6777, len(JPEG), 0
        tar.addfile(header, io.BytesIO(JPEG))
    archive.write_bytes(stream.getvalue())
    unpack(archive, folder, flat)
    mode = (folder / "suid.jpg").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | 0o111)


@pytest.mark.parametrize("names", [("a.jpg", "a.jpg"), ("x/a.jpg", "y/../x/a.jpg"), ("a.jpg", "./a.jpg")])
@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(
    place: tuple[Path, Path], make: object, names: tuple[str, str]
) -> None:
    refused(place, make([(name, JPEG) for name in names]))  # type: ignore[operator]


def test_names_that_differ_in_capitals_alone_are_refused(place: tuple[Path, Path]) -> None:
    assert "twice" in refused(place, tar_bytes({"a.jpg": JPEG, "A.JPG": b"other"})).message


def test_two_files_for_one_place_are_named(place: tuple[Path, Path]) -> None:
    error = refused(place, tar_bytes({"one/x.jpg": JPEG, "two/x.jpg": b"other"}))
    assert "one/x.jpg" in error.message
    assert "two/x.jpg" in error.message


def test_a_bomb_is_refused_by_what_comes_out_of_it(place: tuple[Path, Path]) -> None:
    limits = Limits(slack=1 << 20, ratio=50)
    nulls = b"\0" * (8 << 20)
    for content in (
        tar_bytes({"a.jpg": nulls}),
        tar_bytes({"notes.txt": nulls}),  # also where the member would not be kept
        zip_bytes({"a.jpg": nulls}),
        gzip.compress(tar_bytes({"a.jpg": JPEG}, mode="w") + nulls),  # behind the end of the tar
    ):
        assert "times its size" in refused(place, content, limits=limits).message


def test_a_bomb_is_refused_by_what_it_declares(place: tuple[Path, Path]) -> None:
    assert (
        "declares more" in refused(place, tar_bytes({"a.jpg": JPEG * 100}), limits=Limits(total=1000)).message
    )
    many = tar_bytes({f"{n}.jpg": b"x" for n in range(12)})
    assert "more than 10 files" in refused(place, many, limits=Limits(files=10)).message
    nulls = tar_bytes({"a.jpg": JPEG}, mode="w") + b"\0" * (1 << 20)  # behind the end of the tar
    assert "unpacks to more" in refused(place, nulls, limits=Limits(total=100_000)).message
    several = tar_bytes({f"{n}.jpg": b"x" * 400 for n in range(3)})
    assert refused(place, several, limits=Limits(total=1000)).hostile


def test_a_member_that_is_larger_than_declared_is_refused(place: tuple[Path, Path]) -> None:
    content = bytearray(zip_bytes({"a.jpg": JPEG * 10}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(signature) + offset
        assert struct.unpack_from("<I", content, at)[0] == len(JPEG) * 10
        struct.pack_into("<I", content, at, 50)
    refused(place, bytes(content))


def test_a_member_that_is_smaller_than_declared_is_refused(place: tuple[Path, Path]) -> None:
    content = bytearray(zip_bytes({"a.jpg": JPEG * 10}))
    at = content.index(b"PK\x01\x02") + 24
    struct.pack_into("<I", content, at, 100_000)
    refused(place, bytes(content))


def test_overlapping_zip_entries_are_refused(place: tuple[Path, Path]) -> None:
    """The small zip file that unpacks to petabytes: many entries, one piece of data."""
    content = bytearray(zip_bytes({"a.jpg": JPEG * 100, "b.jpg": JPEG * 100}))
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    struct.pack_into("<I", content, second + 42, 10)  # begins inside the first
    assert "overlap" in refused(place, bytes(content)).message


def test_a_huge_extension_header_is_refused_unread(place: tuple[Path, Path]) -> None:
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        header = tarfile.TarInfo("long")
        header.type, header.size = kind, 8 << 30
        content = header.tobuf(tarfile.GNU_FORMAT) + b"\0" * 4096
        assert "extension header" in refused(place, content).message


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.999])
def test_a_cut_archive_is_found_out(place: tuple[Path, Path], mode: str, share: float) -> None:
    files = {f"{n}.jpg": hashlib.sha256(bytes([n])).digest() * 300 for n in range(30)}
    whole = zip_bytes(files) if mode == "zip" else tar_bytes(files, mode=mode)
    cut = max(600, int(len(whole) * share))
    if mode == "w":
        cut = min(cut, len(whole.rstrip(b"\0")) + 400)  # before its end mark
    error = refused(place, whole[:cut])
    assert not error.hostile


@pytest.mark.parametrize("mode", ["w:gz", "zip", "w"])
def test_a_flipped_bit_is_found_out(place: tuple[Path, Path], mode: str) -> None:
    files = {f"{n}.jpg": hashlib.sha256(bytes([n])).digest() * 300 for n in range(30)}
    whole = bytearray(zip_bytes(files) if mode == "zip" else tar_bytes(files, mode=mode))
    # In the content where a checksum covers it, else (plain tar) in the sixth header: 1 + 19 blocks each.
    at = 5 * 20 * 512 + 3 if mode == "w" else whole.index(b"5.jpg") + 40 if mode == "zip" else len(whole) // 2
    whole[at] ^= 0x10
    assert not refused(place, bytes(whole)).hostile


def test_a_damaged_last_header_does_not_pass_for_the_end(place: tuple[Path, Path]) -> None:
    content = bytearray(tar_bytes({"a.jpg": JPEG, "b.jpg": bytes(600)}, mode="w"))
    content[content.index(b"b.jpg") + 1] ^= 0x10
    assert "damaged" in refused(place, bytes(content)).message


def test_something_hidden_after_the_end_is_refused(place: tuple[Path, Path]) -> None:
    content = tar_bytes({"a.jpg": JPEG}, mode="w") + tar_bytes({"../evil.jpg": JPEG}, mode="w")
    assert "after its end" in refused(place, content).message


def test_an_encrypted_zip_is_told(place: tuple[Path, Path]) -> None:
    content = bytearray(zip_bytes({"a.jpg": JPEG}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[content.index(b"PK\x03\x04") + 6] |= 1
    assert "encrypted" in refused(place, bytes(content)).message


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"PK\x03\x04", b"\x1f\x8b\x08", b"\0" * 2000, JPEG]
)
def test_what_is_no_archive_is_refused(place: tuple[Path, Path], content: bytes) -> None:
    refused(place, content)


def test_an_archive_without_images_is_refused(place: tuple[Path, Path]) -> None:
    assert "no image" in refused(place, tar_bytes({"readme.txt": b"x"})).message
    refused(place, tar_bytes({}))


def test_system_litter_is_passed_over(place: tuple[Path, Path]) -> None:
    archive, folder = place
    archive.write_bytes(zip_bytes({"a.jpg": JPEG, "__MACOSX/._a.jpg": b"x", ".hidden.jpg": b"x"}))
    assert unpack(archive, folder, flat).ignored == 2
    assert tree(folder) == {"a.jpg": JPEG}


def test_known_broken_files_are_left_out_and_named(place: tuple[Path, Path]) -> None:
    archive, folder = place
    archive.write_bytes(tar_bytes({"paris/a.jpg": JPEG, "paris/bad.jpg": b"302 Found"}))
    result = unpack(archive, folder, flat, broken=frozenset({"bad.jpg"}))
    assert (tree(folder), result.skipped) == ({"a.jpg": JPEG}, ("bad.jpg",))


def test_what_is_there_is_neither_overwritten_nor_deleted(place: tuple[Path, Path]) -> None:
    archive, folder = place
    folder.mkdir(parents=True)
    own = jpeg_bytes(1)
    (folder / "a.jpg").write_bytes(own)
    (folder / "bad.jpg").write_bytes(b"the user's broken one")
    (folder / "b.jpg").write_bytes(JPEG)
    archive.write_bytes(tar_bytes({"a.jpg": JPEG, "b.jpg": JPEG, "c.jpg": JPEG, "bad.jpg": b"x"}))
    result = unpack(archive, folder, flat, broken=frozenset({"bad.jpg"}))
    assert tree(folder) == {
        "a.jpg": own,
        "b.jpg": JPEG,
        "bad.jpg": b"the user's broken one",
        "c.jpg": JPEG,
    }
    assert result.kept == ("a.jpg",)
    assert sorted(result.digests) == ["b.jpg", "c.jpg"]


def test_a_folder_that_is_a_link_is_filled_where_it_leads(
    place: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, folder = place
    elsewhere = tmp_path / "other disk" / "jpg"
    elsewhere.mkdir(parents=True)
    folder.parent.mkdir(parents=True)
    folder.symlink_to(elsewhere)
    archive.write_bytes(tar_bytes({"a.jpg": JPEG}))
    real, works = unpack_module._move, []

    def move(work: Path, *rest: object) -> list[str]:
        works.append(work)
        return real(work, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(unpack_module, "_move", move)
    unpack(archive, folder, flat)
    assert folder.is_symlink()
    assert tree(elsewhere.parent) == {"jpg/a.jpg": JPEG}
    assert works == [working_folder(elsewhere, "archive")]  # on the same disk, so that files can be renamed


def test_a_run_that_was_killed_leaves_nothing_at_the_final_name_and_the_next_one_starts_clean(
    place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, folder = place
    archive.write_bytes(tar_bytes({f"{n}.jpg": JPEG for n in range(5)}))
    real, count = unpack_module._write_one, 0

    def dies(*arguments: object) -> object:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(unpack_module, "_write_one", dies)
        patch.setattr(unpack_module, "_remove", lambda folder: None)  # kill -9 cleans nothing up
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, folder, flat)
    assert not folder.exists()
    assert len(tree(working_folder(folder, "archive"))) == 2
    unpack(archive, folder, flat)
    assert tree(folder.parent) == {f"jpg/{n}.jpg": JPEG for n in range(5)}


def test_a_full_disk_leaves_nothing_behind(place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    archive, folder = place
    archive.write_bytes(tar_bytes({"a.jpg": JPEG, "b.jpg": JPEG}))
    real = unpack_module._write_one

    def full(member: object, path: Path) -> object:
        if path.name == "b.jpg":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(member, path)  # type: ignore[arg-type]

    monkeypatch.setattr(unpack_module, "_write_one", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, folder, flat)
    assert tree(folder.parent) == {}


def test_it_stops_when_told(place: tuple[Path, Path]) -> None:
    archive, folder = place
    archive.write_bytes(tar_bytes({"a.jpg": JPEG}))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        unpack(archive, folder, flat, stop=stop)
    assert not folder.exists()


def test_a_stream_of_members_does_not_keep_their_headers(tmp_path: Path) -> None:
    peaks = []
    for count in (500, 1500):
        archive = tmp_path / "many.tar"
        archive.write_bytes(tar_bytes({f"{n}.jpg": b"x" for n in range(count)}, mode="w"))
        tracemalloc.start()
        try:
            assert sum(1 for _ in members(archive)) == count
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 1000 < 400  # bytes a member: 200 for its name, 630 with its header


#: What servers and people put in the place of photographs.
NO_IMAGES = {
    "empty.jpg": b"",
    "one.jpg": b"x",
    "page.jpg": b"<html><body>302 Found: please log in first</body></html>",
    "cut.jpg": JPEG[:30],
    "noise.jpg": bytes(range(256)) * 8,
}


@pytest.mark.parametrize("packed", [False, True])
def test_files_that_are_no_images_are_left_out_and_named(place: tuple[Path, Path], packed: bool) -> None:
    archive, folder = place
    files = {"good.jpg": JPEG, **NO_IMAGES}
    if packed:
        archive.write_bytes(zip_bytes(files, ("link.jpg", "page.jpg")))
    else:
        archive.mkdir()
        for name, content in files.items():
            (archive / name).write_bytes(content)
    result = unpack(archive, folder, flat)
    assert tree(folder) == {"good.jpg": JPEG}
    assert list(result.digests) == ["good.jpg"]
    assert result.size == len(JPEG)
    told = dict(result.spoiled)
    assert set(told) == set(NO_IMAGES) | ({"link.jpg"} if packed else set())
    assert (told["empty.jpg"], told["one.jpg"]) == ("it is empty", "it has only 1 byte")


def test_an_archive_of_nothing_but_pages_is_refused(place: tuple[Path, Path]) -> None:
    error = refused(place, tar_bytes(NO_IMAGES))
    assert "holds no image: 5 files are named so and are none (empty.jpg: it is empty)" in error.message
    assert not error.hostile


def test_what_is_no_image_does_not_keep_one_from_its_place(place: tuple[Path, Path]) -> None:
    archive, folder = place
    folder.mkdir(parents=True)
    for name, content in NO_IMAGES.items():
        (folder / name).write_bytes(content)
    archive.write_bytes(tar_bytes(dict.fromkeys(NO_IMAGES, JPEG)))
    result = unpack(archive, folder, flat)
    assert tree(folder) == dict.fromkeys(NO_IMAGES, JPEG)
    assert result.kept == ()

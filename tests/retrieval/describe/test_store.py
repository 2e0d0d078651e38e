"""Descriptor files: what goes in comes out, in order, whatever the images are called; and hloc finds its way."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import wait_until

from darkside_cli.errors import MissingAssetError, NoSpaceError, UnknownNameError, UsageError
from darkside_cli.retrieval.describe.descriptor_file import DescriptorFileError
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.describe.write import check_names, format_of, write_descriptors

KINDS = ("h5", "npz", "npy")
NAMES = ["z/1.jpg", "a/höhe 夜.png", "a.jpg", "a.jpg/b.png", "a/global_descriptor.jpg"]


def table(count: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def hloc_reads(path: Path) -> dict[str, np.ndarray]:
    """What hloc does: every dataset's parent is an image, and its ``global_descriptor`` is looked up by name."""
    names: list[str] = []
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda _, item: (
                names.append(item.parent.name.strip("/")) if isinstance(item, h5py.Dataset) else None
            )
        )
        return {name: file[name]["global_descriptor"].__array__() for name in set(names)}


@pytest.mark.parametrize("kind", KINDS)
def test_written_and_read_again(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "new" / f"descriptors.{kind}"
    rows = table(len(NAMES), 7)
    rows[1] = np.nan
    metadata = {"model": "gem", "scales": [1, 0.5], "box": None}
    assert write_descriptors(path, NAMES, [rows[:2], rows[2:2], rows[2:]], 7, metadata=metadata) == path
    stored = open_descriptors(path)
    assert stored.names == tuple(NAMES)
    assert (stored.count, stored.dim) == (5, 7)
    assert stored.metadata == metadata
    np.testing.assert_array_equal(stored.read(), rows)
    np.testing.assert_array_equal(np.concatenate(list(stored.blocks(2))), rows)
    assert [len(block) for block in stored.blocks(2)] == [2, 2, 1]
    assert not list(path.parent.glob(".*"))


def test_hloc_finds_every_image_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "descriptors.h5"
    rows = table(len(NAMES), 6)
    write_descriptors(path, NAMES, [rows], 6, metadata={"model": "gem"})
    found = hloc_reads(path)
    assert found.keys() == set(NAMES)
    for name, row in zip(NAMES, rows, strict=True):
        assert found[name].shape == (6,)
        np.testing.assert_array_equal(found[name], row)


def test_numpy_reads_the_plain_forms(tmp_path: Path) -> None:
    rows = table(len(NAMES), 3)
    for kind in ("npz", "npy"):
        write_descriptors(tmp_path / f"x.{kind}", NAMES, [rows], 3, metadata={"a": 1})
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["descriptors"], rows)
        assert archive["names"].tolist() == NAMES
        assert {name: type(archive[name]) for name in archive.files} == dict.fromkeys(
            ("descriptors", "names", "metadata"), np.ndarray
        )
        assert json.loads(archive["metadata"].item()) == {"a": 1}
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(mapped, rows)
    assert (tmp_path / "x.names.txt").read_text(encoding="utf-8").splitlines() == NAMES
    assert (tmp_path / "x.metadata.json").read_text() == '{"a": 1}'


@pytest.mark.parametrize("kind", KINDS)
def test_other_programs_files_are_read_too(tmp_path: Path, kind: str) -> None:
    """Without our attributes the names of an .h5 file come in its own order, and there is no metadata."""
    path = tmp_path / f"x.{kind}"
    rows = table(3, 4)
    if kind == "h5":
        with h5py.File(path, "w") as file:
            for name, row in zip(("b", "c/a", "a"), rows, strict=True):
                file.create_group(name).create_dataset("global_descriptor", data=row)
        rows = rows[[2, 0, 1]]
    elif kind == "npz":
        np.savez(path, rows)
    else:
        np.save(path, rows)
    stored = open_descriptors(path)
    assert stored.names == (("a", "b", "c/a") if kind == "h5" else None)
    assert stored.metadata == {}
    np.testing.assert_array_equal(stored.read(), rows)


PARTS = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda part: part not in (".", ".."))
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    names=st.lists(PATHS, min_size=1, max_size=8, unique=True),
    dim=st.integers(1, 5),
    step=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_any_names_come_back_or_are_refused(
    tmp_path: Path, kind: str, names: list[str], dim: int, step: int, seed: int
) -> None:
    """Whatever an image can be called: its row comes back under its name, or the name is refused before any work."""
    path = tmp_path / f"any.{kind}"
    rows = table(len(names), dim, seed)
    blocks = [rows[i : i + step] for i in range(0, len(rows), step)]
    try:
        check_names(names, kind)
    except UsageError:
        with pytest.raises(UsageError):
            write_descriptors(path, names, blocks, dim)
        assert kind == "npy"
        assert any("\n" in name for name in names)
        return
    write_descriptors(path, names, blocks, dim)
    stored = open_descriptors(path)
    assert stored.names == tuple(names)
    np.testing.assert_array_equal(stored.read(), rows)
    if kind == "h5":
        with h5py.File(path, "a") as file:
            file.attrs.clear()  # as another program would have written it
        plain = open_descriptors(path)
        np.testing.assert_array_equal(plain.read(), rows[[names.index(name) for name in plain.names or ()]])


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"bytes-\xff.png")
    rows = table(1, 2)
    for kind in ("npz", "npy"):
        path = write_descriptors(tmp_path / f"x.{kind}", [name], [rows], 2)
        assert open_descriptors(path).names == (name,)
    with pytest.raises(UsageError, match="UTF-8"):
        write_descriptors(tmp_path / "x.h5", [name], [rows], 2)
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        (["a", "b", "a"], "npz", "two images are called 'a'"),
        (["a//b"], "h5", "no name"),
        (["./a"], "h5", "no name"),
        (["/a"], "h5", "no name"),
        (["a", "a/global_descriptor"], "h5", "another image's descriptor"),
        (["a", "a/global_descriptor/b"], "h5", "another image's descriptor"),
        (["a\nb"], "npy", "not one line"),
    ],
)
def test_names_that_cannot_be_told_apart(names: list[str], kind: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_names(names, kind)


def test_a_name_may_look_like_a_descriptor(tmp_path: Path) -> None:
    names = ["global_descriptor", "b/global_descriptor"]
    rows = table(2, 3)
    write_descriptors(tmp_path / "x.h5", names, [rows], 3)
    np.testing.assert_array_equal(open_descriptors(tmp_path / "x.h5").read(), rows)
    assert hloc_reads(tmp_path / "x.h5").keys() == set(names)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_leaves_nothing_behind(tmp_path: Path, kind: str) -> None:
    def blocks() -> Iterator[np.ndarray]:
        yield table(1, 4)
        raise KeyboardInterrupt

    path = tmp_path / f"x.{kind}"
    with pytest.raises(KeyboardInterrupt):
        write_descriptors(path, ["a", "b"], blocks(), 4)
    assert list(tmp_path.iterdir()) == []
    write_descriptors(path, ["a"], [table(1, 4)], 4)
    before = open_descriptors(path).read()
    with pytest.raises(ValueError, match="1 descriptors for 2 names"):
        write_descriptors(path, ["a", "b"], [table(1, 4, seed=1)], 4)
    with pytest.raises(ValueError, match="a block of shape"):
        write_descriptors(path, ["a"], [table(1, 5)], 4)
    np.testing.assert_array_equal(open_descriptors(path).read(), before)


def test_more_rows_than_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 descriptors for 1 names"):
        write_descriptors(tmp_path / "x.npz", ["a"], [table(3, 2)], 2)


def test_formats() -> None:
    assert format_of("x/y.HDF5") == "h5"
    assert format_of(Path("y.npz"), "npz") == "npz"
    with pytest.raises(UsageError, match=r"y\.txt"):
        format_of("y.txt")
    with pytest.raises(UsageError, match=r"\.npz") as caught:
        format_of("y.h5", "npz")
    assert caught.value.hint is not None
    with pytest.raises(UnknownNameError, match="unknown descriptor format 'hdf'"):
        format_of("y.h5", "hdf")


def test_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError):
        open_descriptors(tmp_path / "none.h5")
    for kind in KINDS:
        path = write_descriptors(tmp_path / f"x.{kind}", ["a", "b"], [table(2, 400)], 400)
        path.write_bytes(path.read_bytes()[:-1500])
        with pytest.raises(DescriptorFileError):
            open_descriptors(path).read()
    write_descriptors(tmp_path / "y.npy", ["a", "b"], [table(2, 3)], 3)
    (tmp_path / "y.names.txt").write_text("a\n")
    with pytest.raises(DescriptorFileError, match="2 descriptors, but"):
        open_descriptors(tmp_path / "y.npy")
    (tmp_path / "w.npy").write_bytes((tmp_path / "y.npy").read_bytes())
    (tmp_path / "w.metadata.json").write_text("[1]")
    with pytest.raises(DescriptorFileError, match="damaged metadata"):
        open_descriptors(tmp_path / "w.npy")


def test_a_descriptor_of_another_size_is_noticed(tmp_path: Path) -> None:
    path = write_descriptors(tmp_path / "x.h5", ["a", "b"], [table(2, 3)], 3)
    with h5py.File(path, "a") as file:
        del file["b"]["global_descriptor"]
        file["b"]["global_descriptor"] = np.zeros(5, dtype=np.float32)
    with pytest.raises(DescriptorFileError, match="b has a descriptor of shape"):
        open_descriptors(path).read()


def test_reading_keeps_little_of_what_hdf5_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cache of groups would grow to 32 MB, and its library keeps more than that."""
    names = [f"{number}.jpg" for number in range(40)]
    write_descriptors(tmp_path / "x.h5", names, [np.ones((40, 2), dtype=np.float32)], 2)
    opened: list[h5py.File] = []
    plain = h5py.File

    def kept(*args: object, **options: object) -> h5py.File:
        opened.append(plain(*args, **options))
        return opened[-1]

    stored = open_descriptors(tmp_path / "x.h5")
    monkeypatch.setattr(h5py, "File", kept)
    most = [opened[-1].id.get_mdc_config().max_size for _ in stored.blocks(10)]
    assert most == [1 << 21] * 4


def test_older_and_foreign_metadata_in_npz(tmp_path: Path) -> None:
    """Before, the metadata were a member of their own that NumPy gives as bytes."""
    path = tmp_path / "old.npz"
    np.savez(path, descriptors=table(2, 3), names=np.array(["a", "b"]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("metadata.json", '{"model": "gem"}')
    stored = open_descriptors(path)
    assert (stored.metadata, stored.names) == ({"model": "gem"}, ("a", "b"))
    for foreign in (np.arange(3), np.array("by hand"), np.array("[1]"), np.array([None])):
        np.savez(tmp_path / "foreign.npz", descriptors=table(1, 3), metadata=foreign)
        assert open_descriptors(tmp_path / "foreign.npz").metadata == {}


def after(second: int) -> bool:
    return time.time() >= second + 1


@pytest.mark.parametrize("kind", KINDS)
def test_equal_rows_are_equal_bytes(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the time is, and whatever blocks the rows come in."""
    rows, steps = table(len(NAMES), 7), (1, 5)
    files = []
    for step in steps:
        path = tmp_path / f"{step}.{kind}"
        blocks = [rows[i : i + step] for i in range(0, len(rows), step)]
        write_descriptors(path, NAMES, blocks, 7, metadata={"model": "gem"})
        files.append(path.read_bytes())
        if step == steps[0]:
            if kind == "h5":
                # HDF5 asks the system itself, and counts seconds.
                wait_until(partial(after, int(time.time())))
            monkeypatch.setattr(time, "time", lambda: 2e9)
    assert files[0] == files[1]


def open_in_hdf5() -> int:
    gc.collect()
    kinds = h5py.h5f.OBJ_FILE | h5py.h5f.OBJ_GROUP | h5py.h5f.OBJ_DATASET
    return int(h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, kinds))


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 900, 50_000, 100_000, 163_900])
@pytest.mark.parametrize("kind", KINDS)
def test_no_room_is_told_once_and_leaves_what_was_there(
    tmp_path: Path, kind: str, size: int, recwarn: pytest.WarningsRecorder
) -> None:
    """HDF5 crashed where a write failed; zip files complained behind it."""
    path = write_descriptors(tmp_path / f"x.{kind}", ["a"], [table(1, 4)], 4)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    names = [f"place {i}/{i}.jpg" for i in range(80)]
    with files_of_at_most(size), pytest.raises(NoSpaceError, match="may not become that large") as caught:
        write_descriptors(path, names, iter(np.split(table(80, 512), 8)), 512)
    assert str(path) in caught.value.message
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
    assert open_in_hdf5() == 0
    assert not [str(each.message) for each in recwarn]
    write_descriptors(path, names, iter(np.split(table(80, 512), 8)), 512)
    np.testing.assert_array_equal(open_descriptors(path).read(), table(80, 512))


def test_ctrl_c_while_an_h5_file_is_written(tmp_path: Path) -> None:
    """A signal comes to the main thread, and HDF5 works in another: nothing is left open or behind."""
    rows, told = table(4, 8), threading.Event()

    def tell(number: int, frame: FrameType | None) -> None:
        told.set()
        signal.default_int_handler(number, frame)

    def blocks() -> Iterator[np.ndarray]:
        yield rows[:2]
        os.kill(os.getpid(), signal.SIGINT)
        told.wait(60)
        yield rows[2:]

    before = signal.signal(signal.SIGINT, tell)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_descriptors(tmp_path / "x.h5", ["a", "b", "c", "d"], blocks(), 8)
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []
    assert open_in_hdf5() == 0


def test_ctrl_c_while_its_thread_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool does not wait for a thread that it was interrupted at: that one wrote on into a file that was closed."""
    start, threads, asked = threading.Thread.start, [], []

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        threads.append(thread)
        raise KeyboardInterrupt

    def blocks() -> Iterator[np.ndarray]:
        asked.append(True)
        yield table(2, 8)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_descriptors(tmp_path / "x.h5", ["a", "b"], blocks(), 8)
    threads[0].join(60)
    assert not threads[0].is_alive()
    assert not asked
    assert list(tmp_path.iterdir()) == []
    assert open_in_hdf5() == 0

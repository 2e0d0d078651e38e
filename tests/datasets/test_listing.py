from __future__ import annotations

import io
import os
import random
import sys
import threading
import tracemalloc
from collections.abc import Iterable
from pathlib import Path, PurePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.datasets import names
from darkside_cli.datasets.listing import expand_inputs, natural_key
from darkside_cli.datasets.names import iter_path_tokens
from darkside_cli.datasets.outputs import InputImage
from darkside_cli.errors import UsageError
from darkside_cli.images.formats import IMAGE_SUFFIXES

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX file names")


def names_in(data: bytes, *, null: bool = False) -> list[bytes]:
    return [os.fsencode(path) for path in iter_path_tokens(io.BytesIO(data), null)]


def touch(folder: Path, *names: str | bytes) -> None:
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def relatives(images: Iterable[InputImage]) -> list[str]:
    return [image.relative.as_posix() for image in images]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with room beside it."""
    folder = tmp_path / "work" / "here"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def expand(*paths: str | Path, recursive: bool = False, exclude: str | None = None) -> list[InputImage]:
    return expand_inputs(
        [Path(path) for path in paths], recursive=recursive, exclude=Path(exclude) if exclude else None
    )


# Names from a pipe


def test_lines():
    assert names_in(b"a.jpg\nb c.jpg\r\n\n   \n\t\r\n 'd' .jpg \n\xff\xfe.jpg\nlast") == [
        b"a.jpg",
        b"b c.jpg",
        b" 'd' .jpg ",
        b"\xff\xfe.jpg",
        b"last",
    ]
    assert names_in(b"") == []
    assert names_in(b"\n\n") == []


def test_nul_separated():
    assert names_in(b"a\nb.jpg\0\0 \0c\r.jpg\0last", null=True) == [b"a\nb.jpg", b" ", b"c\r.jpg", b"last"]
    assert names_in(b"", null=True) == []
    assert names_in(b"\0", null=True) == []


def test_nul_where_lines_are_expected():
    with pytest.raises(UsageError) as caught:
        names_in(b"a.jpg\0b.jpg\0")
    assert "-0" in (caught.value.hint or "")


# os.fsencode undoes os.fsdecode for any bytes on POSIX; a path keeps its name but for "/." and "//".
file_names = st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name and b"/" not in name)
visible_names = file_names.filter(lambda name: name != b"..")


def as_path(name: bytes) -> bytes:
    return os.fsencode(Path(os.fsdecode(name)))


@posix_only
@given(names=st.lists(file_names, max_size=20), buffer_size=st.sampled_from([1, 3, 8192]))
def test_any_name_comes_through_nul_separated(names: list[bytes], buffer_size: int):
    stream = io.BufferedReader(io.BytesIO(b"".join(name + b"\0" for name in names)), buffer_size)  # type: ignore[arg-type]
    assert [os.fsencode(path) for path in iter_path_tokens(stream, True)] == [as_path(name) for name in names]


@posix_only
@given(names=st.lists(file_names.filter(lambda name: b"\n" not in name), max_size=20), crlf=st.booleans())
def test_any_name_without_line_breaks_comes_through_as_a_line(names: list[bytes], crlf: bool):
    names = [name for name in names if name.strip() and not name.endswith(b"\r")]
    end = b"\r\n" if crlf else b"\n"
    assert names_in(b"".join(name + end for name in names)) == [as_path(name) for name in names]


@posix_only
@pytest.mark.parametrize(("null", "end"), [(True, b"\0"), (False, b"\n")])
def test_names_come_as_they_are_written(null: bool, end: bytes):
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as stream:
        tokens = iter_path_tokens(stream, null)
        watchdog = threading.Timer(20, os.close, [write_end])
        watchdog.start()
        try:
            os.write(write_end, b"a.jpg" + end)
            assert next(tokens) == Path("a.jpg")  # although the pipe is still open
            os.write(write_end, b"b")
            os.write(write_end, b".jpg" + end)
            assert next(tokens) == Path("b.jpg")
            assert watchdog.is_alive()
        finally:
            watchdog.cancel()
            os.close(write_end)
        assert list(tokens) == []


class Endless(io.RawIOBase):
    """50,000 names of 19 letters, ended by NUL, made as they are asked for."""

    left = 50_000

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(self.left, len(buffer) // 20)
        buffer[: count * 20] = (b"x" * 19 + b"\0") * count
        self.left -= count
        return count * 20


def test_long_lists_take_little_memory():
    tracemalloc.start()
    count = sum(1 for _ in iter_path_tokens(io.BufferedReader(Endless()), True))  # type: ignore[type-var]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 50_000
    assert peak < 500_000  # the names alone are twice as much


# Folders


def test_natural_order():
    names = [
        "img10.jpg",
        "IMG2.jpg",
        "img1.jpg",
        "img02.jpg",
        "b",
        "A",
        "10",
        "9",
        "٣x",
        "3x",
        "",
        "x1y2",
        "x1y10",
    ]
    expected = [
        "",
        "3x",
        "9",
        "10",
        "A",
        "b",
        "img1.jpg",
        "IMG2.jpg",
        "img02.jpg",
        "img10.jpg",
        "x1y2",
        "x1y10",
        "٣x",
    ]
    assert sorted(names, key=natural_key) == expected


@given(st.lists(st.text(max_size=8), max_size=10), st.randoms())
def test_natural_order_does_not_depend_on_the_order_before(names: list[str], shuffle: random.Random):
    expected = sorted(names, key=natural_key)
    shuffle.shuffle(names)
    assert sorted(names, key=natural_key) == expected


def test_a_folder_is_its_images(here: Path):
    touch(
        here,
        "p/b10.jpg",
        "p/b9.PNG",
        "p/a.txt",
        "p/.hidden.jpg",
        "p/._b9.PNG",
        "p/.git/x.jpg",
        "p/sub/c.jpg",
        "p/noext",
    )
    images = expand("p")
    assert images == [
        InputImage(Path("p/b9.PNG"), PurePath("b9.PNG")),
        InputImage(Path("p/b10.jpg"), PurePath("b10.jpg")),
    ]
    assert relatives(expand("p", recursive=True)) == ["b9.PNG", "b10.jpg", "sub/c.jpg"]


def test_every_suffix_and_case(here: Path):
    touch(
        here,
        *(f"p/a{suffix}" for suffix in IMAGE_SUFFIXES),
        *(f"p/b{suffix.upper()}" for suffix in IMAGE_SUFFIXES),
    )
    assert len(expand("p")) == 2 * len(IMAGE_SUFFIXES)
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic"} <= IMAGE_SUFFIXES


def test_the_working_directory_itself(here: Path):
    touch(here, "a.jpg", "sub/b.jpg")
    assert expand(".") == [InputImage(Path("a.jpg"), PurePath("a.jpg"))]
    assert relatives(expand(here, recursive=True)) == ["a.jpg", "sub/b.jpg"]
    assert relatives(expand("..", recursive=True)) == ["here/a.jpg", "here/sub/b.jpg"]


def test_hidden_folder_given_by_name_is_listed(here: Path):
    touch(here, ".private/a.jpg")
    assert relatives(expand(".private")) == ["a.jpg"]


def test_several_folders_keep_equal_names_apart(here: Path):
    touch(here, "p/x/a.jpg", "p/y/a.jpg", "p/y/z/a.jpg", "q/a.jpg")
    assert relatives(expand("p/x", "p/y")) == ["x/a.jpg", "y/a.jpg"]
    assert relatives(expand("p/x", "q")) == ["p/x/a.jpg", "q/a.jpg"]
    assert relatives(expand("p/y", "p/y/z")) == ["a.jpg", "z/a.jpg"]
    assert relatives(expand("p/y/z", "p/y", recursive=True)) == ["z/a.jpg", "a.jpg"]
    assert relatives(expand("p/x", "p/x/", "./p/x", here / "p" / "x")) == ["a.jpg"]
    assert relatives(expand("p/x", "../here/p/y")) == ["x/a.jpg", "y/a.jpg"]


def test_empty_folder_among_several_does_not_change_names(here: Path):
    touch(here, "p/x/a.jpg")
    (here / "p" / "y").mkdir()
    assert relatives(expand("p/x", "p/y")) == ["x/a.jpg"]
    touch(here, "p/y/b.jpg")
    assert relatives(expand("p/x", "p/y")) == ["x/a.jpg", "y/b.jpg"]


def test_output_folder_is_never_walked_into(here: Path):
    touch(here, "p/a.jpg", "p/night/a.jpg", "p/night/sub/b.jpg", "p/nights/c.jpg", "p/sub/d.jpg")
    assert relatives(expand("p", recursive=True, exclude="p/night")) == ["a.jpg", "nights/c.jpg", "sub/d.jpg"]
    assert relatives(expand("p", recursive=True, exclude="p/../p/night/")) == [
        "a.jpg",
        "nights/c.jpg",
        "sub/d.jpg",
    ]
    assert relatives(expand("p", recursive=True, exclude="p/new")) == relatives(expand("p", recursive=True))


def test_output_folder_given_by_name_is_an_input(here: Path):
    touch(here, "p/a.jpg", "p/sub/b.jpg")
    assert relatives(expand("p", recursive=True, exclude="p")) == ["a.jpg", "sub/b.jpg"]
    assert relatives(expand("p/sub", recursive=True, exclude="p")) == ["b.jpg"]


@posix_only
def test_links_into_the_output_folder_are_not_followed(here: Path):
    touch(here, "p/a.jpg", "night/sub/b.jpg")
    (here / "p" / "l1").symlink_to(here / "night")
    (here / "p" / "l2").symlink_to(here / "night" / "sub")
    assert relatives(expand("p", recursive=True, exclude="night")) == ["a.jpg"]


@posix_only
def test_loops_of_links_end(here: Path):
    touch(here, "p/a.jpg", "p/sub/b.jpg", "other.jpg")
    (here / "p" / "self").symlink_to(here / "p")
    (here / "p" / "sub" / "up").symlink_to("..")
    (here / "p" / "sub" / "root").symlink_to("/")
    (here / "p" / "broken").symlink_to(here / "p" / "broken")
    assert relatives(expand("p", recursive=True)) == ["a.jpg", "sub/b.jpg"]


@posix_only
def test_linked_folders_are_followed_once_and_real_names_win(here: Path):
    touch(here, "p/real/a.jpg", "elsewhere/b.jpg", "elsewhere/deep/c.jpg")
    (here / "p" / "a_link").symlink_to(here / "p" / "real")
    (here / "p" / "out1").symlink_to(here / "elsewhere")
    (here / "p" / "out2").symlink_to(here / "elsewhere")
    images = relatives(expand("p", recursive=True))
    assert images[-1] == "real/a.jpg"
    assert len(images) == 3
    assert {PurePath(image).name for image in images} == {"a.jpg", "b.jpg", "c.jpg"}
    assert relatives(expand("p", recursive=True)) == images


@posix_only
def test_odd_entries_of_a_folder_are_kept_so_that_the_run_names_them(here: Path):
    touch(here, "p/a.jpg")
    (here / "p" / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(here / "p" / "pipe.png")
    (here / "p" / "folder.jpg").mkdir()
    assert relatives(expand("p")) == ["a.jpg", "gone.jpg", "pipe.png"]


def test_folders_that_cannot_be_listed_are_kept(here: Path, monkeypatch: pytest.MonkeyPatch):
    touch(here, "p/a.jpg", "p/closed/b.jpg")
    listed = os.scandir

    def scandir(path: Path) -> object:
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert expand("p", recursive=True) == [
        InputImage(Path("p/a.jpg"), PurePath("a.jpg")),
        InputImage(Path("p/closed"), PurePath("closed")),
    ]
    assert expand("p/closed") == [InputImage(Path("p/closed"), PurePath("unnamed"))]


def test_deep_trees(here: Path):
    deep = "/".join(["d"] * 300)
    touch(here, f"p/{deep}/a.jpg")
    assert relatives(expand("p", recursive=True)) == [f"{deep}/a.jpg"]


def test_ten_thousand_files(here: Path):
    touch(here, *(f"p/{n % 10}/{n}.jpg" for n in range(10_000)))
    images = expand("p", recursive=True)
    assert len(images) == 10_000
    assert relatives(images)[:2] == ["0/0.jpg", "0/10.jpg"]


# Files


def test_files_are_taken_whatever_they_are(here: Path):
    touch(here, "a.txt", "noext")
    assert relatives(expand("a.txt", "noext", "missing.jpg", "missing/b.jpg")) == [
        "a.txt",
        "noext",
        "missing.jpg",
        "missing/b.jpg",
    ]
    assert expand("missing.jpg")[0].path == Path("missing.jpg")


def test_the_order_given_is_kept(here: Path):
    touch(here, "p/b.jpg", "p/c.jpg")
    assert relatives(expand("z.jpg", "p", "a.jpg")) == ["z.jpg", "b.jpg", "c.jpg", "a.jpg"]


def test_a_file_is_taken_once(here: Path):
    touch(here, "p/a.jpg")
    spellings = [
        "p/a.jpg",
        "./p/a.jpg",
        "p/../p/a.jpg",
        "p//a.jpg",
        here / "p" / "a.jpg",
        "../here/p/a.jpg",
        "p",
    ]
    assert expand(*spellings) == [InputImage(Path("p/a.jpg"), PurePath("p/a.jpg"))]
    assert relatives(expand(*reversed(spellings))) == ["a.jpg"]


@posix_only
def test_a_file_in_a_linked_folder_is_taken_once_but_a_linked_file_is_one_of_its_own(here: Path):
    touch(here, "p/a.jpg")
    (here / "link").symlink_to("p")
    (here / "p" / "b.jpg").symlink_to("a.jpg")
    assert relatives(expand("p/a.jpg", "link/a.jpg")) == ["p/a.jpg"]
    assert relatives(expand("link/a.jpg")) == ["link/a.jpg"]
    assert relatives(expand("p/a.jpg", "p/b.jpg")) == ["p/a.jpg", "p/b.jpg"]


def test_files_in_the_working_directory_keep_their_path(here: Path):
    assert relatives(expand("a/b.jpg", here / "c" / "d.jpg", "x/../e.jpg", "../here/f.jpg", "./g.jpg")) == [
        "a/b.jpg",
        "c/d.jpg",
        "e.jpg",
        "f.jpg",
        "g.jpg",
    ]


@posix_only
def test_working_directory_reached_through_a_link(here: Path, tmp_path: Path):
    (tmp_path / "alias").symlink_to(here)
    touch(here, "p/a.jpg")
    assert relatives(expand(tmp_path / "alias" / "p" / "a.jpg")) == ["p/a.jpg"]


@posix_only
def test_two_dots_after_a_link_mean_what_the_system_means(here: Path, tmp_path: Path):
    touch(tmp_path, "far/away/a.jpg", "far/b.jpg")
    (here / "link").symlink_to(tmp_path / "far" / "away")
    assert relatives(expand("link/../b.jpg", "link/a.jpg")) == ["b.jpg", "link/a.jpg"]


def test_files_outside_are_told_from_their_deepest_common_folder(here: Path, tmp_path: Path):
    assert relatives(expand(tmp_path / "x" / "a.jpg")) == ["a.jpg"]
    assert relatives(expand("../a.jpg")) == ["a.jpg"]
    assert relatives(expand(tmp_path / "x" / "a.jpg", tmp_path / "x" / "b.jpg")) == ["a.jpg", "b.jpg"]
    assert relatives(expand(tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.jpg")) == ["x/a.jpg", "y/a.jpg"]
    assert relatives(expand(tmp_path / "x" / "a.jpg", tmp_path / "x" / "y" / "a.jpg")) == ["a.jpg", "y/a.jpg"]
    assert relatives(expand("../a.jpg", "in.jpg", "../../b.jpg")) == ["work/a.jpg", "in.jpg", "b.jpg"]


def test_paths_without_a_name(here: Path):
    assert relatives(expand("missing/..")) == ["unnamed"]


def test_nothing_given(here: Path):
    assert expand() == []
    (here / "empty").mkdir()
    assert expand("empty", recursive=True) == []


part = visible_names.map(os.fsdecode).filter(
    lambda name: name not in (".", "..") and len(os.fsencode(name)) < 60
)
trees = st.lists(st.tuples(st.lists(part, max_size=3), part), max_size=12)


@posix_only
@settings(deadline=None, max_examples=60)
@given(tree=trees, shuffle=st.randoms(use_true_random=False), suffix=st.sampled_from([".jpg", ".PNG", ""]))
def test_any_tree_of_any_names(tmp_path_factory: pytest.TempPathFactory, tree, shuffle, suffix):
    root = tmp_path_factory.mktemp("tree")
    made = set()
    for folders, name in tree:
        path = root.joinpath(*folders, name + suffix)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        except OSError:
            continue  # a file of that name is in the way
        made.add(path)
    expected = {
        path
        for path in made
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(each.startswith(".") for each in path.relative_to(root).parts)
    }
    images = expand_inputs([root], recursive=True, exclude=None)
    assert {image.path for image in images} == expected
    assert [root / image.relative for image in images] == [image.path for image in images]
    assert len(images) == len(expected)
    # By names through a pipe, in any order: the same files, at places that differ where the files do.
    given_files = list(made)
    shuffle.shuffle(given_files)
    piped = b"".join(os.fsencode(path) + b"\0" for path in given_files)
    named = expand_inputs(iter_path_tokens(io.BytesIO(piped), True), recursive=False, exclude=None)
    assert {image.path for image in named} == made
    assert len({image.relative for image in named}) == len(made)
    for image in named:
        assert not image.relative.is_absolute()
        assert ".." not in image.relative.parts
    places = {image.path: image.relative for image in named}
    again = expand_inputs(sorted(made), recursive=False, exclude=None)
    assert {image.path: image.relative for image in again} == places


# Lists that are none


class WithoutEnd(io.RawIOBase):
    """Gives ``data`` again and again, and counts the bytes that were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data, self.given = data * 1000, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        count = min(len(buffer), len(self.data))
        buffer[:count] = self.data[:count]
        self.given += count
        return count


@pytest.mark.parametrize("null", [False, True])
def test_a_name_without_end(null: bool) -> None:
    """It filled the memory."""
    endless = WithoutEnd(b"a")
    with pytest.raises(UsageError, match="no file has a name of more than 65,536 bytes"):
        list(iter_path_tokens(io.BufferedReader(endless), null))
    assert endless.given < 1 << 20


@pytest.mark.parametrize(("null", "line"), [(False, b"y\n"), (True, b"y\0")])
def test_names_without_end(null: bool, line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MAX_NAMES", 5000)
    with pytest.raises(UsageError, match="more than 5,000 names"):
        list(iter_path_tokens(io.BufferedReader(WithoutEnd(line)), null))
    assert names_in(line * 5000, null=null) == [b"y"] * 5000


def test_the_longest_name() -> None:
    longest = b"a" * names.MAX_NAME_BYTES
    for ending in (b"\n", b"\r\n", b""):
        assert names_in(longest + ending) == [longest]
    assert names_in(longest + b"\0" + longest, null=True) == [longest] * 2
    with pytest.raises(UsageError, match="65,536"):
        names_in(longest + b"a\n")

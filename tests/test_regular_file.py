"""Files that people name are regular ones, and of those that are too large no more is read than is allowed."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from darkside_cli import regular_file
from darkside_cli.config.sources import read_toml
from darkside_cli.datasets.tuple_lists import tuples_of_list
from darkside_cli.errors import DarksideError
from darkside_cli.images.boxes import read_boxes
from darkside_cli.interop.ground_truth import read_ground_truth
from darkside_cli.interop.safe_pickle import load_pickle
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.regular_file import NotRegularError, TooLargeError, open_regular, read_regular
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.scenario.files import read_scenario_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes and devices")


def pipe(folder: Path, name: str = "pipe") -> Path:
    os.mkfifo(folder / name)
    return folder / name


def test_what_is_no_file_is_told_and_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # a socket's path has to be short
        server.bind("socket")
        monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it was opened"))
        for path, kind in (
            (tmp_path, "a folder"),
            (pipe(tmp_path), "a pipe"),
            (tmp_path / "socket", "a socket"),
            (Path("/dev/zero"), "a device"),
        ):
            with pytest.raises(NotRegularError) as caught:
                open_regular(path)
            assert caught.value.strerror == f"it is {kind}, not a file"
            assert caught.value.filename == str(path)


def test_names_that_no_file_can_have() -> None:
    with pytest.raises(NotRegularError, match="no file can have this name"):
        open_regular(Path("a\0b"))
    with pytest.raises(FileNotFoundError):
        open_regular(Path("there-is-none"))


class Counting:
    """A file that counts the bytes which are read of it."""

    def __init__(self, file: IO[bytes], size: int | None = None) -> None:
        self.file, self.read_bytes = file, 0

    def __enter__(self) -> Counting:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def fileno(self) -> int:
        return self.file.fileno()

    def read(self, count: int) -> bytes:
        data = self.file.read(count)
        self.read_bytes += len(data)
        return data


@pytest.mark.parametrize("told", [True, False], ids=["size told", "size not told"])
def test_no_more_is_read_than_allowed(told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1 << 34)  # takes no room on the disk
    opened: list[Counting] = []

    def counting(path: Path) -> Any:
        opened.append(Counting(path.open("rb")))
        return opened[-1]

    monkeypatch.setattr(regular_file, "open_regular", counting)
    if not told:  # as of files in /proc
        values = list(path.stat())
        values[stat.ST_SIZE] = 0
        monkeypatch.setattr(os, "fstat", lambda _: os.stat_result(values))
    with pytest.raises(TooLargeError) as caught:
        read_regular(path, limit_bytes=5 << 20)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.strerror == "it has more than 5 MB"
    assert opened[0].read_bytes == (0 if told else (5 << 20) + 1)


def test_files_up_to_the_limit_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"", b"abc", os.urandom(3 << 20)):
        path.write_bytes(content)
        assert read_regular(path, limit_bytes=len(content)) == content
        if content:
            with pytest.raises(TooLargeError):
                read_regular(path, limit_bytes=len(content) - 1)
    assert read_regular(Path("/proc/self/status"), limit_bytes=1 << 20), "which has no size"


READERS: dict[str, Callable[[Path], Any]] = {
    "x.toml": read_toml,
    "x.yml": read_scenario_file,
    "x.csv": read_boxes,
    "x.json": read_boxes,
    "whitening.pkl": read_whitening,
    "x.pkl": load_pickle,
    "tuples.csv": tuples_of_list,
    "gnd.json": read_ground_truth,
    "gnd.pkl": read_ground_truth,
    "x.npy": open_descriptors,
    "x.npz": open_descriptors,
}


@pytest.mark.parametrize("name", READERS)
def test_pipes_and_devices_are_refused_wherever_a_file_is_named(name: str, tmp_path: Path) -> None:
    """Each of these hung, or filled the memory, before."""
    device = tmp_path / f"device-{name}"
    device.symlink_to("/dev/zero")
    for path, kind in ((pipe(tmp_path, name), "pipe"), (device, "device")):
        with pytest.raises(DarksideError) as caught:
            READERS[name](path)
        assert "not a file" in caught.value.message
        assert kind in caught.value.message or name == "whitening.pkl"

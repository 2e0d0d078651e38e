from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from waiting import Process, wait_until

from darkside_cli.atomic import TEMPORARY_PREFIX, temporary_beside, write_bytes_atomic


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_target_appears_when_the_block_ends(tmp_path: Path):
    target = tmp_path / "a" / "b" / "c.png"
    with temporary_beside(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"night")
        assert not target.exists()
    assert target.read_bytes() == b"night"
    assert names(target.parent) == ["c.png"]


def test_existing_target_is_replaced(tmp_path: Path):
    target = tmp_path / "c.png"
    target.write_bytes(b"old")
    with temporary_beside(target) as temporary:
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"


def write_half(target: Path, error: type[BaseException], *, take_away: bool = False) -> None:
    with temporary_beside(target) as temporary:
        temporary.write_bytes(b"ne")
        if take_away:
            temporary.unlink()
        raise error("mine")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException]):
    target = tmp_path / "c.png"
    target.write_bytes(b"old")
    with pytest.raises(error):
        write_half(target, error)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["c.png"]


def test_a_block_may_take_its_file_away_before_it_fails(tmp_path: Path):
    with pytest.raises(ValueError, match="mine"):
        write_half(tmp_path / "c.png", ValueError, take_away=True)


def test_permissions_are_those_of_any_new_file(tmp_path: Path):
    (tmp_path / "plain").write_bytes(b"")
    write_bytes_atomic(tmp_path / "c.png", b"x")
    assert stat.S_IMODE((tmp_path / "c.png").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_link_at_the_target_is_replaced_and_not_followed(tmp_path: Path):
    (tmp_path / "photo").write_bytes(b"day")
    (tmp_path / "link").symlink_to(tmp_path / "photo")
    write_bytes_atomic(tmp_path / "link", b"night")
    assert (tmp_path / "photo").read_bytes() == b"day"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["x" * 255, "x" * 200 + "." + "y" * 54, "é" * 127, "a\nb 'c'.png", ".png"])
def test_any_name_the_system_takes(tmp_path: Path, name: str):
    write_bytes_atomic(tmp_path / name, b"night", sync=True)
    assert (tmp_path / name).read_bytes() == b"night"
    assert names(tmp_path) == [name]


def test_bytes_that_are_no_text_in_a_name(tmp_path: Path):
    name = os.fsdecode(b"\xff\xfe.\xfdpg")
    write_bytes_atomic(tmp_path / name, b"night")
    assert [os.fsencode(entry) for entry in names(tmp_path)] == [b"\xff\xfe.\xfdpg"]


def test_folder_in_the_way(tmp_path: Path):
    (tmp_path / "c.png").mkdir()
    with pytest.raises(OSError):
        write_bytes_atomic(tmp_path / "c.png", b"night")
    assert names(tmp_path) == ["c.png"]


def test_file_in_the_way_of_a_parent(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        write_bytes_atomic(tmp_path / "file" / "c.png", b"night")


def test_threads_do_not_meet(tmp_path: Path):
    contents = [bytes([n]) * 100_000 for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: write_bytes_atomic(tmp_path / "c.png", data), contents))
    assert (tmp_path / "c.png").read_bytes() in contents
    assert names(tmp_path) == ["c.png"]


WRITER = """
import signal, sys
from pathlib import Path
from darkside_cli.atomic import temporary_beside
with temporary_beside(sys.argv[1]) as temporary, temporary.open("wb") as file:
    file.write(b"half of it")
    file.flush()
    print("half", flush=True)
    signal.pause()
    file.write(b"the rest")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "left_hidden"), [(signal.SIGKILL, 1), (signal.SIGINT, 0)])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_process_stopped_while_writing_leaves_no_partial_file(
    tmp_path: Path, number: signal.Signals, left_hidden: int, old: bytes | None
):
    target = tmp_path / "c.png"
    if old is not None:
        target.write_bytes(old)
    with Process(
        [sys.executable, "-c", WRITER, os.fspath(target)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(number)
    assert process.returncode != 0
    assert (target.read_bytes() if target.exists() else None) == old
    hidden = [name for name in names(tmp_path) if name != "c.png"]
    assert len(hidden) == left_hidden
    assert all(name.startswith(TEMPORARY_PREFIX) for name in hidden)
    write_bytes_atomic(target, b"new")  # what was left is in nobody's way
    assert target.read_bytes() == b"new"


REWRITER = """
import sys
from darkside_cli.atomic import write_bytes_atomic
print("go", flush=True)
while True:
    for letter in b"abc":
        write_bytes_atomic(sys.argv[1], bytes([letter]) * 300_000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_readers_and_a_kill_never_see_part_of_a_file(tmp_path: Path):
    target = tmp_path / "c.png"
    whole = {bytes([letter]) * 300_000 for letter in b"abc"}
    seen = set()

    def all_seen() -> bool:
        if target.exists():
            data = target.read_bytes()
            assert data in whole
            seen.add(data)
        return seen == whole

    with Process([sys.executable, "-c", REWRITER, os.fspath(target)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        wait_until(all_seen, process=process, pause_s=0)
        process.kill()
    assert seen == whole
    assert target.read_bytes() in whole

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch.distributed
from waiting import Process, wait_until

from darkside_cli.errors import UsageError
from darkside_cli.training import launch as launch_module
from darkside_cli.training.launch import LaunchResult, launch, launcher_watch, port_kept

ROOT = Path(__file__).parents[2]
HELPERS = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests" / "support")!r})
from waiting import is_gone, wait_until
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(launch_module, "_GRACE_S", 0.5)
    monkeypatch.setattr(launch_module, "_KILL_S", 0.5)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"{HELPERS}rank = os.environ['RANK']\n{code}"]


def test_what_each_process_knows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = f"""
names = "WORLD_SIZE LOCAL_WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT OMP_NUM_THREADS EXTRA".split()
open({str(tmp_path)!r} + "/" + rank, "w").write(" ".join(os.environ[name] for name in names))
print("out", rank)
print("err", rank, file=sys.stderr)
"""
    assert launch(python(code), 3, environment={"EXTRA": "x", "OMP_NUM_THREADS": "5"}) == LaunchResult(0)
    told = [(tmp_path / rank).read_text().split() for rank in "012"]
    assert [each[:3] for each in told] == [["3", "3", rank] for rank in "012"]
    assert {tuple(each[3:]) for each in told} == {("127.0.0.1", told[0][4], "5", "x")}
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("out 0\n", "err 0\n")


def test_threads_are_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_module, "usable_cpus", lambda: 7)
    code = f"open({str(tmp_path / 'n')!r}, 'w').write(os.environ['OMP_NUM_THREADS'])"
    for processes, expected in ((1, "7"), (2, "3"), (9, "1")):
        assert launch(python(code), processes).code == 0
        assert (tmp_path / "n").read_text() == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("sys.exit(3 if rank == '1' else 0)", LaunchResult(3, 1, ())),
        ("print('why', file=sys.stderr); sys.exit(3 if rank == '1' else 0)", LaunchResult(3, 1, ("why",))),
        ("sys.exit(3 if rank == '0' else 0)", LaunchResult(3, 0, ())),
        ("os.kill(os.getpid(), 9) if rank == '1' else None", LaunchResult(137, 1, ())),
    ],
)
def test_codes(code: str, expected: LaunchResult) -> None:
    assert launch(python(code), 2) == expected


def when_gone(path: Path, rank: int) -> str:
    """Code of two processes: the launcher has seen that number ``rank`` is gone before the other one goes on."""
    return f"""
note = Path({str(path)!r})
if rank == "{rank}":
    note.with_suffix(".new").write_text(str(os.getpid()))
    note.with_suffix(".new").rename(note)
else:
    wait_until(note.exists)
    wait_until(lambda: is_gone(int(note.read_text())))
"""


def test_one_that_misses_another_is_not_to_blame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends first, with 1."""
    monkeypatch.setattr(launch_module, "_GRACE_S", 250)  # the other one may still be starting
    code = when_gone(tmp_path / "first", 0) + "sys.exit(1 + int(rank))"
    assert launch(python(code), 2) == LaunchResult(2, 1, ())


@pytest.mark.parametrize("stays", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN); "])
def test_those_that_stay_are_ended(stays: str) -> None:
    code = f"{stays}sys.exit(4) if rank == '1' else signal.pause()"
    assert launch(python(code), 3) == LaunchResult(4, 1)


def test_those_that_were_asked_to_stop_have_time_to_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process was stopped, and the first one, which it told of that, takes longer than failing ones may."""
    seen, enough = tmp_path / "seen", tmp_path / "enough"

    class Clock:
        """A second passes between two looks."""

        now = looks = 0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            time.sleep(seconds / 10)
            self.now += 1
            self.looks += seen.exists()
            if self.looks == 60:
                enough.touch()

    monkeypatch.setattr(launch_module, "time", Clock())
    code = when_gone(tmp_path / "second", 1)
    code += f"if rank == '0': Path({str(seen)!r}).touch(); wait_until(Path({str(enough)!r}).exists)\n"
    assert launch(python(code + "sys.exit(130)"), 2).code == 130


def test_only_the_end_of_a_long_story_is_kept() -> None:
    code = "rank == '1' and [print(i, file=sys.stderr) for i in range(1000)]; sys.exit(int(rank))"
    assert launch(python(code), 2).stderr_tail == tuple(str(i) for i in range(980, 1000))


def test_misuse(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="cannot start 0"):
        launch(python("pass"), 0)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UsageError, match="one of several already"):
        launch(python("pass"), 2)


def test_a_command_that_is_not_there_leaves_nothing_running(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        launch(["/nowhere/at/all"], 2)
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def second_fails(*arguments: object, **options: object) -> object:
        if started:
            raise OSError("no more processes")
        started.append(start(*arguments, **options))  # type: ignore[call-overload]
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", second_fails)
    with pytest.raises(OSError, match="no more"):
        launch(python("signal.pause()"), 2)
    assert started[0].poll() == -signal.SIGKILL


LAUNCHER = """
import sys
from darkside_cli.training import launch
launch._GRACE_S = 0
sys.exit(launch.launch(sys.argv[1:], 2).code)
"""
CATCHER = """
folder, wanted, caught = Path(sys.argv[1]), int(sys.argv[2]), []
def take(number, frame):
    caught.append(number)
    (folder / rank).open("a").write(f"{number} ")
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, take)
(folder / f"ready{rank}").touch()
wait_until(lambda: len(caught) == wanted)
"""


def all_caught(folder: Path, count: int) -> bool:
    """Whether both processes have noted so many signals."""
    notes = [folder / rank for rank in "01"]
    return all(note.exists() and len(note.read_text().split()) >= count for note in notes)


@pytest.mark.parametrize(
    ("signals", "wanted", "expected"),
    [("SIGINT", 1, 130), ("SIGTERM SIGINT", 2, 130), ("SIGINT SIGINT SIGINT", 9, 137)],
)
def test_signals_are_handed_on_once_each(tmp_path: Path, signals: str, wanted: int, expected: int) -> None:
    code = CATCHER + when_gone(tmp_path / "second", 1) + "sys.exit(130)"
    with Process(
        [sys.executable, "-c", LAUNCHER, *python(code), str(tmp_path), str(wanted)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    ) as process:
        wait_until(lambda: all((tmp_path / f"ready{rank}").exists() for rank in "01"), process=process)
        for count, name in zip(
            (1, 2, 2), signals.split(), strict=False
        ):  # the third one kills: nobody notes it
            os.killpg(process.pid, getattr(signal, name))  # as a terminal does, to the whole group
            wait_until(partial(all_caught, tmp_path, count), process=process)
    assert process.returncode == expected
    caught = [str(int(getattr(signal, name))) for name in signals.split()][:2]
    assert [(tmp_path / rank).read_text().split() for rank in "01"] == [caught] * 2


def test_a_signal_while_they_are_started_is_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that came between two starts was lost for the second process."""
    start = subprocess.Popen

    def interrupted(*arguments: object, **options: object) -> object:
        process = start(*arguments, **options)  # type: ignore[call-overload]
        os.kill(os.getpid(), signal.SIGINT)
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    result = launch(["sleep", "1000"], 1)
    assert (result.code, result.rank) == (128 + signal.SIGINT, 0)


def test_the_port_is_kept_for_the_first_process() -> None:
    """Another program on this machine cannot take it before that one listens."""
    with port_kept() as port, socket.socket() as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        store = torch.distributed.TCPStore("127.0.0.1", port, 1, is_master=True)
        store.set("a", "b")
        assert store.get("a") == b"b"


def test_orphans_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DARKSIDE_LAUNCHER", raising=False)
    assert not launcher_watch()()
    monkeypatch.setenv("DARKSIDE_LAUNCHER", "1234567")  # the command was started through something else
    assert not launcher_watch()()
    parent = os.getppid()
    monkeypatch.setenv("DARKSIDE_LAUNCHER", str(parent))
    watch = launcher_watch()
    assert not watch()
    monkeypatch.setattr(os, "getppid", lambda: parent + 1)  # the tests themselves may be orphans, with 1
    assert watch()

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from darkside_cli.errors import UsageError
from darkside_cli.training.distributed import Ranks

ROOT = Path(__file__).parents[2]
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_one_process_alone() -> None:
    ranks = Ranks.from_environment()
    assert ranks == Ranks(0, 1, 0)
    with ranks:
        assert ranks.is_first
        assert ranks.all_gather({"a": 1}) == [{"a": 1}]
        ranks.barrier()
    assert ranks.device_name("auto") == "auto"


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VARIABLES, "341", strict=True):
        monkeypatch.setenv(name, value)
    ranks = Ranks.from_environment()
    assert ranks == Ranks(3, 4, 1)
    assert not ranks.is_first
    assert ranks.device_name("cpu") == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    assert [ranks.device_name(name) for name in ("auto", "cuda", "cuda:5", "cpu")] == [
        "cuda:1",
        "cuda:1",
        "cuda:5",
        "cpu",
    ]


@pytest.mark.parametrize("values", ["440", "x10", "010", "-110"])
def test_nonsense(monkeypatch: pytest.MonkeyPatch, values: str) -> None:
    parts = (values[:-2], values[-2], values[-1])
    for name, value in zip(VARIABLES, parts, strict=True):
        monkeypatch.setenv(name, value)
    if values == "010":
        monkeypatch.setenv("LOCAL_RANK", "-1")
    with pytest.raises(UsageError, match=r"no process|must be numbers"):
        Ranks.from_environment()


SCRIPT = """
import sys, time
from darkside_cli.training.distributed import LostProcessError, Ranks
with Ranks.from_environment() as ranks:
    print(ranks.all_gather(f"from {ranks.rank}"), flush=True)
    if ranks.rank == 1:
        sys.exit(7)
    try:
        ranks.barrier()
    except LostProcessError as error:
        print(error.exit_code, error.message, flush=True)
"""


def test_two_processes_and_one_that_ends() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "RANK": str(rank),
                "WORLD_SIZE": "2",
                "LOCAL_RANK": str(rank),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    first, second = (process.communicate(timeout=120)[0].splitlines() for process in processes)
    assert first[0] == second[0] == "['from 0', 'from 1']"
    assert first[1] == "1 another process of this job has ended"
    assert [process.returncode for process in processes] == [0, 7]


def test_processes_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VARIABLES, "020", strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(UsageError, match="do not find each other"), Ranks.from_environment():
        pass

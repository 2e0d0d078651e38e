from __future__ import annotations

import pytest

from darkside_cli.errors import UsageError
from darkside_cli.training.distributed import Ranks

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


def test_processes_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VARIABLES, "020", strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(UsageError, match="do not find each other"), Ranks.from_environment():
        pass

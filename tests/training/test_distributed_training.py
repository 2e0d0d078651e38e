"""Two gloo processes give what one process gives with the double batch, and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed_checks import ENTRIES, NORMS, norm_results
from safetensors.torch import load_file
from torch import Tensor
from toy_training import parse, train
from waiting import Process

from darkside_cli.training import distributed
from darkside_cli.training import launch as launch_module
from darkside_cli.training.distributed import (
    LostProcessError,
    Ranks,
    device_group,
    is_lost_process,
    lost_process,
)
from darkside_cli.training.launch import LaunchResult, launch

ROOT = Path(__file__).parents[2]
TOY = str(ROOT / "tests" / "support" / "toy_training.py")
ENVIRONMENT = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what two processes wrote, of which the second one left first."""
    folder = tmp_path_factory.mktemp("both")
    script = str(ROOT / "tests" / "support" / "distributed_checks.py")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            launch_module, "_GRACE_S", 250
        )  # on a busy machine the first one may need long to notice
        result = launch([sys.executable, script, str(folder)], 2, environment=ENVIRONMENT)
    assert (result.code, result.rank) == (7, 1), result
    return folder


@pytest.fixture(scope="module")
def two(both: Path) -> list[dict[str, Any]]:
    """What each of the two found."""
    return [torch.load(both / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", NORMS)
def test_batch_norm_is_that_of_the_whole_batch(two: list[dict[str, Any]], name: str) -> None:
    whole = norm_results(name, slice(0, ENTRIES), 1.0)
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-4, torch.bfloat16: 2e-2}[NORMS[name][3]]
    first, second = (each["norms"][name] for each in two)
    assert first.keys() == second.keys() == whole.keys()
    for key, value in whole.items():
        if key.startswith("state"):
            joined = first[key]
            assert torch.equal(first[key], second[key]), key
        elif key.startswith("parameter"):
            joined = first[key] + second[key]
        else:
            joined = torch.cat([first[key], second[key]])
        assert joined.dtype == value.dtype, key
        torch.testing.assert_close(joined, value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("reduction", "share"), [("mean", 0.5), ("sum", 1.0)])
def test_gradients(two: list[dict[str, Any]], reduction: str, share: float) -> None:
    ones = torch.ones(2, 3)
    for each in two:
        a, b, c, d = each["gradients"][reduction]
        assert torch.equal(a, 3.0 * share * ones)
        assert torch.equal(b, 21.0 * share * ones.double())
        assert torch.equal(c, 8.0 * share * ones)  # missing in the first process: zeros
        assert d is None  # missing in both: still missing
        assert each["gradients"][f"{reduction} flags"] == 3


def test_one_that_ends_is_noticed(both: Path) -> None:
    assert (both / "end.txt").read_text() == "1 another process of this job has ended"


def test_values_go_to_and_fro(two: list[dict[str, Any]]) -> None:
    assert [each["all_gather"] for each in two] == [["from 0", "from 1"]] * 2
    assert [each["broadcast"] for each in two] == [{"from": 0}] * 2
    assert [each["scatter"] for each in two] == ["first", "second"]
    assert two[1]["gather"] is None
    assert [each.tolist() for each in two[0]["gather"]] == [[0, 0], [1, 1]]


def test_networks_become_those_of_the_first(two: list[dict[str, Any]]) -> None:
    assert two[1]["copied"]["mask"].tolist() == [True, True, False]
    for key, value in two[0]["copied"].items():
        assert torch.equal(two[1]["copied"][key], value)
        assert value.dtype == torch.bool or bool((value == 5).all())


def test_alone_values_stay() -> None:
    ranks = Ranks()
    assert (ranks.broadcast(3), ranks.gather(3), ranks.scatter([3])) == (3, [3], 3)


# Whole runs


def run(folder: Path, *options: str) -> LaunchResult:
    return launch([sys.executable, TOY, str(folder), *options], 2, environment=ENVIRONMENT)


def final(folder: Path, rank: int = 0) -> dict[str, Tensor]:
    result: dict[str, Tensor] = torch.load(folder / f"final_{rank}.pt", weights_only=True)
    return result


def test_two_processes_are_one_with_the_double_batch(
    both: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told, of_second = ((both / f"told {rank}.txt").read_text() for rank in range(2))
    assert told.count("TrainingFinished(") == 1
    assert "TrainingFinished(" not in of_second
    assert train(parse([str(tmp_path / "one"), "--exact", "--batch", "4"]), Ranks()) == 0
    alone = capfd.readouterr().out
    first, second, one = final(both / "two", 0), final(both / "two", 1), final(tmp_path / "one")
    for key, value in one.items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], value, rtol=1e-4, atol=1e-6)
    outputs = [load_file(folder / "generator.safetensors") for folder in (both / "two", tmp_path / "one")]
    for key, value in outputs[1].items():
        torch.testing.assert_close(outputs[0][key], value, rtol=1e-4, atol=1e-6)

    # Losses of an epoch are those of all processes.
    def epochs(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith("EpochDone")]

    for together, whole in zip(epochs(told), epochs(alone), strict=True):
        numbers = [
            [float(part.split("}")[0].split(",")[0]) for part in line.split(": ")[1:4]]
            for line in (together, whole)
        ]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)


def launcher(folder: Path, *options: str) -> Process[str]:
    """A process of its own that starts two."""
    command = [sys.executable, TOY, str(folder), *options]
    code = f"""if True:
        import sys
        from darkside_cli.training.launch import launch
        sys.exit(launch({command!r}, 2).code)
    """
    return Process(
        [sys.executable, "-c", code],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: Process[str], kind: str, count: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        count -= line.startswith(f"{kind} ")
        if not count:
            return
    raise AssertionError("ended before")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert run(folder, "--epochs", "3") == LaunchResult(0)
    return {**final(folder), **{f"second {key}": value for key, value in final(folder, 1).items()}}


def assert_as_whole(folder: Path, whole: dict[str, Tensor]) -> None:
    assert run(folder, "--epochs", "3") == LaunchResult(0)
    for key, value in final(folder).items():
        assert torch.equal(whole[key], value), key
        assert torch.equal(whole[f"second {key}"], final(folder, 1)[key]), key


@pytest.mark.slow
def test_interrupted_and_gone_on_with(tmp_path: Path, whole: dict[str, Tensor]) -> None:
    """Pools and random states of both are where they were."""
    with launcher(tmp_path / "run", "--epochs", "3", "--stay-after", "9") as process:
        wait_for(process, "StepDone", 6)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=240)
    assert process.returncode == 130, errors
    assert "reason='interrupted'" in output
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("*_step_*")]
    assert_as_whole(tmp_path / "run", whole)


@pytest.mark.slow
def test_a_launcher_that_is_killed_takes_its_processes_with_it(
    tmp_path: Path, whole: dict[str, Tensor]
) -> None:
    with launcher(tmp_path / "run", "--epochs", "3", "--stay-after", "9") as process:
        wait_for(process, "StepDone", 5)
        process.kill()
        output, _ = process.communicate(timeout=240)  # until the first one has closed it
    assert "reason='interrupted'" in output
    assert_as_whole(tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_fails_ends_all(tmp_path: Path, rank: int, capfd: pytest.CaptureFixture[str]) -> None:
    result = run(tmp_path / "run", "--fail", str(rank))
    assert (result.code, result.rank) == (2, rank)
    errors = capfd.readouterr().err
    if rank == 0:
        assert "the third batch is bad" in errors
        assert result.stderr_tail == ()
    else:
        assert "process 1 of 2 stopped: the third batch is bad" in errors  # says the first
        assert any("the third batch is bad" in line for line in result.stderr_tail)


@pytest.mark.slow
def test_one_that_is_killed_ends_all(tmp_path: Path) -> None:
    result = run(tmp_path / "run", "--kill", "1")
    assert (result.code, result.rank) == (128 + 9, 1)


def test_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def new_group(*, backend: str, timeout: Any) -> str:
        assert timeout.days > 1  # one may validate for long
        made.append(backend)
        return "group"

    monkeypatch.setattr("torch.distributed.new_group", new_group)
    assert device_group(Ranks(0, 2, 0), torch.device("cpu")) is None
    assert device_group(Ranks(), torch.device("cuda", 0)) is None
    assert made == []
    assert device_group(Ranks(0, 2, 0), torch.device("cuda", 0)) == "group"
    assert made == ["nccl"]


# Words


def test_errors_of_the_other_end() -> None:
    gloo = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1234"
    assert is_lost_process(RuntimeError(gloo))
    assert is_lost_process(torch.distributed.DistBackendError("NCCL communicator was aborted on rank 1"))
    assert not is_lost_process(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_lost_process(ValueError("connection closed"))


def test_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, bytes] = {}

    class Store:
        def set(self, key: str, value: str) -> None:
            said[key] = value.encode()

        def check(self, keys: list[str]) -> bool:
            return all(key in said for key in keys)

        def get(self, key: str) -> bytes:
            return said[key]

    monkeypatch.setattr(distributed, "_store", Store)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    assert lost_process().message == "another process of this job has ended"
    Ranks(1, 4, 1).report_failure(LostProcessError("an echo"))
    Ranks().report_failure(ValueError("alone"))
    assert not said
    Ranks(1, 4, 1).report_failure(ValueError("no such thing"))
    assert lost_process().message == "process 1 of 4 stopped: ValueError: no such thing"

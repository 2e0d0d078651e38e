"""Random generators, torch's switches and signals are afterwards as they were before."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from toy_training import Pair, Pairs, ToyGan, trainer, weights

from darkside_cli.training import global_state
from darkside_cli.training import trainer as trainer_module
from darkside_cli.training.global_state import (
    compiled,
    cuda_settings,
    interruptible,
    modes_kept,
    random_state,
    random_state_kept,
    seed_all,
    set_random_state,
)
from darkside_cli.training.task import Update

CPU = torch.device("cpu")


def draw() -> tuple[object, ...]:
    return (
        random.random(),
        random.gauss(0, 1),
        float(np.random.normal()),
        int(np.random.randint(1000)),
        torch.rand(1).item(),
        torch.randn(1).item(),
    )


def test_seeds_decide_everything() -> None:
    with random_state_kept(CPU):
        seed_all(3)
        first = draw()
        seed_all(3)
        assert draw() == first
        seed_all(2**32 + 3)  # more than NumPy takes
        assert draw() != first


def test_states_survive_a_file(tmp_path: Path) -> None:
    """Half of a pair of normal numbers included, which Python and NumPy keep for the next call."""
    with random_state_kept(CPU):
        seed_all(1)
        random.gauss(0, 1)
        np.random.normal()
        torch.save(random_state(CPU), tmp_path / "state.pt")
        first = [draw() for _ in range(400)]  # beyond the generators' first blocks
        set_random_state(torch.load(tmp_path / "state.pt", weights_only=True), CPU)
        assert [draw() for _ in range(400)] == first


def test_kept_after_errors_too() -> None:
    with random_state_kept(CPU):
        seed_all(1)
        expected = draw()
        seed_all(1)
        with pytest.raises(RuntimeError):
            fail_after_drawing()
        assert draw() == expected


def fail_after_drawing() -> None:
    with random_state_kept(CPU):
        draw()
        raise RuntimeError("inside")


def flags() -> tuple[bool, bool, bool]:
    cudnn = torch.backends.cudnn
    return cudnn.benchmark, cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("tf32", [False, True])
def test_switches_are_on_for_the_block_only(monkeypatch: pytest.MonkeyPatch, tf32: bool) -> None:
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.no_grad())
    before = flags()

    def fail() -> None:
        with cuda_settings(torch.device("cuda", 0), tf32=tf32):
            assert flags() == (True, tf32, tf32)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert flags() == before
    with cuda_settings(torch.device("cpu"), tf32=not tf32):
        assert flags() == before


def test_modes_are_kept_layer_by_layer() -> None:
    network = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2)))
    network[1].eval()
    with modes_kept([network]):
        network.eval()
        network[0].train()
    assert [layer.training for layer in network.modules()] == [True, True, False, False]


def test_compiled_modules_stay_themselves() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    keys = list(network.state_dict())
    with compiled([network]):
        assert network._compiled_call_impl is not None
        assert list(network.state_dict()) == keys
    assert network._compiled_call_impl is None


class Half(ToyGan):
    """Compiles a part of its generator only."""

    def compilable(self) -> list[nn.Module]:
        return [self.generator[0]]


def test_what_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[list[nn.Module]] = []

    def keep(modules: Iterator[nn.Module]) -> object:
        wanted.append(list(modules))
        return modes_kept([])

    monkeypatch.setattr(global_state, "compiled", keep)
    task, half = ToyGan(), Half()
    trainer(tmp_path / "a", task, epochs=1, compile=True).fit()
    trainer(tmp_path / "b", half, epochs=1, compile=True).fit()
    trainer(tmp_path / "c", ToyGan(), epochs=1).fit()
    assert wanted == [list(task.networks.values()), [half.generator[0]]]


def test_a_compiler_that_fails_is_explained(tmp_path: Path) -> None:
    from torch._dynamo.exc import BackendCompilerFailed

    class Failing(ToyGan):
        def train_step(self, batch: Pair) -> Iterator[Update]:
            def backend() -> None: ...

            raise BackendCompilerFailed(backend, RuntimeError("no C++ compiler"), None)  # type: ignore[arg-type]
            yield

    with pytest.raises(trainer_module.CompilationError, match="torch cannot compile") as caught:
        trainer(tmp_path, Failing(), epochs=1, compile=True).fit()
    assert "without compile" in (caught.value.hint or "")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="there is no C++ compiler")
def test_compiled_training_is_eager_training(tmp_path: Path) -> None:
    """One generated image goes through two compiled networks, whose weights change in between."""
    final = []
    for compile_ in (False, True):
        task = ToyGan(dropout=0, pool=False, lr=0.001)
        trainer(tmp_path / str(compile_), task, Pairs(6), epochs=2, validate_every=1, compile=compile_).fit()
        final.append(weights(task))
    for key, value in final[0].items():
        torch.testing.assert_close(
            final[1][key], value, rtol=1e-3, atol=2e-5, msg=lambda text, key=key: f"{key}: {text}"
        )
    start = weights(ToyGan(dropout=0, pool=False))
    assert (final[0]["generator.0.weight"] - start["generator.0.weight"]).abs().max() > 1e-3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_is_a_wish_the_second_the_end(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interruptible() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), number)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible() as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupted()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_there_are_no_signals() -> None:
    seen: list[object] = []

    def work() -> None:
        with interruptible() as interrupted:
            seen.append((interrupted(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, signal.default_int_handler)]

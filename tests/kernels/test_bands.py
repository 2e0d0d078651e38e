from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from darkside_cli.kernels import bands
from darkside_cli.kernels.bands import for_each_band, in_team, scratch


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_band_is_done_once(threads: int) -> None:
    done: list[int] = []
    for_each_band(50, done.append)
    assert sorted(done) == list(range(50))
    for_each_band(0, done.append)
    assert len(done) == 50


def test_bands_run_side_by_side_on_single_torch_threads(threads: int) -> None:
    together = threading.Barrier(threads)
    seen: list[tuple[str, int, bool]] = []

    def work(band: int) -> None:
        together.wait(30)  # nobody passes unless as many bands are being worked on
        seen.append((threading.current_thread().name, torch.get_num_threads(), torch.is_grad_enabled()))

    for_each_band(threads, work)
    assert len({name for name, _, _ in seen}) == threads
    assert {(torch_threads, grad) for _, torch_threads, grad in seen} == {(1, False)}


def test_torch_is_left_as_it_was(threads: int) -> None:
    for_each_band(2 * threads, lambda band: None)
    assert torch.get_num_threads() == threads
    elsewhere: list[int] = []
    thread = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert elsewhere == [threads]
    assert torch.is_grad_enabled()


def test_an_exception_stops_the_rest_and_arrives(threads: int) -> None:
    done: list[int] = []

    def work(band: int) -> None:
        done.append(band)
        if band == 3:
            raise ZeroDivisionError("band 3")

    with pytest.raises(ZeroDivisionError, match="band 3"):
        for_each_band(10_000, work)
    assert len(done) < 10_000
    for_each_band(4, done.append)  # the threads live on


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
def test_an_interruption_leaves_nothing_running() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    main = threading.get_ident()
    running: set[int] = set()
    done: list[int] = []

    def work(band: int) -> None:
        running.add(band)
        if band == 3:
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.02)
        running.discard(band)
        done.append(band)

    try:
        with pytest.raises(KeyboardInterrupt):
            for_each_band(1000, work)
    finally:
        torch.set_num_threads(before)
    assert not running
    assert len(done) < 1000


def test_threads_that_cannot_all_be_started_leave_none_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for one another in the beginning, and whoever ends the program would wait for them."""
    monkeypatch.setattr(bands, "_pools", {})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    submit, submitted = ThreadPoolExecutor.submit, []

    def second_fails(pool: ThreadPoolExecutor, *work: Any) -> Any:
        if submitted:
            raise RuntimeError("can't start new thread")
        submitted.append(submit(pool, *work))
        return submitted[0]

    monkeypatch.setattr(ThreadPoolExecutor, "submit", second_fails)
    try:
        with pytest.raises(RuntimeError, match="new thread"):
            for_each_band(2, lambda band: None)
    finally:
        torch.set_num_threads(before)
    with pytest.raises(threading.BrokenBarrierError):
        submitted[0].result(60)


def test_a_team_shares_the_bands_of_all_steps(threads: int) -> None:
    together = threading.Barrier(threads)
    names: list[str] = []
    seen: list[int] = []

    def work(band: int) -> None:
        together.wait(30)
        names.append(threading.current_thread().name)
        seen.append(torch.get_num_threads())

    def steps() -> str:
        for _ in range(3):
            for_each_band(threads, work)
        return threading.current_thread().name

    leader = in_team(steps)
    assert (leader == threading.current_thread().name) == (threads == 1)
    assert names.count(leader) == 3
    assert len(set(names)) == threads
    assert set(seen) == {1}
    assert torch.get_num_threads() == threads


def test_an_exception_leaves_a_team(threads: int) -> None:
    def fail(band: int) -> None:
        raise ZeroDivisionError(f"band {band}")

    with pytest.raises(ZeroDivisionError, match="band"):
        in_team(lambda: for_each_band(100, fail))
    with pytest.raises(KeyError):
        in_team(lambda: dict[str, int]()["no such key"])
    assert in_team(lambda: 7) == 7


def test_more_teams_than_threads(threads: int) -> None:
    """Each can do its bands alone: none waits for fellows that have a team of their own."""

    def steps(number: int) -> list[int]:
        done: list[int] = []
        for _ in range(20):
            for_each_band(10, done.append)
        return [number, len(done), *sorted(set(done))]

    results: list[list[int]] = []

    def call(number: int) -> None:
        torch.get_num_threads()
        torch.set_num_threads(threads)
        results.append(in_team(lambda: steps(number)))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert sorted(results) == [[number, 200, *range(10)] for number in range(5)]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
def test_an_interruption_ends_a_team() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    main = threading.get_ident()
    begun = itertools.count()
    running: set[int] = set()
    done: list[int] = []

    def work(band: int) -> None:
        running.add(band)
        if next(begun) == 5:
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.01)
        running.discard(band)
        done.append(band)

    def steps() -> None:
        for _ in range(100):
            for_each_band(4, work)

    try:
        with pytest.raises(KeyboardInterrupt):
            in_team(steps)
    finally:
        torch.set_num_threads(before)
    assert not running
    assert len(done) < 400


def test_two_callers_share_the_threads(threads: int) -> None:
    done: dict[str, list[int]] = {"a": [], "b": []}
    callers = [
        threading.Thread(target=for_each_band, args=(200, numbers.append)) for numbers in done.values()
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all(sorted(numbers) == list(range(200)) for numbers in done.values())


def test_more_cores_than_are_worth_it(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(bands, "MAX_THREADS", 2)
    names: set[str] = set()
    for_each_band(30, lambda band: names.add(threading.current_thread().name))
    assert len(names) <= min(2, threads)


def test_scratch_is_apart_by_use_and_comes_back() -> None:
    a, b = scratch("test", (3, 5), (7,))
    (other,) = scratch("other test", (4,))
    assert (a.shape, b.shape, a.dtype) == ((3, 5), (7,), torch.float32)
    assert all(each.is_contiguous() for each in (a, b))
    for number, each in enumerate((a, b, other)):
        each.fill_(number)
    assert [set(each.flatten().tolist()) for each in (a, b, other)] == [{0}, {1}, {2}]
    (again,) = scratch("test", (2, 2))
    assert again.data_ptr() == a.data_ptr()


def test_scratch_made_in_inference_mode_is_usable_outside() -> None:
    with torch.inference_mode():
        list(scratch("inference test", (4,)))
    (memory,) = scratch("inference test", (4,))
    memory.fill_(1)  # not allowed on inference tensors
    assert not memory.is_inference()


def test_threads_have_scratch_of_their_own() -> None:
    addresses: set[int] = set()
    together = threading.Barrier(2)

    def work() -> None:
        (memory,) = scratch("test", (8,))
        together.wait(30)
        addresses.add(memory.data_ptr())

    callers = [threading.Thread(target=work) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(addresses) == 2

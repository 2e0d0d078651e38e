from __future__ import annotations

import math

import pytest
import torch

from darkside_cli.training import loss_log
from darkside_cli.training.loss_log import Logged, LossLog, NonFiniteLossError, joined_means

CPU = torch.device("cpu")


def row(**values: float) -> list[Logged]:
    return [Logged(name, torch.tensor(value, dtype=torch.float64)) for name, value in values.items()]


def test_means_since_last_and_sums_of_the_epoch() -> None:
    log = LossLog(CPU)
    log.start_epoch()
    log.add(1, 1, row(a=1, b=4))
    log.add(1, 2, row(a=3, b=5))
    log.poll()
    assert log.recent() == {"a": 2.0, "b": 4.5}
    log.add(1, 3, row(a=8))
    log.poll()
    assert log.recent() == {"a": 8.0}
    assert log.recent() == {}
    assert log.sums() == {"a": (12.0, 3), "b": (9.0, 2)}
    log.start_epoch()
    assert log.sums() == {}


def test_an_epoch_goes_on_with_its_sums() -> None:
    log = LossLog(CPU)
    log.start_epoch({"a": [10.0, 4]})
    log.add(1, 5, row(a=2))
    log.poll()
    assert log.sums() == {"a": (12.0, 5)}
    assert log.recent() == {"a": 2.0}


def test_what_is_not_shown_is_only_checked() -> None:
    log = LossLog(CPU)
    log.add(1, 1, [Logged("total", torch.tensor(5.0), shown=False), *row(a=1)])
    log.poll()
    assert log.sums() == {"a": (1.0, 1)}
    log.add(1, 2, [Logged("total", torch.tensor(math.inf), shown=False), *row(a=1)])
    with pytest.raises(NonFiniteLossError, match="'total' became inf in epoch 1, step 2"):
        log.poll()


@pytest.mark.parametrize("together", [1, 4])
def test_the_first_bad_loss_is_named(together: int) -> None:
    log = LossLog(CPU, together=together)
    total = Logged("generator", torch.tensor(math.nan), shown=False)
    log.add(3, 7, row(a=1, b=2))
    log.add(3, 8, [total, *row(a=1, b=math.nan)])
    log.add(3, 9, row(a=math.inf, b=2))
    with pytest.raises(NonFiniteLossError) as caught:
        log.drain()
    error = caught.value
    assert (error.name, error.epoch, error.step, error.exit_code) == ("b", 3, 8, 1)
    assert math.isnan(error.value)
    assert "learning rate" in (error.hint or "")


def test_rows_travel_together_and_with_their_likes() -> None:
    log = LossLog(CPU, together=3)
    log.add(1, 1, row(a=1))
    log.poll()
    assert log.recent() == {}  # still gathering
    log.add(1, 2, row(a=2))
    log.add(1, 3, row(b=5))  # other columns: what came before is sent
    log.poll()
    assert log.recent() == {"a": 1.5}
    log.poll(send=True)
    assert log.recent() == {"b": 5.0}
    log.add(1, 4, [])
    log.drain()
    assert log.sums() == {"a": (3.0, 2), "b": (5.0, 1)}


class SlowTransfer:
    """Rows that arrive when ``arrived`` is set, or when somebody waits."""

    made: list[SlowTransfer] = []

    def __init__(self, rows: torch.Tensor) -> None:
        self.values = rows.tolist()
        self.arrived = self.waited = False
        self.made.append(self)

    def ready(self) -> bool:
        return self.arrived

    def rows(self) -> list[list[float]]:
        self.waited = not self.arrived
        return self.values


def test_polling_never_waits_and_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_log, "_Transfer", SlowTransfer)
    monkeypatch.setattr(SlowTransfer, "made", made := [])
    log = LossLog(CPU, together=2)
    for step in range(1, 8):
        log.add(1, step, row(a=step))
    log.poll()
    assert log.recent() == {}
    assert len(made) == 3
    made[1].arrived = True
    log.poll()
    assert log.recent() == {}  # the first has not arrived
    made[0].arrived = True
    log.poll()
    assert log.recent() == {"a": 2.5}
    assert not any(each.waited for each in made)
    log.drain()
    assert log.sums() == {"a": (28.0, 7)}
    assert [each.waited for each in made] == [False, False, True, True]


def test_the_same_sums_however_they_travel() -> None:
    values = [0.1 * 1.37**i for i in range(40)]
    sums = []
    for together in (1, 7, 32):
        log = LossLog(CPU, together=together)
        for step, value in enumerate(values):
            log.add(1, step + 1, row(a=value))
        log.drain()
        sums.append(log.sums())
    assert sums[0] == sums[1] == sums[2]


def test_means_over_processes_weigh_batches() -> None:
    assert joined_means([{"a": (6.0, 3), "b": (1.0, 1)}, {"a": (2.0, 1)}]) == {"a": 2.0, "b": 1.0}
    assert joined_means([{}, {}]) == {}


def test_rows_of_a_gpu_go_to_pinned_memory_behind_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    done = False

    class Event:
        def record(self, stream: str) -> None:
            asked.append(f"record on {stream}")

        def query(self) -> bool:
            return done

        def synchronize(self) -> None:
            asked.append("wait")

    class Host:
        def copy_(self, rows: Rows, non_blocking: bool) -> None:
            asked.append(f"copy {non_blocking}")

        def tolist(self) -> list[list[float]]:
            return [[1.0]]

    class Rows:
        device, shape, dtype = torch.device("cuda", 0), (1, 1), torch.float32

    def empty(shape: tuple[int, int], *, dtype: torch.dtype, pin_memory: bool) -> Host:
        asked.append(f"pinned {pin_memory} {shape}")
        return Host()

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch, "empty", empty)
    transfer = loss_log._Transfer(Rows())  # type: ignore[arg-type]
    assert asked == ["pinned True (1, 1)", "copy True", "record on stream of cuda:0"]
    assert not transfer.ready()
    done = True
    assert transfer.ready()
    assert transfer.rows() == [[1.0]]


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    log = LossLog(torch.device("cuda", 0))
    for step in range(1, 101):
        log.add(1, step, [Logged("a", torch.tensor(float(step), device="cuda"))])
        log.poll()
    log.drain()
    assert log.sums() == {"a": (5050.0, 100)}

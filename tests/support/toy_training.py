"""Small tasks for tests of the trainer; as a script, a whole run to be killed, stopped and started again."""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darkside_cli.errors import DarksideError
from darkside_cli.events import Event
from darkside_cli.training.distributed import Ranks
from darkside_cli.training.task import Task, Update, without_parameter_gradients
from darkside_cli.training.trainer import Trainer, TrainerConfig

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Pair:
    """Both (B, C, H, W)."""

    day: Tensor
    night: Tensor


class Pairs:
    """Batches drawn from the seed, the epoch and the position; each process gets its slice of the global batch."""

    def __init__(
        self,
        batches: int = 4,
        batch: int = 2,
        *,
        ranks: Ranks | None = None,
        side: int = 8,
        stay_after: int = -1,
    ) -> None:
        self.count, self.batch, self.ranks, self.side = batches, batch, ranks or Ranks(), side
        self.left = stay_after

    def batches(self, epoch: int) -> int:
        return self.count

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Pair]:
        torch.rand(1)  # as loaders do when they start
        for position in range(start, self.count):
            generator = torch.Generator().manual_seed(1000 * epoch + position)
            size = (self.batch * self.ranks.size, 3, self.side, self.side)
            day, night = (torch.randn(size, generator=generator) for _ in range(2))
            own = slice(self.ranks.rank * self.batch, (self.ranks.rank + 1) * self.batch)
            if self.left == 0:
                SIGNALS.stay()
            self.left -= 1
            yield Pair(day[own].clone(), night[own].clone() - 0.5)


class Signals:
    """Told of every signal that this process gets, from ``listen()`` on."""

    def __init__(self) -> None:
        self.read, self.write = -1, -1

    def listen(self) -> None:
        """Begin to listen."""
        self.read, self.write = os.pipe()
        os.set_blocking(self.write, False)
        signal.set_wakeup_fd(self.write)

    def stay(self) -> None:
        """Return when one has arrived, or who started this process is gone."""
        parent = os.getppid()
        while os.getppid() == parent and not select.select([self.read], [], [], 0.01)[0]:
            pass


SIGNALS = Signals()


def seeded(module: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


class ToyGan(Task[Pair]):
    """Two networks, two optimisers, batch norm, dropout, a pool drawn from by Python's generator, NumPy noise."""

    decisive = ("distance", "min")
    outputs = ("generator",)

    def __init__(
        self, *, dropout: float = 0.3, pool: bool = True, lr: float = 0.01, norm: bool = True
    ) -> None:
        layer = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.generator = seeded(
            nn.Sequential(
                nn.Conv2d(3, 4, 3, padding=1, bias=not norm),
                layer,
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Conv2d(4, 3, 3, padding=1),
            ),
            1,
        )
        middle = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.discriminator = seeded(
            nn.Sequential(
                nn.Conv2d(3, 4, 3, stride=2, bias=not norm), middle, nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3)
            ),
            2,
        )
        self.teacher = seeded(nn.Conv2d(3, 1, 3, padding=1), 3)
        self.networks = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "teacher": self.teacher,
        }
        self.frozen = frozenset({"teacher"})
        self.optimizers = {
            "generator": torch.optim.Adam(self.generator.parameters(), lr=lr, betas=(0.5, 0.999)),
            "discriminator": torch.optim.Adam(self.discriminator.parameters(), lr=lr, betas=(0.5, 0.999)),
        }
        self.schedulers = {
            name: torch.optim.lr_scheduler.LambdaLR(each, lambda epoch: 1 / (1 + 0.3 * epoch))
            for name, each in self.optimizers.items()
        }
        self.use_pool = pool
        self.pool: list[Tensor] = []

    def pooled(self, images: Tensor) -> Tensor:
        if not self.use_pool:
            return images
        result = []
        for image in images:
            if len(self.pool) < 3:
                self.pool.append(image)
                result.append(image)
            elif random.random() < 0.5:
                place = random.randrange(len(self.pool))
                result.append(self.pool[place])
                self.pool[place] = image
            else:
                result.append(image)
        return torch.stack(result) + float(np.random.normal()) * 0.01

    def train_step(self, batch: Pair) -> Iterator[Update]:
        fake = self.generator(batch.day)
        real_score = self.discriminator(batch.night)
        fake_score = self.discriminator(self.pooled(fake.detach()))
        loss = (real_score - 1).square().mean() + fake_score.square().mean()
        yield Update(loss, ("discriminator",), {"discriminator": loss})
        with without_parameter_gradients(self.discriminator):
            adversarial = (self.discriminator(fake) - 1).square().mean()
        edges = (self.teacher(fake) - self.teacher(batch.day)).abs().mean()
        yield Update(adversarial + edges, ("generator",), {"adversarial": adversarial, "edges": edges})

    def validate(self, epoch: int, folder: Path) -> Mapping[str, float]:
        torch.rand(5)
        random.random()
        (folder / f"epoch_{epoch:04d}.txt").write_text("picture")
        images = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
        return {"distance": float((self.generator(images) + 0.5).abs().mean())}

    def extra_state(self) -> dict[str, Any]:
        return {"pool": list(self.pool)}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        self.pool = list(state["pool"])

    def metadata(self, name: str) -> dict[str, Any]:
        return {"method": "toy", "network": name}


def trainer(
    run: Path,
    task: Task[Pair] | None = None,
    data: Pairs | None = None,
    *,
    events: list[Event] | None = None,
    **options: Any,
) -> Trainer[Pair]:
    """A trainer of a toy task; ``options`` are those of the configuration, or of the Trainer."""
    names = ("ranks", "resolved", "changeable", "save_network", "batch_size", "device")
    rest = {name: options.pop(name) for name in names if name in options}
    rest.setdefault("device", CPU)
    emit = events.append if events is not None else (lambda event: None)
    return Trainer(task or ToyGan(), data or Pairs(), TrainerConfig(**options), run=run, emit=emit, **rest)


def weights(task: Task[Any]) -> dict[str, Tensor]:
    """All weights of ``task`` by network and key."""
    return {
        f"{name}.{key}": value.clone()
        for name, module in task.networks.items()
        for key, value in module.state_dict().items()
    }


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of a run, of the command line if none are given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument(
        "--stay-after", type=int, default=-1, help="so many batches: until a signal comes, or the caller goes"
    )
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument(
        "--exact", action="store_true", help="nothing random, so that processes can be compared"
    )
    parser.add_argument("--fail", type=int, default=-1, help="rank that fails in its third batch")
    parser.add_argument("--kill", type=int, default=-1, help="rank that is killed in its third batch")
    return parser.parse_args(words)


def train(arguments: argparse.Namespace, ranks: Ranks) -> int:
    """Train a ToyGan in the folder given and tell of events on stdout; the code that a command would exit with."""
    task = ToyGan(dropout=0, pool=False) if arguments.exact else ToyGan()
    if ranks.rank in (arguments.fail, arguments.kill):
        break_third_batch(task, kill=ranks.rank == arguments.kill)
    config = TrainerConfig(
        epochs=arguments.epochs,
        checkpoint_every=2,
        checkpoint_minutes=arguments.minutes,
        validate_every=1,
        ema_decay=0.9,
        log_every_s=0,
    )
    data = Pairs(arguments.batches, arguments.batch, ranks=ranks, stay_after=arguments.stay_after)
    result = Trainer(
        task,
        data,
        config,
        run=arguments.run,
        device=CPU,
        ranks=ranks,
        resolved={"trainer": asdict(config), "batch": arguments.batch},
        emit=lambda event: print(type(event).__name__, event, flush=True),
    ).fit()
    torch.save(weights(task), arguments.run / f"final_{ranks.rank}.pt")
    return 130 if result.interrupted else 0


def main() -> int:
    """Train as one of the processes that the environment tells of; exit as the commands do."""
    torch.set_num_threads(1)
    SIGNALS.listen()
    arguments = parse()
    try:
        with Ranks.from_environment() as ranks:
            return train(arguments, ranks)
    except DarksideError as error:
        print(f"{error}", file=sys.stderr, flush=True)
        return error.exit_code


def break_third_batch(task: ToyGan, *, kill: bool) -> None:
    """Make ``task`` raise in its third batch, or its process end there as if by ``kill -9``."""
    step, count = task.train_step, 0

    def broken(batch: Pair) -> Iterator[Update]:
        nonlocal count
        count += 1
        if count == 3 and kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if count == 3:
            raise DarksideError("the third batch is bad")
        yield from step(batch)

    task.train_step = broken  # type: ignore[method-assign]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())

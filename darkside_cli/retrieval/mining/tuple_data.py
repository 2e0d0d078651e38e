"""Batches of tuples that are mined at the beginning of each epoch, with the network as it is then.

What is mined depends on the seed, the epoch and the network alone: the order of draws is that of published trainings
(:mod:`darkside_cli.retrieval.mining.draws`), from a stream of the epoch's own. The tuples of the epoch under way
belong to a checkpoint, so that a run that goes on inside of an epoch has them though its network has moved on since.

Of several processes the first one mines and shares what it has chosen; all of them describe images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from darkside_cli.datasets.unpaired_order import count_batches, share_of
from darkside_cli.errors import UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.metrics.ranking import IntArray
from darkside_cli.retrieval.mining.config import MiningConfig
from darkside_cli.retrieval.mining.draws import TorchDraws
from darkside_cli.retrieval.mining.hard_tuples import MinedTuples, Role, mine
from darkside_cli.retrieval.mining.tuple_images import ImageDescriber, ahead
from darkside_cli.training.distributed import Ranks


@dataclass(frozen=True)
class TupleBatch:
    """Tuples of a batch: each a list of images (3, H, W) of any sizes, the anchor, its positive, the negatives.

    ``places`` are the numbers of the places they show, which only the softmax over the batch asks for.
    """

    tuples: tuple[tuple[Tensor, ...], ...]
    places: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class EpochTuples:
    """The tuples of ``epoch`` (from 0) in the order trained on: images (T, 2 + K), anchor and positive first."""

    epoch: int
    images: IntArray


class TupleData:
    """An :class:`darkside_cli.training.task.EpochData` of tuples mined from ``describer.images``.

    ``batch_size`` is that of each process. An epoch has as many tuples as ``mining`` asks for; where images turn out
    to be damaged, other tuples stand in for theirs. ``prefetch`` tuples are read ahead by ``workers`` threads.
    Raises UsageError if there are no pairs, or too few for the processes.
    """

    def __init__(
        self,
        describer: ImageDescriber,
        mining: MiningConfig,
        *,
        seed: int,
        batch_size: int,
        ranks: Ranks | None = None,
        workers: int = 2,
        prefetch: int = 4,
        device: torch.device | None = None,
        emit: Emit = ignore,
    ) -> None:
        self.describer, self.mining, self.seed = describer, mining, seed
        self.tuples = describer.images.tuples.require_pairs()
        self._batch_size, self._ranks = batch_size, ranks or Ranks()
        self.workers, self._prefetch, self._device, self._emit = workers, prefetch, device, emit
        self.mined: EpochTuples | None = None
        limits = [mining.anchors, mining.anchor_pool if mining.anchor_choice == "diverse" else None]
        self.size = min([self.tuples.pairs, *(limit for limit in limits if limit is not None)])
        if self.size < self._ranks.size:
            raise UsageError(f"{self.size} tuples an epoch are too few for {self._ranks.size} processes")

    def batches(self, epoch: int) -> int:  # noqa: ARG002 - all are alike
        """Count the batches of ``epoch``. The last one may be smaller."""
        return count_batches(self.size, self._batch_size, self._ranks.size)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[TupleBatch]:
        """Batches ``start`` … of ``epoch`` (counted from 0), this process's part; mines first if need be."""
        mined = self.mined
        if mined is None or mined.epoch != epoch:
            mined = self.mined = self._mine_on_all(epoch)
        shares = [
            share_of(batch, self.size, self._batch_size, self._ranks.rank, self._ranks.size)
            for batch in range(start, self.batches(epoch))
        ]
        numbers = [int(n) for share in shares for place in share for n in mined.images[place]]
        width = mined.images.shape[1]
        roles: list[Role] = ["anchor", "positive", *["negative"] * (width - 2)]  # type: ignore[list-item]
        jobs = [(number, roles[place % width]) for place, number in enumerate(numbers)]
        with ThreadPoolExecutor(self.workers, thread_name_prefix="darkside-tuples") as pool:
            images = ahead(pool, self.describer.images.load, jobs, self._prefetch * width)
            with closing(images):
                for share in shares:
                    places = self.tuples.places_among(mined.images[list(share)])
                    yield TupleBatch(
                        tuple(tuple(next(images) for _ in range(width)) for _ in share),
                        tuple(tuple(each) for each in places.tolist()),
                    )

    def state(self) -> dict[str, Any]:
        """The tuples of the epoch under way."""
        if self.mined is None:
            return {}
        return {"epoch": self.mined.epoch, "images": torch.from_numpy(self.mined.images)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take them back. Raises ValueError if they are of other images."""
        self.mined = None
        if state:
            images = state["images"].numpy()
            if images.min() < 0 or images.max() >= len(self.tuples):
                raise ValueError("its tuples are of other images")
            self.mined = EpochTuples(int(state["epoch"]), images)

    def _mine_on_all(self, epoch: int) -> EpochTuples:
        """Mine in the first process, with the others describing their share of the images that it asks for."""
        ranks = self._ranks
        if ranks.size == 1:
            return self._mine(epoch, self.describer)
        if ranks.is_first:
            mined = self._mine(epoch, self._described_by_all)
            ranks.broadcast(("done", mined))
            return mined
        while True:
            kind, work = ranks.broadcast(None)
            if kind == "done":
                result: EpochTuples = work
                return result
            self._describe_own_share(*work)

    def _described_by_all(self, numbers: IntArray, role: Role, *, label: str = "") -> Tensor:
        self._ranks.broadcast(("describe", (numbers, role)))
        return self._describe_own_share(numbers, role, label)

    def _describe_own_share(self, numbers: IntArray, role: Role, label: str = "") -> Tensor:
        own = self.describer(numbers[self._ranks.rank :: self._ranks.size], role, label=label)
        parts: list[Tensor] = self._ranks.all_gather(own)
        dim = max(part.shape[1] for part in parts)
        rows = torch.full((len(numbers), dim), torch.nan)
        for rank, part in enumerate(parts):
            if part.shape[1] == dim:
                rows[rank :: self._ranks.size] = part
        return rows

    def _mine(self, epoch: int, describe: Callable[..., Tensor]) -> EpochTuples:
        draws = TorchDraws.of_epoch(self.seed, epoch)
        looked_at: set[Role] = set()

        def described(numbers: IntArray, role: Role) -> Tensor:
            looked_at.add(role)
            return describe(numbers, role, label=f"mining for epoch {epoch + 1}: {len(numbers)} {role}s")

        mined = mine(self.tuples, described, self.mining, draws=draws, device=self._device, emit=self._emit)
        self._emit(Notice(self._in_words(epoch, mined)))
        images = np.concatenate([mined.anchors[:, None], mined.positives[:, None], mined.negatives], axis=1)
        order = draws.tuple_order(len(images))
        # What was described can be read, and what could not be described is in no tuple.
        unknown = mined.positives if "anchor" in looked_at else images[:, :2]
        broken = self.describer.unreadable(np.unique(unknown))
        order = order[[broken.isdisjoint(images[number, :2].tolist()) for number in order]]
        if not len(order):
            raise UsageError("no mined tuple has images that can be read", hint="check the images")
        if len(order) < self.size:
            lost = self.size - len(order)
            self._emit(Notice(f"{lost} tuples of damaged images: others stand in for them", level="warning"))
        return EpochTuples(epoch, images[np.resize(order, self.size)])

    def _in_words(self, epoch: int, mined: MinedTuples) -> str:
        parts = [f"epoch {epoch + 1}: {len(mined)} tuples mined"]
        if len(mined.similarities):
            parts.append(f"similarity of anchors {mined.similarities.mean():.3f}")
        if mined.distances.size:
            parts.append(f"distance of negatives {mined.distances.mean():.3f}")
        return ", ".join(parts)


def validation_tuples(
    describer: ImageDescriber,
    mining: MiningConfig,
    *,
    draws: TorchDraws | None = None,
    device: torch.device | None = None,
    emit: Emit = ignore,
) -> tuple[Tensor, Tensor, Tensor]:
    """Descriptors of all tuples of a validation set: anchors and positives (T, D), negatives (T, K, D).

    Every image is described once for each role; negatives are mined with the same descriptors.
    """
    tuples = describer.images.tuples
    table: dict[bool, Tensor] = {}

    def described(numbers: IntArray, role: Role) -> Tensor:
        night = role == "anchor"
        new = describer(numbers, role, label=f"validation: {len(numbers)} {'anchors' if night else 'images'}")
        if night not in table:
            table[night] = torch.full((len(tuples), new.shape[1]), torch.nan)
        table[night][torch.from_numpy(numbers)] = new
        return new

    mined = mine(
        tuples, described, mining, draws=draws or TorchDraws.of_epoch(0, 0),
        device=device, emit=emit,
    )  # fmt: skip

    def descriptors_of(numbers: IntArray, role: Role) -> Tensor:
        """Descriptors of images, described now if mining had no use for them."""
        wanted = torch.from_numpy(np.unique(numbers))
        known = table.get(role == "anchor")
        missing = wanted if known is None else wanted[known[wanted].isnan().any(dim=1)]
        if len(missing):
            described(missing.numpy(), role)
        return table[role == "anchor"][torch.from_numpy(numbers)]

    anchors, positives = descriptors_of(mined.anchors, "anchor"), descriptors_of(mined.positives, "positive")
    negatives = table[False][torch.from_numpy(mined.negatives)]
    whole = torch.cat([anchors, positives], dim=1).isfinite().all(dim=1)
    return anchors[whole], positives[whole], negatives[whole]

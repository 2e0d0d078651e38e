"""Which images an epoch is made of and in what order: pure functions of the seed, as published trainings drew them.

Golden case ``pool_and_sampling``; global random generators are neither read nor moved.
"""

from __future__ import annotations

import random

import numpy as np
import torch
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def draw_pairs(day: int, night: int, size: int, *, seed: int) -> tuple[Indices, Indices]:
    """Draw ``size`` of ``day`` and of ``night`` images with replacement, independently of each other.

    By NumPy's legacy generator started with ``seed`` (training seed + epoch): all day ones, then all night ones.
    """
    generator = np.random.RandomState(seed % 2**32)
    days, nights = (generator.randint(count, size=size).astype(np.int64) for count in (day, night))
    return days, nights


def draw_order(size: int, *, seed: int) -> Indices:
    """Draw the order in which ``size`` pairs are visited: a permutation.

    As torch's shuffling loader does it without workers after ``torch.manual_seed(seed)``: one number for workers, one
    to start the generator that permutes.
    """
    generator = torch.Generator().manual_seed(seed)
    _for_workers, start = (
        int(torch.empty((), dtype=torch.int64).random_(generator=generator)) for _ in range(2)
    )
    return torch.randperm(size, generator=torch.Generator().manual_seed(start)).numpy()


def draw_epoch(day: int, night: int, size: int, *, seed: int) -> tuple[Indices, Indices]:
    """Indices (N,) of the day and of the night images of an epoch, as visited; ``seed`` is training seed + epoch."""
    days, nights = draw_pairs(day, night, size, seed=seed)
    order = draw_order(size, seed=seed)
    return days[order], nights[order]


def count_batches(size: int, batch_size: int, ranks: int) -> int:
    """Count the batches of ``size`` pairs in ``ranks`` processes, each of which takes ``batch_size`` of a batch."""
    whole, rest = divmod(size, batch_size * ranks)
    return whole + (rest >= ranks)


def share_of(batch: int, size: int, batch_size: int, rank: int, ranks: int) -> range:
    """Positions that process ``rank`` of ``ranks`` takes of a batch (counted from 0): one contiguous piece.

    All processes take equally many, so that the mean of their means is the mean of the batch: the last batch, which
    may be smaller, is cut to a multiple of ``ranks``; with one process it is kept whole.
    """
    first = batch * batch_size * ranks
    each = min(batch_size, (size - first) // ranks)
    return range(first + rank * each, first + (rank + 1) * each)


def generator_for(*key: int | str) -> random.Random:
    """Make a generator that depends on ``key`` alone, in every process and version of Python."""
    return random.Random("/".join(map(str, key)))  # noqa: S311 - texts are hashed with SHA-512

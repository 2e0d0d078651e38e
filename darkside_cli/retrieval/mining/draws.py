"""The random numbers of an epoch of metric learning, in the order in which published trainings drew them."""

from __future__ import annotations

import numpy as np
import torch

from darkside_cli.metrics.ranking import IntArray


class TorchDraws:
    """Draws from a stream of PyTorch's CPU generator: ``generator``, or the global one.

    Of an epoch that is: a permutation of the pairs; a data pass over the anchor pool, and one number for each further
    anchor (both for diverse anchors only); a permutation of the images; data passes over the anchors and the
    negative pool; and, when training begins, :meth:`tuple_order`. A data pass draws one 64-bit number, as torch's
    loaders do to seed their workers. ``data_passes`` False leaves these numbers out, for mining without loaders.
    """

    def __init__(self, generator: torch.Generator | None = None, *, data_passes: bool = True) -> None:
        self._generator = generator
        self._data_passes = data_passes

    @classmethod
    def of_epoch(cls, seed: int, epoch: int) -> TorchDraws:
        """Give the stream of ``epoch`` (counted from 0), of the seed ``seed + epoch``, apart from the global one."""
        return cls(torch.Generator().manual_seed(seed + epoch))

    def permutation(self, count: int) -> IntArray:
        """Order of ``count`` things, (count,)."""
        return np.asarray(torch.randperm(count, generator=self._generator))

    def below(self, bound: int) -> int:
        """One of 0 … ``bound - 1``."""
        return int(torch.randint(bound, (1,), generator=self._generator))

    def data_pass(self) -> None:
        """Draw the base seed that a loader hands to its workers, before a pass over images."""
        if self._data_passes:
            self._number()

    def tuple_order(self, tuples: int) -> IntArray:
        """Order in which ``tuples`` are trained on: of a generator of its own, which this stream gives the seed."""
        self.data_pass()
        own = torch.Generator().manual_seed(self._number())
        return np.asarray(torch.randperm(tuples, generator=own))

    def _number(self) -> int:
        return int(torch.empty((), dtype=torch.int64).random_(generator=self._generator))

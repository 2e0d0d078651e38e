"""Exponential moving averages of networks, which are smoother than what was trained last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: The decay after n updates is at most (1 + n) / (10 + n), so that a short run's average forgets its start.
_WARM_UP = 10


class MovingAverage:
    """Averages ``average = d * average + (1 - d) * network`` of all weights and running statistics of ``modules``.

    ``d`` is ``decay``, less in the beginning. Statistics are averaged with the weights that they belong to: those of
    the network as it is at the moment do not fit its average (a generator's colours then go astray). Counters are
    taken over as they are.
    """

    def __init__(self, modules: Mapping[str, nn.Module], decay: float) -> None:
        self._modules, self._decay = dict(modules), decay
        self.reset()

    def reset(self) -> None:
        """Begin anew from the networks as they are."""
        self.updates = 0
        self._averages = self._states()

    def _states(self) -> dict[str, dict[str, Tensor]]:
        return {
            name: {key: value.detach().clone() for key, value in module.state_dict().items()}
            for name, module in self._modules.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take the networks as they are now into the averages."""
        self.updates += 1
        weight = 1 - min(self._decay, (1 + self.updates) / (_WARM_UP + self.updates))
        for name, module in self._modules.items():
            averages, state = self._averages[name], module.state_dict()
            blended = [key for key in state if state[key].is_floating_point()]
            if blended:
                torch._foreach_lerp_(
                    [averages[key] for key in blended], [state[key] for key in blended], weight
                )
            for key in state.keys() - set(blended):
                averages[key].copy_(state[key])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The networks are their averages inside of this block, and themselves again afterwards, bit for bit."""
        before = self._states()
        self._put(self._averages)
        try:
            yield
        finally:
            self._put(before)

    @torch.no_grad()
    def _put(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name, module in self._modules.items():
            for key, value in module.state_dict().items():
                value.copy_(states[name][key])

    def load(self, name: str, state: Mapping[str, Tensor]) -> None:
        """Take back the average of network ``name``. Raises ValueError if it does not fit."""
        averages = self._averages[name]
        if averages.keys() != state.keys() or any(averages[k].shape != state[k].shape for k in averages):
            raise ValueError(f"the average of {name} does not fit the network")
        for key, value in state.items():
            averages[key].copy_(value)

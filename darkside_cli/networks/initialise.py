"""Random weights to begin a training with.

The published generators began with normal weights of standard deviation 0.2 (CycleGAN) or Kaiming's (all others),
every network drawn from the same seed, so that two equal networks begin equal. The papers they follow have 0.02.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

Initialisation = Literal["normal", "kaiming"]
KINDS: tuple[Initialisation, ...] = ("normal", "kaiming")
PUBLISHED_GAIN = 0.2

NetworkT = TypeVar("NetworkT", bound=nn.Module)
_WEIGHED = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def initialise(
    network: NetworkT, kind: Initialisation = "normal", *, gain: float = PUBLISHED_GAIN, seed: int = 0
) -> NetworkT:
    """Draw the weights of ``network`` in place and give it back.

    Weights of convolutions and linear layers are normal with standard deviation ``gain`` ("normal") or
    sqrt(2 / fan in) ("kaiming"), biases 0; scales of batch norms are normal around 1 with deviation ``gain``, their
    shifts 0. Drawn on the CPU in the order of registration, children first, from a random stream of its own that
    begins with ``seed``: the same on every device, and the global stream stays as it is.

    Raises ValueError for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"the initialisation must be one of {', '.join(KINDS)}, not {kind!r}")
    generator = torch.Generator().manual_seed(seed)

    def drawn(like: Tensor, mean: float) -> Tensor:
        return torch.empty(like.shape).normal_(mean, gain, generator=generator)

    def visit(module: nn.Module) -> None:
        if isinstance(module, _WEIGHED):
            if kind == "normal":
                module.weight.copy_(drawn(module.weight, 0.0))
            else:
                weight = torch.empty(module.weight.shape)
                module.weight.copy_(nn.init.kaiming_normal_(weight, mode="fan_in", generator=generator))
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            module.weight.copy_(drawn(module.weight, 1.0))
        else:
            return
        if module.bias is not None:
            module.bias.zero_()

    with torch.no_grad():
        network.apply(visit)
    return network

"""Learning rates over the epochs; schedulers are stepped once at the end of each."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR

from darkside_cli.errors import ConfigError


def linear_decay_factor(epoch: int, *, epochs: int, decay_epochs: int) -> float:
    """Share of the full rate in ``epoch`` (counted from 0) of ``epochs``.

    1 at first; in the last ``decay_epochs`` it falls in equal steps to 1 / (decay_epochs + 1), and would be 0 in the
    first epoch after the end.
    """
    begun = epoch + 1 - (epochs - decay_epochs)
    return max(0.0, 1.0 - max(0, begun) / (decay_epochs + 1))


def linear_decay(optimizer: Optimizer, *, epochs: int, decay_epochs: int) -> LambdaLR:
    """Full rate, then linearly down during the last ``decay_epochs`` of ``epochs`` (CycleGAN's and CUT's rule).

    Raises ConfigError if there are more epochs of decay than epochs.
    """
    if not 0 <= decay_epochs <= epochs:
        raise ConfigError(
            f"the rate cannot fall during {decay_epochs} of {epochs} epochs",
            hint=f"give a number from 0 to {epochs}",
        )
    return LambdaLR(
        optimizer, lambda epoch: linear_decay_factor(epoch, epochs=epochs, decay_epochs=decay_epochs)
    )


def exponential_decay(optimizer: Optimizer, *, gamma: float) -> ExponentialLR:
    """Rate times ``gamma`` after each epoch (fine-tuning of descriptors: 0.99)."""
    return ExponentialLR(optimizer, gamma)

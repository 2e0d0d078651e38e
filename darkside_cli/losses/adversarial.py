"""Adversarial losses on raw scores, with targets 0 for real and 1 for fake.

Least squares: Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, as CycleGAN and CUT use it.
Cross entropy: Goodfellow et al., NeurIPS 2014, in its non-saturating form. The targets are those of the published
weights, the opposite of the papers' (the discriminators were trained so, and their files are only right this way
round).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from darkside_cli.losses.precision import widened

AdversarialKind = Literal["lsgan", "vanilla"]
KINDS: tuple[AdversarialKind, ...] = ("lsgan", "vanilla")
REAL, FAKE = 0.0, 1.0


def adversarial_loss(
    scores: Tensor | Sequence[Tensor], *, real: bool, kind: AdversarialKind = "lsgan"
) -> Tensor:
    """How far raw ``scores`` (any shape) are from the target "real" or "fake", as a scalar in float32 at least.

    "lsgan" is the mean squared difference, "vanilla" the cross entropy of the scores' sigmoid. Of several scales,
    each a tensor, the losses are added up. The generator wants its pictures' scores to be real.
    """
    if not isinstance(scores, Tensor):
        return torch.stack([adversarial_loss(each, real=real, kind=kind) for each in scores]).sum()
    scores = widened(scores)
    target = torch.full_like(scores, REAL if real else FAKE)
    if kind == "lsgan":
        return F.mse_loss(scores, target)
    if kind == "vanilla":
        return F.binary_cross_entropy_with_logits(scores, target)
    raise ValueError(f"the adversarial loss must be one of {', '.join(KINDS)}, not {kind!r}")


def discriminator_loss(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """Mean of the two terms of :func:`adversarial_loss` that a discriminator learns from."""
    return (on_real + on_fake) / 2

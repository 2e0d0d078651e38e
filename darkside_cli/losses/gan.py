"""Losses of the GAN methods, each in float32 at least, whatever precision the networks run in.

- Least squares: Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, as CycleGAN and CUT use it.
  Cross entropy: Goodfellow et al., NeurIPS 2014, in its non-saturating form. Raw scores have the targets 0 for real and
  1 for fake. These are those of the published weights, the opposite of the papers' (the discriminators were trained so,
  and their files are only right this way round). Hinge loss: Lim and Ye, "Geometric GAN", 2017; likewise, real is low.
- PatchNCE: a patch of the output shall be more like the same patch of the input than like any other of its patches.
  Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020, equation 4.
- Edges: Mohwald et al., "Dark Side Augmentation", ICCV 2023. Night keeps the edges of day, and a student sees at night
  what its teacher sees by day: L1 distances, of edge probabilities for the generator and of logits (before the
  sigmoid, which has no slope left where the teacher is sure) for the student.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from darkside_cli.losses import at_least_float32

AdversarialKind = Literal["lsgan", "vanilla", "hinge"]
KINDS: tuple[AdversarialKind, ...] = ("lsgan", "vanilla", "hinge")
REAL, FAKE = 0.0, 1.0
DIAGONAL_SIMILARITY = -10.0
"""What stands among the negatives in the place of the positive; next to nothing after the exponential."""


def adversarial_loss(
    scores: Tensor | Sequence[Tensor], *, real: bool, kind: AdversarialKind = "lsgan"
) -> Tensor:
    """How far raw ``scores`` (any shape) are from the target "real" or "fake", as a scalar in float32 at least.

    "lsgan" is the mean squared difference, "vanilla" the cross entropy of the scores' sigmoid. Of several scales,
    each a tensor, the losses are added up. "hinge" is what a real score is above -1, a fake one below 1.
    """
    if not isinstance(scores, Tensor):
        return torch.stack([adversarial_loss(each, real=real, kind=kind) for each in scores]).sum()
    scores = at_least_float32(scores)
    target = torch.full_like(scores, REAL if real else FAKE)
    if kind == "lsgan":
        return F.mse_loss(scores, target)
    if kind == "vanilla":
        return F.binary_cross_entropy_with_logits(scores, target)
    if kind == "hinge":
        return F.relu(1 + scores if real else 1 - scores).mean()
    raise ValueError(f"the adversarial loss must be one of {', '.join(KINDS)}, not {kind!r}")


def generator_loss(scores: Tensor | Sequence[Tensor], *, kind: AdversarialKind = "lsgan") -> Tensor:
    """How far the ``scores`` of a generator's images are from real, as :func:`adversarial_loss` has it.

    Of "hinge" it is their mean, without an end: what is real enough may always be more so.
    """
    if kind != "hinge":
        return adversarial_loss(scores, real=True, kind=kind)
    if isinstance(scores, Tensor):
        return at_least_float32(scores).mean()
    return torch.stack([at_least_float32(each).mean() for each in scores]).sum()


def discriminator_loss(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """Mean of the two terms of :func:`adversarial_loss` that a discriminator learns from."""
    return (on_real + on_fake) / 2


def patch_nce_loss(queries: Tensor, keys: Tensor, *, temperature: float = 0.07, groups: int = 1) -> Tensor:
    """Loss of every patch, ``(N,)`` in float32 at least; its mean is the loss of a layer.

    ``queries`` and ``keys`` are ``(N, D)`` vectors of length one, patch i of one belonging to patch i of the other;
    keys receive no gradient. The negatives of a patch are the other keys of its group: the N patches are cut into
    ``groups`` equal parts in order (1: of the whole batch, as published; the number of images: of the same image,
    as in the paper).

    Raises ValueError if N cannot be divided by ``groups``.
    """
    total, dim = queries.shape
    if total % groups:
        raise ValueError(f"{total} patches cannot be cut into {groups} equal groups")
    n = total // groups
    # A half-precision product would be off by some hundredths before it is divided by the temperature.
    with torch.autocast(queries.device.type, enabled=False):
        q = at_least_float32(queries).view(groups, n, dim)
        k = at_least_float32(keys.detach()).view(groups, n, dim)
        similarity = torch.bmm(q, k.transpose(1, 2))
        # The positive of a row is on the diagonal; what replaces it among the negatives is one more column.
        logits = F.pad(similarity, (0, 1), value=DIAGONAL_SIMILARITY).view(total, n + 1) / temperature
        target = torch.arange(n, device=queries.device).repeat(groups)
        return F.cross_entropy(logits, target, reduction="none")


def l1_loss(images: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of tensors of one shape."""
    return F.l1_loss(at_least_float32(images), at_least_float32(target))


def edge_loss(edges: Tensor, target: Tensor) -> Tensor:
    """:func:`l1_loss` of edge probabilities ``(B, 1, H, W)``; no gradient to ``target``."""
    return l1_loss(edges, target.detach())


def distillation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """:func:`l1_loss` of edge logits ``(B, 1, H, W)``; no gradient to ``target``."""
    return l1_loss(logits, target.detach())

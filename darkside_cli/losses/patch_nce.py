"""PatchNCE: a patch of the output shall be more like the same patch of the input than like any other of its patches.

Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020, equation 4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from darkside_cli.losses.precision import widened

DIAGONAL_SIMILARITY = -10.0
"""What stands among the negatives in the place of the positive; next to nothing after the exponential."""


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
        q = widened(queries).view(groups, n, dim)
        k = widened(keys.detach()).view(groups, n, dim)
        similarity = torch.bmm(q, k.transpose(1, 2))
        # The positive of a row is on the diagonal; what replaces it among the negatives is one more column.
        logits = F.pad(similarity, (0, 1), value=DIAGONAL_SIMILARITY).view(total, n + 1) / temperature
        target = torch.arange(n, device=queries.device).repeat(groups)
        return F.cross_entropy(logits, target, reduction="none")

"""What several networks are made of: norms, anti-aliased resampling, and random weights to begin a training with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import comb
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


def without_autocast(device_type: str) -> AbstractContextManager[None]:
    """Context without autocast; shapes alone ("meta") have none to switch off, and torch refuses to."""
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)


# Instance norm by way of group norm: as exact or more, whatever order features lie in memory.


class OrderKeepingInstanceNorm2d(nn.InstanceNorm2d):
    """As :class:`torch.nn.InstanceNorm2d`, but channels last stays channels last."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)`` over H and W, per image and channel."""
        if self.affine or self.track_running_stats:
            return super().forward(input)
        return F.group_norm(input, input.shape[1], eps=self.eps)


def keep_memory_order(network: nn.Module) -> None:
    """Let the instance norms of ``network`` keep the memory order: they change their class and nothing else."""
    for layer in network.modules():
        if type(layer) is nn.InstanceNorm2d:
            layer.__class__ = OrderKeepingInstanceNorm2d


# Normalisation layers of the image-to-image networks, chosen by name.

NORMS = ("instance", "batch")
"""Instance norm: no affine parameters, no running statistics. Batch norm: both, momentum 0.1."""


def make_norm(kind: str, channels: int) -> nn.Module:
    """Layer for features ``(B, channels, H, W)``; ``kind`` is one of :data:`NORMS`.

    Raises ValueError for another kind.
    """
    if kind == "instance":
        return nn.InstanceNorm2d(channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    raise ValueError(f"norm must be one of {', '.join(NORMS)}, not {kind!r}")


def bias_before_norm(kind: str) -> bool:
    """Whether the published weights have a bias in the convolutions in front of this norm.

    Batch norm has a shift of its own; in front of an instance norm there are biases, though without effect.
    """
    return kind == "instance"


# Batch normalisation over the batches of all processes, on any device: as one process with the whole batch.

_ORDINARY = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class _Gathered(torch.autograd.Function):
    """Stacks the tensors of all processes, ``(N,) -> (processes, N)``; each gets the gradients of all for its own."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: Any) -> Tensor:
        ctx.group = group
        parts = [torch.empty_like(value) for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, value.contiguous(), group=group)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total[dist.get_rank(ctx.group)], None


class SynchronisedBatchNorm(_BatchNorm):
    """Batch norm of ``(B, C, *)`` whose mean and variance are those of all processes' batches together.

    Parameters, buffers and their names are those of the ordinary layers. In eval mode, and where there is one process,
    it is the ordinary layer.
    """

    process_group: Any = None

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least a batch and channels, got {input.dim()} dimensions")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, *)``, same shape and type; batches may be of different sizes, not all of one number."""
        self._check_input_dim(input)
        from_batch = self.training or self.running_mean is None
        if not (from_batch and dist.is_initialized() and dist.get_world_size(self.process_group) > 1):
            result: Tensor = super().forward(input)
            return result
        features = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        channels = features.shape[1]
        over = [0, *range(2, features.dim())]
        variance, mean = torch.var_mean(features, dim=over, correction=0)
        count = features.new_tensor([features.numel() // channels])
        gathered = _Gathered.apply(torch.cat([mean, variance, count]), self.process_group)
        counts = gathered[:, -1:]
        total = counts.sum()
        mean = (gathered[:, :channels] * counts).sum(0) / total
        spread = gathered[:, channels : 2 * channels] + (gathered[:, :channels] - mean).square()
        variance = (spread * counts).sum(0) / total
        if self.training and self.track_running_stats:
            self._take_statistics(mean.detach(), variance.detach(), total.detach())
        shape = (1, channels, *[1] * (features.dim() - 2))
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        result = (features - mean.view(shape)) * scale.view(shape)
        if self.bias is not None:
            result = result + self.bias.view(shape)
        return result.to(input.dtype)

    @torch.no_grad()
    def _take_statistics(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        if self.momentum is None:  # the plain average of all batches
            weight: Tensor | float = 1.0 / self.num_batches_tracked.to(mean.dtype)
        else:
            weight = self.momentum
        unbiased = variance * (total / (total - 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), weight)


@contextmanager
def synchronised_batch_norm(modules: Iterable[nn.Module], group: Any, *, native: bool) -> Iterator[None]:
    """Inside of this block all batch norms in ``modules`` go over the processes of ``group``.

    They change their class and nothing else, so whoever holds a layer, a parameter or a state dict goes on holding
    the right one. ``native`` takes torch's own layer, which is faster but exists on GPUs only.
    """
    kind: type[_BatchNorm] = nn.SyncBatchNorm if native else SynchronisedBatchNorm
    changed: list[tuple[_BatchNorm, type[_BatchNorm]]] = []
    try:
        for module in modules:
            for layer in module.modules():
                if type(layer) in _ORDINARY and isinstance(layer, _BatchNorm):
                    changed.append((layer, type(layer)))
                    layer.__class__ = kind
                    layer.process_group = group
        yield
    finally:
        for layer, before in changed:
            layer.__class__ = before
            del layer.process_group


# Anti-aliased resampling by two: a fixed binomial blur together with the subsampling or the zero insertion.
#
# Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019, in the two settings that CUT uses. The
# kernels are buffers called ``filt``, one copy per channel, and part of the state dict.


def binomial_kernel(taps: int, *, total: int = 1) -> list[list[float]]:
    """Outer product of two rows of Pascal's triangle, ``taps`` by ``taps``, with sum ``total``.

    ``taps=3`` is ``[1 2 1]`` in each direction, ``taps=4`` is ``[1 3 3 1]``. Plain numbers, exact ones: arithmetic with
    tensors, even repeat, makes torch load its compiler or its symbolic mathematics on the meta device, for seconds.
    """
    row = [comb(taps - 1, k) / 2 ** (taps - 1) for k in range(taps)]
    return [[total * a * b for b in row] for a in row]


class BlurDownsample(nn.Module):
    """Blur with ``[1 2 1]`` and keep every second pixel; the border is reflected.

    State: ``filt`` ``(channels, 1, 3, 3)``, sum 1 per channel.
    """

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("filt", torch.tensor([[binomial_kernel(3)]] * channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, ceil(H / 2), ceil(W / 2))``; both sides must be at least 2."""
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.filt, stride=2, groups=self.channels)


class BlurUpsample(nn.Module):
    """Double both sides: zeros between the pixels, blurred with ``[1 3 3 1]``; the border is repeated.

    With these weights that is bilinear interpolation by two. State: ``filt`` ``(channels, 1, 4, 4)``, sum 4
    per channel, which makes up for the three zeros beside every pixel.
    """

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("filt", torch.tensor([[binomial_kernel(4, total=4)]] * channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, 2 H, 2 W)``."""
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        # padding=3 cuts the repeated border off again: two output pixels, and one of the kernel's reach.
        return F.conv_transpose2d(padded, self.filt, stride=2, padding=3, groups=self.channels)


# Random weights to begin a training with.
#
# The published generators began with normal weights of standard deviation 0.2 (CycleGAN) or Kaiming's (all others),
# every network drawn from the same seed, so that two equal networks begin equal. The papers they follow have 0.02.


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

"""Global descriptors as the published numbers are computed: several scales, one vector, whitened.

Radenovic, Tolias and Chum, TPAMI 2019, sections 3.4 and 5.2: the descriptors of an image at several scales are
averaged with GeM's own exponent, made unit length, whitened and made unit length again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.errors import CheckpointError, ConfigError, UsageError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import Compose, descriptor_transform
from darkside_cli.interop.transforms import clahe_of_metadata
from darkside_cli.networks.retrieval_net import RetrievalNet
from darkside_cli.networks.weights import Checkpoint, Whitening, build_network
from darkside_cli.retrieval.describe.image_jobs import USUAL_SIZE_PX
from darkside_cli.retrieval.describe.scales import PAPER_SCALES, SINGLE_SCALE, require_scales


class DescriptorModel(nn.Module):
    """Normalised images to final descriptors.

    ``network`` gives descriptors of one scale; ``scales`` are factors of the image's sides; ``whitening`` is
    applied last, to its first ``dim`` dimensions (None: all). ``transform`` makes the network's input of a
    photograph; by default without CLAHE, with the network's own mean and standard deviation. The network is
    taken as it is: put it into eval mode first. ``image_size_px`` is the longest side of photographs that it is for, to
    which whoever reads them shrinks larger ones.

    Raises ConfigError for scales or dimensions that cannot be, CheckpointError for a whitening of descriptors
    of another size.
    """

    def __init__(
        self,
        network: RetrievalNet,
        *,
        scales: Sequence[float] = PAPER_SCALES,
        whitening: Whitening | None = None,
        dim: int | None = None,
        transform: Compose | None = None,
    ) -> None:
        super().__init__()
        require_scales(scales)
        if whitening is None and dim not in (None, network.config.dim):
            raise ConfigError(
                f"without a whitening descriptors have {network.config.dim} dimensions, not {dim}",
                hint="fewer dimensions are those of a whitening",
            )
        if whitening is not None and whitening.in_dim != network.config.dim:
            raise CheckpointError(
                f"the whitening takes {whitening.in_dim} dimensions, {network.config.backbone} gives "
                f"{network.config.dim}",
                hint="give the whitening that was learned with this network",
            )
        self.network = network
        self.image_size_px = USUAL_SIZE_PX
        self.scales = tuple(float(scale) for scale in scales)
        self.whitening = None if whitening is None else whitening.reduced(dim).layer()
        self.dim = network.config.dim if whitening is None else whitening.reduced(dim).out_dim
        config = network.config
        self.transform = descriptor_transform(config.mean, config.std) if transform is None else transform

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        scales: Sequence[float] = PAPER_SCALES,
        whitening: Whitening | None = None,
        dim: int | None = None,
        clahe: ClaheSettings | bool = True,
    ) -> DescriptorModel:
        """Build the model of a descriptor's checkpoint, in eval mode.

        ``clahe`` True is what is recorded with the checkpoint (which may be none), False is none. Raises
        CheckpointError if it is a network of another kind.
        """
        network = build_network(checkpoint) if checkpoint.kind == "descriptor" else None
        if not isinstance(network, RetrievalNet):
            raise CheckpointError(f"{checkpoint.path} is a {checkpoint.kind}, not a descriptor")
        settings = clahe_of_metadata(checkpoint.metadata) if clahe is True else clahe or None
        transform = descriptor_transform(network.config.mean, network.config.std, settings)
        return cls(network, scales=scales, whitening=whitening, dim=dim, transform=transform).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Describe images ``(B, 3, H, W)``, as :attr:`transform` gives them: ``(B, dim)`` of unit length.

        Raises ImageError if they are too small for the network at the smallest scale, UsageError if they are no batch
        of RGB images.
        """
        descriptors = self.aggregate(images)
        if self.whitening is not None:
            descriptors = self.whitening(descriptors)
        return descriptors

    def aggregate(self, images: Tensor) -> Tensor:
        """Describe images ``(B, 3, H, W)`` at all scales, without whitening: ``(B, D)``.

        The power mean ``(sum d^p / n)^(1/p)`` with GeM's p, or the plain mean (see
        :meth:`RetrievalNet.aggregation_power`), divided by its norm. A single scale 1 is left as it is.
        """
        self._require_size(images)
        if self.scales == SINGLE_SCALE:
            return self._describe(images)
        power = self.network.aggregation_power()
        terms = []
        for scale in self.scales:
            descriptors = self._describe(_scaled(images, scale))
            terms.append(descriptors if power is None else descriptors.pow(power))
        mean = torch.stack(terms).mean(dim=0)
        if power is not None:
            mean = mean.pow(1 / power)
        norm: Tensor = torch.linalg.vector_norm(mean, dim=1, keepdim=True)
        # No epsilon: published descriptors have none here. Only zeros, which have no direction, stay zeros.
        return mean / norm.clamp(min=torch.finfo(norm.dtype).tiny)

    def _describe(self, images: Tensor) -> Tensor:
        descriptors: Tensor = self.network(images)
        return descriptors

    def _require_size(self, images: Tensor) -> None:
        if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
            return  # sizes may be symbols then
        if images.dim() != 4 or images.shape[1] != 3:
            raise UsageError(
                f"images are batches of shape (B, 3, H, W), not {tuple(images.shape)}",
                hint="of one image make a batch: model(model.transform(image).unsqueeze(0))",
            )
        smallest = min(self.scales)
        height, width = (math.floor(side * smallest) for side in images.shape[-2:])
        self.network.require_size(height, width)

    def extra_repr(self) -> str:
        """Show the scales."""
        return f"scales={[round(scale, 4) for scale in self.scales]}"


def _scaled(images: Tensor, scale: float) -> Tensor:
    """Images with sides ``floor(side * scale)``, bilinear; the factor itself says where samples are taken."""
    if scale == 1:
        return images
    return F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)

"""The networks darkside knows, as torch-free entries: what they are called, where their code is, how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from darkside_cli.errors import UsageError
from darkside_cli.registry import Entry, Registry


@dataclass(frozen=True, kw_only=True)
class Architecture(Entry):
    """One kind of network.

    ``kind`` is "generator", "discriminator", "edge-detector", "head" or "descriptor"; ``target``, ``config``
    and ``recogniser`` are "module:attribute" of the module class, of its configuration dataclass and of the
    function that reads a configuration from the keys and shapes of a state dict.
    """

    kind: str
    config: str
    recogniser: str


def _architecture(
    name: str, kind: str, target: str, summary: str, *, recogniser: str = "recognise"
) -> Architecture:
    module = f"darkside_cli.networks.{target.partition(':')[0]}"
    return Architecture(
        name=name,
        kind=kind,
        summary=summary,
        target=f"darkside_cli.networks.{target}",
        config=f"darkside_cli.networks.{target}Config",
        recogniser=f"{module}:{recogniser}",
    )


ARCHITECTURES: Registry[Architecture] = Registry(
    "architecture",
    (
        _architecture(
            "resnet_generator",
            "generator",
            "generator:ResnetGenerator",
            "ResNet generator of CycleGAN and CUT",
        ),
        _architecture(
            "guided_generator",
            "generator",
            "guided:GuidedGenerator",
            "ResNet generator at a working size, brought to full size by a guided filter",
        ),
        _architecture(
            "unet_generator",
            "generator",
            "unet:UnetGenerator",
            "U-Net generator of pix2pix and CycleGAN",
        ),
        _architecture(
            "relight_generator",
            "generator",
            "relight:RelightGenerator",
            "U-Net that makes gain and emission of light, at a working size",
        ),
        _architecture(
            "patch_discriminator",
            "discriminator",
            "discriminator:PatchDiscriminator",
            "PatchGAN discriminator of CycleGAN and CUT",
        ),
        _architecture(
            "pixel_discriminator",
            "discriminator",
            "discriminator:PixelDiscriminator",
            "discriminator that judges single pixels",
            recogniser="recognise_pixel",
        ),
        _architecture(
            "projected_discriminator",
            "discriminator",
            "discriminator:ProjectedDiscriminator",
            "heads on frozen ImageNet features",
            recogniser="recognise_projected",
        ),
        _architecture(
            "hed",
            "edge-detector",
            "edge_detectors:Hed",
            "HED edge detector, interpolation form",
            recogniser="recognise_hed",
        ),
        _architecture(
            "rcf", "edge-detector", "edge_detectors:Rcf", "RCF edge detector", recogniser="recognise_rcf"
        ),
        _architecture("sobel", "edge-detector", "sobel:Sobel", "edges by formula, or a student of that"),
        _architecture(
            "patch_sample_mlp",
            "head",
            "patch_sample:PatchSampleMlp",
            "CUT's patch-sampling MLP head",
        ),
        _architecture(
            "retrieval_net",
            "descriptor",
            "retrieval_net:RetrievalNet",
            "retrieval network: backbone, GeM or another pooling, unit length",
        ),
    ),
)

SOURCE_FORMATS = (".dot", ".gv")
IMAGE_FORMATS = (".svg", ".png", ".pdf")


def check_drawable(path: Path) -> str:
    """The suffix of ``path`` in lower case. Raises UsageError if it is none of those that can be drawn into."""
    suffix = path.suffix.lower()
    if suffix not in SOURCE_FORMATS + IMAGE_FORMATS:
        raise UsageError(
            f"cannot draw into a '{path.suffix}' file",
            hint=f"known: {', '.join(IMAGE_FORMATS + SOURCE_FORMATS)}",
        )
    return suffix

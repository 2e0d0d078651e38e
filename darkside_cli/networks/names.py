"""What retrieval networks may be made of, by name alone. Torch-free, so that a misspelt name is told at once.

What the names stand for is in ``backbones.py`` and ``retrieval_net.py``.
"""

from __future__ import annotations

POOLINGS = ("gem", "gemmp", "mac", "spoc", "rmac")
"""Global poolings of a retrieval network."""

OWN_BACKBONES = ("mininet",)
"""Backbones that are not torchvision's."""

BACKBONES = tuple(
    sorted(
        (
            *OWN_BACKBONES,
            "alexnet",
            *(f"densenet{layers}" for layers in (121, 161, 169, 201)),
            *(f"efficientnet_b{size}" for size in range(8)),
            *(f"efficientnet_v2_{size}" for size in "lms"),
            *("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"),
            *(f"resnet{layers}" for layers in (18, 34, 50, 101, 152)),
            *("resnext101_32x8d", "resnext101_64x4d", "resnext50_32x4d"),
            *("squeezenet1_0", "squeezenet1_1"),
            *(f"vgg{layers}{norm}" for layers in (11, 13, 16, 19) for norm in ("", "_bn")),
            *("wide_resnet50_2", "wide_resnet101_2"),
        )
    )
)
"""Backbones, torchvision's as it calls the classifiers, in alphabetical order."""

"""Entry points of torch.hub: ``torch.hub.load(<this folder>, "gem_vgg16_hedngan", source="local")``.

``__all__`` names them, and each has a docstring: ``import hubconf; help(hubconf.hedngan)`` in this folder shows one.
``torch.hub.list`` and ``torch.hub.help`` take repositories at GitHub only ("owner/name"), no folders. The package need
not be installed.
"""

from darkside_cli.hub import (
    backbone,
    cyclegan,
    darkside_night,
    gem_lite_night,
    gem_resnet101_cyclegan,
    gem_resnet101_hedngan,
    gem_vgg16_cyclegan,
    gem_vgg16_hedngan,
    hedngan,
)

__all__ = [
    "backbone",
    "cyclegan",
    "darkside_night",
    "gem_lite_night",
    "gem_resnet101_cyclegan",
    "gem_resnet101_hedngan",
    "gem_vgg16_cyclegan",
    "gem_vgg16_hedngan",
    "hedngan",
]

# Import names, which torch.hub looks for before it calls an entry point.
dependencies = [
    "torch",
    "torchvision",
    "numpy",
    "PIL",
    "cv2",
    "safetensors",
    "platformdirs",
    "requests",
    "urllib3",
    "filelock",
]

"""Entry points of torch.hub: ``torch.hub.load(<this repository>, "gem_vgg16_hedngan")``.

``torch.hub.list`` names them, ``torch.hub.help`` explains each. The package need not be installed.
"""

from darkside_cli.hub import (
    cyclegan,
    gem_resnet101_cyclegan,
    gem_resnet101_hedngan,
    gem_vgg16_cyclegan,
    gem_vgg16_hedngan,
    hedngan,
)

__all__ = [
    "cyclegan",
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

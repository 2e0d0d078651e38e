"""The functions behind ``hubconf.py``: published models as torch.hub gives them.

They take ``pretrained`` and ``device`` as the published entry points do, and options of our own by keyword. What
a function's docstring says is what ``torch.hub.help`` shows of a repository at GitHub, and ``help`` of a folder.
Nothing heavy is imported before one is called, so that torch.hub can say which dependency is missing.
"""

from __future__ import annotations

from darkside_cli.hub.descriptors import (
    backbone,
    gem_lite_night,
    gem_resnet101_cyclegan,
    gem_resnet101_hedngan,
    gem_vgg16_cyclegan,
    gem_vgg16_hedngan,
)
from darkside_cli.hub.generators import cyclegan, darkside_night, hedngan

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

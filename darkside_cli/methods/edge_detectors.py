"""Edge detectors for training: found and opened, copied for a student, and how a student learns."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from darkside_cli.errors import CheckpointError, MissingAssetError
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.methods.catalog import EDGE_DETECTORS, is_detector_name
from darkside_cli.networks.edge_detectors import EdgeDetector, Hed
from darkside_cli.networks.locate import locate
from darkside_cli.networks.sobel import Sobel
from darkside_cli.networks.weights import build_network

if TYPE_CHECKING:
    from darkside_cli.config.paths import DataRoot
    from darkside_cli.methods.network_options import AdamOptions

_WITHOUT_WEIGHTS = "sobel"

# Factors of the learning rate and of the weight decay by the beginnings of parameters' names: those of the weights,
# and of the biases. The first that fits counts. HED's are its authors' (Xie and Tu, ICCV 2015).
_Factors = Mapping[str, tuple[tuple[float, float], tuple[float, float]]]
_HED_FACTORS: _Factors = {
    "vgg5.": ((100, 1), (200, 0)),
    "vgg": ((1, 1), (2, 0)),
    "score": ((0.01, 1), (0.02, 0)),
    "fusion": ((0.001, 1), (0.002, 0)),
}
# What corrects the formula begins with random weights and zeros, so it has to learn at an ordinary rate.
_SOBEL_FACTORS: _Factors = {"correction.": ((300, 1), (300, 0)), "": ((10, 0), (10, 0))}


def load_edge_detector(name_or_file: str | Path, root: DataRoot | Path) -> EdgeDetector:
    """Open the edge detector "hed", "rcf", "sobel", or that in a file (ours, gandtr's, bare weights); frozen.

    Published weights are looked for under the data root ``root``. Raises MissingAssetError if they, or the file, are
    not there (it says how to get them, and what needs none), UnknownNameError for a misspelt name, CheckpointError
    for a file that holds something else.
    """
    name = str(name_or_file)
    path = Path(name_or_file)
    if not isinstance(name_or_file, Path) and is_detector_name(name):
        entry = EDGE_DETECTORS.get(name)
        if not entry.needs_weights:
            return _frozen(Sobel())
        try:
            _, path = locate(entry.name, root, kind="edge-detector")
        except MissingAssetError as error:
            hint = f"{error.hint}; or --edge-detector {_WITHOUT_WEIGHTS}, which needs none"
            raise MissingAssetError(error.message, hint=hint) from error
    else:
        _, path = locate(path, root)
    checkpoint = open_checkpoint(path)
    network = build_network(checkpoint)
    if not isinstance(network, EdgeDetector):
        raise CheckpointError(
            f"{path} is of kind {checkpoint.kind}, not edge-detector", hint=f"see 'darkside models {path}'"
        )
    return _frozen(network)


def _frozen(detector: EdgeDetector) -> EdgeDetector:
    return detector.requires_grad_(False).eval()


def make_student(teacher: EdgeDetector) -> EdgeDetector:
    """A trainable detector, independent of ``teacher``, that gives what it gives."""
    student = teacher.trainable_copy() if isinstance(teacher, Sobel) else copy.deepcopy(teacher)
    return student.requires_grad_(True).train()


def student_parameter_groups(student: EdgeDetector, options: AdamOptions) -> list[dict[str, Any]]:
    """Groups for Adam: HED's layers have factors of their own, Sobel's too, all others go into one group."""
    factors = (
        _HED_FACTORS if isinstance(student, Hed) else _SOBEL_FACTORS if isinstance(student, Sobel) else {}
    )
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in student.named_parameters():
        fitting = (each for start, each in factors.items() if name.startswith(start))
        of_weight, of_bias = next(fitting, ((1, 1), (1, 1)))
        groups.setdefault(of_bias if name.endswith("bias") else of_weight, []).append(parameter)
    return [
        {"params": parameters, "lr": options.lr * rate, "weight_decay": options.weight_decay * decay}
        for (rate, decay), parameters in groups.items()
    ]

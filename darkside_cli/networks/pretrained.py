"""Weights of classifiers as the beginning of a retrieval network's backbone.

State dicts come with the keys of the features alone (``0.weight``, as published for retrieval), of a whole retrieval
network (``features.0.weight`` and more), or of torchvision's classifier (``conv1.weight``, ``features.0.weight``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from darkside_cli.errors import CheckpointError
from darkside_cli.networks.backbones import feature_shapes, features_of_classifier
from darkside_cli.networks.state_file import read_state_file, require_finite
from darkside_cli.networks.weights import normalise_state, shapes_of

_COUNTER = "num_batches_tracked"
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def load_features(features: nn.Module, backbone: str, path: Path) -> None:
    """Load the features of ``backbone`` from a file into ``features``.

    Raises MissingAssetError if there is no such file, CheckpointError if it is damaged, unsafe, or of another network.
    """
    content = read_state_file(path).content
    inner = [
        content[key]
        for key in _WRAPPERS
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)
    ]
    content = inner[0] if inner else content
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no weights")
    state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    found = features_state(normalise_state(state, path), backbone, path)
    require_finite(found, path)
    features.load_state_dict(found)


def features_state(state: Mapping[str, Tensor], backbone: str, path: Path) -> dict[str, Tensor]:
    """The features' part of ``state`` under the features' keys.

    Raises CheckpointError, saying what is missing, if it is of another network.
    """
    expected = feature_shapes(backbone)
    candidates: list[dict[str, Any]] = [
        dict(state),
        {ours: state[theirs] for theirs, ours in classifier_keys(backbone).items() if theirs in state},
        {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")},
    ]
    for candidate in candidates:
        for key in expected:
            if key.endswith(_COUNTER) and key not in candidate and len(candidate):
                candidate[key] = torch.tensor(0)  # files of old torch versions have none
    best = max(candidates, key=lambda each: len(each.keys() & expected.keys()))
    found = {key: shape for key, shape in shapes_of(best).items() if key in expected}
    wrong = [key for key, shape in expected.items() if found.get(key) != shape]
    if wrong:
        first = wrong[0]
        there = "x".join(map(str, found[first])) if first in found else "missing"
        raise CheckpointError(
            f"{path} does not hold the features of {backbone}: {len(wrong)} of {len(expected)} weights do not fit; "
            f"{first} is {there}, expected {'x'.join(map(str, expected[first]))}",
            hint="name the backbone that the file is of with --backbone",
        )
    return {key: best[key] for key in expected}


@cache
def classifier_keys(backbone: str) -> Mapping[str, str]:
    """Keys of torchvision's classifier ``backbone``, to ours, of all that the features are made of."""
    with torch.device("meta"):
        classifier, features = features_of_classifier(backbone)
    names = {id(value): key for key, value in _tensors(features).items()}
    return {key: names[id(value)] for key, value in _tensors(classifier).items() if id(value) in names}


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}

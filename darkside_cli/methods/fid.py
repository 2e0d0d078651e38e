"""The Frechet inception distance through the optional library torch-fidelity (Heusel et al., NeurIPS 2017).

The library fetches the Inception weights itself, once, into torch's own cache. With fewer than some thousand pictures
the distance is biased upwards: compare figures of the same number of pictures only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from darkside_cli.errors import MissingAssetError

Picture = NDArray[np.uint8]


class _Pictures(Dataset[Tensor]):
    """Pictures (H, W, 3) as the library wants them: (3, H, W) uint8."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self._pictures[index].transpose(2, 0, 1).copy())


def fid_library() -> Any:
    """Import torch-fidelity. Raises MissingAssetError if it is not installed."""
    try:
        import torch_fidelity
    except ImportError as error:
        raise MissingAssetError(
            "the Frechet inception distance needs the library torch-fidelity",
            hint="pip install 'darkside-cli[fid]'",
        ) from error
    return torch_fidelity


def frechet_inception_distance(
    made: Sequence[Picture], real: Sequence[Picture], *, device: torch.device | str = "cpu"
) -> float:
    """Distance of ``made`` pictures (H, W, 3) uint8 RGB from ``real`` ones, of any sizes; at least two of each.

    Raises MissingAssetError if the library is not installed, or its weights cannot be had.
    """
    library = fid_library()
    before = torch.get_rng_state()  # its loader draws a number
    try:
        found = library.calculate_metrics(
            input1=_Pictures(made),
            input2=_Pictures(real),
            fid=True,
            cuda=torch.device(device).type == "cuda",
            batch_size=1,  # pictures need not be of one size
            save_cpu_ram=True,  # in this process: forks and a device in use do not go together
            cache=False,
            verbose=False,
        )
    except OSError as error:  # urllib's errors are of this kind
        raise MissingAssetError(
            f"the weights that torch-fidelity needs cannot be had ({error})", hint="train without fid"
        ) from error
    finally:
        torch.set_rng_state(before)
    return float(found["frechet_inception_distance"])

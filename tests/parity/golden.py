"""Reading of the golden cases (see data/README.md): all a test needs comes from the manifest and the arrays.

The folder is ``data/`` beside this file, or what DARKSIDE_PARITY_DATA names: another set of the same
structure, with other seeds, sizes and numbers of batches, has to pass as well.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.interop.transform_words import DEFAULT_SCALES
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.registry import resolve

OTHER_SET = os.environ.get("DARKSIDE_PARITY_DATA")
DATA = Path(OTHER_SET) if OTHER_SET else Path(__file__).parent / "data"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One case: its manifest ``entry``, the arrays of its .npz and the values of its .json."""

    entry: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.entry["name"])

    @property
    def params(self) -> Mapping[str, Any]:
        return self.entry["params"]

    @property
    def seed(self) -> int:
        return int(self.params["weights_seed"])

    @cached_property
    def arrays(self) -> dict[str, Array]:
        with np.load(DATA / self.entry["npz"]) as archive:
            return dict(archive)

    @cached_property
    def values(self) -> Any:
        return json.loads((DATA / self.entry["json"]).read_text())

    def numbers(self, prefix: str) -> list[int]:
        """Every i for which there is an array ``<prefix><i>``, increasing; there is at least one."""
        found = sorted(
            int(m[1]) for key in self.arrays if (m := re.fullmatch(re.escape(prefix) + r"(\d+)", key))
        )
        assert found, f"case {self.name} has no arrays {prefix}<i>"
        return found

    def with_prefix(self, prefix: str) -> dict[str, Array]:
        """Arrays whose name begins with ``prefix``, by the rest of their name."""
        return {
            key.removeprefix(prefix): array for key, array in self.arrays.items() if key.startswith(prefix)
        }

    def assert_close(self, actual: Tensor | Array, expected: Array, kind: str | None = None) -> None:
        """Shapes equal and values within the case's tolerance (that of ``kind``, if it has several)."""
        tolerance = self.entry["tolerance"] if kind is None else self.entry["tolerance"][kind]
        values = actual.detach().cpu().numpy() if isinstance(actual, Tensor) else actual
        assert values.shape == expected.shape
        if tolerance == "exact":
            np.testing.assert_array_equal(values, expected)
        else:
            assert set(tolerance) <= {"atol", "rtol"}
            np.testing.assert_allclose(
                values, expected, atol=tolerance.get("atol", 0.0), rtol=tolerance.get("rtol", 0.0)
            )


@cache
def manifest() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = json.loads((DATA / "manifest.json").read_text())
    return loaded


@cache
def load_case(name: str) -> Case:
    """Case ``name``. Our own set has all of them; a test whose case another set leaves out is skipped."""
    for entry in manifest()["cases"]:
        if entry["name"] == name:
            return Case(entry)
    if OTHER_SET:
        pytest.skip(f"{DATA} has no case {name}", allow_module_level=True)
    raise LookupError(f"{DATA} has no case {name}")


@cache
def weights_module() -> Any:
    """``weights.py`` of the data folder."""
    spec = importlib.util.spec_from_file_location("parity_weights", DATA / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill_(target: nn.Module | Mapping[str, Tensor], seed: int) -> Any:
    """Deterministic weights in place; gives ``target`` back."""
    fill: Callable[[Any, int], Any] = weights_module().fill_
    return fill(target, seed)


def build(model_params: Mapping[str, Any], seed: int | None = None) -> Any:
    """Network for the reference's ``params.model`` in eval mode, with weights filled from ``seed``."""
    architecture, config = config_from_reference(model_params)
    network = resolve(ARCHITECTURES.get(architecture).target)(config).eval()
    return network if seed is None else fill_(network, seed)


def to_input(images: Array) -> Tensor:
    """uint8 RGB ``(B, H, W, 3)`` or ``(H, W, 3)`` to float32 ``(B, 3, H, W)`` in [-1, 1]."""
    batch = torch.from_numpy(np.ascontiguousarray(images if images.ndim == 4 else images[None]))
    return (batch.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def parse_slice(text: str) -> tuple[slice, ...]:
    """``"[:, ::3, :7]"`` as a tuple of slices."""
    parts = text.strip("[]").split(",")
    return tuple(slice(*(int(n) if n.strip() else None for n in part.split(":"))) for part in parts)


def statistics(tensor: Tensor | Array) -> list[float]:
    """Mean, population standard deviation and L2 norm in float64."""
    values = np.asarray(tensor.detach() if isinstance(tensor, Tensor) else tensor, dtype=np.float64)
    return [float(values.mean()), float(values.std()), float(np.sqrt((values**2).sum()))]


def crop(case: Case) -> tuple[tuple[int, int], tuple[float, float]]:
    """Size (width, height) and scales of the random crop that a case's ``params`` name."""
    kind, sides, *scales = case.params["crop"].split(":")
    assert kind == "scalecrop"
    width, height = map(int, sides.split("_"))
    low, high = map(float, scales[0].split("_")) if scales else DEFAULT_SCALES
    return (width, height), (low, high)

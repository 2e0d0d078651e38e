from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from darkside_cli.errors import CheckpointError, ConfigError
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.networks.state_file import read_state_file
from darkside_cli.networks.weights import WHITENING_KEY, Whitening, save_whitening, whitening_from_state_file


def example(out_dim: int = 3, in_dim: int = 5) -> Whitening:
    rng = np.random.default_rng(0)
    return Whitening(
        rng.normal(size=in_dim), rng.normal(size=(out_dim, in_dim)), {"method": "lw", "pairs": 7}
    )


def test_dimensions() -> None:
    learned = example()
    assert (learned.in_dim, learned.out_dim) == (5, 3)
    column = Whitening(learned.mean[:, None].astype(np.float32), learned.projection.astype(np.float32))
    assert column.mean.shape == (5,)
    assert column.mean.dtype == column.projection.dtype == np.float64


def test_first_dimensions() -> None:
    learned = example()
    assert learned.reduced(None) is learned.reduced(3) is learned
    less = learned.reduced(2)
    np.testing.assert_array_equal(less.projection, learned.projection[:2])
    np.testing.assert_array_equal(less.mean, learned.mean)
    for wrong in (0, 4, -1):
        with pytest.raises(ConfigError, match="of a whitening that gives 3"):
            learned.reduced(wrong)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 999))
@settings(deadline=None)
def test_layer_is_the_formula(out_dim: int, in_dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    learned = Whitening(rng.normal(size=in_dim), rng.normal(size=(out_dim, in_dim)))
    rows = rng.normal(size=(4, in_dim))
    turned = (rows - learned.mean) @ learned.projection.T
    expected = turned / (np.linalg.norm(turned, axis=1, keepdims=True) + 1e-6)
    result = learned.layer()(torch.from_numpy(rows).float()).numpy()
    np.testing.assert_allclose(result, expected, atol=2e-4)


def test_there_and_back(tmp_path: Path) -> None:
    learned = example()
    path = save_whitening(tmp_path / "new" / "w.safetensors", learned)
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"], "no temporary file is left"
    again = whitening_from_state_file(read_state_file(path))
    assert again is not None
    np.testing.assert_array_equal(again.mean, learned.mean)
    np.testing.assert_array_equal(again.projection, learned.projection)
    assert again.metadata == learned.metadata
    with safe_open(path, framework="np") as file:
        assert json.loads(file.metadata()[WHITENING_KEY])["version"] == 1


def test_the_same_whitening_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = (save_whitening(tmp_path / f"{i}.safetensors", example()) for i in range(2))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("mean", "projection"),
    [
        (np.zeros(3), np.zeros((2, 4))),
        (np.zeros(3), np.zeros(3)),
        (np.zeros(3), np.zeros((0, 3))),
        (np.array([0, np.nan]), np.zeros((2, 2))),
        (np.zeros(2), np.full((2, 2), np.inf)),
    ],
)
def test_what_is_no_whitening(mean: np.ndarray, projection: np.ndarray) -> None:
    with pytest.raises(ValueError, match="whitening"):
        Whitening(mean, projection)


@pytest.mark.parametrize(
    ("header", "names", "says"),
    [
        ('{"version": 2, "metadata": {}}', ("mean", "projection"), "format version 2"),
        ('{"version": 1}', ("mean", "projection"), "damaged whitening"),
        ('{"version": 1, "metadata": 3}', ("mean", "projection"), "damaged whitening"),
        ("no json", ("mean", "projection"), "damaged whitening"),
        ('{"version": 1, "metadata": {}}', ("mean", "other"), "damaged whitening"),
        ('{"version": 1, "metadata": {}}', ("projection", "mean"), "damaged whitening"),
    ],
)
def test_damaged_files(header: str, names: tuple[str, str], says: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    arrays = dict(zip(names, (np.zeros(3), np.ones((2, 3))), strict=True))
    save_file(arrays, path, metadata={WHITENING_KEY: header})
    with pytest.raises(CheckpointError, match=says):
        whitening_from_state_file(read_state_file(path))


def test_other_safetensors_are_none_of_it(tmp_path: Path) -> None:
    save_file({"mean": np.zeros(3)}, tmp_path / "x.safetensors")
    assert whitening_from_state_file(read_state_file(tmp_path / "x.safetensors")) is None


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors" / "x").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="cannot write"):
        save_whitening(tmp_path / "w.safetensors", example())


@pytest.mark.parametrize("wanted", [0x280, 0x480])
def test_a_header_whose_length_looks_like_a_pickle(tmp_path: Path, wanted: int) -> None:
    """A safetensors file begins with its header's length: 0x80 0x02 is also how a pickle begins."""

    def write(filling: str) -> int:
        save_whitening(path, Whitening(np.zeros(3), np.eye(3), {"filling": filling}))
        return int.from_bytes(path.read_bytes()[:8], "little")

    path = tmp_path / "a.safetensors"
    filling = "x" * (wanted - write(""))
    assert write(filling) == wanted
    assert path.read_bytes()[:2] == wanted.to_bytes(2, "little")
    assert read_whitening(path).metadata["filling"] == filling

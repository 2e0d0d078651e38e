"""A generator as what makes night: the numbers of published trainings, one image at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from small_descriptor import write_small_descriptor
from torch import Tensor, nn

from darkside_cli.assets.ledger import sha256_of
from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import CheckpointError, MissingAssetError, UnknownNameError
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.methods.night import GeneratorNight, load_night, seed_of
from darkside_cli.networks.configs import RelightGeneratorConfig
from darkside_cli.networks.relight import NightControls, RelightGenerator
from darkside_cli.networks.weights import build_network


class Negative(nn.Module):
    """Turns the sign; notes what it got."""

    input_multiple, input_minimum_px = 1, 1

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return -x


class Picky(Negative):
    """Takes sides of multiples of four only, from eight on."""

    input_multiple, input_minimum_px = 4, 8

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] % 4 == x.shape[-2] % 4 == 0
        assert min(x.shape[-2:]) >= 8
        return super().forward(x)


DAY = np.random.default_rng(0).integers(0, 256, (9, 14, 3)).astype(np.uint8)


def test_by_hand() -> None:
    network = Negative().eval()
    night = GeneratorNight(network, fingerprint="x")(DAY, "any")
    assert night.dtype == np.float32
    np.testing.assert_allclose(night, 1 - DAY / 255, atol=1e-6)
    assert network.seen[0].shape == (1, 3, 9, 14)
    np.testing.assert_allclose(
        network.seen[0][0].permute(1, 2, 0).numpy(), (DAY / 255 - 0.5) / 0.5, atol=1e-6
    )


def test_its_own_normalisation() -> None:
    night = GeneratorNight(Negative().eval(), fingerprint="x", mean=(0.1, 0.2, 0.3), std=(1.0, 0.5, 0.25))
    np.testing.assert_allclose(night(DAY, "any"), 2 * np.array([0.1, 0.2, 0.3]) - DAY / 255, atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 14), (3, 40), (8, 8)])
def test_sides_that_it_cannot_take(shape: tuple[int, int]) -> None:
    day = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
    night = GeneratorNight(Picky().eval(), fingerprint="x")(day, "any")
    np.testing.assert_allclose(night, 1 - day / 255, atol=1e-6)


def test_a_published_file(generator_file: Path, tmp_path: Path) -> None:
    """Sides are rounded up by the network itself, as in published trainings."""
    night = load_night(generator_file, DataRoot(tmp_path, "test"))
    assert night.fingerprint == sha256_of(generator_file)
    assert night.costly
    made = night(DAY, "any")
    assert made.shape == (12, 16, 3)
    network = build_network(open_checkpoint(generator_file)).eval()
    x = torch.from_numpy(DAY.transpose(2, 0, 1).copy())[None].float() / 255
    with torch.no_grad():
        plain = network((x - 0.5) / 0.5)[0].permute(1, 2, 0).numpy() / 2 + 0.5
    np.testing.assert_allclose(made, plain, atol=2e-5)


def test_threads_get_the_same_bits(generator_file: Path, tmp_path: Path) -> None:
    night = load_night(generator_file, DataRoot(tmp_path, "test"))
    days = [np.roll(DAY, n, axis=0) for n in range(6)]
    alone = [night(day, "any") for day in days]
    with ThreadPoolExecutor(4) as pool:
        for expected, made in zip(alone, pool.map(lambda day: night(day, "any"), days), strict=True):
            np.testing.assert_array_equal(made, expected)


def test_what_is_no_generator(tmp_path: Path) -> None:
    root = DataRoot(tmp_path, "test")
    path = write_small_descriptor(tmp_path / "mine.safetensors")
    with pytest.raises(CheckpointError, match="not a generator"):
        load_night(path, root)
    with pytest.raises(MissingAssetError, match="darkside download hedngan"):
        load_night("hedngan", root)
    with pytest.raises(UnknownNameError, match="hedngan"):
        load_night("hedngen", root)


def test_a_relighting_generator_makes_the_night_that_the_name_decides() -> None:
    network = RelightGenerator(RelightGeneratorConfig(width=4, levels=1, working_px=32))
    network.draw_weights(0)
    night = GeneratorNight(network.eval(), fingerprint="x")
    first, other = night(DAY, "a.jpg"), night(DAY, "b.jpg")
    assert not np.array_equal(first, other)
    assert np.array_equal(first, night(DAY, "a.jpg")), "whatever came in between"
    network.controls = NightControls(seed=seed_of("a.jpg"))
    with torch.no_grad():
        wanted = network(torch.from_numpy(DAY.transpose(2, 0, 1)[None] / 127.5 - 1).float())
    np.testing.assert_allclose(first, wanted[0].permute(1, 2, 0).numpy() / 2 + 0.5, atol=1e-5)

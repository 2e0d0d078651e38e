"""Checkpoints written in other formats, and read again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from darkside_cli.errors import UsageError
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.interop.rewrite import rewrite
from darkside_cli.networks.weights import build_network


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_there_and_back(suffix: str, tmp_path: Path, generator_file: Path) -> None:
    """The round trip gives the same network: ours, and the original's own format."""
    before = open_checkpoint(generator_file)
    after = open_checkpoint(rewrite(before, tmp_path / f"g{suffix}"))
    assert after.format == {".safetensors": "darkside", ".pth": "gandtr"}[suffix]
    assert after.config == before.config
    assert all(torch.equal(value, after.state[key]) for key, value in before.state.items())


def test_half_precision_is_half_the_file_and_works(tmp_path: Path, generator_file: Path) -> None:
    whole = rewrite(open_checkpoint(generator_file), tmp_path / "whole.safetensors")
    half = rewrite(
        open_checkpoint(generator_file), tmp_path / "half.safetensors", half=True, metadata={"a": 1}
    )
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    read = open_checkpoint(half)
    assert read.metadata["a"] == 1
    image = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    with torch.no_grad():
        one, other = (build_network(open_checkpoint(path))(image) for path in (whole, half))
    assert 0 < (one - other).abs().max() < 0.05


def test_other_suffixes_are_refused(tmp_path: Path, generator_file: Path) -> None:
    with pytest.raises(UsageError, match="no format"):
        rewrite(open_checkpoint(generator_file), tmp_path / "g.bin")

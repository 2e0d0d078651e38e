"""A run's folder stands for the descriptor in it, ours or gandtr's; generators come first."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from golden import DATA
from small_descriptor import BACKBONE, write_small_descriptor

from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.interop.folders import find_descriptor, find_network
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.retrieval.describe.load import load_model

CHECKPOINTS = DATA / "files" / "checkpoints"


def test_ours(tmp_path: Path) -> None:
    path = write_small_descriptor(tmp_path / "run" / "descriptor.safetensors")
    assert find_descriptor(tmp_path / "run") == path
    assert open_checkpoint(tmp_path / "run").config.backbone == BACKBONE
    loaded = load_model(tmp_path / "run")
    assert loaded.model.whitening is not None
    assert loaded.metadata["backbone"] == BACKBONE


def test_the_whitening_is_no_network(tmp_path: Path) -> None:
    path = write_small_descriptor(tmp_path / "descriptor.safetensors")
    path.unlink()
    assert (tmp_path / "descriptor_whitening.safetensors").is_file()
    assert find_descriptor(tmp_path) is None
    with pytest.raises(UsageError, match="without a descriptor"):
        load_model(tmp_path)


def test_gandtrs_best_epoch(tmp_path: Path) -> None:
    (tmp_path / "epochs").mkdir()
    for name in ("embed_epoch_10.pth", "embed_best.pth"):
        shutil.copy(CHECKPOINTS / "embed_vgg16.pth", tmp_path / "epochs" / name)
    assert find_descriptor(tmp_path) == tmp_path / "epochs" / "embed_best.pth"


def test_a_generator_is_preferred_and_a_direction_is_a_generators(tmp_path: Path) -> None:
    descriptor = write_small_descriptor(tmp_path / "descriptor.safetensors")
    assert find_network(tmp_path) == descriptor
    with pytest.raises(MissingAssetError, match="no generator"):
        find_network(tmp_path, "day2night")
    shutil.copy(CHECKPOINTS / "generator_instance.pth", tmp_path / "generator_X_best.pth")
    assert find_network(tmp_path) == tmp_path / "generator_X_best.pth"
    with pytest.raises(MissingAssetError, match="no generator's weights"):
        find_network(tmp_path / "nothing")

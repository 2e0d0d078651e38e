"""``--layout gandtr``: what a training leaves is where gandtr's users look for it, in the formats its code reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from darkside_cli.compat.gandtr_layout import write_gandtr_layout
from darkside_cli.compat.load import open_checkpoint
from darkside_cli.compat.safe_pickle import load_pickle
from darkside_cli.models.weights import save_checkpoint
from darkside_cli.models.whitening import Whitening, save_whitening

CHECKPOINTS = Path(__file__).parents[1] / "parity" / "data" / "files" / "checkpoints"


def _ours(source: str, target: Path) -> None:
    checkpoint = open_checkpoint(CHECKPOINTS / source)
    save_checkpoint(
        target,
        checkpoint.state,
        architecture=checkpoint.architecture,
        config=checkpoint.config,
        metadata=checkpoint.metadata,
    )


def test_networks_and_whitening(tmp_path: Path) -> None:
    _ours("generator_instance.pth", tmp_path / "generator_day2night.safetensors")
    _ours("generator_batch.pth", tmp_path / "generator_night2day.safetensors")
    rng = np.random.default_rng(0)
    whitening = Whitening(mean=rng.random(6), projection=rng.random((4, 6)))
    save_whitening(tmp_path / "descriptor_whitening.safetensors", whitening)
    written = [path.relative_to(tmp_path).as_posix() for path in write_gandtr_layout(tmp_path)]
    assert written == [
        "epochs/generator_X_best.pth",
        "epochs/generator_Y_best.pth",
        "whitening/lw-retrieval.pkl",
    ]
    for name, source in (("X", "generator_instance.pth"), ("Y", "generator_batch.pth")):
        path = tmp_path / "epochs" / f"generator_{name}_best.pth"
        # The original's own dictionary, as torch reads it without us.
        raw = torch.load(path, weights_only=True)
        assert {"type", "frozen", "network_params", "model_state"} <= raw.keys()
        before, after = open_checkpoint(CHECKPOINTS / source), open_checkpoint(path)
        assert after.config == before.config
        assert all(torch.equal(value, after.state[key]) for key, value in before.state.items())
    pickled = load_pickle(tmp_path / "whitening" / "lw-retrieval.pkl")
    np.testing.assert_array_equal(pickled["m"].ravel(), whitening.mean)
    np.testing.assert_array_equal(pickled["P"], whitening.projection)


def test_nothing_to_lay_out(tmp_path: Path) -> None:
    assert write_gandtr_layout(tmp_path) == []


@pytest.mark.parametrize("name", ["embed_vgg16.pth"])
def test_a_descriptor(name: str, tmp_path: Path) -> None:
    _ours(name, tmp_path / "descriptor.safetensors")
    assert [path.name for path in write_gandtr_layout(tmp_path)] == ["embed_best.pth"]

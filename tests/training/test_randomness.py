from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from darkside_cli.training.randomness import random_state, random_state_kept, seed_all, set_random_state

CPU = torch.device("cpu")


def draw() -> tuple[object, ...]:
    return (
        random.random(),
        random.gauss(0, 1),
        float(np.random.normal()),
        int(np.random.randint(1000)),
        torch.rand(1).item(),
        torch.randn(1).item(),
    )


def test_seeds_decide_everything() -> None:
    with random_state_kept(CPU):
        seed_all(3)
        first = draw()
        seed_all(3)
        assert draw() == first
        seed_all(2**32 + 3)  # more than NumPy takes
        assert draw() != first


def test_states_survive_a_file(tmp_path: Path) -> None:
    """Half of a pair of normal numbers included, which Python and NumPy keep for the next call."""
    with random_state_kept(CPU):
        seed_all(1)
        random.gauss(0, 1)
        np.random.normal()
        torch.save(random_state(CPU), tmp_path / "state.pt")
        first = [draw() for _ in range(400)]  # beyond the generators' first blocks
        set_random_state(torch.load(tmp_path / "state.pt", weights_only=True), CPU)
        assert [draw() for _ in range(400)] == first


def test_kept_after_errors_too() -> None:
    with random_state_kept(CPU):
        seed_all(1)
        expected = draw()
        seed_all(1)
        with pytest.raises(RuntimeError):
            fail_after_drawing()
        assert draw() == expected


def fail_after_drawing() -> None:
    with random_state_kept(CPU):
        draw()
        raise RuntimeError("inside")

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from darkside_cli.datasets.selection import chosen_at_random, chosen_by_label, chosen_by_name


def test_by_name() -> None:
    """MD5 of "a" is 0cc175b9c0f1b6a831c399e269772661: 0x2661 / 65536 = 0.1499."""
    assert chosen_by_name("a", 0.15)
    assert not chosen_by_name("a", 0.149)
    assert chosen_by_name("some/folder.x/a.jpg", 0.15)


def test_about_the_share() -> None:
    chosen = sum(chosen_by_name(f"image_{i}", 0.25) for i in range(4000))
    assert abs(chosen - 1000) < 150


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_whoever_is_chosen_at_a_ratio_is_chosen_at_every_higher_one(name: str, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert chosen_by_name(name, low) <= chosen_by_name(name, high)
    assert chosen_by_name(name, 1.0)
    assert not chosen_by_name(name, 0.0)


def test_by_label() -> None:
    assert chosen_by_label("anc-pool-mine", "anc")
    assert not chosen_by_label("pos-anc", "anc")
    assert chosen_by_label("neg", "anc|neg")


def test_at_random() -> None:
    rng = random.Random(0)
    draws = random.Random(0)
    assert [chosen_at_random(0.3, rng) for _ in range(20)] == [draws.random() < 0.3 for _ in range(20)]

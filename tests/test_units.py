"""Figures in words."""

from __future__ import annotations

import pytest

from darkside_cli.units import human_size


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (None, "?"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (99_960, "100 kB"),
        (999_600, "1.0 MB"),
        (45_500_000, "45.5 MB"),
        (1_800_000_000, "1.8 GB"),
        (2 * 10**12, "2.0 TB"),
    ],
)
def test_sizes(size: int | None, words: str) -> None:
    assert human_size(size) == words

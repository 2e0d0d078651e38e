"""How many processes the tests are shared among."""

from __future__ import annotations

import os
from pathlib import Path

import cpus as module
import pytest
from cpus import cpus


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="there is no affinity here")
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("max 100000",), 64),
        (("200000 100000",), 2),
        (("150000 100000",), 2),
        (("1000 100000",), 1),
        (("-1", "100000"), 64),
        (("400000", "100000"), 4),
        ((), 64),
    ],
)
def test_the_share_of_a_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: tuple[str, ...], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    files = [tmp_path / str(number) for number in range(len(said) or 1)]
    for file, text in zip(files, said, strict=False):
        file.write_text(f"{text}\n")
    monkeypatch.setattr(module, "QUOTAS", (tuple(map(str, files)),))
    assert cpus() == expected

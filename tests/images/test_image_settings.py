from __future__ import annotations

import os

import pytest

from darkside_cli.images.settings import default_threads, usable_cpus


def test_usable_cpus_follows_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert usable_cpus() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus() == 1


def test_no_more_threads_than_processors() -> None:
    assert default_threads(10**6) == usable_cpus()
    assert default_threads(1) == 1

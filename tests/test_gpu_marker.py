"""What tests marked "gpu" do where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.mark.slow
def test_they_are_skipped_also_when_they_are_selected() -> None:
    marked = sorted(
        str(path) for path in TESTS.rglob("test_*.py") if "@pytest.mark" + ".gpu" in path.read_text()
    )
    assert len(marked) > 3
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-m", "gpu", "-rs", *marked],
        cwd=TESTS.parent,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "no CUDA device" in done.stdout
    assert "failed" not in done.stdout
    assert "passed" not in done.stdout

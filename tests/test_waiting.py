"""What tests stand on when something hangs."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from waiting import Process


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_test_that_fails_does_not_wait_for_a_process_that_hangs() -> None:
    """One that lost a race waited for ever, and no test failed: the whole run never ended."""
    started = time.monotonic()
    with (
        pytest.raises(AssertionError),
        Process([sys.executable, "-c", "import time; time.sleep(200)"]) as hangs,
    ):
        raise AssertionError
    assert hangs.returncode == -signal.SIGKILL
    assert time.monotonic() - started < 100


def test_a_process_that_ends_is_waited_for() -> None:
    with Process([sys.executable, "-c", "import sys, time; time.sleep(0.2); sys.exit(7)"]) as process:
        pass
    assert process.returncode == 7


def test_all_processes_of_tests_end_with_their_test() -> None:
    """One that a failed test left behind would train on beside all others."""
    tests = Path(__file__).parent
    bare = [
        os.fspath(path.relative_to(tests))
        for path in sorted(tests.rglob("*.py"))
        if "benchmarks" not in path.parts and re.search(r"\bPopen\(|\bp?ty\.fork\(", path.read_text("utf-8"))
    ]
    assert bare == []

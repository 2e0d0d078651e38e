"""The command line in the tests' own process, which has torch already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_calls import RunHere


@pytest.fixture
def run_here(
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[RunHere]:
    """Run ``darkside`` in this process, in ``tmp_path``: ``run_here("models", "hedngan")``.

    Where only the outside counts (signals, pipes, start-up), ``run_cli`` is the one to use.
    """
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("DARKSIDE_", "CIRTORCH_", "_DARKSIDE")):
            monkeypatch.delenv(name)
    for name in ("DARKSIDE_HOME", "NO_COLOR", "COLUMNS"):
        monkeypatch.setenv(name, environment[name])
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str | os.PathLike[str]) -> subprocess.CompletedProcess[str]:
        from darkside_cli.cli.app import main

        words = ["darkside", *map(os.fspath, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capfd.readouterr()
        return subprocess.CompletedProcess(words, int(left.value.code or 0), said.out, said.err)

    yield run
    signal.signal(signal.SIGTERM, before)

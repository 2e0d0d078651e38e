"""``darkside`` as a process of its own on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
from collections.abc import Mapping
from pathlib import Path

from waiting import Process


def run_on_terminal(
    *arguments: str, env: Mapping[str, str], cwd: Path | None = None, answer: bytes = b""
) -> tuple[int, bytes]:
    """Run ``darkside ARGUMENTS``, type the ``answer``, and return its exit code and all that was shown."""
    master, slave = pty.openpty()
    shown = b""
    with os.fdopen(master, "r+b", buffering=0) as terminal:
        with os.fdopen(slave, "r+b", buffering=0) as end:
            process = Process(
                [sys.executable, "-m", "darkside_cli", *arguments],
                stdin=end, stdout=end, stderr=end, env=env, cwd=cwd, start_new_session=True,
            )  # fmt: skip
        with process:
            terminal.write(answer)
            with contextlib.suppress(OSError):  # what Linux says when the other end is closed
                while piece := terminal.read(1 << 16):
                    shown += piece
    return process.returncode, shown

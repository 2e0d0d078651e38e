"""Types of the fixtures that call the command line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

RunCli = Callable[..., "subprocess.CompletedProcess[bytes]"]
"""Runs ``darkside`` as a process of its own."""
RunHere = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs ``darkside`` in this process."""

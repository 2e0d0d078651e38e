"""Types that test modules share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

RunCli = Callable[..., "subprocess.CompletedProcess[bytes]"]
RunHere = Callable[..., "subprocess.CompletedProcess[str]"]

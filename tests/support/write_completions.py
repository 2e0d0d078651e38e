"""Write the completion files of ``completions/``: ``python tests/support/write_completions.py completions``.

The scripts ask ``darkside`` itself what may follow, so new commands, options and model names complete without new
scripts; what is written here changes only with Typer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILES = {"bash": "darkside.bash", "zsh": "_darkside", "fish": "darkside.fish"}


def script(shell: str) -> str:
    """Completion script for "bash", "zsh" or "fish", as ``darkside --show-completion`` prints it in that shell."""
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-m", "darkside_cli", "--show-completion", shell]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip() + "\n"


def write(folder: Path) -> list[Path]:
    """Write the three scripts into ``folder`` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for shell, name in FILES.items():
        (folder / name).write_text(script(shell), encoding="utf-8")
        paths.append(folder / name)
    return paths


if __name__ == "__main__":
    for path in write(Path(sys.argv[1])):
        sys.stdout.write(f"{path}\n")

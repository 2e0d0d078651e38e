"""The names that a scenario's inference is about, on standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from darkside_cli.errors import UsageError


def names_on_stdin() -> list[Path]:
    """Names of images, one a line. Raises UsageError if standard input is a terminal."""
    from darkside_cli.datasets.listing import iter_path_tokens

    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "no images given", hint="pipe their names in: find . -name '*.jpg' | darkside run output FILE.yml"
        )
    return list(iter_path_tokens(sys.stdin.buffer, null=False))

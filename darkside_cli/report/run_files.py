"""Reads the small files of a run folder for its page; what is damaged is named, never a reason to stop."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path, problems: list[str]) -> dict[str, Any]:
    """Tables of a TOML file, none if it is not there; a damaged one is added to ``problems``."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # tomllib's and the decoder's errors are ValueErrors
        problems.append(f"{path.name} cannot be read: {error}")
        return {}


def read_json(path: Path, problems: list[str]) -> dict[str, Any]:
    """The object in a JSON file, empty if it is not there; a damaged one is added to ``problems``."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} cannot be read: {error}")
        return {}
    return found if isinstance(found, dict) else {}

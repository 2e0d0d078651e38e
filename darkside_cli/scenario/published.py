"""Scenario files by name: those of the working directory, and the published ones, which are shipped."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from darkside_cli.errors import ConfigError, UnknownNameError


def published_root() -> Path:
    """Folder of the scenarios that are shipped."""
    return Path(str(files("darkside_cli.scenario") / "published_files"))


def published_scenarios() -> tuple[str, ...]:
    """Names of the shipped scenarios ("iccv23/train/hedngan.yml"), sorted; their templates are not among them."""
    root = published_root()
    found = [path.relative_to(root).as_posix() for path in root.glob("*/*/*.yml")]
    return tuple(sorted(name for name in found if "/_" not in name))


def find_scenario(name: str) -> Path:
    """Path of a scenario file: as it is given, or else that of a shipped one.

    Raises UnknownNameError, which names near matches among the shipped ones.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        raise ConfigError(f"{name} is a folder, not a scenario file")
    if path.exists():  # whoever reads it tells a pipe
        return path
    known = published_scenarios()
    if name in known:
        return published_root() / name
    raise UnknownNameError(
        "scenario",
        name,
        known,
        extra_hint="or the path of a .yml file: 'darkside run list' shows the shipped ones",
    )

"""What every step of a scenario is given, and what it gives back."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from darkside_cli.cli.errors import EXIT_DONE
from darkside_cli.cli.output import Output
from darkside_cli.cli.session import Session


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a call of ``darkside run`` says of all steps."""

    session: Session
    device: str = "auto"
    precision: str = "auto"
    workers: int | None = None
    download: bool = True
    json: bool = False
    #: Whether a later step prints scores, so that the evaluation itself need not.
    printed_later: bool = False

    @property
    def root(self) -> Path:
        """The data root, which relative paths of a scenario are below."""
        return self.session.root.path

    def shared(self) -> dict[str, Any]:
        """What a call of ``darkside run`` says, as fields of the requests of its steps."""
        return {
            "device": self.device,
            "precision": self.precision,
            "workers": self.workers,
            "download": self.download and not self.session.offline,
            "data_dir": self.session.data_dir,
            "offline": self.session.offline,
        }


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a step ended: its exit code, and what it gives back."""

    code: int = EXIT_DONE
    outputs: Mapping[str, Any] = field(default_factory=dict)


def captured(settings: Settings, command: Callable[..., int], **arguments: Any) -> tuple[int, dict[str, Any]]:
    """Run a command of ours with ``--json`` and return its exit code and its answer."""
    stream = io.BytesIO()
    code = command(replace(settings.session, output=Output(stream=stream)), json=True, **arguments)
    answer = stream.getvalue()
    return code, json.loads(answer) if answer else {}


def print_paths(settings: Settings, paths: Iterable[str | Path]) -> None:
    """Write paths to stdout, unless the answer is JSON."""
    if not settings.json:
        for path in paths:
            settings.session.output.path(Path(path))

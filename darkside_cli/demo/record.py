"""What a demonstration has done: its stages, each with what it was made for and how long it took."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from darkside_cli.atomic import write_bytes_atomic


def tag_of(settings: Any) -> str:
    """Sixteen hex digits that are the same for the same JSON-able ``settings``."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Record:
    """Stages of one seed in the file ``path``: a finished one is known by its name and its settings' tag."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        self._stages: dict[str, dict[str, Any]] = content if isinstance(content, dict) else {}

    def done(self, stage: str, tag: str) -> bool:
        """Whether ``stage`` is finished for just these settings."""
        known = self._stages.get(stage, {})
        return bool(known.get("done")) and known.get("tag") == tag

    def value(self, stage: str) -> Any:
        """What a finished stage left."""
        return self._stages[stage].get("value")

    @property
    def seconds(self) -> dict[str, float]:
        """Time of each stage, over all the times that it was gone on with."""
        return {name: float(stage.get("seconds", 0)) for name, stage in self._stages.items()}

    @contextmanager
    def unless_done(self, name: str, tag: str, made: Sequence[Path] = ()) -> Iterator[dict[str, Any] | None]:
        """Do a stage as :meth:`stage` does; None is given if it is done, and the files ``made`` are there."""
        if self.done(name, tag) and all(path.is_file() for path in made):
            yield None
            return
        with self.stage(name, tag) as entry:
            yield entry

    @contextmanager
    def stage(self, name: str, tag: str) -> Iterator[dict[str, Any]]:
        """Do a stage: its time counts also when it is left by an exception; it is finished when it is not.

        What is put under "value" of the table given is kept, in JSON's types.
        """
        known = self._stages.get(name, {})
        before = float(known.get("seconds", 0)) if known.get("tag") == tag and not known.get("done") else 0.0
        entry: dict[str, Any] = {"tag": tag, "done": False}
        self._stages[name] = entry
        started = time.monotonic()
        try:
            yield entry
            entry["done"] = True
        finally:
            entry["seconds"] = round(before + time.monotonic() - started, 2)
            content = json.dumps(self._stages, indent=1, allow_nan=False).encode()
            write_bytes_atomic(self._path, content, sync=True)

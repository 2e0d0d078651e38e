"""What a scenario is run with. Free of heavy imports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.jobs.fields import OnDevice, worker_threads
from darkside_cli.jobs.request import ADVANCED, DATA, ask

if TYPE_CHECKING:
    from darkside_cli.scenario.load import Scenario
    from darkside_cli.scenario.resolve import TargetResolver

ORDERS = ("mended", "original")


@dataclass(frozen=True, kw_only=True)
class RunRequest(OnDevice):
    """Which ``target`` of the scenario that ``files`` (a file, overlays, ``key=value``) come to, and how it is run."""

    order: str = ask(
        "Of the steps: mended, or original (by name as text, as in gandtr).",
        "mended",
        kind="order",
        choices_from=ORDERS,
        group=ADVANCED,
    )
    lenient: bool = ask("Go on without keys that cannot be translated; they are told.", False, group=ADVANCED)
    download: bool = ask("Let steps fetch published weights and data that are missing.", True, group=DATA)
    workers: int | None = worker_threads()

    target: str = ""
    files: tuple[str, ...] = ()
    #: Gives the names of the images that translation and extraction are about; called when such a step begins.
    names: Callable[[], Iterable[Path]] | None = None

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario, put together. Raises ConfigError for what is wrong with it."""
        from darkside_cli.scenario.load import load_scenario

        return load_scenario(self.files)

    def resolver(self, target: str | None = None) -> TargetResolver:
        """What gives the steps of ``target`` (None: the request's) in their order. Raises ConfigError."""
        from darkside_cli.scenario.resolve import TargetResolver

        return TargetResolver(self.scenario, target or self.target, order=self.order)

    @property
    def getting(self) -> dict[str, Any]:
        """Fields that the requests of all steps have in common."""
        return {"data_dir": self.data_dir, "offline": self.offline}

    @property
    def computing(self) -> dict[str, Any]:
        """Likewise, of requests that compute."""
        shared = ("download", "device", "precision", "workers")
        return {**self.getting, **{name: getattr(self, name) for name in shared}}

"""Steps of scenarios, resolved without running any."""

from __future__ import annotations

from darkside_cli.scenario.load import Scenario
from darkside_cli.scenario.resolve import ResolvedStep, TargetResolver


def resolve_target(scenario: Scenario, target: str, *, order: str = "mended") -> list[ResolvedStep]:
    """All steps of ``target`` without running any; what they would give back is an empty mapping."""
    resolver = TargetResolver(scenario, target, order=order, outputs_known=False)
    return [resolver.resolve(name) for name in resolver.order]

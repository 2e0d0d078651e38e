"""A training of a scenario as settings in TOML, which ``--config`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from darkside_cli.scenario.plan import TargetPlan
    from darkside_cli.scenario.rules import Translated
    from darkside_cli.scenario.training import TrainingStep


@dataclass(frozen=True)
class Converted:
    """Settings ``toml`` of the ``step`` of ``target``; ``notes`` are what people should know of the scenario."""

    target: str
    step: str
    toml: str
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"target": self.target, "step": self.step, "toml": self.toml}


def convert(
    files: Sequence[str], root: Path, *, target: str | None = None, step: str | None = None
) -> Converted:
    """Convert a training of the scenario that ``files`` (a file, overlays, ``key=value``) come to.

    ``target`` is "train" or the only one, and ``step`` the only one that trains, where they are not given. ``root`` is
    the data folder. Raises ConfigError for what is wrong with the scenario or cannot be translated, UsageError where
    it is not clear what is to be converted or nothing is trained.
    """
    from darkside_cli.scenario.load import load_scenario
    from darkside_cli.scenario.plan import plan_target, require_translated
    from darkside_cli.scenario.training import TrainingStep

    scenario = load_scenario(files)
    names = scenario.targets()
    chosen = target or ("train" if "train" in names else names[0] if len(names) == 1 else None)
    if chosen is None:
        raise UsageError(
            "which target is to be converted?", hint=f"--target with one of {', '.join(names) or 'none'}"
        )
    plan = plan_target(scenario, chosen, root)
    picked = _pick(plan, step)
    require_translated([picked])
    assert isinstance(picked.step, TrainingStep)  # noqa: S101 - see _pick
    return Converted(chosen, picked.source.name, _to_toml(picked.step, plan, root), plan.notes)


def _pick(plan: TargetPlan, step: str | None) -> Translated:
    """The step that is to be converted: the one that is called so, or the only one that trains."""
    from darkside_cli.scenario.training import TrainingStep

    names = [each.source.name for each in plan.steps]
    if step is not None and step not in names:
        raise UnknownNameError("step", step, names, extra_hint=f"in {plan.target}")
    able = [
        each
        for each in plan.steps
        if step in (None, each.source.name) and (each.step is None or isinstance(each.step, TrainingStep))
    ]
    if len(able) == 1:
        return able[0]
    if able:
        raise UsageError(
            f"{plan.target} has several steps with settings",
            hint=f"--step with one of {', '.join(each.source.name for each in able)}",
        )
    raise UsageError(
        f"{step or plan.target} has no settings to convert: nothing is trained there",
        hint=f"darkside run {plan.target} FILE.yml --print-steps shows the commands that do the same",
    )


def _to_toml(step: TrainingStep, plan: TargetPlan, root: Path) -> str:
    """Settings of a training as ``--config`` takes them; the steps around it are comments."""
    import tomli_w

    from darkside_cli.scenario.step import under

    nested: dict[str, Any] = {}
    for key, value in step.flags(root).items():
        table = nested
        *parts, last = key.split(".")
        for part in parts:
            table = table.setdefault(part, {})
        table[last] = str(value) if isinstance(value, Path) else value
    lines = [f"# {step.path}, converted from a scenario of gandtr. In its place:"]
    whole = step.kind == "finetune"
    for each in plan.steps:
        if each.step is step:
            run = f" --output {under(root, step.run)}" if step.run is not None else ""
            lines.append(f"#   darkside {step.kind} --config THIS_FILE{run}")
            lines += ["#   (which learns the whitening and evaluates, too)"] if whole else []
        elif not (whole and each.step is not None and each.step.kind in ("whiten", "evaluate")):
            lines += [f"#   {line}" for line in each.commands(root)]
    return "\n".join(lines) + "\n\n" + tomli_w.dumps(nested)

"""What is told of many trainings: how they go, what goes wrong, and how each ended, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from darkside_cli.events import Emit, Event, ItemFailed, Notice


def brief(emit: Emit) -> Emit:
    """``emit`` without what each of many jobs has to say of itself; failures and warnings are told once."""
    told: set[Event] = set()

    def tell(event: Event) -> None:
        if isinstance(event, Notice) and event.level != "warning":
            return
        if isinstance(event, (Notice, ItemFailed)):
            if event in told:
                return
            told.add(event)
        emit(event)

    return tell


def score_words(name: str, sums: Mapping[str, Sequence[float]]) -> str:
    """One line about a descriptor. ``sums``, by time of day: of AP and of recall@1, in percent, and of how many."""

    def figure(value: float, count: float) -> str:
        return f"{value / count:.1f}" if count else "-"

    found = (f"{time} {figure(of[0], of[2])}/{figure(of[1], of[2])}" for time, of in sums.items())
    return f"{name}: {', '.join(found)} (mAP/R@1)"

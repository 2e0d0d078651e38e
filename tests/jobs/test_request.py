"""Requests: one declaration for the command line and for Python, with the same checks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest

from darkside_cli.errors import UnknownNameError, UsageError
from darkside_cli.jobs.request import DATA, REQUIRED, Getting, Request, ask, asked, make

COLOURS = ("red", "green")


@dataclass(frozen=True, kw_only=True)
class PaintRequest(Getting):
    positional = "images"

    images: tuple[Path, ...] = ask("What is painted.", (), argument=True)
    colour: str = ask("Of the paint.", "red", choices_from=f"{__name__}:COLOURS", kind="colour")
    coats: int = ask("How often.", 1, minimum=1, maximum=9)
    scales: tuple[float, ...] = ask("Sizes.", (), minimum=0.1)
    output: Path | None = ask("Where to.", short="-o", group=DATA)
    seed: int | None = ask("Seed.", setting="trainer.seed")
    force: bool = ask("Paint over.", False)

    def check(self) -> None:
        if self.force and self.output is not None:
            raise UsageError("force and output contradict each other")


def test_values_are_brought_to_their_types() -> None:
    request = make(PaintRequest, "a.jpg", output="out", scales=[1, 0.5], seed=3)
    assert request.images == (Path("a.jpg"),)
    assert request.output == Path("out")
    assert request.scales == (1.0, 0.5)
    assert request.settings() == {"trainer.seed": 3}


def test_its_own_fields_come_first() -> None:
    assert list(asked(PaintRequest)) == [
        "images", "colour", "coats", "scales", "output", "seed", "force", "download", "data_dir", "offline",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"coats": 10}, "coats must be at least 1 and at most 9, not 10"),
        ({"coats": 0}, "coats must be"),
        ({"scales": (1.0, float("nan"))}, "scales must be at least 0.1, not nan"),
        ({"colour": "grean"}, "unknown colour 'grean' (did you mean green?)"),
        ({"force": True, "output": "x"}, "contradict"),
        ({"coat": 2}, "unknown option 'coat' (did you mean coats?)"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")):
        make(PaintRequest, **options)


def test_changed_requests_are_checked_again() -> None:
    with pytest.raises(UnknownNameError):
        dataclasses.replace(make(PaintRequest), colour="blue")


def test_only_the_positional_field_goes_without_a_name() -> None:
    with pytest.raises(UsageError, match="by name"):
        make(PaintRequest, "a.jpg", "b.jpg")
    with pytest.raises(UsageError, match="by name"):
        make(PaintRequest, "a.jpg", images="b.jpg")


def test_what_has_to_be_given_is_asked_for() -> None:
    @dataclass(frozen=True, kw_only=True)
    class KeepRequest(Request):
        output: Path = ask("Where to.", REQUIRED)

    assert make(KeepRequest, output="x").output == Path("x")
    with pytest.raises(UsageError, match="KeepRequest needs output"):
        make(KeepRequest)

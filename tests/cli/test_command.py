"""Commands whose options are made from a request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from darkside_cli.cli.command import command
from darkside_cli.cli.session import Session
from darkside_cli.errors import UnknownNameError
from darkside_cli.jobs.request import ADVANCED, REQUIRED, Getting, Request, ask

COLOURS = ("red", "green")
SEEN: list[object] = []


@dataclass(frozen=True, kw_only=True)
class PaintRequest(Getting):
    images: tuple[Path, ...] = ask("What is painted.", (), argument=True)
    colour: str = ask("Of the paint.", "red", choices_from=f"{__name__}:COLOURS", kind="colour")
    coats: int = ask("How often.", 1, minimum=1, maximum=9)
    scales: tuple[float, ...] = ask("Sizes.", (), flag="--scale")
    output: Path | None = ask("Where to.", short="-o")
    dry: bool = ask("Wait.", True)
    hidden: int = ask("Python's alone.", 3)


@dataclass(frozen=True, kw_only=True)
class KeepRequest(Request):
    output: Path = ask("Where to.", REQUIRED, short="-o")


@pytest.fixture
def run() -> object:
    app = typer.Typer()

    @app.callback()
    def _main() -> None:
        """Have a group, as the real one is."""

    @command(app, "paint", request=PaintRequest, without=("hidden",))
    def paint(
        session: Session,
        request: PaintRequest,
        json: Annotated[bool, typer.Option("--json", help="JSON.", rich_help_panel=ADVANCED)] = False,
    ) -> int:
        """Paint."""
        SEEN[:] = [session, request, json]
        return 0

    return lambda *words: CliRunner().invoke(app, ["paint", *words])


def test_options_become_the_request(run: object) -> None:
    result = run("a", "b", "--colour", "green", "--scale", "1", "--scale", ".5", "-o", "x", "--no-dry", "--json",
                 "--offline", "--download")  # type: ignore[operator]  # fmt: skip
    assert result.exit_code == 0, result.output
    session, request, json = SEEN
    assert request == PaintRequest(
        images=("a", "b"),
        colour="green",
        scales=(1.0, 0.5),
        output="x",
        dry=False,
        offline=True,
        download=True,
    )
    assert session.offline  # type: ignore[attr-defined]
    assert json


def test_defaults_are_the_requests(run: object) -> None:
    assert run().exit_code == 0  # type: ignore[operator]
    assert SEEN[1] == PaintRequest()


def test_bounds_and_choices_are_checked_before_the_command_runs(run: object) -> None:
    SEEN.clear()
    assert run("--coats", "10").exit_code == 2  # type: ignore[operator]
    assert isinstance(run("--colour", "grean").exception, UnknownNameError)  # type: ignore[operator]
    assert "hidden" not in run("--help").output  # type: ignore[operator]
    assert not SEEN


def test_a_field_without_a_default_is_an_option_that_must_be_given() -> None:
    app = typer.Typer()

    @command(app, "keep", request=KeepRequest)
    def keep(session: Session, request: KeepRequest) -> int:
        """Keep."""
        SEEN[:] = [request]
        return 0

    missing = CliRunner().invoke(app, [])
    assert (missing.exit_code, "Missing option '--output'" in missing.output) == (2, True)
    assert CliRunner().invoke(app, ["-o", "x"]).exit_code == 0
    assert [KeepRequest(output=Path("x"))] == SEEN


def test_a_file_called_dash_is_not_standard_input(run: object) -> None:
    assert run("./-", "-").exit_code == 0  # type: ignore[operator]
    assert SEEN[1].images == (Path.cwd() / "-", Path("-"))  # type: ignore[attr-defined]

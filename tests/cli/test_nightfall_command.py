"""The synthetic city through the commands, as a person meets it: made on first use, listed, checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_calls import RunCli
from small_descriptor import write_small_descriptor

from darkside_cli.nightfall.config import VERSION

VERSION_NOW = f'"version": {VERSION}'


def test_a_size_that_does_not_exist(run_inside: RunCli) -> None:
    done = run_inside("download", "nightfall", "--size", "smal")
    assert done.returncode == 2
    assert b"did you mean small" in done.stderr


def test_a_dry_run_makes_nothing(run_inside: RunCli, environment: dict[str, str]) -> None:
    done = run_inside("download", "nightfall", "--dry-run")
    assert done.returncode == 0
    assert b"nightfall would be made here" in done.stderr
    assert not Path(environment["DARKSIDE_HOME"], "data").exists()


@pytest.mark.slow
def test_download_makes_it_and_evaluate_uses_it_offline(
    run_inside: RunCli, environment: dict[str, str], tmp_path: Path
) -> None:
    root = Path(environment["DARKSIDE_HOME"])
    made = run_inside("download", "nightfall", "--size", "tiny", "--offline", timeout_s=600)
    assert made.returncode == 0, made.stderr
    assert b"making nightfall, the embedded city, size tiny" in made.stderr
    paths = made.stdout.decode().splitlines()
    assert str(root / "data" / "test" / "nightfall") in paths
    assert all(Path(path).is_dir() for path in paths)
    again = run_inside("download", "nightfall")
    assert b"making" not in again.stderr
    model = write_small_descriptor(tmp_path / "model.safetensors")
    sets = [word for name in ("nightfall", "nightfall-day") for word in ("--dataset", name)]
    done = run_inside(
        "evaluate", "--model", model, *sets, "--scales", "ss", "--json", "--offline", timeout_s=600
    )
    assert done.returncode == 0, done.stderr
    results = {each["dataset"]: each for each in json.loads(done.stdout)["results"]}
    assert {name: each["queries"] for name, each in results.items()} == {"nightfall": 12, "nightfall-day": 12}
    assert results["nightfall"]["database"] == results["nightfall-day"]["database"]
    verified = run_inside("download", "--verify", "nightfall", "--json")
    assert {item["verdict"] for item in json.loads(verified.stdout)["checked"]} == {"ok"}


@pytest.mark.slow
def test_evaluate_makes_what_is_not_there_and_says_so(
    run_inside: RunCli, environment: dict[str, str], tmp_path: Path
) -> None:
    """A city of an older version stands in for none at all, so that the usual size need not be made."""
    root = Path(environment["DARKSIDE_HOME"])
    assert run_inside("download", "nightfall", "--size", "tiny", timeout_s=600).returncode == 0
    marker = root / "data" / "test" / "nightfall" / "nightfall.json"
    marker.write_text(marker.read_text().replace(VERSION_NOW, '"version": 0'))
    model = write_small_descriptor(tmp_path / "model.safetensors")
    done = run_inside(
        "evaluate", "--model", model, "--dataset", "nightfall", "--scales", "ss", "--quiet", timeout_s=600
    )
    assert done.returncode == 0, done.stderr
    assert VERSION_NOW in marker.read_text()

"""``darkside train-gan`` with a guided generator: what goes together, and what is said where it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import RunHere

from darkside_cli.interop.load import open_checkpoint
from darkside_cli.networks.configs import GuidedGeneratorConfig

MakeImage = Callable[..., Path]

SETTINGS = {
    "generator.ngf": 2,
    "generator.n_blocks": 1,
    "generator.working_px": 24,
    "discriminator.ndf": 2,
    "discriminator.n_layers": 1,
    "data.size": 2,
    "data.workers": 1,
    "trainer.validate_every": 0,
}
COMMAND = ["train-gan", "--model", "hedgan", "--edge-detector", "sobel", "--day", "day", "--night", "night"]
COMMAND += ["--crop", "32", "--batch-size", "1", "--epochs", "1", "--device", "cpu", "-o", "run"]


def words(**changed: object) -> list[str]:
    """The command; ``generator_x=1`` stands for ``--set generator.x=1``."""
    settings = {**SETTINGS, **{key.replace("_", ".", 1): value for key, value in changed.items()}}
    return COMMAND + [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture
def images(tmp_path: Path, make_image: MakeImage) -> Path:
    for number in range(2):
        make_image(tmp_path / "day" / f"{number}.png", 48, 40, seed=number)
        make_image(tmp_path / "night" / f"{number}.png", 40, 48, seed=50 + number)
    return tmp_path


def test_what_was_trained_translates(images: Path, run_here: RunHere) -> None:
    done = run_here(*words(generator_output="gain", generator_max_gain=1.5))
    assert done.returncode == 0, done.stderr
    assert "nothing is made of that" not in done.stderr
    config = open_checkpoint(images / "run").config
    assert config == GuidedGeneratorConfig(
        ngf=2, n_blocks=1, norm="batch", working_px=24, output="gain", max_gain=1.5
    )
    night = run_here("translate", "day", "--model", "run", "-o", "out")
    assert night.returncode == 0, night.stderr


def test_options_without_effect_are_told(images: Path, run_here: RunHere) -> None:
    done = run_here(*words(generator_working_px="none", generator_guide_radius_px=2))
    assert done.returncode == 0, done.stderr
    told = "generator.guide_radius_px: nothing is made of that without generator.working_px"
    assert told in " ".join(done.stderr.split())
    done = run_here(*words(generator_max_gain=1.5), "--no-resume")
    assert done.returncode == 0, done.stderr
    told = "generator.max_gain: nothing is made of that without generator.output = gain"
    assert told in " ".join(done.stderr.split())


def test_a_gain_needs_a_working_size(images: Path, run_here: RunHere) -> None:
    done = run_here(*words(generator_working_px="none", generator_output="gain"))
    assert done.returncode == 2
    assert "output = gain needs a working_px" in done.stderr
    assert not (images / "run").exists()


def test_gandtrs_layout_is_refused_before_the_training(images: Path, run_here: RunHere) -> None:
    done = run_here(*words(), "--layout", "gandtr")
    assert done.returncode == 2
    assert "gandtr has no guided generators" in done.stderr
    assert not (images / "run").exists()

"""``darkside train-gan``: from images to a generator that translates, interrupted, killed, shared by processes."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_calls import RunCli, RunHere
from safetensors.torch import load_file
from waiting import Process, let_run, wait_until

from darkside_cli.cli.session import Screen
from darkside_cli.config.sources import tomllib  # the standard one, or tomli
from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.events import Event, StepDone
from darkside_cli.nightfall.config import NightfallConfig, size_of

MakeImage = Callable[..., Path]

SMALL = (
    "--set generator.ngf=4",
    "--set generator.n_blocks=1",
    "--set discriminator.ndf=4",
    "--set discriminator.n_layers=1",
    "--set data.size=6",
    "--set data.workers=1",
    "--set trainer.log_every_s=0",
    "--set trainer.checkpoint_every=1",
    "--set trainer.validate_every=2",
    "--set samples.every=2",
    "--set samples.size_px=96",
    "--set samples.measured=2",
)
ARGUMENTS = [word for each in SMALL for word in each.split(" ", 1)]
ARGUMENTS += ["--day", "day", "--night", "night", "--crop", "32", "--batch-size", "2", "--epochs", "3"]
ARGUMENTS += ["--device", "cpu", "-o", "run"]


@pytest.fixture
def images(tmp_path: Path, make_image: MakeImage) -> Path:
    """Folders ``day`` and ``night`` with a few images each, in ``tmp_path``."""
    for number in range(5):
        make_image(tmp_path / "day" / f"day {number}.png", 72 + 8 * number, 72, seed=number)
        make_image(tmp_path / "night" / f"nïght{number}.jpg", 80, 64, seed=50 + number)
    return tmp_path


def method_options(method: str) -> list[str]:
    """The method, and an edge detector without weights where it takes one."""
    options = ["--model", method]
    if "gan" in method and method != "cyclegan":
        options += ["--edge-detector", "sobel"]
    if method == "cut":
        options += ["--set", "nce.layers=[4, 8]", "--set", "nce.num_patches=16", "--set", "nce.dim=8"]
    return options


def weights(run: Path) -> dict[str, dict[str, torch.Tensor]]:
    """All networks of the newest checkpoint and the outputs, by file name."""
    newest = max((run / "checkpoints").glob("epoch_*"))
    return {
        path.name: load_file(path) for path in [*newest.glob("*.safetensors"), *run.glob("*.safetensors")]
    }


def without_times(run: Path) -> dict[str, Any]:
    """All of a run that is not time: what ``docs/pages/runs.md`` promises to be the same after any number of kills."""
    found: dict[str, Any] = {}
    for path in sorted(each for each in run.rglob("*") if each.is_file()):
        if path.name.startswith(".darkside-"):
            continue  # what a killed process was writing
        name = path.relative_to(run).as_posix()
        if name == "scalars.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{k: v for k, v in line.items() if k != "clock"} for line in lines
                           if line["event"] in ("epoch", "eval")]  # fmt: skip
        elif path.name == "meta.json":
            found[name] = {k: v for k, v in json.loads(path.read_text()).items() if k != "clock"}
        elif name != "report.html" and not name.startswith("tensorboard/"):
            found[name] = path.read_bytes()
    return found


def assert_same(first: Path, second: Path) -> None:
    assert without_times(first) == without_times(second)
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    for name, state in one.items():
        assert state.keys() == other[name].keys()
        assert all(torch.equal(value, other[name][key]) for key, value in state.items()), name


@pytest.mark.parametrize(
    "method",
    [
        "hedgan",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("cyclegan", "cut", "hedngan", "rcfgan", "rcfngan")
        ),
    ],
)
def test_from_images_to_a_generator(method: str, images: Path, run_here: RunHere) -> None:
    """Every method trains, leaves what it promises, and what it made translates."""
    done = run_here("train-gan", *method_options(method), *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    run = images / "run"
    made = done.stdout.split()
    assert made[0] == str(Path("run") / "generator_day2night.safetensors")
    assert len(made) == (2 if method == "cyclegan" else 1)
    settings = tomllib.loads((run / "config.toml").read_text())
    assert (settings["method"], settings["data"]["crop_px"], settings["trainer"]["epochs"]) == (method, 32, 3)
    assert (run / "report.html").stat().st_size > 10_000
    assert [path.name for path in sorted((run / "samples").iterdir())] == [
        "epoch_0002.jpg",
        "epoch_0003.jpg",
    ]
    records = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    assert any("edge_agreement" in json.dumps(record) for record in records)
    assert {"epoch_0002", "epoch_0003", "frozen"} >= {path.name for path in (run / "checkpoints").iterdir()}

    night = run_here("translate", "day", "--model", "run", "-o", "out")
    assert night.returncode == 0, night.stderr
    assert len(night.stdout.splitlines()) == 5
    back = run_here("translate", "night", "--model", "run", "--to", "day", "-o", "back")
    assert back.returncode == (0 if method == "cyclegan" else 3), back.stderr


def test_it_goes_on_where_it_was(images: Path, run_here: RunHere) -> None:
    command = ["train-gan", *method_options("hedgan"), *ARGUMENTS, "--epochs", "2"]
    assert run_here(*command, "--epochs", "1").returncode == 0
    assert run_here(*command).returncode == 0
    again = run_here(*command, "--json")
    assert (again.returncode, json.loads(again.stdout)["complete"]) == (0, True)
    left = weights(images / "run").keys()
    other = run_here(*command, "--set", "generator.ngf=8")
    assert other.returncode == 2
    assert "generator.ngf" in other.stderr
    assert "--no-resume" in other.stderr
    assert run_here(*command, "--set", "generator.ngf=8", "--no-resume").returncode == 0
    assert weights(images / "run").keys() == left  # as of a run that was never stopped


@pytest.mark.slow
@pytest.mark.parametrize("method", ["hedgan", "cyclegan", "hedngan"])
def test_killed_at_any_moment_it_ends_with_the_same_weights(
    method: str, images: Path, environment: dict[str, str]
) -> None:
    """kill -9 at random moments, and the same command again: bit for bit what an undisturbed run gives."""
    command = [sys.executable, "-m", "darkside_cli", "train-gan", *method_options(method), *ARGUMENTS]
    command += ["--set", "trainer.ema_decay=0.9", "--set", "trainer.checkpoint_minutes=0.0005"]
    if method == "cyclegan":
        command += ["--set", "pool_size=2"]
    environment = {**environment, "OMP_NUM_THREADS": "1"}

    def start(run: str) -> Process[bytes]:
        return Process(
            [*command, "-o", run],
            cwd=images,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    with start("whole") as whole:
        _, said = whole.communicate(timeout=200)
    assert whole.returncode == 0, said
    rng = random.Random(7)
    kills = 0
    for _ in range(30):
        records = images / "run" / "scalars.jsonl"
        size = (records.stat().st_size if records.exists() else 0) + rng.randrange(200)
        with start("run") as process:
            wait_until(partial(_longer, records, size), process=process)
            if process.poll() is None and kills < 5:
                let_run(process, rng.random() * 0.4)
                process.send_signal(signal.SIGKILL)
                kills += 1
            _, said = process.communicate(timeout=200)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said
    else:
        pytest.fail("it never came to an end")
    assert kills > 1
    assert_same(images / "whole", images / "run")


def _longer(file: Path, size: int) -> bool:
    return file.exists() and file.stat().st_size > size


def test_ctrl_c_saves_and_exits_130(images: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch) -> None:
    emit, steps = Screen.emit, []

    def interrupted(screen: Screen, event: Event) -> None:
        emit(screen, event)
        if isinstance(event, StepDone) and not steps:
            steps.append(event)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Screen, "emit", interrupted)
    told = run_here("train-gan", *method_options("hedgan"), *ARGUMENTS, "--epochs", "10000")
    assert told.returncode == 130, told.stderr
    assert list((images / "run" / "checkpoints").glob("epoch_*/meta.json"))
    assert "Traceback" not in told.stderr


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_the_double_batch(images: Path, run_cli: RunCli) -> None:
    common = ["train-gan", *method_options("hedgan"), *ARGUMENTS, "--set", "data.size=8", "--epochs", "2"]
    one = run_cli(*common, "--batch-size", "4", "-o", "one", timeout_s=250)
    assert one.returncode == 0, one.stderr.decode()
    two = run_cli(*common, "--batch-size", "2", "--nproc", "2", "-o", "two", timeout_s=250)
    assert two.returncode == 0, two.stderr.decode()
    assert two.stdout.decode().split() == ["two/generator_day2night.safetensors"]
    first, second = (weights(images / name)["generator_day2night.safetensors"] for name in ("one", "two"))
    for key, value in first.items():
        # Adam turns the rounding of tiny gradients into steps of up to its rate; four steps were taken.
        assert (value.double() - second[key].double()).abs().max() < 8 * 2e-4 + 1e-3 * value.abs().max(), key
        assert (value.double() - second[key].double()).abs().mean() < 2e-4, key


class TestMistakes:
    def test_no_method(self, images: Path, run_here: RunHere) -> None:
        told = run_here("train-gan", *ARGUMENTS)
        assert (told.returncode, "hedngan" in told.stderr) == (2, True)

    def test_misspelt(self, images: Path, run_here: RunHere) -> None:
        told = run_here("train-gan", "--model", "hedgn")
        assert (told.returncode, "did you mean hedgan" in told.stderr) == (2, True)
        told = run_here("train-gan", "--model", "cut", "--set", "optim.lrr=1")
        assert (told.returncode, "optim.lr" in told.stderr) == (2, True)
        told = run_here("train-gan", "--model", "cut", "--edge-detector", "sobel")
        assert (told.returncode, "no edge detector" in told.stderr) == (2, True)

    def test_published_images_that_are_not_here(self, run_here: RunHere) -> None:
        told = run_here("train-gan", "--model", "hedngan")
        assert told.returncode == 3
        assert "darkside download" in told.stderr
        assert "--day" in told.stderr

    def test_an_edge_detector_that_is_not_here(self, images: Path, run_here: RunHere) -> None:
        told = run_here("train-gan", "--model", "hedngan", "--day", "day", "--night", "night")
        assert told.returncode == 3
        assert "darkside download hed" in told.stderr
        assert "GPL-3" in told.stderr
        assert "sobel" in told.stderr

    def test_images_that_cannot_be_trained_on(self, images: Path, run_here: RunHere) -> None:
        shutil.rmtree(images / "night")
        command = ["train-gan", *method_options("hedgan"), *ARGUMENTS]
        assert run_here(*command).returncode in (2, 3)
        (images / "night").mkdir()
        assert "no night pictures" in run_here(*command).stderr
        (images / "night" / "broken.jpg").write_bytes(b"no picture")
        assert run_here(*command).returncode == 2

    def test_a_broken_image_is_named_and_passed_over(self, images: Path, run_here: RunHere) -> None:
        (images / "day" / "broken.jpg").write_bytes(b"no picture")
        done = run_here("train-gan", *method_options("hedgan"), *ARGUMENTS, "--epochs", "1")
        assert done.returncode == 0
        assert done.stderr.count("broken.jpg") == 1


def test_settings_from_everywhere(images: Path, run_here: RunHere) -> None:
    """A run's config.toml is a configuration; the method may come from it or from a preset."""
    mini = run_here("train-gan", "--preset", "mini", "--print-config")
    assert tomllib.loads(mini.stdout)["method"] == "hedgan"
    (images / "mine.toml").write_text(mini.stdout)
    told = run_here(
        "train-gan", "--config", "mine.toml", "--set", "optim.lr=2e-3", "--print-config", "--json"
    )
    shown = json.loads(told.stdout)
    assert shown["config"]["optim"]["lr"] == 2e-3
    assert shown["config"]["edge_detector"] == "sobel"
    assert shown["origins"]["optim.lr"].startswith("--set")
    assert run_here("train-gan", "--preset", "paper", "--print-config", "--model", "cut").returncode == 0


def test_images_too_small_to_measure_train_all_the_same(images: Path, run_here: RunHere) -> None:
    done = run_here(
        "train-gan", *method_options("hedgan"), *ARGUMENTS, "--epochs", "1", "--set", "samples.size_px=48"
    )
    assert (done.returncode, "goes without" in done.stderr) == (0, True)


def test_environment_of_torchrun(images: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is one of several does not start more of them."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    told = run_here("train-gan", *method_options("hedgan"), *ARGUMENTS, "--nproc", "2")
    assert (told.returncode, "one of several" in told.stderr) == (2, True)
    assert images.is_dir()


def test_what_is_needed_is_looked_up_once(
    images: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    from darkside_cli.jobs import train_gan as job

    asked: list[str] = []

    def counted(name: str) -> None:
        function = getattr(job, name)
        monkeypatch.setattr(job, name, lambda *given, **more: (asked.append(name), function(*given, **more)))

    def stop(*_: object, **__: object) -> None:
        raise UsageError("far enough")

    counted("check")
    counted("prepare")
    monkeypatch.setattr("darkside_cli.methods.train.make_trainer", stop)
    done = run_here("train-gan", *method_options("hedgan"), *ARGUMENTS)
    assert (done.returncode, "far enough" in done.stderr) == (2, True)
    assert asked == ["check", "prepare"]
    assert images.is_dir()


def test_images_by_name_and_own_ones_before_them(run_here: RunHere) -> None:
    for more, night in (([], "nightfall"), (["--night", "mine"], "mine")):
        shown = run_here("train-gan", "--model", "cyclegan", "--data", "nightfall", *more, "--print-config")
        assert shown.returncode == 0, shown.stderr
        data = tomllib.loads(shown.stdout)["data"]
        assert (data["day"], data["night"]) == ("nightfall", night)
    misspelt = run_here("train-gan", "--model", "cyclegan", "--data", "nightfal")
    assert (misspelt.returncode, "did you mean nightfall" in misspelt.stderr) == (2, True)


@pytest.mark.slow
def test_the_embedded_city_is_made_and_trained_on(run_here: RunHere, environment: dict[str, str]) -> None:
    """A city of an older version stands in for none at all, so that the usual size need not be made."""
    root = Path(environment["DARKSIDE_HOME"])
    assert run_here("download", "nightfall", "--size", "tiny").returncode == 0
    marker = root / "data" / "test" / "nightfall" / "nightfall.json"
    now = json.loads(marker.read_text())
    marker.write_text(json.dumps({**now, "version": now["version"] - 1}))
    options = [word for word in ARGUMENTS if word not in ("--day", "day", "--night", "night")]
    done = run_here("train-gan", *method_options("hedgan"), *options, "--data", "nightfall", "--offline")
    assert done.returncode == 0, done.stderr
    assert "making nightfall" in done.stderr
    assert json.loads(marker.read_text()) == now
    assert "18 day pictures" in done.stderr
    assert (Path("run") / "generator_day2night.safetensors").is_file()
    again = run_here("train-gan", *method_options("hedgan"), *options, "--data", "nightfall")
    assert (again.returncode, "making nightfall" in again.stderr) == (0, False)


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["--preset", "tiny"], "tiny"),
        (["--model", "cyclegan"], "small"),
        (["--preset", "tiny", "--set", "data.nightfall_size=full"], "full"),
    ],
)
def test_a_new_city_has_the_size_of_the_settings(
    words: list[str], size: str, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preset that is done in a minute has no use for a city that takes longer to make."""
    made: list[str] = []

    def write(root: Path, config: NightfallConfig, *_: object, **__: object) -> None:
        made.append(size_of(config))
        raise DarksideError("enough")

    monkeypatch.setattr("darkside_cli.nightfall.asset.write", write)
    told = run_here("train-gan", "--data", "nightfall", *words, "-o", "run")
    assert (made, "enough" in told.stderr) == ([size], True), told.stderr


@pytest.mark.slow
def test_the_tiny_preset_makes_its_own_city_and_keeps_one_that_is_there(
    run_here: RunHere, environment: dict[str, str]
) -> None:
    options = ["--data", "nightfall", "--set", "data.size=4", "--set", "trainer.validate_every=0"]
    done = run_here("train-gan", "--preset", "tiny", *options, "--epochs", "1", "-o", "run")
    assert done.returncode == 0, done.stderr
    assert "the embedded city, size tiny" in done.stderr
    again = run_here("train-gan", "--model", "cyclegan", "--preset", "tiny", *options, "--epochs", "1", "-o", "other",
                     "--set", "data.nightfall_size=small")  # fmt: skip
    assert (again.returncode, "making nightfall" in again.stderr) == (0, False)

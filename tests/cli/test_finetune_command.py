"""``darkside finetune``: from images of places to a descriptor that is used at once; stopped, killed, shared."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cli_calls import RunCli, RunHere
from safetensors.torch import load_file
from stub_tuples import write_places
from waiting import Process, let_run, wait_until

from darkside_cli.config.sources import tomllib  # the standard one, or tomli

SMALL = {
    "mining.anchors": 5,
    "mining.anchor_pool": 9,
    "mining.negatives": 2,
    "mining.negative_pool": 12,
    "data.batch_size": 2,
    "data.workers": 1,
    "data.validation_share": 0.3,
    "whitening.image_size_px": 48,
    "whitening.scales": "ss",
    "evaluation.image_size_px": 48,
    "evaluation.scales": "ss",
    "trainer.log_every_s": 0,
    "trainer.checkpoint_every": 1,
    "trainer.validate_every": 1,
    "optim.lr": 1e-4,
}
ARGUMENTS = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
ARGUMENTS += ["--data", "places", "--backbone", "squeezenet1_1", "--init", "random", "--image-size", "40"]
ARGUMENTS += ["--dataset", "test", "--epochs", "2", "--device", "cpu", "-o", "run"]


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Folders ``places`` to learn from and ``test`` to evaluate on, in ``tmp_path``."""
    write_places(tmp_path / "places", 8, 3, sides=((40, 32), (30, 40)))
    for seen in ("day", "night"):
        write_places(tmp_path / "making", 4, 2, sides=((44, 36),))
        for place in (tmp_path / "making").iterdir():
            target = tmp_path / "test" / place.name / seen
            target.parent.mkdir(parents=True, exist_ok=True)
            place.rename(target)
    return tmp_path


@pytest.fixture
def night(generator_file: Path) -> list[str]:
    """The options that make night with a generator."""
    return ["--model", str(generator_file), "--set", "augment.share=0.6"]


FILES = ("descriptor.safetensors", "descriptor_whitening.safetensors", "evaluation.json")


def assert_same(first: Path, second: Path) -> None:
    one, other = (load_file(run / FILES[0]) for run in (first, second))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    newest = [max((run / "checkpoints").glob("epoch_*")) for run in (first, second)]
    one, other = (load_file(each / "descriptor.safetensors") for each in newest)
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    one, other = (load_file(run / FILES[1]) for run in (first, second))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    sets = [json.loads((run / FILES[2]).read_text())["sets"] for run in (first, second)]
    assert sets[0] == sets[1]


@pytest.mark.slow
def test_from_places_to_a_descriptor(places: Path, night: list[str], run_here: RunHere) -> None:
    done = run_here("finetune", *night, *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    run = places / "run"
    path, heading, line = done.stdout.splitlines()
    assert path == str(Path("run") / FILES[0])
    assert heading.startswith("model\tdata set\tprotocol\tmAP")
    assert line.startswith("run\ttest\tok\t")
    settings = tomllib.loads((run / "config.toml").read_text())
    assert (settings["backbone"], settings["data"]["image_size_px"]) == ("squeezenet1_1", 40)
    assert settings["augment"]["models"] == [night[1]]
    assert (run / "report.html").stat().st_size > 10_000
    page = (run / "report.html").read_text()
    assert "<h2>Evaluation</h2>" in page
    assert f"<td>{line.split(chr(9))[3]}</td>" in page
    assert "<h2>Whitening</h2>" in page
    records = (run / "scalars.jsonl").read_text()
    assert "negative_distance" in records
    assert list((places / "darkside-home" / "cache" / "night").rglob("*.npy"))

    # What it made is used at once.
    scored = run_here("evaluate", "--model", "run", "-d", "test", "--scales", "ss", "--image-size", "48")
    assert scored.returncode == 0, scored.stderr
    assert scored.stdout.splitlines()[1].split("\t")[3] == line.split("\t")[3]
    out = run_here("extract", "places", "--recursive", "--model", "run", "-o", "all.npz", "--scales", "ss")
    assert out.returncode == 0, out.stderr
    assert run_here("models", "run").returncode == 0

    # The same command again has nothing to do.
    before = {name: (run / name).read_bytes() for name in FILES}
    (run / "report.html").unlink()
    again = run_here("finetune", *night, *ARGUMENTS, "--json")
    answer = json.loads(again.stdout)
    assert (again.returncode, answer["complete"], answer["epochs"]) == (0, True, 2)
    assert answer["lines"][0]["dataset"] == "test"
    assert {name: (run / name).read_bytes() for name in FILES} == before
    assert "<h2>Evaluation</h2>" in (run / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["--augment", "none"],
        ["--augment", "gamma"],
        ["--augment", "exposure", "--whitening", "pca"],
        ["--night-images", "test", "--whitening", "none"],
        ["--augment", "gamma", "--set", "loss.kind=triplet", "--set", "freeze_norms=false"],
    ],
)
def test_baselines(options: list[str], places: Path, run_here: RunHere) -> None:
    done = run_here("finetune", *options, *ARGUMENTS, "--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert (places / "run" / FILES[1]).exists() is ("none" not in options[2:])


@pytest.mark.slow
def test_lists_pairs_and_other_settings(places: Path, night: list[str], run_here: RunHere) -> None:
    """Images of places from a CSV file; a configuration from another run; two generators."""
    names = sorted(path.relative_to(places).as_posix() for path in (places / "places").rglob("*.png"))
    lines = ["image,place", *(f"{name},{name.split('/')[1]}" for name in names)]
    (places / "list.csv").write_text("\n".join(lines))
    shutil.copy(night[1], places / "second.pth")
    (places / "second.pth").write_bytes((places / "second.pth").read_bytes() + b"\0")
    shown = run_here("finetune", *night, *ARGUMENTS, "--print-config")
    (places / "mine.toml").write_text(shown.stdout)
    done = run_here(
        "finetune", "--config", "mine.toml", "--data", "list.csv", "--model", night[1], "--model", "second.pth",
        "--epochs", "1", "--device", "cpu", "-o", "run", "--whiten-on", "places",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folders = {
        path.parent.parent.name for path in (places / "darkside-home" / "cache" / "night").rglob("*.npy")
    }
    assert len(folders) == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_any_moment_it_ends_the_same(
    places: Path, night: list[str], environment: dict[str, str]
) -> None:
    """kill -9 while it mines, trains, whitens and evaluates, and the same command again: bit for bit the same."""
    command = [sys.executable, "-m", "darkside_cli", "finetune", *night, *ARGUMENTS]
    command += ["--set", "trainer.checkpoint_minutes=0.0002", "--epochs", "3"]
    environment = {**environment, "OMP_NUM_THREADS": "1"}

    def start(run: str) -> Process[bytes]:
        return Process(
            [*command, "-o", run],
            cwd=places,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    with start("whole") as whole:
        _, said = whole.communicate(timeout=280)
    assert whole.returncode == 0, said
    # Translations are there already: without them, mining and training take their time.
    shutil.rmtree(places / "darkside-home" / "cache")
    run = places / "run"
    moments: list[Callable[[], bool]] = [
        lambda: (run / "scalars.jsonl").exists(),  # the first epoch is being mined
        lambda: bool(list((run / "checkpoints").glob("epoch_0001_step_*"))),  # inside of an epoch
        lambda: bool(list((run / "checkpoints").glob("epoch_0002*"))),
        lambda: (run / "stages" / "whitening").exists(),
        lambda: (run / "stages" / "evaluation").exists() or (run / FILES[2]).exists(),
    ]
    rng, killed = random.Random(5), 0
    for moment in moments:
        with start("run") as process:
            wait_until(moment, process=process)
            let_run(process, rng.random() * 0.05)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.communicate(timeout=60)
    assert killed >= 3
    with start("run") as last:
        _, said = last.communicate(timeout=280)
    assert last.returncode == 0, said
    assert_same(places / "whole", run)


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_two_processes_do_what_one_does_with_the_double_batch(
    places: Path, night: list[str], run_cli: RunCli
) -> None:
    # Adam turns the rounding of tiny gradients into steps of up to its rate; with a larger one, other tuples are mined.
    common = ["finetune", *night, *ARGUMENTS, "--set", "mining.anchors=8", "--set", "optim.lr=1e-6"]
    one = run_cli(*common, "--set", "data.batch_size=4", "-o", "one", timeout_s=280)
    assert one.returncode == 0, one.stderr.decode()
    two = run_cli(*common, "--nproc", "2", "-o", "two", timeout_s=280)
    assert two.returncode == 0, two.stderr.decode()
    assert two.stdout.decode().splitlines()[0] == "two/descriptor.safetensors"
    assert two.stdout.count(b"two\ttest") == 1
    # The same tuples were mined: losses are the same but for rounding.
    losses = []
    for name in ("one", "two"):
        records = [json.loads(line) for line in (places / name / "scalars.jsonl").read_text().splitlines()]
        losses.append([record["losses"]["loss"] for record in records if record["event"] == "epoch"])
    assert len(losses[0]) == 2
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    first, second = (load_file(places / name / FILES[0]) for name in ("one", "two"))
    for key, value in first.items():
        most = (
            8e-5 if key == "pool.p" else 8e-6
        )  # four steps, towards either side; the pooling's rate is tenfold
        assert (value.double() - second[key].double()).abs().max() < most, key


@pytest.mark.slow
def test_ctrl_c_saves_and_exits_130(places: Path, night: list[str], environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "darkside_cli", "finetune", *night, *ARGUMENTS, "--epochs", "10000"]
    records = places / "run" / "scalars.jsonl"
    with Process(
        command,
        cwd=places,
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        wait_until(lambda: records.exists() and b'"event": "epoch"' in records.read_bytes(), process=process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    assert process.returncode == 130, said.decode()
    assert list((places / "run" / "checkpoints").glob("epoch_*/meta.json"))
    assert b"Traceback" not in said


class TestMistakes:
    def test_published_data_that_is_not_here(self, run_here: RunHere) -> None:
        told = run_here("finetune", "--model", "hedngan", "--backbone", "vgg16")
        assert told.returncode == 3
        assert "darkside download retrieval-sfm-120k" in told.stderr
        assert "--data" in told.stderr

    def test_features_that_are_not_here(self, places: Path, run_here: RunHere) -> None:
        told = run_here("finetune", "--data", "places", "--augment", "none")
        assert told.returncode == 3
        assert "darkside download imagenet-vgg16" in told.stderr
        assert "--init torchvision" in told.stderr

    def test_torchvision_is_never_asked_unless_told_to(
        self, places: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TORCH_HOME", os.fspath(places / "torch"))
        command = [
            "finetune",
            "--data",
            "places",
            "--augment",
            "none",
            "--init",
            "torchvision",
            "-b",
            "squeezenet1_1",
        ]
        for more in ([], ["--offline"], ["--offline", "--download"]):
            told = run_here(*command, *more)
            assert told.returncode == 3
            assert "torchvision's weights of squeezenet1_1" in told.stderr

    def test_a_generator_that_is_not_here(self, places: Path, run_here: RunHere) -> None:
        told = run_here("finetune", "--data", "places", "--init", "random")
        assert told.returncode == 3
        assert "darkside download hedngan" in told.stderr
        assert "--augment none" in told.stderr

    def test_a_test_set_that_is_not_here(self, places: Path, run_here: RunHere) -> None:
        told = run_here(
            "finetune", "--data", "places", "--init", "random", "--augment", "none", "-d", "tokyo247"
        )
        assert told.returncode == 3
        assert "darkside download tokyo247" in told.stderr

    def test_misspelt(self, places: Path, run_here: RunHere) -> None:
        for words, said in (
            (["--augment", "gama"], "gamma"),
            (["--backbone", "vgg61"], "vgg16"),
            (["--whitening", "lv"], "lw"),
            (["--data", "retrieval-sfm-120"], "retrieval-sfm-120k"),
            (["--set", "optim.lrr=1"], "optim.lr"),
        ):
            told = run_here("finetune", "--augment", "none", "--init", "random", *words)
            assert (told.returncode, said in told.stderr) == (2, True), told.stderr

    def test_a_folder_of_nothing(self, tmp_path: Path, run_here: RunHere) -> None:
        (tmp_path / "empty").mkdir()
        told = run_here("finetune", "--augment", "none", "--init", "random", "--data", "empty")
        assert told.returncode == 2
        assert "a folder of its own" in told.stderr


@pytest.mark.parametrize("preset", ["paper", "tiny"])
def test_presets(preset: str, run_here: RunHere) -> None:
    shown = run_here("finetune", "--preset", preset, "--print-config", "--json")
    assert shown.returncode == 0, shown.stderr
    config = json.loads(shown.stdout)["config"]
    assert (config["backbone"], config["init"]) == (
        ("vgg16", "imagenet") if preset == "paper" else ("resnet18", "random")
    )


@pytest.mark.parametrize(
    ("words", "rate", "origin"),
    [
        ([], 5e-7, "default"),
        (["--init", "random"], 1e-4, "command line, init"),
        (["--set", "init=random"], 1e-4, "--set init=random"),
        (["--init", "random", "--set", "optim.lr=5e-7"], 5e-7, "--set optim.lr=5e-7"),
        (["--init", "random", "--preset", "demo-base"], 8e-3, "preset finetune/demo-base"),
    ],
)
def test_random_weights_have_a_learning_rate_of_their_own(
    words: list[str], rate: float, origin: str, run_here: RunHere
) -> None:
    """The published one is for features that are learned already."""
    shown = json.loads(run_here("finetune", *words, "--print-config", "--json").stdout)
    assert (shown["config"]["optim"]["lr"], shown["origins"]["optim.lr"]) == (rate, origin)


def test_a_folder_without_a_descriptor_is_told(places: Path, run_here: RunHere) -> None:
    told = run_here("extract", "places", "--recursive", "--model", ".", "-o", "all.npz")
    assert told.returncode == 2
    assert "darkside finetune" in told.stderr

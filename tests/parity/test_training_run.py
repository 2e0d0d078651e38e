"""Whole short trainings from files, by the trainer itself: losses of every step, rates, files left behind."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
import torch
from gan_runs import LOSSES, our_names
from torch import Tensor

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.unpaired import UnpairedBatch, UnpairedConfig, UnpairedImages
from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.methods.catalog import METHODS
from darkside_cli.methods.config import GanConfig
from darkside_cli.methods.task import GanTask
from darkside_cli.networks.weights import save_network
from darkside_cli.registry import resolve
from darkside_cli.training.task import Update
from darkside_cli.training.trainer import Trainer

CASE = golden.load_case("training_run")
SFM = golden.DATA / "files" / "sfm"
#: "detectors: fill_(weights seed)": the whole set's, where the case names none of its own.
DETECTOR_SEED = int(CASE.params.get("weights_seed", golden.manifest()["weights_seed"]))


def _config(method: str, expected: Mapping[str, Any]) -> GanConfig:
    """The published configuration with the case's networks, crops and length."""
    config: GanConfig = resolve(METHODS.get(method).config)()

    def shrunken(of: Any, name: str) -> Any:
        known = asdict(config_from_reference(expected["models"][name])[1])
        return replace(of, **{key: known[key] for key in asdict(of) if key in known})

    crop, scale = golden.crop(CASE)
    rates = [epoch["lr"]["generator_X"][0] for epoch in expected["epochs"]]
    return replace(
        config,
        generator=shrunken(config.generator, "generator_X"),
        discriminator=shrunken(config.discriminator, "discriminator_Y"),
        schedule=replace(config.schedule, decay_epochs=sum(rate < config.optim.lr for rate in rates)),
        data=UnpairedConfig(
            day=SFM / "train_day.txt",
            night=SFM / "train_night.txt",
            images=SFM / "ims",
            size=expected["size"],
            batch_size=expected["batch_size"],
            crop_px=crop,
            scale=scale,
        ),
        trainer=replace(
            config.trainer, epochs=len(rates), seed=expected["training_seed"], validate_every=0, keep=2
        ),
    )


def record(task: GanTask) -> list[dict[str, float]]:
    """Note down what each step of ``task`` logs, from now on."""
    steps: list[dict[str, float]] = []
    original = task.train_step

    def watched(batch: UnpairedBatch) -> Iterator[Update]:
        logs: dict[str, Tensor] = {}
        for update in original(batch):
            logs.update(update.logs)
            yield update
        steps.append({name: value.item() for name, value in logs.items()})

    task.train_step = watched  # type: ignore[method-assign]
    return steps


@pytest.mark.parametrize("method", list(CASE.values))
def test_training_from_files(method: str, tmp_path: Path) -> None:
    expected = CASE.values[method]
    config = _config(method, expected)
    python_seed = int(expected["python_random_seed"].split()[0])
    data = UnpairedImages(
        config.data,
        seed=config.trainer.seed,
        root=DataRoot(tmp_path, "test"),
        crop_stream=lambda epoch: random.Random(python_seed + epoch),
    )
    detector = None
    if "detector" in expected["models"]:
        detector = golden.build(expected["models"]["detector"], DETECTOR_SEED)
    task: GanTask = resolve(METHODS.get(method).target).build(config, device="cpu", edge_detector=detector)
    steps = record(task)
    rates: list[dict[str, list[float]]] = []
    original = data.epoch

    def watched_epoch(epoch: int, *, start: int = 0) -> Iterator[UnpairedBatch]:
        rates.append(
            {name: [group["lr"] for group in each.param_groups] for name, each in task.optimizers.items()}
        )
        return original(epoch, start=start)

    data.epoch = watched_epoch  # type: ignore[method-assign]
    result = Trainer(
        task,
        data,
        config.trainer,
        run=tmp_path / "run",
        device=torch.device("cpu"),
        save_network=save_network,
    ).fit()
    assert result.complete

    names = LOSSES.get(method, LOSSES["edges"])
    wanted = [losses for epoch in expected["epochs"] for losses in epoch["losses"]]
    assert len(steps) == len(wanted)
    tolerance = CASE.entry["tolerance"]
    for number, (ours, theirs) in enumerate(zip(steps, wanted, strict=True)):
        rtol = tolerance["first step losses" if number == 0 else "losses"]["rtol"]
        for name, value in theirs.items():
            assert ours[names[name]] == pytest.approx(value, rel=rtol, abs=rtol * 1e-3), (number, name)

    networks = our_names(method, expected["models"])
    for ours, epoch in zip(rates, expected["epochs"], strict=True):
        for name, groups in epoch["lr"].items():
            mine = ours[networks[name]]
            assert sorted(set(np.round(mine, 15))) == sorted(set(np.round(groups, 15))), name
    _check_generator(task, expected)
    _check_files(tmp_path / "run", expected, networks)


def _check_generator(task: GanTask, expected: Mapping[str, Any]) -> None:
    """The generator that comes out has the statistics of the reference's, at the losses' tolerance."""
    state = task.networks["generator_day2night"].state_dict()
    assert {key for key, value in state.items() if value.is_floating_point()} >= set(
        expected["generator_X_stats"]
    )
    rtol = CASE.entry["tolerance"]["losses"]["rtol"]
    for key, (_, _, l2) in expected["generator_X_stats"].items():
        if l2 > 0.1:  # biases before a norm, and what has only begun to move, are noise
            assert state[key].double().norm().item() == pytest.approx(l2, rel=rtol), key


def _check_files(run: Path, expected: Mapping[str, Any], networks: Mapping[str, str]) -> None:
    """Every network that the reference keeps of its newest epoch is in our newest checkpoint, frozen ones once."""
    epochs = len(expected["epochs"])
    kept = {
        name.rsplit("_epoch_", 1)[0]
        for name, kind in expected["epochs"][-1]["files"].items()
        if "_epoch_" in name
    }
    kept -= {"learning", "net"}
    newest = run / "checkpoints" / f"epoch_{epochs:04d}"
    for name in kept:
        frozen = f"{name}_frozen.pth" in expected["epochs"][-1]["files"]
        folder = run / "checkpoints" / "frozen" if frozen else newest
        assert (folder / f"{networks[name]}.safetensors").is_file()
    assert (newest / "state.pt").is_file()
    assert (run / "generator_day2night.safetensors").is_file()

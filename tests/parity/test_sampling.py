"""Which images an epoch is made of, their order and their crops, against the golden cases."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from golden import DATA, crop, load_case

from darkside_cli.datasets.unpaired import UnpairedConfig, UnpairedImages
from darkside_cli.datasets.unpaired_order import draw_pairs
from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.methods.catalog import METHODS
from darkside_cli.registry import resolve

SFM = DATA / "files" / "sfm"


def test_pairs_of_an_epoch() -> None:
    case = load_case("pool_and_sampling").values["domain_pairs"]
    assert case["epochs"]
    for epoch in case["epochs"]:
        day, night = draw_pairs(case["day"], case["night"], case["size"], seed=epoch["numpy_seed"])
        np.testing.assert_array_equal(day, epoch["idxs_X"])
        np.testing.assert_array_equal(night, epoch["idxs_Y"])


def test_default_size() -> None:
    case = load_case("pool_and_sampling").values["domain_pairs"]
    data = UnpairedImages(_config(size=None), seed=0)
    assert (len(data.day), len(data.night)) == (case["day"], case["night"])
    assert data.size == case["default_size"]


def test_first_batch_of_a_training_run() -> None:
    """Lists, pairs, order and crops: if any were another, the losses of the first step would be far off."""
    case = load_case("training_run")
    run = case.values["cyclegan"]
    data = UnpairedImages(
        _config(size=run["size"], batch_size=run["batch_size"]),
        seed=run["training_seed"],
        crop_stream=lambda epoch: random.Random(int(run["python_random_seed"].split()[0]) + epoch),
    )
    batch = next(iter(data.epoch(0)))
    entry = METHODS.get("cyclegan")
    config = resolve(entry.config)()
    config = replace(
        config,
        generator=_options(config.generator, run["models"]["generator_X"]),
        discriminator=_options(config.discriminator, run["models"]["discriminator_X"]),
    )
    task = resolve(entry.target).build(config, device="cpu")
    losses = {}
    for update in task.train_step(batch):
        update.loss.backward()
        losses |= {name: value.item() for name, value in update.logs.items()}
        for name in update.optimizers:
            task.optimizers[name].step()
            task.optimizers[name].zero_grad()
    expected = run["epochs"][0]["losses"][0]
    tolerance = case.entry["tolerance"]["first step losses"]["rtol"]
    for theirs, ours in {
        "netG_X_cycle": "cycle_day",
        "netG_X_adversarial": "adversarial_night",
        "netG_Y_cycle": "cycle_night",
        "netG_Y_adversarial": "adversarial_day",
        "netD_X_total": "discriminator_night",
        "netD_Y_total": "discriminator_day",
    }.items():
        assert losses[ours] == pytest.approx(expected[theirs], rel=tolerance), theirs


def _config(**values: Any) -> UnpairedConfig:
    crop_px, scale = crop(load_case("training_run"))
    return UnpairedConfig(
        day=SFM / "train_day.txt",
        night=SFM / "train_night.txt",
        images=SFM / "ims",
        crop_px=crop_px,
        scale=scale,
        **values,
    )


def _options(of: Any, model: Any) -> Any:
    known = asdict(config_from_reference(model)[1])
    return replace(of, **{key: known[key] for key in asdict(of) if key in known})

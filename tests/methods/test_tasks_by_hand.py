"""The tasks beyond the golden cases: what resuming and options rest on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.errors import CheckpointError
from darkside_cli.methods.config import (
    CutConfig,
    CycleGanConfig,
    EdgeWeights,
    HedGanConfig,
    NceOptions,
)
from darkside_cli.methods.cut import CutTask
from darkside_cli.methods.cyclegan import CycleGanTask
from darkside_cli.methods.hedgan import HedGanTask
from darkside_cli.methods.network_options import (
    InitialisationOptions,
    PatchDiscriminatorOptions,
    ResnetGeneratorOptions,
)
from darkside_cli.methods.task import make_network
from darkside_cli.networks.sobel import Sobel
from darkside_cli.networks.weights import save_network

SMALL = ResnetGeneratorOptions(ngf=4, n_blocks=1)
JUDGE = PatchDiscriminatorOptions(ndf=4, n_layers=1)


def batch(seed: int = 0) -> UnpairedBatch:
    generator = torch.Generator().manual_seed(seed)
    return UnpairedBatch(*(torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1 for _ in range(2)))


def test_cut_draws_on_where_it_was() -> None:
    """The random stream of positions is part of the state: the same positions come after it is taken back."""
    config = CutConfig(
        generator=SMALL, discriminator=JUDGE, nce=NceOptions(layers=(4, 8), num_patches=5, dim=8)
    )
    task = CutTask.build(config, device="cpu")
    state = task.extra_state()
    features = [torch.zeros(1, 8, 16, 16), torch.zeros(1, 16, 8, 8)]
    first = task.draw_positions(features)
    assert [len(set(positions.tolist())) for positions in first] == [5, 5]
    task.load_extra_state(state)
    for one, other in zip(first, task.draw_positions(features), strict=True):
        assert torch.equal(one, other)


def test_cyclegan_identity_adds_its_term() -> None:
    config = CycleGanConfig(generator=SMALL, discriminator=JUDGE)
    config = replace(config, weights=replace(config.weights, identity=5.0))
    logs: dict[str, torch.Tensor] = {}
    for update in CycleGanTask.build(config, device="cpu").train_step(batch()):
        logs |= dict(update.logs)
    assert any("identity" in name for name in logs)


def test_the_edge_methods_may_leave_night_alone() -> None:
    """Its term is the weighted change of night images by the generator as people will use it; statistics stay."""
    base = HedGanConfig(generator=replace(SMALL, norm="batch"), discriminator=JUDGE, edge_detector="sobel")
    config = replace(base, weights=EdgeWeights(identity=3.0))
    task = HedGanTask.build(config, device="cpu", edge_detector=Sobel())
    images = batch()
    generator = task.generator_day2night
    updates = task.train_step(images)
    next(updates)
    before = {key: value.clone() for key, value in generator.state_dict().items() if "running" in key}
    update = next(updates)
    assert all(torch.equal(value, generator.state_dict()[key]) for key, value in before.items())
    generator.eval()
    change = (generator(images.night) - images.night).abs().mean()
    torch.testing.assert_close(update.logs["identity"], 3 * change)
    without = HedGanTask.build(base, device="cpu", edge_detector=Sobel())
    *_, last = without.train_step(images)
    assert "identity" not in last.logs


def test_networks_begin_with_a_checkpoints_weights(tmp_path: Path) -> None:
    first = make_network(replace(SMALL, initialisation=InitialisationOptions(seed=5)))
    path = tmp_path / "g.safetensors"
    save_network(path, "generator_day2night", first, {"direction": "day2night"})
    again = make_network(replace(SMALL, initialisation=InitialisationOptions(weights=path)))
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())
    with pytest.raises(CheckpointError, match="another form"):
        make_network(ResnetGeneratorOptions(ngf=8, initialisation=InitialisationOptions(weights=path)))

"""Losses, initialisation and image pools against the golden cases."""

from __future__ import annotations

import re
from typing import Any

import golden
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.losses.gan import (
    adversarial_loss,
    discriminator_loss,
    distillation_loss,
    edge_loss,
    patch_nce_loss,
)
from darkside_cli.methods.config import CycleGanWeights
from darkside_cli.methods.cyclegan import ImagePool
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.layers import Initialisation, initialise
from darkside_cli.registry import resolve


def tensor(case: golden.Case, name: str) -> Tensor:
    return torch.from_numpy(case.arrays[name])


def check(case: golden.Case, actual: Tensor, expected: float) -> None:
    tolerance = case.entry["tolerance"]
    np.testing.assert_allclose(actual.item(), expected, rtol=tolerance["rtol"], atol=tolerance["atol"])


def test_adversarial() -> None:
    case = golden.load_case("losses")
    expected = case.values["adversarial"]
    real, fake = tensor(case, "pred_real"), tensor(case, "pred_fake")
    on_real, on_fake = adversarial_loss(real, real=True), adversarial_loss(fake, real=False)
    check(case, on_real, expected["D_real"])
    check(case, on_fake, expected["D_fake"])
    check(case, discriminator_loss(on_real, on_fake), expected["D_total"])
    check(case, adversarial_loss(fake, real=True), expected["G_gan"])
    assert (expected["target_real"], expected["target_fake"]) == (0, 1)


def test_adversarial_at_several_scales() -> None:
    case = golden.load_case("losses")
    expected = case.values["adversarial_multiscale"]
    scales = [tensor(case, "pred_fake"), tensor(case, "pred_real")]
    check(case, adversarial_loss(scales, real=True), expected["total"])
    for number, scores in enumerate(scales):
        check(case, adversarial_loss(scores, real=True), expected[f"layer{number}"])


def test_edges() -> None:
    case = golden.load_case("losses")
    a, b = tensor(case, "edge_a"), tensor(case, "edge_b")
    check(case, edge_loss(a, b), case.values["edge_l1"])
    check(case, distillation_loss(a, b), case.values["distillation_l1"])


@pytest.mark.parametrize("normalised", [False, True])
def test_cyclegans_generator(normalised: bool) -> None:
    case = golden.load_case("losses")
    expected = case.values["cycle_generator" + "_normalised_weights" * normalised]
    weights = CycleGanWeights()
    if normalised:  # as --set gives them
        total = weights.adversarial + weights.cycle + weights.identity
        weights = CycleGanWeights(adversarial=weights.adversarial / total, cycle=weights.cycle / total)
    adversarial = weights.adversarial * adversarial_loss(tensor(case, "pred_fake"), real=True)
    cycle = weights.cycle * F.l1_loss(tensor(case, "cycle_rec"), tensor(case, "cycle_real"))
    check(case, adversarial, expected["adversarial"])
    check(case, cycle, expected["cycle"])
    check(case, adversarial + cycle, expected["total"])


@pytest.mark.parametrize("groups", [1, 2])
def test_patch_nce(groups: int) -> None:
    case = golden.load_case("losses")
    expected = case.values[f"patch_nce_batch_dim_{groups}"]
    layers = [int(layer) for layer in case.params["nce_layers"].split(",")]
    means: list[Tensor] = []
    for layer in layers:
        queries = tensor(case, f"nce{groups}_q{layer}").clone().requires_grad_()
        losses = patch_nce_loss(
            queries,
            tensor(case, f"nce{groups}_k{layer}"),
            temperature=case.params["nce_temperature"],
            groups=groups,
        )
        means.append(losses.mean())
        check(case, means[-1], expected[f"layer{layer}"])
        if layer == layers[0]:
            case.assert_close(losses, case.arrays[f"nce{groups}_first_layer_per_patch"])
            (means[-1] / len(layers)).backward()
            assert queries.grad is not None
            case.assert_close(queries.grad, case.arrays[f"nce{groups}_q_grad_first"])
    check(case, torch.stack(means).mean(), expected["total"])


def _network(model: dict[str, Any]) -> nn.Module:
    architecture, config = config_from_reference(model)
    network: nn.Module = resolve(ARCHITECTURES.get(architecture).target)(config)
    return network


def _kind(name: str) -> Initialisation:
    kinds: dict[str, Initialisation] = {"normal_p2p": "normal", "kaiming_p2p": "kaiming"}
    return kinds[name]


def test_initialisation() -> None:
    case = golden.load_case("initialisation")
    tolerance = case.entry["tolerance"]
    for name, described in case.values.items():
        if "model" in described:
            network = _network(described["model"])
            settings = described["initialize"]
            initialise(network, _kind(settings["weights"]), seed=settings["seed"])
            state = network.state_dict()
            for key, stats in described["stats"].items():
                scale = abs(stats[1]) or 1.0  # means are differences of values this large
                np.testing.assert_allclose(
                    golden.statistics(state[key]), stats, rtol=tolerance["stats"]["rtol"], atol=1e-7 * scale
                )
            first = case.with_prefix(f"{name}.")
            assert first
            for key, values in first.items():
                actual = state[key].flatten()[: len(values)].numpy()
                np.testing.assert_allclose(actual, values, rtol=tolerance["values"]["rtol"])


def test_image_pool() -> None:
    case = golden.load_case("pool_and_sampling")
    pools = {name: value for name, value in case.values.items() if re.fullmatch(r"pool\d+", name)}
    assert pools
    for described in pools.values():
        pool = ImagePool(described["pool_size"], seed=described["python_random_seed"])
        for query, result in described["queries_and_results"]:
            images = torch.tensor(query).view(-1, 1, 1, 1)
            assert pool.query(images).flatten().tolist() == result

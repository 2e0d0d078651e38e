"""CUT: features that serve twice, mirrored images, and gradients that torch's instance norm may get wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.methods.config import (
    CutConfig,
    CutWeights,
    NceOptions,
)
from darkside_cli.methods.cut import CutTask
from darkside_cli.methods.network_options import PatchDiscriminatorOptions, ResnetGeneratorOptions
from darkside_cli.training.task import Update

CONFIG = CutConfig(
    generator=ResnetGeneratorOptions(ngf=4, n_blocks=2),
    discriminator=PatchDiscriminatorOptions(ndf=4, n_layers=1),
    # 4 is a convolution, 8 a norm that a ReLU follows, 10 a residual block.
    nce=NceOptions(layers=(4, 8, 10), num_patches=7, dim=8),
)


class NormByFormula(nn.Module):
    """Instance norm as it is written down."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        return (x - mean) / torch.sqrt(variance + 1e-5)


def batch(count: int, seed: int = 0) -> UnpairedBatch:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, 16, 24)
    return UnpairedBatch(
        *(torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(2))
    )


def task(config: CutConfig = CONFIG) -> CutTask:
    built = CutTask.build(config, device="cpu")
    for network in built.networks.values():
        network.double()
    return built


def last_update(trained: CutTask, given: UnpairedBatch) -> Update:
    *_, update = trained.train_step(given)
    return update


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("last", [False, True])
def test_gradients_are_those_of_the_formula(count: int, last: bool) -> None:
    config = replace(CONFIG, trainer=replace(CONFIG.trainer, channels_last=last))
    trained, by_formula = task(config), task()
    for module in list(by_formula.generator_day2night.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.InstanceNorm2d):
                setattr(module, name, NormByFormula())
    given = batch(count)
    for each in (trained, by_formula):
        last_update(each, given).loss.backward()
    expected = dict(by_formula.generator_day2night.named_parameters())
    compared = 0
    for name, parameter in trained.generator_day2night.named_parameters():
        if expected[name].grad.abs().max() > 1e-9:  # type: ignore[union-attr]
            torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-6, atol=1e-12)
            compared += 1
    assert compared >= 8


def test_keys_are_features_of_the_source() -> None:
    """What translating gave along the way is what encoding day and night images would give."""
    trained, given = task(), batch(2)
    with torch.no_grad():
        keys: list[list[list[Tensor]]] = []
        for part in (given.day, given.night):
            keys.append([feature.clone() for feature in trained.encode(part)])
        _, features = trained.translate_and_encode(torch.cat([given.day, given.night]))
    for day, night, both in zip(*keys, features, strict=True):
        torch.testing.assert_close(torch.cat([day, night]), both)


def test_discriminator_collects_nothing_while_the_generator_learns() -> None:
    trained = task()
    last_update(trained, batch(1)).loss.backward()
    assert all(p.grad is None for p in trained.discriminator_night.parameters())
    assert all(p.grad is not None for p in trained.patch_head.parameters())
    assert all(p.requires_grad for p in trained.discriminator_night.parameters())


def test_fastcut_has_no_identity_term_and_weighs_nce_ten() -> None:
    config = replace(CONFIG, variant="fastcut")
    assert (config.nce_weight, config.identity_weight, config.flips) == (10, 0, True)
    seen: list[int] = []
    trained = task(replace(config, flip_equivariance=False))
    trained.translate_and_encode.register_forward_pre_hook(lambda _module, given: seen.append(len(given[0])))
    logs = last_update(trained, batch(2)).logs
    assert seen == [2]
    assert set(logs) == {"adversarial", "nce", "total"}
    one = task(replace(CONFIG, weights=CutWeights(nce=1.0, identity=0.0)))
    torch.testing.assert_close(logs["nce"], 10 * last_update(one, batch(2)).logs["nce"])


def test_weights_that_are_given_count() -> None:
    config = replace(CONFIG, variant="fastcut", weights=CutWeights(nce=3.0, identity=2.0))
    assert (config.nce_weight, config.identity_weight) == (3, 2)
    assert (CONFIG.nce_weight, CONFIG.identity_weight, CONFIG.flips) == (1, 10, False)


def test_some_batches_are_mirrored_and_compared_with_the_unmirrored() -> None:
    trained = task(replace(CONFIG, variant="fastcut"))
    given = batch(1)
    translated: list[Tensor] = []
    encoded: list[Tensor] = []
    trained.translate_and_encode.register_forward_pre_hook(lambda _module, x: translated.append(x[0]))
    trained.encode.register_forward_pre_hook(lambda _module, x: encoded.append(x[0].detach()))
    mirrored = 0
    for _ in range(12):
        translated.clear()
        encoded.clear()
        last_update(trained, given)
        if torch.equal(translated[0], given.day.flip(3)):
            mirrored += 1
            assert len(encoded) == 2
            assert torch.equal(encoded[0], given.day)
        else:
            assert torch.equal(translated[0], given.day)
            assert len(encoded) == 1
    assert 2 <= mirrored <= 10


def test_random_stream_goes_on() -> None:
    config = replace(CONFIG, variant="fastcut")
    first, second = task(config), task(config)
    given = batch(1)
    for _ in range(3):
        last_update(first, given)
    second.load_extra_state(first.extra_state())
    for _ in range(4):
        one, other = last_update(first, given), last_update(second, given)
        assert torch.equal(one.loss, other.loss)


def test_negatives_of_the_image_alone() -> None:
    """With them two images in a batch are as two batches of one; with the whole batch's they are not."""
    given = batch(2)
    halves = [UnpairedBatch(given.day[i : i + 1], given.night[i : i + 1]) for i in range(2)]
    positions = [torch.arange(0, 90, 13), torch.arange(0, 24, 4)[:6], torch.arange(0, 24, 4)[:6]]

    def nce(negatives: str, batches: list[UnpairedBatch]) -> float:
        trained = task(replace(CONFIG, nce=replace(CONFIG.nce, negatives=negatives)))
        trained.draw_positions = lambda features: positions  # type: ignore[method-assign]
        return sum(last_update(trained, each).logs["nce"].item() for each in batches) / len(batches)

    assert nce("image", [given]) == pytest.approx(nce("image", halves))
    assert nce("batch", [given]) != pytest.approx(nce("batch", halves), rel=1e-3)

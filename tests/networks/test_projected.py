"""The projected discriminator: what is fixed, what learns, and its spectral norm against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from darkside_cli.errors import MissingAssetError
from darkside_cli.networks import model_entry
from darkside_cli.networks.configs import ProjectedDiscriminatorConfig
from darkside_cli.networks.discriminator import (
    ProjectedDiscriminator,
    SpectralConv2d,
    moved,
    recognise_projected,
)
from darkside_cli.networks.efficientnet_lite import EfficientNetLite
from darkside_cli.networks.recognise import shapes_of

CONFIG = ProjectedDiscriminatorConfig(width=8)


def discriminator(seed: int = 0) -> ProjectedDiscriminator:
    torch.manual_seed(0)
    features = EfficientNetLite("efficientnet_lite0").eval().requires_grad_(False)
    made = ProjectedDiscriminator(CONFIG, features=features)
    made.draw_weights(seed)
    return made


def test_scores_come_from_four_scales() -> None:
    scores = discriminator()(torch.rand(2, 3, 64, 96) * 2 - 1)
    assert [tuple(each.shape[:2]) for each in scores] == [(2, 1)] * 4
    assert [tuple(each.shape[2:]) for each in scores] == [(4, 6), (4, 6), (2, 3), (2, 3)]


def test_only_the_heads_learn_and_the_features_are_in_no_file() -> None:
    network = discriminator().requires_grad_(True)
    assert all(name.startswith("heads.") for name, _ in network.named_parameters())
    kept = {key.split(".")[0] for key in network.state_dict()}
    assert kept == {"mixing", "heads"}
    assert recognise_projected(shapes_of(network.state_dict())) == CONFIG
    assert recognise_projected({"model.0.weight": (64, 3, 4, 4)}) is None


def test_gradients_reach_the_image() -> None:
    x = (torch.rand(1, 3, 64, 64) * 2 - 1).requires_grad_()
    sum(each.mean() for each in discriminator().eval()(x)).backward()  # type: ignore[union-attr]
    assert x.grad is not None
    assert x.grad.abs().max() > 0


def test_mixing_and_first_weights_depend_on_their_seeds_alone() -> None:
    one, two, three = discriminator(1), discriminator(1), discriminator(2)
    torch.manual_seed(99)
    torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)
    assert torch.equal(one.mixing.channels_0, three.mixing.channels_0)
    assert not torch.equal(one.heads[0][0].weight, three.heads[0][0].weight)


def test_the_spectral_norm_is_torchs() -> None:
    torch.manual_seed(3)
    ours = SpectralConv2d(4, 6, 3, 2, 1)
    theirs = spectral_norm(nn.Conv2d(4, 6, 3, 2, 1))
    norm = theirs.parametrizations.weight[0]
    with torch.no_grad():
        theirs.parametrizations.weight.original.copy_(ours.weight)
        theirs.bias.copy_(ours.bias)
        norm._u.copy_(ours.left)
        norm._v.copy_(ours.right)
    for _ in range(3):
        x = torch.rand(2, 4, 9, 8)
        a, b = ours(x), theirs(x)
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        gradients = [
            torch.autograd.grad(y.square().sum(), weight)[0]
            for y, weight in ((a, ours.weight), (b, theirs.parametrizations.weight.original))
        ]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
    ours.iterate(100)
    largest = torch.linalg.matrix_norm(ours.weight.flatten(1), 2)
    found = ours.left @ ours.weight.detach().flatten(1) @ ours.right
    assert found.item() == pytest.approx(largest.item(), rel=1e-4)


def test_moved_images_come_in_on_the_other_side() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4)
    torch.manual_seed(0)
    seen = {tuple(moved(x, 1).flatten().tolist()) for _ in range(60)}
    wanted = {
        tuple(torch.roll(x, (down, right), (2, 3)).flatten().tolist())
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    }
    assert seen == wanted


def test_missing_features_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_entry, "find_spec", lambda name: None)
    with pytest.raises(MissingAssetError, match="efficientnet_lite0") as caught:
        ProjectedDiscriminator(CONFIG)(torch.zeros(1, 3, 64, 64))
    assert "darkside-cli[features]" in str(caught.value.hint)

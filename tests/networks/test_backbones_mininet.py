"""The small backbone of the demonstration."""

from __future__ import annotations

import torch

from darkside_cli.networks.backbones import (
    MiniBlock,
    build_features,
    feature_channels,
    feature_shapes,
    recognise_backbone,
)
from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig


def test_shapes_and_size() -> None:
    features = build_features("mininet").eval()
    assert features(torch.zeros(2, 3, 64, 96)).shape == (2, 128, 4, 6)
    assert features(torch.zeros(1, 3, 1, 1)).shape == (1, 128, 1, 1)
    assert feature_channels("mininet") == 128
    assert sum(each.numel() for each in features.parameters()) < 400_000


def test_a_block_by_hand() -> None:
    """With zeros in the body only the shortcut is left: every second pixel, doubled, what is negative cut off."""
    block = MiniBlock(1, 1).eval()
    with torch.no_grad():
        for parameter in block.body.parameters():
            parameter.zero_()
        block.shortcut[0].weight.fill_(2.0)  # type: ignore[operator, union-attr]
    x = torch.tensor([[1.0, 9.0, -2.0], [9.0, 9.0, 9.0], [3.0, 9.0, 4.0]])[None, None]
    y = block(x)[0, 0]
    torch.testing.assert_close(y, torch.tensor([[2.0, 0.0], [6.0, 8.0]]), rtol=1e-4, atol=0)


def test_a_retrieval_network_of_it_is_recognised() -> None:
    network = RetrievalNet(RetrievalNetConfig(backbone="mininet"))
    assert recognise_backbone(feature_shapes("mininet")) == "mininet"
    rows = network.eval()(torch.rand(2, 3, 64, 64))
    assert rows.shape == (2, 128)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(2), rtol=1e-4, atol=0)

"""The stream of an epoch's random numbers, held to torch's own loaders."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader

from darkside_cli.retrieval.mining.draws import TorchDraws


def test_streams() -> None:
    generator = torch.Generator().manual_seed(5)
    expected = [
        torch.randperm(6, generator=generator).tolist(),
        int(torch.randint(9, (1,), generator=generator)),
    ]
    draws = TorchDraws(torch.Generator().manual_seed(5), data_passes=False)
    draws.data_pass()
    assert [draws.permutation(6).tolist(), draws.below(9)] == expected
    of_epoch = TorchDraws.of_epoch(3, 2)
    assert of_epoch.permutation(6).tolist() == expected[0]


def test_data_passes_draw_what_loaders_draw() -> None:
    before = torch.get_rng_state()
    try:
        torch.manual_seed(5)
        list(DataLoader(range(4)))  # in its order, in this process: only the base seed
        shuffled = [int(i) for i in DataLoader(range(7), shuffle=True)]
        after = int(torch.randint(1 << 30, (1,)))
        torch.manual_seed(5)
        own = TorchDraws()  # of the global stream
        own.data_pass()
        assert own.tuple_order(7).tolist() == shuffled
        assert own.below(1 << 30) == after
    finally:
        torch.set_rng_state(before)


def test_a_stream_of_its_own_leaves_the_global_one() -> None:
    before = torch.get_rng_state()
    draws = TorchDraws.of_epoch(0, 0)
    draws.permutation(5)
    draws.tuple_order(5)
    assert torch.equal(torch.get_rng_state(), before)

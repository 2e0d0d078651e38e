"""The relighting generator in bands gives what the plain one gives."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from darkside_cli.kernels import fast_relight, prepare
from darkside_cli.kernels.fast_relight import FastRelight, between_rows
from darkside_cli.networks.configs import RelightGeneratorConfig
from darkside_cli.networks.relight import NightControls, RelightGenerator


def generator() -> RelightGenerator:
    made = RelightGenerator(RelightGeneratorConfig(width=8, levels=2, working_px=48))
    made.draw_weights(0)
    with torch.no_grad():
        made.out.weight.mul_(20)
    return made.eval()


@pytest.mark.parametrize("size", [(40, 30), (48, 48), (97, 131), (5, 300)])
@pytest.mark.parametrize("band", [1, 1000, 1 << 16])
def test_it_is_the_plain_generator(size: tuple[int, int], band: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_relight, "_BAND_VALUES", band)
    plain = generator()
    plain.controls = NightControls(seed=3, darkness=0.5, lights=2.0)
    ready = prepare(plain)
    assert isinstance(ready, FastRelight)
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        wanted = plain(x)
    torch.testing.assert_close(ready(x), wanted, rtol=0, atol=2e-5)


def test_rows_between_are_those_of_the_whole() -> None:
    maps = torch.rand(2, 4, 7, 5)
    whole = F.interpolate(maps, size=(23, 11), mode="bilinear")
    parts = [between_rows(maps, top, min(23, top + 4), 23, 11) for top in range(0, 23, 4)]
    torch.testing.assert_close(torch.cat(parts, 2), whole, rtol=0, atol=1e-6)


def test_several_threads_work_on_it_whatever_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_relight, "_BAND_VALUES", 200)
    ready, x = prepare(generator()), torch.rand(1, 3, 60, 50)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        wanted = ready(x)
        torch.set_num_threads(2)
        with torch.inference_mode():
            given = ready(x)
            given.mul_(1)  # as the translator does
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(given, wanted, rtol=0, atol=2e-5)

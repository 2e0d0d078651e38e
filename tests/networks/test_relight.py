"""The generator that makes light: what it does to an image, by hand-made maps and by its promises."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from darkside_cli.errors import ConfigError
from darkside_cli.networks.configs import RelightGeneratorConfig
from darkside_cli.networks.guided import box_sum
from darkside_cli.networks.light import WakingLight, smooth, to_linear, to_srgb
from darkside_cli.networks.recognise import shapes_of
from darkside_cli.networks.relight import NightControls, RelightGenerator, night_code, recognise, relight

CONFIG = RelightGeneratorConfig(width=8, levels=2, working_px=64)


def generator(seed: int = 0, **changes: object) -> RelightGenerator:
    made = RelightGenerator(replace(CONFIG, **changes))  # type: ignore[arg-type]
    made.draw_weights(seed)
    with torch.no_grad():  # away from the even dusk of the beginning
        made.out.weight.mul_(20)
    return made.eval()


def image(height: int = 40, width: int = 56, seed: int = 1) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_light_is_that_of_the_standard() -> None:
    values = torch.tensor([0.0, 0.04045, 0.5, 1.0])
    assert to_linear(values).tolist() == pytest.approx([0, 0.04045 / 12.92, 0.214041, 1], abs=1e-6)
    torch.testing.assert_close(to_srgb(to_linear(values)), values, rtol=0, atol=1e-6)


def test_a_night_is_the_day_times_gain_plus_light() -> None:
    day = torch.full((1, 3, 8, 8), 0.5)
    log_gain = torch.full((1, 3, 8, 8), -2.0)
    light = torch.tensor([0.1, 0.05, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    night = relight(day, day, log_gain, light, CONFIG, NightControls())
    wanted = to_srgb(0.214041 * torch.tensor(-2.0).exp() + light[..., 0, 0])
    torch.testing.assert_close(night[..., 4, 4], wanted, rtol=0, atol=1e-4)
    darker = relight(day, day, log_gain, light, CONFIG, NightControls(darkness=1, lights=0))
    wanted = to_srgb(0.214041 * torch.tensor([[-2.0] * 3]).exp() / 2)
    torch.testing.assert_close(darker[..., 4, 4], wanted, rtol=0, atol=1e-4)


def test_windows_are_weighted_as_they_should() -> None:
    x = torch.zeros(1, 1, 5, 5)
    x[..., 2, 2] = 16
    assert smooth(x)[0, 0, 1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert box_sum(torch.ones(1, 1, 4, 4), 1)[0, 0].tolist() == [
        [4, 6, 6, 4],
        [6, 9, 9, 6],
        [6, 9, 9, 6],
        [4, 6, 6, 4],
    ]


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (41, 57), (64, 64), (130, 90)])
def test_any_size_is_taken_and_given_back(size: tuple[int, int]) -> None:
    with torch.no_grad():
        night = generator()(image(*size))
    assert night.shape == (1, 3, *size)
    assert night.isfinite().all()
    assert night.min() >= -1
    assert night.max() <= 1


def test_codes_make_nights_and_the_same_seed_the_same() -> None:
    network, day = generator(), image()
    with torch.no_grad():
        usual = network(day)
        nights = []
        for seed in (3, 3, 4):
            network.controls = NightControls(seed=seed)
            nights.append(network(day))
    assert torch.equal(nights[0], nights[1])
    assert not torch.equal(nights[0], nights[2])
    assert not torch.equal(nights[0], usual)
    assert torch.equal(night_code(8, None), torch.zeros(1, 8))
    network.train()
    torch.manual_seed(0)
    with torch.no_grad():
        assert not torch.equal(network(day), network(day)), "while it learns, each night is another"


def test_controls_do_what_they_say() -> None:
    network, day = generator(), image()
    with torch.no_grad():
        network.controls = NightControls(lights=0)
        unlit = network(day).mean()
        network.controls = NightControls(lights=2)
        lit = network(day).mean()
        network.controls = NightControls(lights=0, darkness=1)
        dark = network(day).mean()
    assert dark < unlit < lit


def test_the_configuration_chooses_too_once_it_has_learned() -> None:
    usual, chosen, day = generator(), generator(darkness=1.0, lights=2.0), image()
    usual.controls = NightControls(darkness=1.5, lights=1.0)
    chosen.controls = NightControls(darkness=0.5, lights=0.5)
    code = torch.zeros(1, 8)
    with torch.no_grad():
        assert torch.equal(chosen(day, code), usual(day, code))
        chosen.controls, usual.controls = NightControls(), NightControls()
        assert torch.equal(chosen.train()(day, code), usual.train()(day, code))


def test_lamps_are_warm_or_white() -> None:
    network = generator()
    with torch.no_grad():
        light = network.night_and_light(image())[1]
    assert light.min() >= 0
    red, green, blue = light.chunk(3, 1)
    assert (green <= torch.maximum(red, blue) + 1e-6).all(), "there are no green lamps"


def test_light_wakes_where_there_is_none_and_is_never_more_than_white() -> None:
    x = torch.tensor([-9.0, -6.0, 0.0, 5.0], requires_grad=True)
    light = WakingLight.apply(x)
    assert light.tolist() == pytest.approx([0.00012, 0.00248, 0.69315, 1.0], abs=1e-5)
    (up,) = torch.autograd.grad(-light.sum(), x, retain_graph=True)
    assert up.tolist() == pytest.approx([-0.02, -0.02, -0.5, 0])
    (down,) = torch.autograd.grad(light.sum(), x)
    assert down.tolist() == pytest.approx([0, 0.02, 0.5, 0.99331], abs=1e-5)


def test_first_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    one = generator(1).state_dict()
    torch.manual_seed(6)
    two, three = generator(1).state_dict(), generator(2).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["stem.weight"], three["stem.weight"])


def test_it_is_recognised_by_its_shapes() -> None:
    config = RelightGeneratorConfig(width=12, levels=3, code=5)
    assert recognise(shapes_of(RelightGenerator(config).state_dict())) == config
    assert recognise({"stem.weight": (8, 3, 3, 3)}) is None


def test_what_cannot_be_is_refused() -> None:
    for wrong in ({"width": 6}, {"in_channels": 1}):
        with pytest.raises(ConfigError):
            RelightGeneratorConfig(**wrong)  # type: ignore[arg-type]

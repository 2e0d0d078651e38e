"""The translator on stubs and tiny generators: numbers, sizes, kinds of input, directions."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import darkside_cli
from darkside_cli.errors import CheckpointError, ConfigError, MissingAssetError, UnknownNameError, UsageError
from darkside_cli.methods import translate as module
from darkside_cli.methods.translate import Translator, load_generator
from darkside_cli.networks.configs import (
    PatchDiscriminatorConfig,
    RelightGeneratorConfig,
    ResnetGeneratorConfig,
    UnetGeneratorConfig,
)
from darkside_cli.networks.discriminator import PatchDiscriminator
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.relight import RelightGenerator
from darkside_cli.networks.unet import UnetGenerator
from darkside_cli.networks.weights import save_checkpoint

TINY = ResnetGeneratorConfig(ngf=4, n_blocks=1)


class Negative(nn.Module):
    """x -> -x: what comes out is the negative image."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return -x


def test_values_are_normalised_in_and_truncated_out() -> None:
    network = Negative().eval()
    out = Translator(network).translate(np.array([[[[0, 255, 51]]]], np.uint8))
    assert network.seen is not None
    torch.testing.assert_close(network.seen.flatten(), torch.tensor([-1.0, 1.0, -0.6]))
    # 0.6 * 0.5 + 0.5 = 0.8 -> 204 exactly or 203.99…: float32's 0.6 lies above 0.6
    assert out.flatten().tolist() == [255, 0, 204]


def test_another_mean_and_std_are_used_both_ways() -> None:
    out = Translator(Negative(), mean=(0.25, 0.5, 0.75), std=(0.25, 0.5, 1.0))(
        np.full((1, 1, 3), 51, np.uint8)
    )
    # channel 0: (0.2 - 0.25) / 0.25 = -0.2 -> 0.2 * 0.25 + 0.25 = 0.3 -> 76.5 -> 76
    # channel 1: (0.2 - 0.5) / 0.5 = -0.6 -> 0.8 -> 204; channel 2: -0.55 -> 0.55 + 0.75 = 1.3 -> clipped
    assert out.flatten().tolist() == [76, 204, 255]


def test_every_kind_of_image_comes_back_as_it_was_given() -> None:
    translator = Translator(Negative())
    pixels = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    expected = translator(pixels)
    assert expected.shape == (2, 4, 3)
    assert expected.dtype == np.uint8

    image = translator(Image.fromarray(pixels))
    assert isinstance(image, Image.Image)
    np.testing.assert_array_equal(np.asarray(image), expected)
    batch = translator(np.stack([pixels, pixels]))
    np.testing.assert_array_equal(batch, [expected, expected])
    tensor = translator(torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)
    torch.testing.assert_close(
        tensor, torch.from_numpy(expected).permute(2, 0, 1).float() / 255, atol=1 / 255, rtol=0
    )
    assert translator(torch.zeros(5, 3, 2, 4)).shape == (5, 3, 2, 4)
    many = translator([Image.fromarray(pixels), Image.new("L", (7, 3))])
    assert [each.size for each in many] == [(4, 2), (7, 3)]
    assert many[1].mode == "RGB"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_tensors_are_not_rounded_to_8_bits(dtype: torch.dtype) -> None:
    translator = Translator(Negative())
    ramp = torch.linspace(0.3, 0.31, 3 * 40, dtype=dtype).reshape(3, 4, 10)
    kept = ramp.clone()
    night = translator(ramp)
    assert night.dtype == dtype
    assert night.unique().numel() > 8  # 0.69 to 0.70 are four steps of 1/255 at most
    torch.testing.assert_close(night, 1 - ramp, atol=1e-3 if dtype == torch.float16 else 1e-6, rtol=0)
    torch.testing.assert_close(ramp, kept, atol=0, rtol=0)
    # Out of range is clipped, sides are padded and cropped, and what comes back can be trained on.
    assert translator(torch.full((3, 2, 2), 1.5, dtype=dtype)).unique().tolist() == [0]
    weight = torch.ones((), dtype=dtype, requires_grad=True)
    (night * weight).sum().backward()
    assert weight.grad is not None


def test_tensors_and_images_of_any_size_agree(resnet: Translator) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (1, 21, 31, 3)).astype(np.uint8)
    floats = resnet(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    assert floats.shape == (1, 3, 21, 31)
    whole = (floats.double() * 255 + 1e-4).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.abs(whole.astype(int) - resnet(pixels)).max() <= 1
    assert (whole != resnet(pixels)).mean() < 0.001


def test_images_are_read_as_files_are() -> None:
    """Turned upright, 16 bits scaled, alpha kept."""
    translator = Translator(Negative())
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4)).save(buffer, format="PNG", exif=exif)
    assert translator(Image.open(buffer)).size == (4, 6)
    deep = Image.fromarray(np.full((2, 3), 257 * 51, np.uint16))
    assert np.asarray(translator(deep))[0, 0].tolist() == [204, 204, 204]
    clear = Image.new("RGBA", (3, 2), (0, 0, 0, 7))
    out = translator(clear)
    assert out.mode == "RGBA"
    assert out.getpixel((0, 0)) == (255, 255, 255, 7)


def test_more_memory_than_there_is_is_refused_before_it_is_taken(
    resnet: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_memory", lambda device: 15 * 4 * 32 * 32 - 1)
    with pytest.raises(MemoryError, match="32x32"):
        resnet.translate(np.zeros((1, 32, 32, 3), np.uint8))
    assert resnet.translate(np.zeros((1, 32, 31, 3), np.uint8)).shape == (1, 32, 31, 3)


def test_grey_generators_are_refused(tmp_path: Path) -> None:
    config = ResnetGeneratorConfig(in_channels=1, out_channels=1, ngf=4, n_blocks=1)
    path = save_checkpoint(
        tmp_path / "grey.safetensors", ResnetGenerator(config), architecture="resnet_generator", config=config
    )
    with pytest.raises(CheckpointError, match="1 channels of 1"):
        load_generator(path)


def test_the_cpu_is_not_compiled_for() -> None:
    assert not Translator(Negative(), compile=True).compiled


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        torch.zeros(4, 4, 3),
        torch.zeros(3, 4, 4, dtype=torch.uint8),
        "photo.jpg",
        7,
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'shape', '')}",
)
def test_what_is_no_image_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match="cannot translate"):
        Translator(Negative())(wrong)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def resnet() -> Translator:
    torch.manual_seed(0)
    return Translator(ResnetGenerator(TINY).eval())


@pytest.fixture(scope="module")
def unet() -> Translator:
    torch.manual_seed(0)
    return Translator(UnetGenerator(UnetGeneratorConfig(num_downs=5, ngf=2)).eval())


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), batch=st.integers(1, 2))
def test_any_size_comes_back_in_its_size(
    resnet: Translator, unet: Translator, height: int, width: int, batch: int
) -> None:
    images = np.zeros((batch, height, width, 3), np.uint8)
    for translator in (resnet, unet):
        assert translator.translate(images).shape == images.shape


def test_sides_that_divide_are_not_padded(resnet: Translator) -> None:
    torch.manual_seed(0)
    network = ResnetGenerator(TINY).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 36, 3)).astype(np.uint8)
    with torch.no_grad():
        y = network((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5)
    expected = ((y.double() * 0.5 + 0.5) * 255).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    difference = np.abs(resnet.translate(pixels).astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.001


def save(path: Path, direction: str | None) -> Path:
    torch.manual_seed(1)
    metadata = {"direction": direction} if direction else {}
    return save_checkpoint(
        path, ResnetGenerator(TINY), architecture="resnet_generator", config=TINY, metadata=metadata
    )


def test_loading_by_path_and_by_name(tmp_path: Path, generator_file: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "hedngan_generator_X.pth").write_bytes(generator_file.read_bytes())
    by_name = darkside_cli.load_generator("hedngan", device="cpu", data_dir=tmp_path)
    by_path = load_generator(generator_file, device="cpu")
    assert (by_name.name, by_name.direction) == ("hedngan", "day2night")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    np.testing.assert_array_equal(by_name(pixels), by_path(pixels))


def test_what_cannot_be_loaded_says_why(tmp_path: Path, generator_file: Path) -> None:
    with pytest.raises(MissingAssetError, match="cyclegan_generator_X"):
        load_generator("cyclegan", data_dir=tmp_path)
    with pytest.raises(UnknownNameError, match="cyclegan"):
        load_generator("cylegan", data_dir=tmp_path)
    with pytest.raises(UsageError, match="to 'dawn'"):
        load_generator(generator_file, to="dawn")
    with pytest.raises(ConfigError, match="unknown direction"):
        load_generator(generator_file, direction="up")
    with pytest.raises(CheckpointError, match="an edge-detector, not a generator"):
        load_generator(generator_file.parent / "hed_plain.pth")
    config = PatchDiscriminatorConfig(ndf=4)
    torch.save(PatchDiscriminator(config).state_dict(), tmp_path / "latest_net_D_A.pth")
    with pytest.raises(CheckpointError, match="a discriminator, not a generator") as caught:
        load_generator(tmp_path / "latest_net_D_A.pth")
    assert "latest_net_G_A.pth" in (caught.value.hint or "")


@pytest.mark.parametrize("named", [(), ("hedngan",)])
def test_without_the_published_weights_the_embedded_generator_serves_and_says_so(
    tmp_path: Path, generator_file: Path, named: tuple[str, ...]
) -> None:
    with pytest.warns(UserWarning, match="darkside download hedngan gets it.*darkside-night") as told:
        night = darkside_cli.load_generator(*named, device="cpu", data_dir=tmp_path)
    assert night.name == "darkside-night"
    assert told[0].filename == __file__  # the caller's line, not ours
    with pytest.raises(UsageError, match="'darkside-night' translates day to night"):
        load_generator(*named, to="day", data_dir=tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "hedngan_generator_X.pth").write_bytes(generator_file.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_generator(*named, device="cpu", data_dir=tmp_path).name == "hedngan"


def test_directions(tmp_path: Path) -> None:
    night = save(tmp_path / "to-night.safetensors", "day2night")
    day = save(tmp_path / "to-day.safetensors", "night2day")
    silent = save(tmp_path / "silent.safetensors", None)
    assert load_generator(night).direction == "day2night"
    assert load_generator(day, to="day").direction == "night2day"
    assert load_generator(silent).direction == "day2night"
    assert load_generator(silent, to="day", direction="night2day").direction == "night2day"
    with pytest.raises(UsageError, match="translates day to night, not to day"):
        load_generator(night, to="day")
    with pytest.raises(UsageError, match="translates night to day, not to night"):
        load_generator(day)
    with pytest.raises(UsageError, match="does not say that it translates to day"):
        load_generator(silent, to="day")
    with pytest.raises(UsageError, match="does not translate to night"):
        load_generator(silent, direction="night2day")


def test_bf16_is_near(resnet: Translator) -> None:
    torch.manual_seed(0)
    other = Translator(ResnetGenerator(TINY).eval(), precision="bf16")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    difference = np.abs(resnet(pixels).astype(int) - other(pixels).astype(int))
    assert difference.mean() < 2


def test_batch_sizes_are_one_on_the_cpu(resnet: Translator) -> None:
    assert resnet.batch_size(100, 100) == 1
    assert not resnet.asynchronous


def test_nights_can_be_chosen_where_there_are_several(tmp_path: Path) -> None:
    config = RelightGeneratorConfig(width=4, levels=1, working_px=32)
    network = RelightGenerator(config)
    network.draw_weights(0)
    file = save_checkpoint(
        tmp_path / "relight.safetensors", network, architecture="relight_generator", config=config
    )
    day = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    usual = load_generator(file, device="cpu")(day)
    one, same, other = (load_generator(file, device="cpu", seed=seed)(day) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, usual)
    assert load_generator(file, device="cpu", darkness=2)(day).mean() < usual.mean()
    assert load_generator(file, device="cpu", lights=9)(day).mean() > usual.mean()


def test_a_generator_of_one_night_says_so(tmp_path: Path) -> None:
    file = save_checkpoint(
        tmp_path / "g.safetensors", ResnetGenerator(TINY), architecture="resnet_generator", config=TINY
    )
    for chosen in ({"seed": 1}, {"darkness": 1.0}, {"lights": 0.0}):
        with pytest.raises(UsageError, match="makes one night of a day"):
            load_generator(file, device="cpu", **chosen)  # type: ignore[arg-type]

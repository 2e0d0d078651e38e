"""``NightAugment``: generators by name as an augmentation of anybody's training."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import darkside_cli
from darkside_cli import NightAugment
from darkside_cli.config.paths import data_root
from darkside_cli.errors import CheckpointError, MissingAssetError, UnknownNameError, UsageError
from darkside_cli.methods.night import GeneratorNight, load_night
from darkside_cli.networks.catalog import EMBEDDED_GENERATOR, MODELS
from darkside_cli.networks.configs import RelightGeneratorConfig
from darkside_cli.networks.relight import RelightGenerator
from darkside_cli.retrieval.mining.night_share import NightShare


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    monkeypatch.setenv("DARKSIDE_HOME", environment["DARKSIDE_HOME"])


@pytest.fixture
def day(make_image: Callable[..., Path], tmp_path: Path) -> Image.Image:
    return Image.open(make_image(tmp_path / "day.png", 40, 36)).convert("RGB")


def as_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255).permute(2, 0, 1)


def test_the_embedded_generator_by_name_and_by_default(day: Image.Image) -> None:
    assert darkside_cli.NightAugment is NightAugment
    augment = NightAugment(EMBEDDED_GENERATOR, share=1, seed=0)
    assert isinstance(augment, torch.nn.Module)
    night = augment(day)
    assert night.size == day.size
    assert np.asarray(night).mean() < np.asarray(day).mean()
    with pytest.warns(UserWarning, match="hedngan is not on this machine.*using darkside-night"):
        default = NightAugment(share=1, seed=0)
    other = default(as_tensor(day)[None])  # the same, of a batch
    assert float((other[0] - as_tensor(night)).abs().max()) <= 1 / 255
    assert "share=1" in repr(augment)


def test_other_generators(generator_file: Path, day: Image.Image, environment: dict[str, str]) -> None:
    """A published one that rounds sides up: batches as single images, copies as the thing itself."""
    augment = NightAugment(generator_file, share=1, seed=0)
    batch = torch.stack([as_tensor(day), as_tensor(day).flip(2)])[..., :33, :37]
    nights = augment(batch)
    maker = load_night(generator_file, data_root())
    one = maker(np.ascontiguousarray((batch[1] * 255).round().byte().permute(1, 2, 0).numpy()), "any")
    np.testing.assert_allclose(nights[1].permute(1, 2, 0).numpy(), one[:33, :37], atol=1e-5)
    assert augment(day.crop((0, 0, 37, 33))).size == (37, 33)
    assert torch.equal(pickle.loads(pickle.dumps(augment))(batch), nights)


def test_nights_of_a_batch_differ_where_the_generator_can() -> None:
    network = RelightGenerator(RelightGeneratorConfig(width=4, levels=1, code=4))
    network.draw_weights(1)
    with torch.no_grad():
        for each in network.modules():
            if isinstance(each, torch.nn.Linear):
                each.weight.mul_(30)
        network.out.weight.mul_(10)
    maker = GeneratorNight(network.eval(), fingerprint="x")
    batch = torch.rand(1, 3, 24, 24).expand(3, -1, -1, -1)
    nights = maker.translate(batch, ["a", "b", "a"])
    assert torch.equal(nights[0], nights[2])
    assert not torch.allclose(nights[0], nights[1], atol=1e-3)
    pixels = np.ascontiguousarray((batch[0] * 255).round().byte().permute(1, 2, 0).numpy())
    again = pickle.loads(pickle.dumps(maker))
    np.testing.assert_array_equal(again(pixels, "a"), maker(pixels, "a"))
    assert not np.allclose(again(pixels, "a"), again(pixels, "b"), atol=1e-3)


def test_a_batch_elsewhere_is_translated_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done on a GPU, tried here: codes of a whole batch at once."""
    network = RelightGenerator(RelightGeneratorConfig(width=4, levels=1, code=4))
    network.draw_weights(1)
    maker = GeneratorNight(network.eval(), fingerprint="x")
    batch = torch.rand(3, 3, 24, 24)
    expected = maker.translate(batch, ["a", "b", "c"])
    monkeypatch.setattr(maker, "_one_by_one", lambda device: False)
    monkeypatch.setattr(maker, "_on", lambda device: network)
    np.testing.assert_allclose(maker.translate(batch, ["a", "b", "c"]).numpy(), expected.numpy(), atol=1e-4)


def test_darkening_takes_turns_with_generators(day: Image.Image) -> None:
    augment = NightAugment("gamma", "exposure", EMBEDDED_GENERATOR, share=1, seed=0)
    levels = {np.asarray(augment(day)).tobytes() for _ in range(4)}
    assert len(levels) > 1
    assert float(augment(torch.full((8, 3, 8, 8), 0.5)).max()) < 0.5


def test_nights_are_kept_where_they_are_asked_for(
    day: Image.Image, tmp_path: Path, environment: dict[str, str]
) -> None:
    NightAugment(EMBEDDED_GENERATOR, share=1, seed=0, cache=True)(day)
    assert len(list((Path(environment["DARKSIDE_HOME"]) / "cache" / "night").rglob("*.npy"))) == 1
    NightAugment(EMBEDDED_GENERATOR, share=1, seed=0, cache=str(tmp_path / "kept"))(day)
    assert len(list((tmp_path / "kept").rglob("*.npy"))) == 1
    NightAugment(EMBEDDED_GENERATOR, share=1, seed=0, cache=tmp_path / "none", cache_gb=0)(day)
    assert not (tmp_path / "none").exists()


def test_what_is_no_generator(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError):
        NightAugment("hedngen")
    with pytest.raises(MissingAssetError):
        NightAugment("hedngan")
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError):
        NightAugment(tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match="a int is no generator"):
        NightAugment(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"a list is no generator.*one by one"):
        NightAugment(["gamma"])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="room for nights is 'a'"):
        NightAugment("gamma", cache_gb="a")  # type: ignore[arg-type]


def test_finetune_uses_the_same_module(tmp_path: Path) -> None:
    from stub_tuples import MEAN, STD, flat_places

    from darkside_cli.retrieval.mining.night import GammaNight
    from darkside_cli.retrieval.mining.tuple_images import TupleImages

    tuples = flat_places(tmp_path, [[(10, 10, 10), (20, 20, 20)]])
    images = TupleImages(tuples, size_px=8, mean=MEAN, std=STD, night=GammaNight(2.0, 3.0), share=0.25)
    assert isinstance(images._night, NightShare)
    assert issubclass(NightAugment, NightShare)


PAGE = Path(__file__).parents[2] / "docs" / "pages" / "augment.md"
EXAMPLES = re.findall(r"<!-- tested: augment -->\n```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


class _Places(torch.utils.data.Dataset[Any]):
    """Four places of two photographs, as GSV-Cities' dataset gives them."""

    def __init__(self, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        levels = np.random.default_rng(place).integers(0, 256, (2, 24, 32, 3)).astype(np.uint8)
        images = [self.transform(Image.fromarray(each)) for each in levels]
        return torch.stack(images), torch.tensor([place]).repeat(2)


@pytest.mark.parametrize("number", range(3))
def test_the_examples_of_the_page_run(number: int, environment: dict[str, str]) -> None:
    """As they stand, but for the network, the images and the losses of others; ten lines at most."""
    from torchvision import transforms

    assert len(EXAMPLES) == 3
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 4))
    before = [each.clone() for each in model.parameters()]
    images, labels = torch.rand(8, 3, 24, 32), torch.arange(8) % 4
    names = {
        "NightAugment": NightAugment, "torch": torch, "T": transforms, "GSVCitiesDataset": _Places,
        "DataLoader": torch.utils.data.DataLoader, "workers": 0, "device": "cpu", "model": model,
        "normalize": transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "criterion": torch.nn.CrossEntropyLoss(), "multi_similarity": torch.nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "loader": [(images, labels)],
        "triplets": [(images[:2], images[2:4], images[:2])],  # negatives too near, so that there is something to learn
    }  # fmt: skip
    text = EXAMPLES[number]
    assert len(text.strip().splitlines()) <= 10
    if "darkside-night" not in MODELS:
        text = text.replace("darkside-night", EMBEDDED_GENERATOR)
    exec(compile(text.replace("(320, 320)", "(32, 32)"), PAGE.name, "exec"), names)
    assert all(not torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


@pytest.mark.gpu
def test_a_batch_on_a_gpu(day: Image.Image) -> None:
    """As on the CPU, on the images' own device, under autocast, too."""
    batch = torch.stack([as_tensor(day), as_tensor(day).flip(2)])
    expected = NightAugment(EMBEDDED_GENERATOR, share=1, seed=0)(batch)
    augment = NightAugment(EMBEDDED_GENERATOR, share=1, seed=0).to("cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found = augment(batch.cuda())
    assert found.device.type == "cuda"
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.cpu().numpy(), expected.numpy(), atol=0.02)

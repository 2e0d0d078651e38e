"""A model at work: what it gives, when it is the same model, what is too small for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_descriptor import small_network, small_whitening
from torch import nn

from darkside_cli.errors import ImageError, UsageError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import descriptor_transform
from darkside_cli.kernels import dispatch
from darkside_cli.retrieval.describe import describer as module
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.descriptor import DescriptorModel


def model(seed: int = 0, **options: Any) -> DescriptorModel:
    return DescriptorModel(small_network(seed), **{"whitening": small_whitening(), **options}).eval()


def test_gives_what_the_model_gives() -> None:
    given = model()
    x = torch.randn(2, 3, 70, 90)
    with torch.no_grad():
        expected = given(x).numpy()
    describer = Describer(given)
    rows = describer.submit(x).result()
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    assert not describer.asynchronous
    # The model is as it was.
    with torch.no_grad():
        np.testing.assert_array_equal(given(x).numpy(), expected)
    assert all(parameter.requires_grad for parameter in given.network.features.parameters())


def test_photographs() -> None:
    describer = Describer(model())
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((64, 80), (90, 64))
    ]
    rows = describer(images)
    assert rows.shape == (2, 24)
    np.testing.assert_array_equal(describer(images[1]), rows[1])
    assert describer([]).shape == (0, 24)


def test_fingerprints_tell_models_apart() -> None:
    reference = Describer(model()).fingerprint
    assert Describer(model(), name="another name", precision="bf16").fingerprint == reference
    transform = descriptor_transform((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), ClaheSettings())
    changed = model()
    with torch.no_grad():
        next(changed.network.features.parameters())[0, 0, 0, 0] += 1e-3
    others = [
        Describer(each).fingerprint
        for each in (
            model(seed=1),
            model(scales=(1.0,)),
            model(dim=23),
            model(whitening=None),
            model(whitening=small_whitening(seed=1)),
            model(transform=transform),
            changed,
        )
    ]
    assert len({reference, *others}) == 8


def test_too_small_images_are_refused_before_they_come_to_the_device() -> None:
    describer = Describer(model())
    describer.check_size(42, 300)  # SqueezeNet needs 21 at half the size
    with pytest.raises(ImageError, match=r"41x300|300x41"):
        describer.check_size(41, 300)
    with pytest.raises(ImageError, match=r"at scale 0\.5"):
        describer.check_size(300, 41)
    single = Describer(model(scales=(1.0,)))
    single.check_size(21, 21)
    with pytest.raises(ImageError, match=r"^20x21 pixels are too few for squeezenet1_1 "):
        single.check_size(21, 20)


def test_batches_on_a_cpu_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    describer = Describer(model())
    assert describer.batch_size(768, 1024) == 1
    assert describer.batch_size(128, 128) == 16
    assert describer.batch_size(8, 8) == module.MAX_BATCH
    describer.release_memory()
    # Elsewhere they are as large as memory allows.
    describer.device = torch.device("meta")
    monkeypatch.setattr(module, "free_memory", lambda _: 40 << 30)
    assert describer.batch_size(768, 1024) == 17
    monkeypatch.setattr(module, "free_memory", lambda _: 1 << 20)
    assert describer.batch_size(768, 1024) == 1


class Recorder(nn.Module):
    """Features that note whether autocast was on."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.seen: list[torch.dtype | None] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None)
        y: torch.Tensor = self.features(x)
        return y


@pytest.mark.parametrize("amx", [False, True])
def test_bf16_only_where_the_processor_multiplies_it(monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    """Without matrix units for it float32 is faster, and rounds less."""
    monkeypatch.setattr(dispatch, "multiplies_bf16", lambda: amx)
    monkeypatch.setattr(dispatch, "fast_features", lambda features: features)
    given = model()
    recorder = Recorder(given.network.features)
    given.network.features = recorder  # type: ignore[assignment]
    describer = Describer(given, precision="bf16")
    assert describer.precision == "bf16"
    x = torch.randn(1, 3, 64, 64)
    rows = describer.submit(x).result()
    used = describer._model.network.features if amx else recorder  # type: ignore[union-attr]
    assert used.seen == [torch.bfloat16 if amx else None] * 3
    with torch.no_grad():
        np.testing.assert_allclose(rows, given(x).numpy(), atol=0.02)
    with pytest.raises(UsageError):
        Describer(given, precision="fp16")


def test_a_descriptor_does_not_depend_on_its_neighbours() -> None:
    """Bit for bit on the CPU: a run that goes on makes other batches than one that was never stopped."""
    describer = Describer(DescriptorModel(small_network(), whitening=small_whitening()))
    images = torch.rand(5, 3, 72, 96)
    alone = np.concatenate([describer.submit(images[i : i + 1]).result() for i in range(5)])
    for together in (2, 3, 5):
        parts = [describer.submit(images[i : i + together]).result() for i in range(0, 5, together)]
        np.testing.assert_array_equal(np.concatenate(parts), alone)

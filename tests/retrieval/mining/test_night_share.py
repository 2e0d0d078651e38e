"""A share of images turned to night in anybody's training: what is drawn, what comes back, what decides."""

from __future__ import annotations

import copy
import pickle
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors

from darkside_cli.datasets.tuples import chosen_by_name
from darkside_cli.errors import UsageError
from darkside_cli.images.colour import FloatImage, Pixels
from darkside_cli.retrieval.mining.night import number_of
from darkside_cli.retrieval.mining.night_cache import NightCache
from darkside_cli.retrieval.mining.night_share import NightShare


class Dark:
    """A level that the name decides, between ``low`` and ``low + 0.1``, whatever the day."""

    costly = True

    def __init__(self, low: float = 0.0) -> None:
        self.low, self.fingerprint = low, f"dark-{low}"
        self.asked: list[str] = []

    def __call__(self, day: Pixels, name: str) -> FloatImage:
        self.asked.append(name)
        return np.full(day.shape, self.low + 0.1 * number_of(name, "dark"), dtype=np.float32)


class Batched(Dark):
    """The same, of whole batches."""

    def translate(self, days: Tensor, names: list[str]) -> Tensor:
        assert days.dtype == torch.float32
        nights = [self(_day(day), name) for day, name in zip(days, names, strict=True)]
        return torch.from_numpy(np.stack(nights)).permute(0, 3, 1, 2)


def _day(day: Tensor) -> Pixels:
    return (day.permute(1, 2, 0) * 255).byte().numpy()


DAYS = 0.5 + 0.5 * torch.rand(64, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def nights(out: Tensor, days: Tensor = DAYS) -> list[int]:
    return (out != days).flatten(1).any(1).nonzero().flatten().tolist()


@pytest.mark.parametrize("maker", [Dark, Batched])
def test_a_share_of_a_batch_becomes_night_and_the_rest_stays(maker: type[Dark]) -> None:
    augment = NightShare([maker()], share=0.25, seed=1)
    before = DAYS.clone()
    out = augment(DAYS)
    assert torch.equal(DAYS, before)
    found = nights(out)
    assert 6 <= len(found) <= 26
    assert float(out[found].max()) <= 0.1
    assert len({float(each.mean()) for each in out[found]}) == len(found)  # another night each
    assert out.shape == DAYS.shape
    assert nights(augment(DAYS)) != found  # and others the next time
    assert not list(augment.parameters())
    assert not augment.state_dict()
    assert torch.equal(augment.eval()(DAYS), DAYS)


def test_all_or_none() -> None:
    assert len(nights(NightShare([Dark()], share=1)(DAYS))) == 64
    assert NightShare([Dark()], share=0)(DAYS) is DAYS
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="share of nights"):
            NightShare([Dark()], share=share)
    with pytest.raises(UsageError, match="nothing that makes night"):
        NightShare([])


def test_seed_and_epoch_decide() -> None:
    def drawn(seed: int | None, *epochs: int) -> list[list[int]]:
        augment = NightShare([Dark()], seed=seed)
        found = []
        for epoch in epochs:
            augment.set_epoch(epoch)
            found.append(nights(augment(DAYS)))
        return found

    one, two, again = drawn(3, 0, 1, 0)
    assert one == again
    assert one != two
    assert drawn(3, 1) == [two]
    assert drawn(4, 0) != [one]
    torch.manual_seed(5)
    (first,), (second,) = drawn(None, 0), drawn(None, 0)
    torch.manual_seed(5)
    assert drawn(None, 0) == [first]
    assert first != second
    with pytest.raises(UsageError, match="epoch -1"):
        drawn(3, -1)


def test_the_process_of_a_distributed_training_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for rank in ("0", "1", "0"):
        monkeypatch.setenv("RANK", rank)
        found.append(nights(NightShare([Dark()], seed=0)(DAYS)))
    assert found[0] == found[2] != found[1]


def test_processes_that_torchrun_did_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of torch.multiprocessing have no RANK, and hand the transform to workers that know of no training."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    found, handed = [], []
    for rank in (0, 1, 0):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        found.append(nights(NightShare([Dark()], seed=0)(DAYS)))
        handed.append(pickle.dumps(NightShare([Dark()], seed=0)))
    assert found[0] == found[2] != found[1]
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    worker = SimpleNamespace(seed=7, id=0)
    monkeypatch.setattr("darkside_cli.retrieval.mining.night_share.get_worker_info", lambda: worker)
    seen = [nights(pickle.loads(each)(DAYS)) for each in handed]
    assert seen[0] == seen[2] != seen[1]


def test_copies_draw_alike() -> None:
    augment = NightShare([Dark()], seed=0)
    expected = augment(DAYS)
    augment.set_epoch(0)
    first = augment(DAYS)
    for other in (copy.deepcopy(augment), pickle.loads(pickle.dumps(augment))):
        other.set_epoch(0)
        assert torch.equal(other(DAYS), first)
    assert torch.equal(NightShare([Dark()], seed=0)(DAYS), expected)


def test_several_makers_take_turns() -> None:
    augment = NightShare([Dark(), Batched(0.2), Dark(0.4)], share=1, seed=0)
    levels = augment(DAYS).mean(dim=(1, 2, 3))
    counts = [int(((levels >= low) & (levels < low + 0.1)).sum()) for low in (0.0, 0.2, 0.4)]
    assert sum(counts) == 64
    assert min(counts) > 10


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_the_type_of_a_tensor_stays(dtype: torch.dtype) -> None:
    days = (DAYS * 255).to(dtype) if dtype == torch.uint8 else DAYS.to(dtype)
    out = NightShare([Dark(0.2)], seed=1)(days)
    assert out.dtype == dtype
    found = nights(out, days)
    assert found == nights(NightShare([Dark(0.2)], seed=1)(DAYS))
    one = float(out[found[0]].float().mean()) / (255 if dtype == torch.uint8 else 1)
    assert 0.19 < one < 0.31


def test_any_number_of_leading_sides() -> None:
    """GSV-Cities has (B, K, 3, H, W): K images of each place."""
    augment = NightShare([Dark()], seed=1)
    places = augment(DAYS.view(16, 4, 3, 4, 5))
    assert places.shape == (16, 4, 3, 4, 5)
    augment = NightShare([Dark()], seed=1)
    assert torch.equal(places.view(64, 3, 4, 5), augment(DAYS))
    one = NightShare([Dark()], share=1)(DAYS[0])
    assert one.shape == (3, 4, 5)


def test_pillow_images_and_samples() -> None:
    augment = NightShare([Dark(0.2)], share=1, seed=0)
    image = Image.new("RGB", (6, 5), (200, 200, 200))
    night = augment(image)
    assert night.size == (6, 5)
    assert 51 <= night.getpixel((0, 0))[0] <= 77
    assert augment(Image.new("L", (6, 5), 200)).mode == "RGB"
    deep = Image.fromarray(np.full((5, 6), 257 * 100, dtype=np.uint16))
    assert np.asarray(NightShare([Dark()], share=0)(deep)).tolist() == np.full((5, 6, 3), 100).tolist()
    assert NightShare([Dark()], share=0)(image) is image
    label, box = torch.tensor(3), torch.rand(3, 4)
    changed, same = augment((image, label))
    assert changed.getpixel((0, 0)) != (200, 200, 200)
    assert same is label
    two = augment(image, label)  # as torchvision's Compose calls it
    assert isinstance(two, tuple)
    Pair = namedtuple("Pair", "anchor positive")
    pair = augment({"pair": Pair(image, [image, None]), "box": box})
    assert isinstance(pair["pair"], Pair)
    assert pair["pair"].positive[0].getpixel((0, 0))[0] < 100
    assert pair["box"] is box
    wrapped = augment(tv_tensors.Image(DAYS[0]))
    assert isinstance(wrapped, tv_tensors.Image)


def test_gradients_of_days_go_on() -> None:
    days = DAYS.clone().requires_grad_()
    out = NightShare([Batched()], seed=1)(days)
    out.sum().backward()
    assert days.grad is not None
    gone = (days.grad == 0).flatten(1).all(1).nonzero().flatten().tolist()
    assert gone == nights(out.detach())


def test_what_is_no_image_is_told() -> None:
    augment = NightShare([Dark()], share=1)
    for wrong in (torch.rand(4, 1, 8, 8), torch.rand(8, 8), torch.zeros(4, 3, 8, 8, dtype=torch.int64)):
        with pytest.raises(UsageError, match="holds no images"):
            augment(wrong)
    normalised = (DAYS - 0.45) / 0.22
    with pytest.raises(UsageError, match=r"values from .* not in \[0, 1\]"):
        NightShare([Dark()], share=1)(normalised * 2)
    resized = NightShare([Dark()], share=1)(DAYS + 0.02)  # bicubic resizing goes a little beyond
    assert float(resized.max()) <= 1


def test_kept_by_content(tmp_path: Path) -> None:
    """The same image has the same night, is made once, and whether it is night is drawn all the same."""
    maker = Batched()
    augment = NightShare([maker], share=0.5, seed=0, cache=NightCache(tmp_path, 10_000_000))
    outs = [augment(DAYS) for _ in range(12)]
    for number, day in enumerate(DAYS):
        assert len({float(out[number].mean()) for out in outs} - {float(day.mean())}) == 1
    assert len({nights(out)[0] for out in outs}) > 1
    assert len(maker.asked) == 64
    image = Image.fromarray(_day(DAYS[0]))
    one = NightShare([maker], share=1, seed=0, cache=NightCache(tmp_path, 10_000_000))
    assert len({one(image).tobytes() for _ in range(3)}) == 1
    again = pickle.loads(pickle.dumps(one))
    assert again(image).tobytes() == one(image).tobytes()


def test_names_decide_as_published_trainings_have_it() -> None:
    maker = Dark()
    augment = NightShare([maker], share=0.5, seed=9)
    names = [f"{n:032x}" for n in range(40)]
    assert [augment.chooses(name) for name in names] == [chosen_by_name(name, 0.5) for name in names]
    day = _day(DAYS[0])
    np.testing.assert_array_equal(augment.night_of(day, "a"), maker(day, "a"))


class Days(Dataset[Any]):
    """The same eight images each time."""

    def __init__(self, augment: NightShare) -> None:
        self.augment = augment

    def __len__(self) -> int:
        return 64

    def __getitem__(self, number: int) -> Tensor:
        out: Tensor = self.augment(DAYS[number])
        return out


def test_workers_of_a_loader() -> None:
    """Another draw in each worker and epoch, the same in each run; workers that stay hear of the epoch, too."""

    def run(stay: bool, epochs: tuple[int, ...], seed: int = 3) -> list[list[int]]:
        augment = NightShare([Dark()], share=0.5, seed=seed)
        loader = DataLoader(
            Days(augment), batch_size=8, num_workers=2, persistent_workers=stay, multiprocessing_context="fork",
            generator=torch.Generator().manual_seed(epochs[0]),
        )  # fmt: skip
        found = []
        for epoch in epochs:
            if epoch >= 0:
                augment.set_epoch(epoch)
            found.append(nights(torch.cat(list(loader))))
        return found

    new = run(False, (0, 1))
    assert run(True, (0, 1)) == new
    assert new[0] != new[1]
    of_workers = [[n % 8 for n in new[0] if (n // 8) % 2 == worker and n < 16] for worker in range(2)]
    assert of_workers[0] != of_workers[1]
    unset = run(False, (-1, -1))
    assert unset[0] != unset[1]


@pytest.mark.parametrize(
    "given",
    [np.zeros((4, 4, 3)), "a.jpg", None, (torch.tensor([1, 2]), "label"), {"image": np.zeros((4, 4, 3))}],
)
def test_what_has_no_image_is_not_passed_on(given: Any) -> None:
    for share in (NightShare([Dark()], share=1), NightShare([Dark()], share=1).eval()):
        with pytest.raises(UsageError, match="holds no images"):
            share(given)


def test_every_batch_is_looked_at() -> None:
    """Not the first one alone, and whether or not an image of it was drawn."""
    share = NightShare([Dark()], share=1e-9)
    share(DAYS)
    for wrong in (DAYS * 255, (DAYS - 0.45) / 0.1):
        with pytest.raises(UsageError, match=r"values from .* not in \[0, 1\]"):
            share(wrong)
    with_nan = DAYS.clone()
    with_nan[7, 1, 2, 3] = torch.nan  # one of many
    with pytest.raises(UsageError, match="images hold NaN"):
        share(with_nan)
    share.eval()(DAYS * 255)
    share.eval()(with_nan)


@pytest.mark.parametrize("channels", [1, 3])
def test_masks_and_boxes_of_torchvision_are_no_images(channels: int) -> None:
    augment = NightShare([Dark()], share=1, seed=0)
    mask = tv_tensors.Mask(torch.full((channels, 4, 5), 200, dtype=torch.uint8))
    soft = tv_tensors.Mask(torch.full((2, channels, 4, 5), 7.0))
    boxes = tv_tensors.BoundingBoxes(torch.rand(3, 4), format="XYXY", canvas_size=(4, 5))
    image, *others = augment((tv_tensors.Image(DAYS[0]), mask, soft, boxes))
    assert float(image.max()) <= 0.1
    assert all(same is given for same, given in zip(others, (mask, soft, boxes), strict=True))
    with pytest.raises(UsageError, match=r"a Mask of shape .* holds no images"):
        augment(mask)
    video = augment(tv_tensors.Video(DAYS[:6]))
    assert isinstance(video, tv_tensors.Video)
    assert float(video.max()) <= 0.1


def test_arrays_are_taken_as_generators_take_them(tmp_path: Path) -> None:
    days = np.stack([_day(day) for day in DAYS])
    before = days.copy()
    out = NightShare([Dark(0.2)], share=0.25, seed=1)(days)
    assert (out.dtype, out.shape) == (days.dtype, days.shape)
    np.testing.assert_array_equal(days, before)
    found = [place for place in range(64) if (out[place] != days[place]).any()]
    assert found == nights(NightShare([Dark(0.2)], share=0.25, seed=1)(DAYS))
    assert 51 <= out[found].min() <= out[found].max() <= 77
    every = NightShare([Dark(0.2)], share=1, seed=1)
    one = every(days[0, ::-1])
    assert one.shape == days[0].shape
    assert one.max() <= 77
    sample = every({"image": days[0], "depth": np.zeros((4, 5, 3)), "label": np.arange(3)})
    assert sample["image"].max() <= 77
    assert sample["depth"].max() == 0
    assert sample["label"].tolist() == [0, 1, 2]
    assert NightShare([Dark()], share=0)(days) is days
    kept = NightShare([Dark()], share=1, seed=0, cache=NightCache(tmp_path, 10_000_000))
    np.testing.assert_array_equal(kept(days[0]), np.asarray(kept(Image.fromarray(days[0]))))


@pytest.mark.gpu
def test_a_wrong_batch_on_a_gpu_is_told_of_soon() -> None:
    share = NightShare([Dark()], share=1e-9)
    share(DAYS.cuda() * 255)
    torch.cuda.synchronize()
    with pytest.raises(UsageError, match="values from"):
        share(DAYS.cuda())


@pytest.mark.parametrize("options", [{"share": "a"}, {"share": None}, {"seed": "a"}, {"share": float("nan")}])
def test_options_of_a_wrong_type(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"the s(hare of nights|eed) is"):
        NightShare([Dark()], **options)
    with pytest.raises(UsageError, match="no epoch 'a'"):
        NightShare([Dark()]).set_epoch("a")  # type: ignore[arg-type]

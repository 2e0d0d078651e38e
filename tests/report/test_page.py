"""Images in a page: which epochs are shown, how small they become, what is left out."""

from __future__ import annotations

import base64
import io
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkside_cli.report.page import Embedded, embed, embed_samples, spread


def noisy_file(path: Path, width: int, height: int, seed: int = 0, **save: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, **save)  # type: ignore[arg-type]
    return path


def decoded(embedded: Embedded) -> tuple[bytes, Image.Image]:
    head, _, data = embedded.uri.partition(",")
    assert head == "data:image/jpeg;base64"
    jpeg = base64.b64decode(data)
    image = Image.open(io.BytesIO(jpeg))
    image.load()
    assert image.size == (embedded.width, embedded.height)
    return jpeg, image


def test_a_small_jpeg_goes_in_as_it_is(tmp_path: Path) -> None:
    path = noisy_file(tmp_path / "a.jpg", 60, 40)
    embedded = embed(path, 100_000)
    assert embedded is not None
    assert decoded(embedded)[0] == path.read_bytes()


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("size", [(900, 700), (3000, 200), (200, 5000)])
def test_large_images_become_small(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    embedded = embed(noisy_file(tmp_path / name, *size), 60_000)
    assert embedded is not None
    jpeg, image = decoded(embedded)
    assert len(jpeg) <= 60_000
    assert image.width <= 1600
    assert image.width / image.height == pytest.approx(size[0] / size[1], rel=0.06)
    assert image.width * image.height > 20_000  # not smaller than need be


def test_what_is_no_image_is_passed_over(tmp_path: Path) -> None:
    whole = noisy_file(tmp_path / "whole.jpg", 64, 64)
    for name, data in (("empty.jpg", b""), ("text.png", b"text"), ("cut.jpg", whole.read_bytes()[:-600])):
        (tmp_path / name).write_bytes(data)
        assert embed(tmp_path / name, 100_000) is None
    assert embed(tmp_path / "none.jpg", 100_000) is None


def test_an_image_that_is_written_again_is_read_again(tmp_path: Path) -> None:
    path = noisy_file(tmp_path / "a.jpg", 64, 64)
    first = embed(path, 100_000)
    assert embed(path, 100_000) is first
    noisy_file(path, 64, 64, seed=1)
    os.utime(path, ns=(1, 1))
    assert embed(path, 100_000) != first


def test_newest_first_and_by_epoch(tmp_path: Path) -> None:
    folder = tmp_path / "sämples"
    for name in (
        "epoch_0002.jpg",
        "epoch_0010.jpg",
        "epoch_0010_back.png",
        "start.JPG",
        ".darkside-1.jpg",
        "epoch_3.txt",
    ):
        if name.endswith("txt"):
            (folder / name).write_text("")
        else:
            noisy_file(folder / name, 20, 20, format="PNG" if name.endswith("png") else "JPEG")
    (folder / "epoch_0004.jpg").write_bytes(b"broken")
    (folder / "epoch_0005.jpg").mkdir()
    found, left_out = embed_samples(folder)
    assert [(each.epoch, [embedded.name for embedded in each.images]) for each in found] == [
        (10, ["epoch_0010.jpg", "epoch_0010_back.png"]),
        (2, ["epoch_0002.jpg"]),
        (None, ["start.JPG"]),
    ]
    assert left_out == 0
    assert embed_samples(tmp_path / "none") == ([], 0)


def test_all_of_them_stay_within_the_budget(tmp_path: Path) -> None:
    for epoch in range(1, 41):
        noisy_file(tmp_path / f"epoch_{epoch:04}.jpg", 200, 150, seed=epoch)
    found, left_out = embed_samples(tmp_path, most_epochs=8, budget_bytes=80_000)
    assert found[0].epoch == 40
    assert found[-1].epoch == 1
    assert len(found) + left_out == 40
    assert 5 <= len(found) <= 8
    assert sum(len(decoded(embedded)[0]) for each in found for embedded in each.images) <= 80_000


@given(st.integers(0, 300), st.integers(1, 20))
def test_choices_are_even_and_hold_both_ends(count: int, most: int) -> None:
    items = list(range(count))
    chosen = spread(items, most)
    assert len(chosen) <= most
    assert chosen == sorted(set(chosen))
    if count:
        assert chosen[-1] == count - 1
        if most > 1:
            assert chosen[0] == 0
            steps = [b - a for a, b in pairwise(chosen)]
            assert all(step == steps[0] for step in steps[:-1])
            if count > most > 3:
                assert len(chosen) > most // 2

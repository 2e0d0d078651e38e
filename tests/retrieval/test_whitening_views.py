"""Views and nights that a whitening is learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stub_tuples import write_places

from darkside_cli.datasets.lone_images import with_views
from darkside_cli.datasets.tuples import TupleSet, tuples_of_folder
from darkside_cli.images.colour import FloatImage, Pixels
from darkside_cli.retrieval.describe.image_jobs import ImageJob
from darkside_cli.retrieval.mining.night import GammaNight, NightMaker, ReadyNights
from darkside_cli.retrieval.whitening.config import WhiteningOptions
from darkside_cli.retrieval.whitening_views import view_jobs


@pytest.fixture
def tuples(tmp_path: Path) -> TupleSet:
    write_places(tmp_path / "places", 2, 2, sides=((60, 40),))
    return tuples_of_folder(tmp_path / "places")


class Asked:
    """Records what it is asked to make night of, and makes it black."""

    fingerprint, costly = "asked", False

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, day: Pixels, name: str) -> FloatImage:
        assert max(day.shape) == 30
        self.names.append(name)
        return np.zeros(day.shape, np.float32)


def jobs(
    tuples: TupleSet, night: NightMaker | None, views: int = 2, nights: int = 3, seed: int = 0
) -> list[ImageJob]:
    found = view_jobs(tuples, views=views, nights=nights, night=night, seed=seed, size_px=30)
    assert [place for _, place in found] == [
        tuples.clusters[tuples.paths.index(job.path)] for job, _ in found
    ]
    return [job for job, _ in found]


def made(job: ImageJob) -> Image.Image:
    assert job.change is not None
    return job.change(Image.open(job.path).convert("RGB"))


def test_every_view_and_every_night_is_another_one(tuples: TupleSet) -> None:
    night = Asked()
    found = jobs(tuples, night)
    assert len({job.name for job in found}) == 4 * (2 + 3)
    images = [np.asarray(made(job)) for job in found]
    assert len({image.tobytes() for image in images if image.any()}) == 4 * 2
    assert len(set(night.names)) == 4 * 3
    assert {job.name for job in jobs(tuples, night, seed=1)}.isdisjoint(job.name for job in found)
    first, again = found[0], jobs(tuples, night)[0]
    assert np.array_equal(made(first), made(again))


def test_nights_of_images_as_they_are(tuples: TupleSet) -> None:
    found = jobs(tuples, GammaNight(2, 4), views=0)
    assert [job.change is None for job in found[:4]] == [True, False, False, False]
    darkened = [np.asarray(made(job)) for job in found[1:4]]
    assert all(image.shape == (20, 30, 3) for image in darkened)
    assert len({image.tobytes() for image in darkened}) == 3  # of as many exponents
    assert len(jobs(tuples, None)) == 4 * 2


def test_ready_nights_are_seen_in_views_and_need_not_be_there(tuples: TupleSet, tmp_path: Path) -> None:
    (tmp_path / "nights").mkdir()
    Image.new("RGB", (60, 40), (9, 9, 20)).save(tmp_path / "nights" / "p00|0.png")
    tuples = replace(tuples, names=("p00|0.png", *tuples.names[1:]))
    found = [
        job for job in jobs(tuples, ReadyNights(tmp_path / "nights", size_px=60)) if "night-" in job.name
    ]
    assert [job.name for job in found] == [f"0/night-{number}/p00|0.png" for number in range(3)]
    assert all(np.asarray(made(job)).mean() < 40 for job in found)


def test_a_photograph_that_is_alone_counts_once(tuples: TupleSet) -> None:
    alone = with_views(tuples.keep(np.array([True, False, False, True])), 4)
    assert len(alone) == 8
    assert len(jobs(alone, None)) == 2 * 2


def test_views_are_of_pca() -> None:
    assert WhiteningOptions(kind="pca", views=2, nights=2, dim=8).dim == 8
    with pytest.raises(ValueError, match="pca"):
        WhiteningOptions(views=2)
    with pytest.raises(ValueError, match="balance is of kind pca"):
        WhiteningOptions(balance=0.5)

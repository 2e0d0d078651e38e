"""What goes where: no place in two parts, ground truths and databases that say what the images show."""

from __future__ import annotations

import pickle
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from darkside_cli.interop.ground_truth import from_published
from darkside_cli.nightfall.config import SIZES, NightfallConfig, size_of
from darkside_cli.nightfall.layout import FOLDERS, CityImage, documents, images
from darkside_cli.nightfall.place import FAMILY

SMALL = SIZES.get("small").config


@pytest.fixture(scope="module")
def every() -> list[CityImage]:
    return images(SMALL)


@pytest.fixture(scope="module")
def written() -> dict[str, bytes]:
    return documents(SMALL)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_sizes_are_as_they_say(size: object) -> None:
    config: NightfallConfig = size.config  # type: ignore[attr-defined]
    count = len(images(config))
    low, high = {"tiny": (100, 250), "small": (4000, 5000), "full": (15_000, 22_000)}[size.name]  # type: ignore[attr-defined]
    assert low < count < high
    assert size_of(config) == size.name  # type: ignore[attr-defined]


def test_the_demo_is_the_small_size() -> None:
    assert SIZES.get("demo").name == "small"
    assert len({size.config.fingerprint for size in SIZES}) == len(SIZES)


def test_no_place_and_no_family_is_in_two_parts(every: list[CityImage]) -> None:
    parts = defaultdict(set)
    for image in every:
        parts[image.place // FAMILY].add(image.part)
    assert all(len(found) == 1 for found in parts.values())
    counts = Counter(part for part, place in {(image.part, image.place) for image in every})
    assert counts == {"gan": 150, "train": 600, "val": 40, "test": 180, "distractor": 60}


def test_files_have_one_place_each_within_the_folders(every: list[CityImage]) -> None:
    paths = [path for image in every for path in image.paths]
    assert len(set(paths)) == len(paths)
    assert all(any(path.startswith(f"{folder}/") for folder in FOLDERS) for path in paths)


def test_only_the_gan_and_the_queries_see_nights(every: list[CityImage]) -> None:
    assert {image.part for image in every if image.night} == {"gan", "val", "test"}
    queries = [image for image in every if image.night and image.part == "test"]
    assert len(queries) == SMALL.test_places * SMALL.test_queries
    by_day = {(p.place, p.pose) for p in every if p.part == "test" and not p.night}
    assert all(
        (query.place, query.pose) in by_day for query in queries
    )  # the control is asked from the same spot
    gan = [image for image in every if image.part == "gan"]
    spots = {time: {(p.place, p.pose) for p in gan if p.time == time} for time in ("day", "night")}
    assert not spots["day"] & spots["night"]  # unpaired


def test_the_ground_truth_says_what_the_images_show(
    every: list[CityImage], written: dict[str, bytes]
) -> None:
    place_of = {path.rpartition("/")[2].removesuffix(".jpg"): p.place for p in every for path in p.paths}
    time_of = {path.rpartition("/")[2].removesuffix(".jpg"): p.time for p in every for path in p.paths}
    for name, asked in (
        ("nightfall", "night"),
        ("nightfall-day", "day"),
        ("nightfall-val", "night"),
        ("nightfall-val-day", "day"),
    ):
        truth = from_published(pickle.loads(written[f"data/test/{name}/gnd_{name}.pkl"]), name=name)
        assert not truth.graded
        for query in truth.queries:
            right = {place_of[truth.database[index]] for index in query.groups["ok"]}
            assert right == {place_of[query.name]}
            everywhere = [n for n in truth.database if place_of[n] == place_of[query.name]]
            assert len(query.groups["ok"]) == len(everywhere)
            assert query.groups["junk"] == ()
            assert query.name not in truth.database
            assert time_of[query.name] == asked
        assert {time_of[image] for image in truth.database} == {"day"}
    asked_for = {place_of[query.name] for query in truth.queries}
    assert len(asked_for) == SMALL.val_places


def test_test_places_have_relatives_in_the_database_that_nobody_asks_for(written: dict[str, bytes]) -> None:
    truth = pickle.loads(written["data/test/nightfall/gnd_nightfall.pkl"])
    answers = {index for entry in truth["gnd"] for index in entry["ok"]}
    others = [truth["imlist"][i] for i in range(len(truth["imlist"])) if i not in answers]
    assert sum(name.startswith("test_") for name in others) == SMALL.test_places // 2 * SMALL.test_day
    assert sum(name.startswith("distractor_") for name in others) == 60 * 2


def test_tuples_are_pairs_of_one_place_by_day(every: list[CityImage], written: dict[str, bytes]) -> None:
    image_of = {path.rpartition("/")[2]: p for p in every for path in p.paths}
    document = pickle.loads(written["data/train/nightfall/nightfall.pkl"])
    whitening = pickle.loads(written["data/train/nightfall/nightfall-whiten.pkl"])
    for part, split in (("train", document["train"]), ("val", document["val"]), ("train", whitening)):
        assert set(split) - {"bbxs"} == {"cids", "cluster", "qidxs", "pidxs"}
        shown = [image_of[cid] for cid in split["cids"]]
        assert {image.part for image in shown} == {part}
        assert not any(image.night for image in shown)
        assert split["cluster"] == [image.place for image in shown]
        pairs = list(zip(split["qidxs"], split["pidxs"], strict=True))
        assert len(set(pairs)) == len(pairs)
        assert all(q != p and split["cluster"][q] == split["cluster"][p] for q, p in pairs)
    assert len(document["train"]["qidxs"]) == SMALL.train_places * SMALL.train_day
    assert len(whitening["qidxs"]) == SMALL.train_places * 6  # every two of four


def test_lists_name_images_relative_to_their_folder(
    every: list[CityImage], written: dict[str, bytes]
) -> None:
    for time, count in (("day", SMALL.gan_day), ("night", SMALL.gan_night)):
        folder = Path("data/train/nightfall/dataset")
        names = written[f"{folder}/train_{time}.txt"].decode().splitlines()
        assert len(names) == SMALL.gan_places * count
        there = {p.paths[0] for p in every if p.part == "gan" and p.time == time}
        assert {f"data/train/nightfall/{name.removeprefix('../')}" for name in names} == there

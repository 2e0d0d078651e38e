"""Which images of the city go where: training images, databases, lists, ground truths, in published layouts.

Below the data root::

    data/train/nightfall/       ims/ (by id, as retrieval-SfM), nightfall.pkl, nightfall-whiten.pkl, places.csv,
                                dataset/train_day.txt, dataset/train_night.txt
    data/test/nightfall/        jpg/, gnd_nightfall.pkl (asked by night, answered by day)
    data/test/nightfall-day/    gnd_nightfall-day.pkl (asked by day from the same spots; same images)
    data/test/nightfall-val/    jpg/, gnd_nightfall-val.pkl: other places, to choose settings by
    data/test/nightfall-val-day/
"""

from __future__ import annotations

import csv
import hashlib
import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass

from darkside_cli.assets.entries import shard_path
from darkside_cli.nightfall.config import NAME, VERSION, NightfallConfig

TRAIN = f"data/train/{NAME}"
TESTS = tuple(f"{NAME}{end}" for end in ("", "-day", "-val", "-val-day"))
#: All folders that belong to the city.
FOLDERS = (TRAIN, *(f"data/test/{name}" for name in TESTS))

# Numbers of places, by part; a family of three never lies in two parts.
_FIRST = {"gan": 0, "train": 30_000, "val": 60_000, "test": 90_000, "distractor": 120_000}
#: Pose of the first query: databases have the ones before.
_QUERY_POSE = 100
#: Of three places of a family, so many are asked for; the third is in the database alone.
_ASKED = 2


@dataclass(frozen=True)
class CityImage:
    """One image to be taken: of a place, from a pose, by day or night; and its files below the data root."""

    part: str
    place: int
    pose: int
    night: bool
    paths: tuple[str, ...]

    @property
    def time(self) -> str:
        """Day or night."""
        return "night" if self.night else "day"


def images(config: NightfallConfig) -> list[CityImage]:
    """All images of the city, those of one place one after the other."""
    found = []
    for place in _places("gan", config.gan_places):
        # From spots of their own: no night image has a day image that it could be laid upon.
        found += [_training(config, "gan", place, pose, False) for pose in range(config.gan_day)]
        found += [_training(config, "gan", place, 50 + pose, True) for pose in range(config.gan_night)]
    for place in _places("train", config.train_places):
        found += [_training(config, "train", place, pose, False) for pose in range(config.train_day)]
    for place in _places("val", config.val_places):
        for pose in range(config.val_day):
            learned = _training(config, "val", place, pose, False)
            tested = _tested("nightfall-val", "val", place, pose, False)
            found.append(CityImage("val", place, pose, False, learned.paths + tested.paths))
        found += list(_queries("nightfall-val", "val", place, config.val_queries))
    for place, asked in _test_places(config):
        found += [_tested(NAME, "test", place, pose, False) for pose in range(config.test_day)]
        if asked:
            found += list(_queries(NAME, "test", place, config.test_queries))
    for place in _places("distractor", config.distractor_places):
        found += [_tested(NAME, "distractor", place, pose, False) for pose in range(config.distractor_day)]
    return found


def documents(config: NightfallConfig) -> dict[str, bytes]:
    """Databases, lists and ground truths, by their path below the data root."""
    every = images(config)
    lists = {
        f"{TRAIN}/dataset/train_{time}.txt": "".join(
            f"../{image.paths[0].removeprefix(TRAIN + '/')}\n"
            for image in every
            if image.part == "gan" and image.time == time
        ).encode()
        for time in ("day", "night")
    }
    trained = [image for image in every if image.part == "train"]
    whitening = _tuples(trained, all_pairs=True)
    del whitening["bbxs"]
    return {
        **lists,
        f"{TRAIN}/{NAME}.pkl": _pickled(
            {
                "train": _tuples(trained),
                "val": _tuples([p for p in every if p.part == "val" and p.pose < _QUERY_POSE]),
            }
        ),
        f"{TRAIN}/{NAME}-whiten.pkl": _pickled(whitening),
        f"{TRAIN}/places.csv": _places_csv(every),
        **dict(_ground_truths(every, NAME, ("test", "distractor"))),
        **dict(_ground_truths(every, f"{NAME}-val", ("val",))),
    }


def _places(part: str, count: int) -> range:
    return range(_FIRST[part], _FIRST[part] + count)


def _test_places(config: NightfallConfig) -> Iterator[tuple[int, bool]]:
    """Numbers of the test places, families whole; and whether a place is asked for."""
    asked, place = 0, _FIRST["test"]
    while asked < config.test_places:
        wanted = (place - _FIRST["test"]) % 3 < _ASKED
        yield place, wanted
        asked += wanted
        place += 1
    if (place - _FIRST["test"]) % 3 == _ASKED:
        yield place, False


def _training(config: NightfallConfig, part: str, place: int, pose: int, night: bool) -> CityImage:
    name = f"{NAME}/{VERSION}/{config.seed}/{config.image_px}/{place}/{'night' if night else 'day'}/{pose}"
    cid = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    return CityImage(part, place, pose, night, (f"{TRAIN}/ims/{shard_path(cid)}",))


def _tested(folder: str, part: str, place: int, pose: int, night: bool) -> CityImage:
    name = f"{part}_{place:06}_{'night' if night else 'day'}_{pose:03}.jpg"
    return CityImage(part, place, pose, night, (f"data/test/{folder}/jpg/{name}",))


def _queries(folder: str, part: str, place: int, count: int) -> Iterator[CityImage]:
    """Queries by night, and by day from the same spots."""
    for pose in range(_QUERY_POSE, _QUERY_POSE + count):
        for night in (True, False):
            yield _tested(folder, part, place, pose, night)


def _tuples(chosen: list[CityImage], *, all_pairs: bool = False) -> dict[str, list[object]]:
    """Database in the published form: every image asks for the next one of its place, or for all others."""
    numbers: dict[int, list[int]] = {}
    for index, image in enumerate(chosen):
        numbers.setdefault(image.place, []).append(index)
    queries: list[object] = []
    positives: list[object] = []
    for own in numbers.values():
        for at, index in enumerate(own):
            others = own[at + 1 :] if all_pairs else [own[(at + 1) % len(own)]]
            for other in others:
                if other != index:
                    queries.append(index)
                    positives.append(other)
    return {
        "cids": [image.paths[0].rpartition("/")[2] for image in chosen],
        "cluster": [image.place for image in chosen],
        "qidxs": queries,
        "pidxs": positives,
        "bbxs": [None] * len(chosen),
    }


def _ground_truths(every: list[CityImage], name: str, parts: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Ground truths of one set of test images: asked by night, and asked by day."""
    own = [image for image in every if image.part in parts]
    database = [image for image in own if image.pose < _QUERY_POSE]
    answers: dict[int, list[int]] = {}
    for index, image in enumerate(database):
        answers.setdefault(image.place, []).append(index)
    for title, time in ((name, "night"), (f"{name}-day", "day")):
        queries = [image for image in own if image.pose >= _QUERY_POSE and image.time == time]
        truth = {
            "imlist": [_title(image) for image in database],
            "qimlist": [_title(image) for image in queries],
            "gnd": [{"ok": answers[image.place], "junk": [], "bbx": None} for image in queries],
        }
        yield f"data/test/{title}/gnd_{title}.pkl", _pickled(truth)


def _title(image: CityImage) -> str:
    return image.paths[-1].rpartition("/")[2].removesuffix(".jpg")


def _places_csv(every: list[CityImage]) -> bytes:
    """What each training image shows, for people, and for whoever reads lists of images and places."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "place", "part", "time", "pose"))
    for image in every:
        if image.paths[0].startswith(TRAIN):
            name = image.paths[0].removeprefix(f"{TRAIN}/")
            writer.writerow((name, image.place, image.part, image.time, image.pose))
    return text.getvalue().encode()


def _pickled(document: object) -> bytes:
    return pickle.dumps(document, protocol=2)

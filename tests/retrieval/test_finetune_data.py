"""Which sets a fine-tuning opens where some are named and others are not."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden import DATA
from stub_tuples import write_places
from utm_folders import utm_name, write_utm_folder

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.events import Event, Notice
from darkside_cli.interop.training_db import read_training_db
from darkside_cli.retrieval.config import EvaluationOptions, FinetuneConfig, TupleDataConfig
from darkside_cli.retrieval.finetune_data import (
    is_published,
    mining_of,
    night_of,
    open_sets,
    training_sets,
)
from darkside_cli.retrieval.mining.config import MiningConfig, NightOptions
from darkside_cli.retrieval.mining.night import ExposureNight, GammaNight, MixedNight, ReadyNights
from darkside_cli.retrieval.mining.night_cache import CachedNight
from darkside_cli.retrieval.training_sets import open_tuples
from darkside_cli.retrieval.whitening.config import WhiteningOptions

SFM = DATA / "files" / "sfm"


class Maker:
    """Stands for a generator."""

    def __init__(self, fingerprint: str, costly: bool = True) -> None:
        self.fingerprint, self.costly = fingerprint, costly

    def __call__(self, day: np.ndarray, name: str) -> np.ndarray:
        return day.astype(np.float32)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path / "root", "test")


@pytest.fixture
def places(tmp_path: Path) -> Path:
    write_places(tmp_path / "places", 10, 2)
    return tmp_path / "places"


def config(database: Path | str, **data: object) -> FinetuneConfig:
    return FinetuneConfig(
        mining=MiningConfig(anchors=5, anchor_pool=5, negatives=2),
        data=TupleDataConfig(database=str(database), **data),  # type: ignore[arg-type]
    )


def published(root: DataRoot, name: str) -> None:
    """Put the tiny published set where the set ``name`` would be."""
    folder = root.train(name)
    folder.mkdir(parents=True)
    (folder / "ims").symlink_to(SFM / "ims")
    for suffix in ("", "-whiten"):
        source = SFM / f"retrieval-SfM-120k{suffix}.pkl"
        (folder / f"{name}{suffix}.pkl").write_bytes(source.read_bytes())


def test_a_folder_of_utm_names_has_its_own_part_for_validation(root: DataRoot, tmp_path: Path) -> None:
    city = tmp_path / "city"
    for part, north in (("train", 0), ("val", 1000)):
        sides = {side: [utm_name(60 * n, north) for n in range(6)] for side in ("database", "queries")}
        write_utm_folder(city / part, sides)
    training, validation = training_sets(config(city, positive_dist_m=5), root)
    assert validation is not None
    assert (training.name, validation.name, training.apart_m) == ("city/train", "city/val", 25)
    told: list[Event] = []
    training, validation = training_sets(config(city / "train"), root, emit=told.append)
    assert (training.name, validation) == ("city/train", None)  # fewer than a dozen places
    assert mining_of(MiningConfig(negatives=9), training, emit=told.append).negatives == 5
    assert open_sets(config(city), root).whitening is not None


@pytest.mark.parametrize("parts", [["test"], ["val"], ["images/test"], ["test", "train"]])
def test_training_on_the_part_for_tests_is_told(parts: list[str], root: DataRoot, tmp_path: Path) -> None:
    city = tmp_path / "city"
    for part in parts:
        sides = {side: [utm_name(60 * n, 0) for n in range(6)] for side in ("database", "queries")}
        write_utm_folder(city / part, sides)

    def warnings(data: Path) -> list[str]:
        told: list[Event] = []
        training_sets(config(data), root, emit=told.append)
        return [each.message for each in told if isinstance(each, Notice) and each.level == "warning"]

    if "train" in parts:
        assert warnings(city) == []
        return
    (warning,) = warnings(city)
    assert warning.startswith(f"{city} has no folder train, so {city / parts[0]} is trained on")
    assert warnings(city / parts[0]) == []  # whoever names it means it


def test_a_database_has_its_own_part_for_validation_and_its_own_pairs_for_whitening(root: DataRoot) -> None:
    published(root, "retrieval-SfM-120k")
    sets = open_sets(config("retrieval-sfm-120k"), root)
    assert (sets.training.name, sets.whitening_upright) == ("retrieval-SfM-120k/train", False)
    assert sets.validation is not None
    assert sets.validation.name == "retrieval-SfM-120k/val"
    assert sets.whitening is not None
    assert sets.whitening.name == "retrieval-SfM-120k-whiten"
    assert sets.benchmarks == {}


def test_the_synthetic_city_likewise(root: DataRoot) -> None:
    published(root, "nightfall")
    sets = open_sets(config("nightfall"), root)
    assert sets.whitening is not None
    assert sets.whitening.name == "nightfall-whiten"


def test_a_database_file_without_parts_is_shared_out(root: DataRoot) -> None:
    """The pairs for whitening have no part for validation: it must not be validated on what is trained on."""
    events: list[Event] = []
    wanted = config(SFM / "retrieval-SfM-120k-whiten.pkl", images=SFM / "ims", validation_share=0.4)
    wanted = replace(wanted, mining=MiningConfig(anchors=5, anchor_pool=5, negatives=1))
    training, validation = training_sets(wanted, root, emit=events.append)
    assert validation is not None
    assert not set(training.names) & set(validation.names)
    assert any("kept back for validation" in event.message for event in events if isinstance(event, Notice))


def test_places_are_kept_back_as_a_whole(root: DataRoot, places: Path) -> None:
    training, validation = training_sets(config(places, validation_share=0.3), root)
    assert validation is not None
    one, other = ({name.split("/")[0] for name in each.names} for each in (training, validation))
    assert one | other == {f"p{n:02d}" for n in range(10)}
    assert not one & other
    assert len(other) >= 3  # as many as negatives of other places need


@pytest.mark.parametrize(("count", "kept"), [(2, 0), (8, 0), (11, 0), (12, 3), (40, 3)])
def test_of_a_few_places_none_are_kept_back(count: int, kept: int, root: DataRoot, tmp_path: Path) -> None:
    """A share of the places where there are a dozen, else none, with one line about it."""
    write_places(tmp_path / "few", count, 2)
    events: list[Event] = []
    wanted = FinetuneConfig(data=TupleDataConfig(database=str(tmp_path / "few")))
    training, validation = training_sets(wanted, root, emit=events.append)
    assert len(training) + (len(validation) if validation else 0) == 2 * count
    assert bool(validation) is bool(kept)
    if validation:
        assert kept <= len(validation) // 2 <= count // 4
    (line,) = [event.message for event in events if isinstance(event, Notice)]
    assert ("trained on" in line, "none are kept back" in line) == (True, not kept)


def test_negatives_are_as_many_as_other_places(tmp_path: Path) -> None:
    events: list[Event] = []
    write_places(tmp_path / "few", 4, 2)
    tuples = open_tuples(str(tmp_path / "few"), DataRoot(tmp_path, "test"))
    assert mining_of(MiningConfig(), tuples, emit=events.append).negatives == 3
    assert "4 places" in str(events)
    assert mining_of(MiningConfig(negatives=2), tuples, emit=events.append).negatives == 2
    assert len(events) == 1
    write_places(tmp_path / "one", 1, 2)
    with pytest.raises(UsageError, match="shows one place"):
        mining_of(MiningConfig(), open_tuples(str(tmp_path / "one"), DataRoot(tmp_path, "test")))


def test_validation_may_be_another_set_or_none(root: DataRoot, places: Path, tmp_path: Path) -> None:
    write_places(tmp_path / "others", 4, 2)
    training, validation = training_sets(config(places, validation=str(tmp_path / "others")), root)
    assert len(training) == 20
    assert validation is not None
    assert len(validation) == 8
    training, validation = training_sets(config(places, validation_share=0.0), root)
    assert (len(training), validation) == (20, None)


def test_what_is_not_validated_on_need_not_be_there(root: DataRoot, places: Path, tmp_path: Path) -> None:
    published(root, "retrieval-SfM-120k")
    folder = root.train("retrieval-SfM-120k")
    (folder / "ims").unlink()
    for path in read_training_db(folder / f"{folder.name}.pkl", split="train", images=SFM / "ims").paths:
        target = folder / "ims" / path.relative_to(SFM / "ims")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    wanted = config("retrieval-sfm-120k")
    with pytest.raises(UsageError):
        training_sets(wanted, root)
    never = replace(wanted, trainer=replace(wanted.trainer, validate_every=0))
    training, validation = training_sets(never, root)
    assert training.name == "retrieval-SfM-120k/train"
    assert validation is None

    gone = config(places, validation=str(tmp_path / "gone.csv"))
    with pytest.raises(MissingAssetError):
        training_sets(gone, root)
    assert training_sets(replace(gone, trainer=never.trainer), root)[1] is None


def test_a_set_that_is_there_is_known_whether_it_is_used_or_not(root: DataRoot) -> None:
    """So that a run may begin to validate, or stop it."""
    published(root, "retrieval-SfM-120k")
    wanted = config("retrieval-sfm-120k")
    used = training_sets(wanted, root)[1]
    unused = training_sets(replace(wanted, trainer=replace(wanted.trainer, validate_every=0)), root)[1]
    assert used is not None
    assert unused is not None
    assert used.describe() == unused.describe()


def test_the_whitening_of_own_images_is_learned_from_them_or_from_others(
    root: DataRoot, places: Path
) -> None:
    wanted = config(places)
    sets = open_sets(wanted, root)
    assert sets.whitening is sets.training
    assert sets.whitening_upright
    named = replace(
        wanted,
        whitening=WhiteningOptions(database=str(SFM / "retrieval-SfM-120k-whiten.pkl"), images=SFM / "ims"),
    )
    sets = open_sets(named, root)
    assert sets.whitening is not None
    assert (sets.whitening.name, sets.whitening_upright) == ("retrieval-SfM-120k-whiten", False)
    assert open_sets(replace(wanted, whitening=WhiteningOptions(kind="none")), root).whitening is None


def test_test_sets_that_are_at_hand_are_evaluated_on(root: DataRoot, places: Path) -> None:
    def put(name: str) -> None:
        folder = root.test(name)
        (folder / "jpg").mkdir(parents=True)
        truth = {"imlist": ["a"], "qimlist": ["b"], "gnd": [{"ok": [0], "junk": []}]}
        (folder / f"gnd_{name}.pkl").write_bytes(pickle.dumps(truth, protocol=2))

    for name in ("247tokyo1k", "nightfall", "nightfall-val"):
        put(name)
    assert list(open_sets(config(places), root).benchmarks) == ["tokyo247"]
    published(root, "nightfall")
    assert list(open_sets(config("nightfall"), root).benchmarks) == ["tokyo247", "nightfall"]
    with pytest.raises(MissingAssetError, match="images of tokyo247"):
        open_sets(replace(config(places), evaluation=EvaluationOptions(datasets=("tokyo247",))), root)


def test_missing_data_says_how_to_get_it(root: DataRoot) -> None:
    with pytest.raises(MissingAssetError, match="darkside download retrieval-sfm-120k"):
        open_sets(config("retrieval-SfM-120k"), root)


class TestNight:
    def of(self, root: DataRoot, *makers: Maker, **options: object) -> object:
        augment = NightOptions(**options)  # type: ignore[arg-type]
        return night_of(FinetuneConfig(augment=augment), makers, root)  # type: ignore[arg-type]

    def test_each_kind(self, root: DataRoot, places: Path) -> None:
        assert self.of(root, Maker("a"), kind="none") is None
        assert self.of(root, Maker("a"), share=0.0) is None
        assert self.of(root, kind="gamma", gamma=(2.0, 3.0)) == GammaNight(2.0, 3.0)
        assert self.of(root, kind="exposure", stops=(1.0, 3.0)) == ExposureNight(1.0, 3.0)
        assert isinstance(self.of(root, kind="images", images=places), ReadyNights)
        with pytest.raises(UsageError, match="no generator"):
            self.of(root)

    def test_generators_are_kept_on_disk_and_mixed(self, root: DataRoot, tmp_path: Path) -> None:
        one = self.of(root, Maker("a"))
        assert isinstance(one, CachedNight)
        one(np.zeros((4, 4, 3), dtype=np.uint8), "x")
        assert len(list((root / "cache" / "night").rglob("*.npy"))) == 1
        cheap = Maker("b", costly=False)
        assert self.of(root, cheap) is cheap
        mixed = self.of(root, Maker("a"), cheap, cache=tmp_path / "elsewhere")
        assert isinstance(mixed, MixedNight)
        assert mixed.fingerprint == "a+b"


def test_published_specs() -> None:
    assert is_published("Retrieval-SfM-120k")
    assert is_published("some/where.pkl")
    assert not is_published("places")
    assert not is_published("places.csv")

"""Data set files in the published formats: training and whitening databases, lists, ground truths, image names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden import DATA, Case, load_case
from PIL import Image
from published_ground_truth import to_published, write_published

from darkside_cli.assets.entries import shard_path
from darkside_cli.interop.ground_truth import read_ground_truth
from darkside_cli.interop.safe_pickle import load_pickle
from darkside_cli.scenario.images import join_image_dir

FILES = DATA / "files"


@pytest.fixture(scope="module")
def case() -> Case:
    return load_case("dataset_files")


def plain(value: Any) -> Any:
    """Lists for arrays and tuples, at any depth."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def named_files(case: Case, suffix: str) -> list[Path]:
    found = [
        path
        for entry in case.entry["files"]
        for path in sorted(DATA.glob(entry))
        if path.name.endswith(suffix)
    ]
    assert found
    return found


def test_training_database(case: Case) -> None:
    (path,) = (path for path in named_files(case, ".pkl") if path.name == "retrieval-SfM-120k.pkl")
    found = plain(load_pickle(path))
    assert found.keys() == case.values["train_db"].keys()
    for split, expected in case.values["train_db"].items():
        assert found[split].keys() == expected.keys()
        for key, values in expected.items():
            if values == "list of None":
                assert found[split][key] == [None] * len(expected["cids"])
            else:
                assert found[split][key] == values


def test_whitening_database(case: Case) -> None:
    (path,) = (path for path in named_files(case, ".pkl") if path.name == "retrieval-SfM-120k-whiten.pkl")
    assert plain(load_pickle(path)) == case.values["whiten_db"]


def test_image_ids_lead_to_image_files(case: Case) -> None:
    image_id, *paths = case.values["cid_path_example"]
    assert {f"ims/{shard_path(image_id)}"} == set(paths)
    ids = [cid for split in case.values["train_db"].values() for cid in split["cids"]]
    for cid in [*ids, *case.values["whiten_db"]["cids"]]:
        with Image.open(FILES / "sfm" / "ims" / shard_path(cid)) as image:
            assert image.format == "PNG"


def test_names_joined_with_folders(case: Case) -> None:
    for example, expected in case.values["path_join"].items():
        folder, name = example.split(" + ")
        assert join_image_dir(folder, name) == expected


def test_day_and_night_lists(case: Case) -> None:
    for path in named_files(case, ".txt"):
        lines = path.read_text().split()
        assert lines
        for line in lines:
            assert (FILES / "sfm" / join_image_dir("ims/*", line)).exists()


@pytest.fixture(params=["roxford5k", "247tokyo1k"])
def test_set(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_ground_truth(case: Case, test_set: str) -> None:
    expected = case.values["gnd"][test_set]
    truth = read_ground_truth(FILES / "test" / test_set / f"gnd_{test_set}.pkl")
    assert truth.name == test_set
    assert (len(truth.database), len(truth.queries)) == (expected["n"], expected["nq"])
    assert to_published(truth) == {key: expected[key] for key in ("imlist", "qimlist", "gnd")}
    for name, key in ((truth.database[0], "first_image"), (truth.queries[0].name, "first_query")):
        assert truth.image_path(name) == FILES / "test" / expected[key]
    for name in (*truth.database, *(query.name for query in truth.queries)):
        with Image.open(truth.image_path(name)) as image:
            assert image.format == "PNG"


def test_ground_truth_written_back(case: Case, test_set: str, tmp_path: Path) -> None:
    truth = read_ground_truth(FILES / "test" / test_set / f"gnd_{test_set}.pkl")
    write_published(truth, tmp_path / f"gnd_{test_set}.pkl")
    assert read_ground_truth(tmp_path / f"gnd_{test_set}.pkl") == truth

"""Where published tuples are: the same places for who downloads them, who recognises them and who opens them."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkside_cli.assets.catalog import DATA
from darkside_cli.datasets.catalog import TRAINING_SETS

DOWNLOADED = [name for name in TRAINING_SETS.names() if not DATA.get(TRAINING_SETS.get(name).asset).made_by]


@pytest.mark.parametrize("name", DOWNLOADED)
def test_what_is_downloaded_is_found(name: str, tmp_path: Path) -> None:
    (file,) = DATA.get(TRAINING_SETS.get(name).asset).files
    assert f"data/train/{TRAINING_SETS.get(name).database}" == file.path
    train = tmp_path / "data" / "train"
    assert TRAINING_SETS.get(name).database_file(train) == tmp_path / file.path
    for place in (*file.also_at, file.path):  # what is downloaded comes before what was there
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert TRAINING_SETS.get(name).database_file(train) == path
    images = DATA.get(TRAINING_SETS.get(name).image_asset).images
    assert images is not None
    assert TRAINING_SETS.get(name).images(train) == tmp_path / images.folder
    required = DATA.get(TRAINING_SETS.get(name).asset).requires
    assert TRAINING_SETS.get(name).image_asset in (name, *required)


def test_where_cirtorch_has_the_pairs_for_whitening() -> None:
    assert [DATA.get(TRAINING_SETS.get(name).asset).files[0].also_at for name in DOWNLOADED] == [
        (),
        ("data/train/retrieval-SfM-120k/retrieval-SfM-120k-whiten.pkl",),
        ("data/train/retrieval-SfM-30k/retrieval-SfM-30k-whiten.pkl",),
    ]


def test_images_beside_a_database_come_first(tmp_path: Path) -> None:
    own = tmp_path / "retrieval-SfM-120k-whiten" / "ims"
    own.mkdir(parents=True)
    assert TRAINING_SETS.get("retrieval-sfm-120k-whiten").images(tmp_path) == own
    assert TRAINING_SETS.get("nightfall-whiten").images(tmp_path) == tmp_path / "nightfall" / "ims"


def test_who_needs_the_pairs_for_whitening() -> None:
    assert DATA.get("retrieval-sfm-120k-whiten").needed_by == ("finetune", "whiten")

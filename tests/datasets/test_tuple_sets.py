"""Where published tuples are: the same places for who downloads them, who recognises them and who opens them."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkside_cli.assets.catalog import DATA
from darkside_cli.datasets.tuple_sets import PUBLISHED, asset_of, database_file, image_asset_of, images_folder

DOWNLOADED = [name for name in PUBLISHED if not DATA.get(asset_of(name)).made_by]


@pytest.mark.parametrize("name", DOWNLOADED)
def test_what_is_downloaded_is_found(name: str, tmp_path: Path) -> None:
    (file,) = DATA.get(asset_of(name)).files
    assert f"data/train/{PUBLISHED[name]}" == file.path
    train = tmp_path / "data" / "train"
    assert database_file(train, name) == tmp_path / file.path
    for place in (*file.also_at, file.path):  # what is downloaded comes before what was there
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert database_file(train, name) == path
    images = DATA.get(image_asset_of(name)).images
    assert images is not None
    assert images_folder(train, name) == tmp_path / images.folder
    required = DATA.get(asset_of(name)).requires
    assert image_asset_of(name) in (name, *required)


def test_where_cirtorch_has_the_pairs_for_whitening() -> None:
    assert [DATA.get(asset_of(name)).files[0].also_at for name in DOWNLOADED] == [
        (),
        ("data/train/retrieval-SfM-120k/retrieval-SfM-120k-whiten.pkl",),
        ("data/train/retrieval-SfM-30k/retrieval-SfM-30k-whiten.pkl",),
    ]


def test_images_beside_a_database_come_first(tmp_path: Path) -> None:
    own = tmp_path / "retrieval-SfM-120k-whiten" / "ims"
    own.mkdir(parents=True)
    assert images_folder(tmp_path, "retrieval-sfm-120k-whiten") == own
    assert images_folder(tmp_path, "nightfall-whiten") == tmp_path / "nightfall" / "ims"


def test_who_needs_the_pairs_for_whitening() -> None:
    assert DATA.get("retrieval-sfm-120k-whiten").needed_by == ("finetune", "whiten")

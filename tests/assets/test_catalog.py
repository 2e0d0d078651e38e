"""The catalogue of data: what the published pages say, and that the entries hold together."""

from __future__ import annotations

import re

import pytest

from darkside_cli.assets.catalog import DATA, PARIS_BROKEN
from darkside_cli.assets.entries import GROUPS, Asset, select, shard_path
from darkside_cli.errors import UnknownNameError


def names(*wanted: str) -> list[str]:
    return [asset.name for asset in select(DATA, wanted)]


def test_what_is_asked_for_brings_what_it_requires_first() -> None:
    assert names("roxford5k") == ["oxford5k", "roxford5k"]
    assert names("rparis6k", "paris6k", "247tokyo1k") == ["paris6k", "rparis6k", "tokyo247"]
    assert names("day-night-examples") == ["retrieval-sfm-120k", "day-night-examples"]
    assert names("eval") == ["tokyo247", "oxford5k", "roxford5k", "paris6k", "rparis6k"]
    assert "imagenet-vgg16" in names("train")
    assert len(names("all")) == len(DATA)
    assert names("all", "eval") == names("all")


def test_a_misspelt_name_is_answered_with_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="roxford5k"):
        names("roxford5")
    with pytest.raises(UnknownNameError, match="train"):
        names("trian")


@pytest.mark.parametrize("asset", DATA, ids=lambda asset: asset.name)
def test_an_entry_says_what_a_person_wants_to_know(asset: Asset) -> None:
    assert asset.summary
    assert asset.citation
    assert asset.licence
    assert asset.needed_by
    assert set(asset.groups) <= set(GROUPS)
    assert asset.files or asset.images or asset.loose or asset.links or asset.made_by
    for file in (*asset.files, *(asset.images.archives if asset.images else ())):
        assert all(re.match(r"https?://", url) for url in file.urls)
        assert all(url.endswith("/" + file.name) for url in file.urls)


def test_hash_prefixes_come_from_the_names() -> None:
    prefixes = {file.name: file.sha256 for asset in DATA for file in asset.files if file.sha256}
    assert len(prefixes) == 4
    assert all(f"-{digest}." in name for name, digest in prefixes.items())
    assert prefixes["imagenet-caffe-vgg16-features-d369c8e.pth"] == "d369c8e"


def test_no_two_files_have_one_place_and_no_two_archives_one_name() -> None:
    paths = [file.path for asset in DATA for file in asset.files]
    archives = [name for asset in DATA if asset.images for a in asset.images.archives for name in a.names]
    assert len(set(paths)) == len(paths)
    assert len(set(archives)) == len(archives)


@pytest.mark.parametrize(
    ("name", "asset"),
    [
        ("all_souls_000013.jpg", "oxford5k"),
        ("radcliffe_camera_000158.jpg", "oxford5k"),
        ("paris_defense_000605.jpg", "paris6k"),
        ("00010.jpg", "tokyo247"),
        ("ea66c06c1e1c05fa9f1aa39d98dc5bc1", "retrieval-sfm-120k"),
        ("beach.jpg", None),
    ],
)
def test_images_are_told_by_their_names(name: str, asset: str | None) -> None:
    holders = [each.name for each in DATA if each.images is not None and each.images.holds(name)]
    assert holders == ([asset] if asset else [])


def test_the_broken_paris_files() -> None:
    assert len(PARIS_BROKEN) == 20
    images = DATA.get("paris6k").images
    assert images is not None
    assert all(images.holds(name) for name in PARIS_BROKEN)
    assert images.broken == PARIS_BROKEN
    assert images.count == 6412 - 20


def test_the_place_of_a_training_image() -> None:
    assert shard_path("3fb7b4f3c9560312f1e36f00a7abb38a") == "8a/b3/ab/3fb7b4f3c9560312f1e36f00a7abb38a"

"""The list of the webcams' pictures: whole, without doubles, and not read before it is asked for."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

from darkside_cli.assets.catalog import DATA
from darkside_cli.assets.entries import GROUPS
from darkside_cli.assets.webcams import BASE, COMMIT, COUNT, FOLDER, webcam_files

#: Pictures of each place by day and at night.
PLACES = {
    "campus_street": (5, 8),
    "church_square": (16, 13),
    "industrial_plain": (26, 22),
    "lake_old_town": (19, 18),
    "lake_suburb": (10, 8),
    "mexico_monument": (9, 12),
    "mountain_town": (11, 11),
    "valley_square": (17, 21),
}


def test_eight_places_have_pictures_by_day_and_at_night() -> None:
    files = webcam_files()
    counts = Counter(tuple(file.path.removeprefix(f"{FOLDER}/").split("/")[:2]) for file in files)
    assert {place: (counts[place, "day"], counts[place, "night"]) for place, _ in counts} == PLACES
    assert len(files) == COUNT == sum(map(sum, PLACES.values()))


def test_no_picture_comes_twice_and_each_has_its_digest_and_address() -> None:
    files = webcam_files()
    for values in (
        [file.path for file in files],
        [file.name for file in files],  # copies of them are known by their names
        [file.sha256 for file in files],
        [file.urls for file in files],
    ):
        assert len(set(values)) == len(files)
    for file in files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        time = file.path.split("/")[-2]
        (url,) = file.urls
        assert re.fullmatch(rf"{re.escape(BASE)}/(training|test)/{time}/{re.escape(file.name)}", url)
        assert re.fullmatch(r"\d{8}_\d{6}\.jpg", file.name)
    assert re.fullmatch(r"[0-9a-f]{40}", COMMIT)
    assert f"/udacity/CVND_Exercises/{COMMIT}/" in BASE


def test_the_asset_is_what_the_list_says() -> None:
    asset = DATA.get("webcams")
    assert asset.loose is not None
    assert (asset.loose.folder, asset.loose.count, asset.loose.listed()) == (FOLDER, COUNT, webcam_files())
    assert asset.licence.startswith("MIT")
    assert asset.published_size is None
    assert not set(asset.groups) & set(GROUPS)
    assert asset.needed_by == ("demo --photos webcams",)


def test_the_list_is_not_read_before_somebody_asks() -> None:
    """Neither by an import, nor by a list of all assets on a machine that has none of it."""
    program = (
        "import tempfile, darkside_cli\n"
        "found = darkside_cli.download(list=True, data_dir=tempfile.mkdtemp())\n"
        "assert 'webcams' in [asset.name for asset, _ in found.assets]\n"
        "found.document()\n"
        "from darkside_cli.assets.webcams import webcam_files\n"
        "print(webcam_files.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"

"""Images by their paths from one folder: the same names, whatever else is given; lists as hloc writes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from darkside_cli.datasets.listing import rooted_images
from darkside_cli.datasets.names import read_image_list
from darkside_cli.errors import MissingAssetError, UsageError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("db/a.jpg", "query/a.jpg", "query/night 1.jpg", "b.jpg"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.jpg").touch()
    monkeypatch.chdir(tmp_path)
    return Path("images")


def names(
    root: Path, given: Sequence[str], listed: Sequence[str] = (), *, recursive: bool = True
) -> list[str]:
    images = rooted_images(root, map(Path, given), listed, recursive=recursive)
    assert all((root / image.relative).resolve() == image.path.resolve() for image in images)
    return [image.relative.as_posix() for image in images]


def test_names_do_not_depend_on_what_else_is_given(root: Path, tmp_path: Path) -> None:
    assert names(root, ["images/db/a.jpg"]) == ["db/a.jpg"]
    assert names(root, ["images/db"]) == ["db/a.jpg"]
    assert names(root, ["images/query/a.jpg", "images/db/a.jpg"]) == ["query/a.jpg", "db/a.jpg"]
    assert names(root, [str(tmp_path / "images/query"), "images/db"], ["b.jpg"]) == [
        "query/a.jpg",
        "query/night 1.jpg",
        "db/a.jpg",
        "b.jpg",
    ]
    assert names(root, ["images"], ["db/a.jpg", "none.jpg", "none.jpg"]) == [
        "b.jpg",
        "db/a.jpg",
        "query/a.jpg",
        "query/night 1.jpg",
        "none.jpg",
    ]


def test_links_and_dots_lead_to_the_same_names(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("images")
    assert names(root, ["link/db/a.jpg", "./elsewhere/../images/b.jpg"]) == ["db/a.jpg", "b.jpg"]
    assert names(Path("link"), ["images/db/a.jpg"], ["./b.jpg"]) == ["db/a.jpg", "b.jpg"]
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert names(Path("../images"), ["../images/db"]) == ["db/a.jpg"]


def test_what_is_not_in_the_folder(root: Path) -> None:
    with pytest.raises(UsageError, match=r"elsewhere/c.jpg is not in images"):
        names(root, ["images", "elsewhere/c.jpg"])
    with pytest.raises(UsageError, match=r"images/../elsewhere/c.jpg is not in images"):
        names(root, ["images/../elsewhere/c.jpg"])
    with pytest.raises(MissingAssetError, match="no folder nowhere"):
        names(Path("nowhere"), [])


def test_lists(root: Path, tmp_path: Path) -> None:
    """Comments, cameras behind names, spaces in names: a whole line is a name if there is such a file."""
    listing = tmp_path / "list.txt"
    listing.write_bytes(
        b"# images\n\n./db/a.jpg\r\nquery/night 1.jpg\nb.jpg PINHOLE 1024 768 868.99 866.06 525.94 420.04\n"
        b"gone too.jpg\nbytes-\xff.jpg\n"
    )
    assert read_image_list(listing, root) == [
        "db/a.jpg",
        "query/night 1.jpg",
        "b.jpg",
        "gone too.jpg",
        os.fsdecode(b"bytes-\xff.jpg"),
    ]
    listing.write_bytes(b"#1.jpg\0a\nb.jpg\0")
    assert read_image_list(listing, root, null=True) == ["#1.jpg", "a\nb.jpg"]


@pytest.mark.parametrize("name", ["../elsewhere/c.jpg", "/etc/a.jpg", "db/../../x.jpg", "."])
def test_names_that_lead_out(root: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "list.txt").write_text(f"b.jpg\n{name}\n")
    with pytest.raises(UsageError, match="is no name of one in images"):
        read_image_list(tmp_path / "list.txt", root)


def test_what_is_no_list(root: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match=r"there is no file none\.txt"):
        read_image_list(Path("none.txt"), root)
    os.mkfifo(tmp_path / "pipe")
    for wrong in ("images", "pipe"):
        with pytest.raises(UsageError, match="cannot read") as caught:
            read_image_list(Path(wrong), root)
        assert "--image-list -" in str(caught.value.hint)

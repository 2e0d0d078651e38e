"""Image names joined with folders and patterns, beyond the golden examples."""

from __future__ import annotations

import pytest

from darkside_cli.interop.image_names import join_image_dir, path_of_image_id


@pytest.mark.parametrize(
    ("folder", "name", "path"),
    [
        ("ims/*.png!", "abc", "ims/abc.png"),
        ("ims/*.png!", "a.b/abc", "ims/a.b/abc.png"),
        ("ims/*.png", "a.b/abc", "ims/a.b/abc.png"),
        ("ims/", "abc", "ims/abc.jpg"),
        ("*.jpg", "abc", "abc.jpg"),
        ("ims/*.jpg!", "/abs/abc.png", "/abs/abc.png"),
    ],
)
def test_join(folder: str, name: str, path: str) -> None:
    assert join_image_dir(folder, name) == path


def test_image_id() -> None:
    assert path_of_image_id("0123456789ab", "ims") == "ims/ab/89/67/0123456789ab"

"""Image names joined with folders and patterns, beyond the golden examples."""

from __future__ import annotations

import pytest

from darkside_cli.scenario.images import join_image_dir


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

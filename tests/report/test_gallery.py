"""The gallery page: one file with all images in it, each once, and what is right told by more than a colour."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkside_cli.report.gallery import GalleryImage, GalleryRow, write_gallery

URI = re.compile(r"\.(t\d+) \{ background-image: url\(data:image/jpeg;base64,([A-Za-z0-9+/=]+)\); \}")


class Page(HTMLParser):
    """Texts, tags and attributes of a page; fails on tags that are not closed in order."""

    VOID = frozenset({"meta", "br", "img", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self._open[-1] != "style":
            self.texts.append(data.strip())

    def classes(self, tag: str) -> list[str]:
        return [attributes.get("class") or "" for name, attributes in self.tags if name == tag]


@pytest.fixture
def rows(tmp_path: Path, make_image: Callable[..., Path]) -> list[GalleryRow]:
    day = make_image(tmp_path / "day <1>.png", 300, 150)
    night = make_image(tmp_path / "night.jpg", 100, 200, seed=1)
    (tmp_path / "broken.jpg").write_bytes(night.read_bytes()[:200])
    found = [
        GalleryImage(name="day <1>.png", path=day, score=0.91239, mark="right"),
        GalleryImage(name="broken", path=tmp_path / "broken.jpg", score=0.5, mark="junk"),
        GalleryImage(name="nowhere\udcff", score=-0.25, mark="wrong"),
    ]
    return [
        GalleryRow(
            query=GalleryImage(name="night.jpg", path=night, box=(10, 20, 60, 90)),
            results=found,
            note="AP 50",
        ),
        GalleryRow(query=GalleryImage(name="night.jpg", path=night), results=found[:1]),
    ]


def images(text: str) -> dict[str, Image.Image]:
    return {name: Image.open(io.BytesIO(base64.b64decode(data))) for name, data in URI.findall(text)}


def test_the_page(tmp_path: Path, rows: list[GalleryRow]) -> None:
    path = tmp_path / "new" / "page.html"
    absent = write_gallery(path, rows, title="A & B", facts=[("mAP", "61.2")], thumbnail_px=60)
    assert absent == 2
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not re.search(r"(src|href)=|<script|https?://|@import", text)  # it needs nothing else
    for expected in (
        "A & B",
        "mAP",
        "61.2",
        "Query 1",
        "Query 2",
        "AP 50",
        "0.9124",
        "-0.2500",
        "day <1>.png",
    ):
        assert expected in page.texts, expected
    assert r"nowhere\udcff" in page.texts
    assert page.texts.count("no picture here") == 2
    assert [c for c in page.classes("figure") if c.startswith("framed")] == [
        "framed right",
        "framed junk",
        "framed wrong",
        "framed right",
    ]
    # Marks are told by sign and word as well, not by colour alone.
    assert page.texts.count("✓") == 3
    assert {"✗", "–", "right", "wrong", "not counted"} <= set(page.texts)
    labels = [attributes.get("aria-label") for _, attributes in page.tags if "aria-label" in attributes]
    assert labels == ["night.jpg", "day <1>.png", "night.jpg", "day <1>.png"]
    assert list((tmp_path / "new").iterdir()) == [path]


def test_each_image_is_there_once(tmp_path: Path, rows: list[GalleryRow]) -> None:
    write_gallery(tmp_path / "page.html", rows * 3, title="", thumbnail_px=60)
    text = (tmp_path / "page.html").read_text()
    shown = images(text)
    assert sorted(image.size for image in shown.values()) == [(30, 60), (30, 60), (60, 30)]
    used = [name for c in Page(text).classes("div") for name in c.split() if name in shown]
    assert len(used) == 12
    assert set(used) == set(shown)
    # The night image comes with its box drawn and without.
    with_box, without = (np.asarray(image) for image in shown.values() if image.size == (30, 60))
    assert np.abs(with_box.astype(int) - without).max() > 60


def test_without_marks_there_is_no_legend(tmp_path: Path, rows: list[GalleryRow]) -> None:
    plain = [
        GalleryRow(query=row.query, results=[GalleryImage(name="x", score=None) for _ in row.results])
        for row in rows
    ]
    assert write_gallery(tmp_path / "page.html", plain, title="t") == 1
    page = Page((tmp_path / "page.html").read_text())
    assert "legend" not in page.classes("ul")
    assert not {"✓", "✗", "–"} & set(page.texts)
    assert page.texts.count("1") == 2


def test_nothing_found(tmp_path: Path) -> None:
    assert write_gallery(tmp_path / "page.html", [], title="none") == 0
    assert Page((tmp_path / "page.html").read_text()).texts == ["none", "none"]

from __future__ import annotations

import json
from pathlib import Path

import pytest

from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.images.boxes import read_boxes

EXPECTED = {"a.jpg": (0.0, 1.5, 10.0, 20.0), "dir/b, c.png": (3.0, 4.0, 5.0, 6.0)}


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"a.jpg": [0, 1.5, 10, 20], "dir/b, c.png": [3, 4, 5, 6]}))
    assert read_boxes(path) == EXPECTED


@pytest.mark.parametrize("heading", ["", "name,x1,y1,x2,y2\n"])
def test_csv_with_and_without_titles(tmp_path: Path, heading: str) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(f'\ufeff{heading}a.jpg,0,1.5,10,20\n\n"dir/b, c.png",3,4,5,6\r\n', encoding="utf-8")
    assert read_boxes(path) == EXPECTED


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", "{", "no JSON"),
        ("x.json", "[1]", "holds no boxes"),
        ("x.json", '{"a": 3}', "no box for 'a'"),
        ("x.json", '{"a": [1, 2, 3]}', "no box for 'a'"),
        ("x.json", '{"a": [1, 2, 1, 4]}', "empty box for 'a'"),
        ("x.json", '{"a": [1, 2, NaN, 4]}', "empty box for 'a'"),
        ("x.csv", "a,1,2,3\n", "no box for 'a'"),
        ("x.csv", "a,1,2,3,x\n", "no box for 'a'"),
        ("x.csv", "a,1,2,3,4\na,1,2,3,4\n", "two boxes for 'a'"),
        ("x.csv", "a,3,2,1,4\n", "empty box"),
    ],
)
def test_mistakes(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        read_boxes(tmp_path / name)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="there is no file"):
        read_boxes(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\0")
    with pytest.raises(UsageError, match="cannot read"):
        read_boxes(tmp_path / "x.csv")

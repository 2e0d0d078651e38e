from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from darkside_cli.cli.output import Output


def test_paths_keep_their_bytes() -> None:
    stream = io.BytesIO()
    Output(stream=stream).path(Path(os.fsdecode(b"a\xff.jpg")))
    Output(null=True, stream=stream).path(Path("line\nbreak"))
    assert stream.getvalue() == b"a\xff.jpg\nline\nbreak\0"


def test_json_takes_paths_sets_and_any_name() -> None:
    stream = io.BytesIO()
    output = Output(stream=stream)
    output.jsonl({"path": Path("x/y"), "set": {2, 1}})
    output.json({"name": os.fsdecode(b"\xff")})
    first, rest = stream.getvalue().split(b"\n", 1)
    assert json.loads(first) == {"path": "x/y", "set": [1, 2]}
    assert os.fsencode(json.loads(rest)["name"]) == b"\xff"
    with pytest.raises(TypeError):
        output.json({"x": object()})


def test_a_table_is_tab_separated_where_no_terminal_is() -> None:
    stream = io.BytesIO()
    Output(stream=stream).table(("a", "b"), [("1", "2"), ("[x]", "é")], title="not shown")
    assert stream.getvalue().decode() == "a\tb\n1\t2\n[x]\té\n"

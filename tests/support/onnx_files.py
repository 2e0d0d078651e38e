"""What is in ONNX files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What an export put into a file beside the network, JSON parsed again where it is JSON."""
    stored = onnx.load_model(str(path), load_external_data=False).metadata_props
    return {each.key: _parsed(each.value) for each in stored}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

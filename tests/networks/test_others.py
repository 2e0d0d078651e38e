"""What is said of descriptors, ours and others', beside their figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from darkside_cli.networks import model_entry
from darkside_cli.networks.catalog import EMBEDDED_DESCRIPTOR, MODELS
from darkside_cli.networks.others import trained_on


def test_what_the_embedded_descriptor_was_trained_on_is_what_its_record_lists() -> None:
    pictures = MODELS.get(EMBEDDED_DESCRIPTOR).training()["pictures"]
    said = re.search("ImageNet, (.*) photographs", trained_on(EMBEDDED_DESCRIPTOR))
    assert said is not None
    assert sum(map(int, re.findall(r"(\d+) \w+", said[1]))) == len(pictures)


def test_another_record_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / MODELS.get(EMBEDDED_DESCRIPTOR).record
    record.parent.mkdir()
    record.write_text(json.dumps({"pictures": [{"set": "day"}] * 3 + [{"set": "webcams"}] * 2}), "utf-8")
    monkeypatch.setattr(model_entry, "_PACKAGE", tmp_path)
    said = trained_on(EMBEDDED_DESCRIPTOR)
    assert said == "ImageNet, 3 day and 2 webcams photographs, nights of darkside-night"

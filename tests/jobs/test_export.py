"""Models exported from Python: what comes back, and what is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

import darkside_cli
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.jobs.export import ExportRequest, export
from darkside_cli.jobs.request import make


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKSIDE_HOME", environment["DARKSIDE_HOME"])


def test_weights_in_another_format(generator_file: Path) -> None:
    result = darkside_cli.export(generator_file, output="g.safetensors", precision="fp16")
    assert (result.kind, result.whitening, result.onnx) == ("generator", None, None)
    assert result.document() == {
        "file": Path("g.safetensors"),
        "whitening": None,
        "size_bytes": Path("g.safetensors").stat().st_size,
        "kind": "generator",
        "precision": "fp16",
    }
    with pytest.raises(UsageError, match="is there already"):
        export(generator_file, output="g.safetensors")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "20x36", "dynamic": True}, "contradict"),
        ({"size": "20by36"}, "no size in pixels"),
        ({"opset": 9}, "opset must be at least 11"),
        ({"precision": "bf16"}, "unknown precision"),
        ({"whiten": False, "whitening": "w.pkl"}, "contradict"),
        ({"dim": 8}, "--dim is of descriptors; hedngan is a generator"),
        ({"output": "x.pt"}, "says no format by its name"),
        ({"output": "x.pth", "opset": 12}, "--opset is of ONNX files"),
        ({"model": "hedgnan"}, "did you mean hedngan"),
        ({"model": "hed"}, "generators and descriptors can be exported"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_the_request_is_made(
    options: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        make(ExportRequest, **{"model": "hedngan", **options})


def test_what_is_missing_is_named() -> None:
    with pytest.raises(MissingAssetError, match="hedngan") as caught:
        export("hedngan")
    assert [asset.name for asset in caught.value.assets] == ["hedngan"]
    with pytest.raises(MissingAssetError, match=r"nowhere\.pth"):
        export("nowhere.pth")

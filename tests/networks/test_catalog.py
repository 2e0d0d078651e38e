from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from darkside_cli.errors import UnknownNameError
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.locate import how_to_get, missing_files, state_on_disk
from darkside_cli.networks.model_entry import ModelEntry, WeightFile
from darkside_cli.registry import resolve


def entry(*files: WeightFile) -> ModelEntry:
    return ModelEntry(
        name="m",
        summary="",
        kind="descriptor",
        method="m",
        files=files,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        licence="MIT",
        source="",
        paper="",
    )


WEIGHTS = WeightFile(path="weights/m.pth", urls=("http://host/m.pth",), size_bytes=3)
WHITENING = WeightFile(
    path="weights/m.pkl", urls=("http://host/m.pkl", "http://mirror/m.pkl"), role="whitening"
)


def test_published_models() -> None:
    assert [e.name for e in MODELS if e.kind == "generator" and not e.embedded] == ["cyclegan", "hedngan"]
    assert [e.name for e in MODELS if e.kind == "edge-detector"] == ["hed", "rcf"]
    descriptors = [e for e in MODELS if e.kind == "descriptor" and not e.embedded]
    assert len([e for e in descriptors if not e.by_name_only]) == 4
    assert MODELS.get("rSfM120k-tl-resnet50-gem-w") is MODELS.get("rsfm120k-tl-resnet50-gem-w")
    assert len(descriptors) == 4 + 10 + 2, "and those that were published before, and two that pip brings"
    assert [e.name for e in descriptors if e.install] == ["efficientnet_lite0", "efficientnet_lite2"]
    assert MODELS.get("gem_r101_hedngan") is MODELS.get("gem_resnet101_hedngan")
    assert MODELS.get("gem_r101_cyclegan").weights.path == "weights/cyclegan_embed_resnet101.pth"
    with pytest.raises(UnknownNameError, match="did you mean hedngan"):
        MODELS.get("hedgan2")


def test_published_scores_are_the_readmes() -> None:
    scores = {e.name: e.scores for e in MODELS if e.kind == "descriptor" and "avg" in e.scores}
    assert scores["gem_vgg16_cyclegan"] == {
        "avg": 74.0,
        "tokyo247": 90.2,
        "roxford5k": 60.7,
        "rparis6k": 71.0,
    }
    assert scores["gem_resnet101_hedngan"] == {
        "avg": 78.4,
        "tokyo247": 91.7,
        "roxford5k": 66.6,
        "rparis6k": 76.8,
    }
    for name, figures in scores.items():
        three = [figures[data] for data in ("tokyo247", "roxford5k", "rparis6k")]
        assert figures["avg"] == pytest.approx(sum(three) / 3, abs=0.06), name


def test_every_entry_is_complete() -> None:
    paths = [file.path for e in MODELS for file in e.files]
    assert len(set(paths)) == len(paths)
    for each in MODELS:
        assert each.summary
        assert each.licence
        assert each.paper.startswith("https://")
        assert each.kind in ("generator", "descriptor", "edge-detector")
        assert (each.direction == "day2night") == (each.kind == "generator")
        with_whitening = (
            each.kind == "descriptor" and each.weights.path.startswith("weights/") and not each.install
        )
        assert [file.role for file in each.files] == ["weights", "whitening"][: 1 + with_whitening]
        assert re.fullmatch(r"[a-z0-9_-]+", each.name), (
            "locate() tells names from paths by the lack of / and ."
        )
        for file in each.files:
            assert file.path.startswith(("weights/", "data/networks/"))
            assert file.embedded or file.stand_in or file.urls[0].endswith(Path(file.path).name)
    assert "GPL-3" in MODELS.get("hed").licence
    assert "not for commercial use" in MODELS.get("rcf").licence_note


def test_hash_prefixes_come_from_the_names() -> None:
    by_name = [e for e in MODELS if e.by_name_only and not e.install]
    prefixes = {Path(file.path).name: file.sha256 for e in by_name for file in e.files}
    assert len(prefixes) == 8 + 4
    assert all(f"-{digest}." in name for name, digest in prefixes.items())
    assert prefixes["gl18-tl-resnet152-gem-w-21278d5.pth"] == "21278d5"
    assert prefixes["vgg_clahe_sfmnd0.25-lw-d706adc9.pkl"] == "d706adc9"


def test_targets_are_registered_architectures() -> None:
    targets = {a.target: a.kind for a in ARCHITECTURES}
    for each in MODELS:
        assert targets[each.target] == each.kind
        assert isinstance(resolve(each.target), type)


def test_rcf_normalisation_is_0_to_255_minus_mean() -> None:
    rcf = MODELS.get("rcf")
    white = [(1.0 - m) / s for m, s in zip(rcf.mean, rcf.std, strict=True)]
    assert white == pytest.approx([255 - 104.00698793, 255 - 116.66876762, 255 - 122.67891434])


def test_entries_go_to_json() -> None:
    for each in MODELS:
        assert json.loads(json.dumps(dataclasses.asdict(each)))["name"] == each.name


def test_state_on_disk(tmp_path: Path) -> None:
    model = entry(WEIGHTS, WHITENING)
    assert state_on_disk(model, tmp_path) == "missing"
    (tmp_path / "weights").mkdir()
    (tmp_path / WEIGHTS.path).write_bytes(b"ab")
    assert state_on_disk(model, tmp_path) == "partial"
    assert missing_files(model, tmp_path) == (WEIGHTS, WHITENING), (
        "two bytes are not the three it should have"
    )
    (tmp_path / WEIGHTS.path).write_bytes(b"abc")
    (tmp_path / WHITENING.path).touch()
    assert missing_files(model, tmp_path) == (WHITENING,), "an empty file is none"
    (tmp_path / WHITENING.path).write_bytes(b"x")
    assert state_on_disk(model, tmp_path) == "ready"


def test_a_folder_in_the_files_place_is_not_the_file(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS.path).mkdir(parents=True)
    assert state_on_disk(entry(WEIGHTS), tmp_path) == "missing"


def test_how_to_get(tmp_path: Path) -> None:
    model = entry(WEIGHTS, WHITENING)
    assert how_to_get(model) == (
        f"darkside download {model.name}; or put http://host/m.pth at <data root>/weights/m.pth; "
        "put http://host/m.pkl or http://mirror/m.pkl at <data root>/weights/m.pkl"
    )
    (tmp_path / "weights").mkdir()
    (tmp_path / WEIGHTS.path).write_bytes(b"abc")
    assert how_to_get(model, tmp_path) == (
        f"darkside download {model.name}; or "
        f"put http://host/m.pkl or http://mirror/m.pkl at {tmp_path.as_posix()}/weights/m.pkl"
    )


def test_import_is_light() -> None:
    code = (
        "import sys, darkside_cli.networks.catalog, darkside_cli.networks.locate;"
        "print([m for m in ('torch', 'numpy', 'safetensors', 'platformdirs') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

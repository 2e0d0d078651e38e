from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests_support import RunCli


def test_the_table_has_every_model_and_its_state(
    run_cli: RunCli, tmp_path: Path, generator_file: Path
) -> None:
    weights = tmp_path / "darkside-home" / "weights"
    weights.mkdir(parents=True)
    shutil.copy(generator_file, weights / "hedngan_generator_X.pth")
    shutil.copy(generator_file.parent / "embed_vgg16.pth", weights / "cyclegan_embed_vgg16.pth")
    done = run_cli("models")
    assert done.returncode == 0, done.stderr
    head, *rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert head[:4] == ["name", "kind", "here", "size"]
    states = {row[0]: row[2] for row in rows}
    assert states["hedngan"] == "ready"
    assert states["cyclegan"] == "missing"
    assert states["gem_vgg16_cyclegan"] == "partial"
    assert {"gem_resnet101_hedngan", "hed", "rcf"} <= set(states)
    assert next(row for row in rows if row[0] == "gem_vgg16_cyclegan")[4] == "90.2 | 60.7 | 71.0"
    listing = json.loads(run_cli("models", "--json").stdout)
    assert {m["name"]: m["state"] for m in listing["models"]} == states


def test_a_checkpoint_is_described(run_cli: RunCli, generator_file: Path) -> None:
    done = run_cli("models", generator_file, "--size", "64", "--json", "--layers")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["architecture"] == "resnet_generator"
    assert facts["format"] == "gandtr"
    assert facts["configuration"]["ngf"] == 4
    assert facts["configuration"]["n_blocks"] == 1
    assert facts["metadata"]["direction"] in ("day2night", None)
    # every tensor of an instance-norm generator is a weight or a bias
    import torch

    state = torch.load(generator_file, weights_only=True)["model_state"]
    assert facts["parameters"] == sum(t.numel() for t in state.values())
    assert facts["gmacs"] > 0
    assert sum(layer["n_parameters"] for layer in facts["layers"]) == facts["parameters"]
    text = run_cli("models", generator_file, "--size", "64").stdout.decode()
    assert "GMACs at 64x64" in text
    assert "ngf=4" in text


def test_an_unknown_model_and_an_absent_one(run_cli: RunCli) -> None:
    assert b"did you mean hedngan?" in run_cli("models", "hedgnan").stderr
    done = run_cli("models", "hedngan")
    assert done.returncode == 3
    assert b"hedngan_generator_X.pth" in done.stderr
    assert run_cli("models", "--graph", "x.svg").returncode == 2


def test_the_graph_without_graphviz_is_dot(run_cli: RunCli, generator_file: Path, tmp_path: Path) -> None:
    done = run_cli("models", generator_file, "--graph", "net.dot")
    assert done.returncode == 0, done.stderr
    assert "digraph" in (tmp_path / "net.dot").read_text()


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz's dot is not installed")
def test_the_graph_is_drawn(run_cli: RunCli, generator_file: Path, tmp_path: Path) -> None:
    from PIL import Image

    done = run_cli("models", generator_file, "--graph", "net.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "net.png") as image:
        assert min(image.size) > 100
    assert run_cli("models", generator_file, "--graph", "net.svg").returncode == 0
    assert "<svg" in (tmp_path / "net.svg").read_text()
    assert run_cli("models", generator_file, "--graph", "net.xyz").returncode == 2

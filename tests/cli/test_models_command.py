from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_calls import RunCli, RunHere
from golden import DATA

from darkside_cli.networks.catalog import EMBEDDED_DESCRIPTOR
from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
from darkside_cli.networks.weights import Whitening, save_whitening


def test_the_table_has_every_model_and_its_state(
    run_inside: RunCli, tmp_path: Path, generator_file: Path
) -> None:
    weights = tmp_path / "darkside-home" / "weights"
    weights.mkdir(parents=True)
    shutil.copy(generator_file, weights / "hedngan_generator_X.pth")
    shutil.copy(generator_file.parent / "embed_vgg16.pth", weights / "cyclegan_embed_vgg16.pth")
    done = run_inside("models")
    assert done.returncode == 0, done.stderr
    head, *rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert head[:4] == ["name", "kind", "here", "size"]
    states = {row[0]: row[2].partition(" (")[0] for row in rows}  # and perhaps which package brings it
    assert states["hedngan"] == "ready"
    assert states["cyclegan"] == "missing"
    assert states["gem_vgg16_cyclegan"] == "partial"
    assert {"gem_resnet101_hedngan", "hed", "rcf"} <= set(states)
    assert next(row for row in rows if row[0] == "gem_vgg16_cyclegan")[4] == "90.2 | 60.7 | 71.0"
    listing = json.loads(run_inside("models", "--json").stdout)
    assert {m["name"]: m["state"] for m in listing["models"]} == states


@pytest.mark.slow
def test_a_checkpoint_is_described(run_inside: RunCli, generator_file: Path) -> None:
    done = run_inside("models", generator_file, "--size", "64", "--json", "--layers")
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
    text = run_inside("models", generator_file, "--size", "64").stdout.decode()
    assert "GMACs at 64x64" in text
    assert "ngf=4" in text


def test_an_unknown_model_and_an_absent_one(run_inside: RunCli) -> None:
    assert b"did you mean hedngan?" in run_inside("models", "hedgnan").stderr
    done = run_inside("models", "hedngan")
    assert done.returncode == 3
    assert b"hedngan_generator_X.pth" in done.stderr
    assert run_inside("models", "--graph", "x.svg").returncode == 2


def test_the_graph_without_graphviz_is_dot(run_inside: RunCli, generator_file: Path, tmp_path: Path) -> None:
    done = run_inside("models", generator_file, "--graph", "net.dot")
    assert done.returncode == 0, done.stderr
    assert "digraph" in (tmp_path / "net.dot").read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz's dot is not installed")
def test_the_graph_is_drawn(run_inside: RunCli, generator_file: Path, tmp_path: Path) -> None:
    from PIL import Image

    done = run_inside("models", generator_file, "--graph", "net.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "net.png") as image:
        assert min(image.size) > 100
    assert run_inside("models", generator_file, "--graph", "net.svg").returncode == 0
    assert "<svg" in (tmp_path / "net.svg").read_text()
    assert run_inside("models", generator_file, "--graph", "net.xyz").returncode == 2


def test_a_descriptor_is_described(run_here: RunHere, tmp_path: Path) -> None:
    """By name, its whitening missing and there; the file has the published form and size."""
    weights = tmp_path / "darkside-home" / "weights"
    weights.mkdir(parents=True)
    shutil.copy(DATA / "files" / "checkpoints" / "embed_vgg16.pth", weights / "hedngan_embed_vgg16.pth")
    whitening = weights / "hedngan_embed_vgg16_lw.pkl"
    done = run_here("models", "gem_vgg16_hedngan", "--size", "64", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    wanted = {
        "kind": "descriptor",
        "architecture": "retrieval_net",
        "dimensions": 512,
        "backbone": "vgg16",
        "pooling": "gem",
        "clahe": {"clip_limit": 1.0, "grid_size": 8},
        "whitenings": [{"from": str(whitening), "in": None, "out": None}],
        "parameters": 14_714_689,
    }
    assert {key: facts[key] for key in wanted} == wanted
    assert facts["pooling_exponent"] == pytest.approx(2.9)
    assert facts["published_scores"]["tokyo247"] == 88.8

    shutil.copy(DATA / "files" / "whitening_vgg16.pkl", whitening)
    text = run_here("models", "gem_vgg16_hedngan", "--size", "64").stdout
    assert re.search(r"^dimensions +512$", text, re.MULTILINE)
    assert re.search(r"^CLAHE +clip_limit=1\.0, grid_size=8$", text, re.MULTILINE)
    assert re.search(rf"^whitenings .*{re.escape(str(whitening))}, in=512, out=96", text, re.MULTILINE)


def test_whitenings_inside_and_beside_a_descriptor(run_here: RunHere, tmp_path: Path) -> None:
    network = RetrievalNet(RetrievalNetConfig(backbone="squeezenet1_1", pooling="mac"))
    numbers = {"m": np.zeros((512, 1)), "P": np.ones((8, 512))}
    meta = {
        "architecture": "squeezenet1_1",
        "pooling": "mac",
        "Lw": {"retrieval-SfM-120k": {"ss": numbers, "ms": {**numbers, "P": np.ones((4, 512))}}},
    }
    torch.save({"meta": meta, "state_dict": network.state_dict()}, tmp_path / "net.pth")
    save_whitening(tmp_path / "net_whitening.safetensors", Whitening(np.zeros(512), np.ones((2, 512))))
    done = run_here("models", "net.pth", "--size", "64", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["format"], facts["pooling"], facts["pooling_exponent"]) == ("cirtorch", "mac", None)
    assert facts["clahe"] is None
    assert facts["whitenings"] == [
        {"from": "net.pth: retrieval-SfM-120k/ss", "in": 512, "out": 8},
        {"from": "net.pth: retrieval-SfM-120k/ms", "in": 512, "out": 4},
        {"from": "net_whitening.safetensors", "in": 512, "out": 2},
    ]

    alone = json.loads(run_here("models", "net_whitening.safetensors", "--json").stdout)
    assert (alone["kind"], alone["dimensions_in"], alone["dimensions_out"]) == ("whitening", 512, 2)


def test_a_whitening_is_described_and_other_pickles_are_not(run_here: RunHere) -> None:
    whitening = DATA / "files" / "whitening_vgg16.pkl"
    text = run_here("models", whitening).stdout
    assert re.search(r"^kind +whitening$", text, re.MULTILINE)
    assert re.search(r"^dimensions in +512$", text, re.MULTILINE)
    assert re.search(r"^dimensions out +96$", text, re.MULTILINE)
    for arguments in ([whitening, "--layers"], [DATA / "files" / "sfm" / "retrieval-SfM-120k.pkl"]):
        done = run_here("models", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "pickle" in done.stderr


def test_models_of_others_are_listed_with_their_figures(run_here: RunHere) -> None:
    listing = {each["name"]: each for each in json.loads(run_here("models", "--json").stdout)["others"]}
    assert listing["eigenplaces"]["recall_at_1"] == {"tokyo247": 93.0, "svox_night": 58.8}
    assert (listing["eigenplaces"]["trained_on"], listing["eigenplaces"]["licence"]) == ("SF-XL", "MIT")
    assert "hub:serizba/salad:dinov2_salad" in run_here("models", "salad").stdout
    piped = run_here("models")
    assert "megaloc" in piped.stderr
    assert "megaloc" not in piped.stdout  # which has the columns of ours
    assert run_here("models", "--quiet").stderr == ""
    refused = run_here("models", "hub:./repo:entry")
    assert refused.returncode == 2
    assert "extract, search and evaluate" in refused.stderr


def test_a_model_is_as_large_as_the_list_says_and_digests_are_not_spelt_out(run_here: RunHere) -> None:
    listed = {row[0]: row[3] for row in (line.split("\t") for line in run_here("models").stdout.splitlines())}
    text = run_here("models", EMBEDDED_DESCRIPTOR, "--size", "64").stdout
    assert re.search(rf"^size +{re.escape(listed[EMBEDDED_DESCRIPTOR])}$", text, re.MULTILINE)
    assert re.search(r"^in memory +13\.7 MB$", text, re.MULTILINE)
    metadata = next(line for line in text.splitlines() if line.startswith("metadata"))
    assert max(map(len, metadata.split())) < 100
    facts = json.loads(run_here("models", EMBEDDED_DESCRIPTOR, "--size", "64", "--json").stdout)
    digests = facts["metadata"]["pictures"]["digests"]
    assert len(digests) > 1000
    assert digests[:12] in metadata

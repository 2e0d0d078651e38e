"""cirtorch's published networks by their names: absent, they are offered; present, every command takes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_calls import RunHere
from golden import DATA

from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig

NAME = "rsfm120k-tl-resnet50-gem-w"
TEST_SET = DATA / "files" / "test" / "roxford5k"


@pytest.fixture
def network(environment: dict[str, str]) -> Path:
    """A small network with a whitening layer and two whitenings beside it, where the published one belongs."""
    config = RetrievalNetConfig(backbone="squeezenet1_1", whitening=True)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    learned = {"m": rng.normal(size=(512, 1)), "P": rng.normal(size=(6, 512))}
    meta = {
        "architecture": config.backbone,
        "pooling": config.pooling,
        "whitening": True,
        "mean": list(config.mean),
        "std": list(config.std),
        "outputdim": 512,
        "Lw": {"retrieval-SfM-120k": {"ss": learned, "ms": learned}},
    }
    path = MODELS.get(NAME).weights.under(environment["DARKSIDE_HOME"])
    path.parent.mkdir(parents=True)
    torch.save({"meta": meta, "state_dict": RetrievalNet(config).state_dict()}, path)
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ("extract", "a.jpg", "--model", NAME, "-o", "x.npz"),
        ("search", "--index", "x.npz", "a.jpg", "--model", NAME),
        ("evaluate", "--dataset", TEST_SET, "--model", NAME),
        ("whiten", "places", "--model", NAME, "-o", "w.safetensors"),
        ("models", NAME),
        ("export", NAME, "-o", "x.onnx"),
        ("export", NAME, "-o", "x.safetensors"),
        ("extract", "a.jpg", "--model", "vgg_clahe_sfmnd", "-o", "x.npz"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_is_not_there_is_named_with_the_command_that_gets_it(
    arguments: tuple[str, ...], run_here: RunHere, make_image: Callable[..., Path], tmp_path: Path
) -> None:
    make_image(tmp_path / "a.jpg")
    for number in range(2):
        make_image(tmp_path / "places" / "one" / f"{number}.jpg", seed=number)
    np.savez(tmp_path / "x.npz", names=np.array(["a.jpg"]), descriptors=np.zeros((1, 4), np.float32))
    done = run_here(*arguments)
    assert done.returncode == 3, done.stderr
    name = next(word for word in arguments if word in MODELS)
    assert f"darkside download {name}" in done.stderr
    assert done.stdout == ""


def test_what_is_there_is_used(
    run_here: RunHere, make_image: Callable[..., Path], tmp_path: Path, network: Path
) -> None:
    make_image(tmp_path / "a.jpg", 96, 80)
    done = run_here("models", NAME, "--json")
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["format"], facts["dimensions"]) == (0, "cirtorch", 512)
    assert {each["out"] for each in facts["whitenings"]} == {6}
    for name, options, dim in ((NAME, (), 6), ("rSfM120k-tl-resnet50-gem-w", ("--no-whiten",), 512)):
        done = run_here("extract", "a.jpg", "--model", name, "-o", f"{dim}.npz", *options)
        assert done.returncode == 0, done.stderr
        assert run_here("search", "--index", f"{dim}.npz", "a.jpg", "--top", "1").returncode == 0
    done = run_here("evaluate", "--dataset", TEST_SET, "--model", NAME, "--scales", "ss")
    assert done.returncode == 0, done.stderr
    for target in ("x.onnx", "x.safetensors"):
        done = run_here("export", NAME, "-o", target)
        assert done.returncode == 0, done.stderr

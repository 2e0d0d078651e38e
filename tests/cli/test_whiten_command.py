"""``darkside whiten``: from photographs and from descriptors to a file that ``extract`` takes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_calls import RunHere
from small_descriptor import DIM, write_small_descriptor

from darkside_cli.interop.whitening import read_whitening
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.describe.write import write_descriptors

MakeImage = Callable[..., Path]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_small_descriptor(tmp_path / "net.safetensors", whitened=False)


@pytest.fixture
def places(tmp_path: Path, make_image: MakeImage) -> Path:
    for number in range(8):
        make_image(tmp_path / "places" / f"p{number // 2}" / f"{number}.png", 64, 48, seed=number)
    return tmp_path / "places"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Descriptors of 60 images, called p0/0 … p19/2."""
    rows = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return write_descriptors(tmp_path / "plain.h5", [f"p{i // 3}/{i % 3}" for i in range(60)], [rows], 8)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    lines = ["query,positive", *(f"p{i}/0,p{i}/{k}" for i in range(20) for k in (1, 2))]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return tmp_path / "pairs.csv"


def test_a_model_learns_its_whitening_and_extract_finds_it(
    run_here: RunHere, model: Path, places: Path, tmp_path: Path
) -> None:
    (places / "p0" / "bad.jpg").write_bytes(b"broken")
    done = run_here("whiten", "places", "--model", "net.safetensors", "--dim", "6", "--keep", "rows.h5")
    assert done.returncode == 1, done.stderr
    assert done.stdout == "net_whitening.safetensors\n"
    said = done.stderr
    assert "darkside: places/p0/bad.jpg: it is not an image" in said
    assert "their covariance was shrunk by" in said
    assert said.splitlines()[-1] == (
        f"darkside: whitening of {DIM} to 6 dimensions, learned from 8 pairs and 8 images of places"
    )
    whitening = read_whitening(tmp_path / "net_whitening.safetensors")
    assert (whitening.in_dim, whitening.out_dim) == (DIM, 6)
    assert whitening.metadata["learned_from"]["pairs"] == 8
    assert whitening.metadata["descriptors"]["image_size"] == 1024
    (places / "p0" / "bad.jpg").unlink()

    kept = open_descriptors(tmp_path / "rows.h5").read()
    expected = (kept - whitening.mean) @ whitening.projection.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    for number, options in enumerate([(), ("--whitening", "net_whitening.safetensors")]):
        done = run_here("extract", "places", "-r", "-m", "net.safetensors", "-o", f"{number}.npz", *options)
        assert done.returncode == 0, done.stderr
        np.testing.assert_allclose(open_descriptors(tmp_path / f"{number}.npz").read(), expected, atol=2e-4)

    plain = run_here("whiten", "places", "--model", "net.safetensors", "--shrink", "0", "-o", "plain.pkl")
    assert "not positive definite" in plain.stderr  # as published

    again = run_here("whiten", "places", "--model", "net.safetensors")
    assert again.returncode == 2
    assert "is there already; --overwrite" in again.stderr


def test_descriptors_and_pairs_to_the_published_format(
    run_here: RunHere, plain: Path, pairs: Path, tmp_path: Path
) -> None:
    done = run_here("whiten", "pairs.csv", "--descriptors", "plain.h5", "-o", "lw.pkl", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["file"] == "lw.pkl"
    assert {key: answer[key] for key in ("in_dim", "out_dim", "method", "pairs", "images", "failed")} == {
        "in_dim": 8, "out_dim": 8, "method": "lw", "pairs": 40, "images": 60, "failed": 0,
    }  # fmt: skip
    assert answer["added_to_diagonal"] == 0
    assert (answer["learned_from"]["name"], answer["learned_from"]["places"]) == ("pairs", 20)
    content = pickle.loads((tmp_path / "lw.pkl").read_bytes())
    assert content["m"].shape == (8, 1)
    ours = run_here("whiten", "pairs.csv", "--descriptors", "plain.h5", "-o", "lw")
    assert ours.stdout == "lw.safetensors\n"
    np.testing.assert_array_equal(read_whitening(tmp_path / "lw.safetensors").projection, content["P"])


def test_pca_needs_no_pairs(run_here: RunHere, plain: Path, tmp_path: Path) -> None:
    done = run_here(
        "whiten",
        "--descriptors",
        "plain.h5",
        "--method",
        "pca",
        "--shrink",
        "4",
        "-o",
        "w",
        "--format",
        "pkl",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "w.pkl\n"
    assert read_whitening(tmp_path / "w.pkl").out_dim == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x.csv",), "give either --model or --descriptors"),
        (("pairs.csv", "--descriptors", "plain.h5", "-o", "."), "is a folder"),
        (
            ("pairs.csv", "--descriptors", "plain.h5", "-o", "w.pkl", "--dim", "9"),
            "9 dimensions are not to be had",
        ),
        (("pairs.csv", "--descriptors", "plain.h5", "-o", "w.pkl", "--method", "pcaw"), "did you mean pca"),
        (
            ("retrieval-sfm-120", "--descriptors", "plain.h5", "-o", "w.pkl"),
            "did you mean retrieval-sfm-120k",
        ),
    ],
)
def test_wrong_usage(
    run_here: RunHere, plain: Path, pairs: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run_here("whiten", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix in (".pkl", ".safetensors")) == []


def test_published_pairs_are_offered(run_here: RunHere, plain: Path) -> None:
    done = run_here(
        "whiten", "retrieval-sfm-120k-whiten", "--descriptors", "plain.h5", "-o", "w.pkl", "--offline"
    )
    assert done.returncode == 3
    assert "darkside download retrieval-sfm-120k" in done.stderr

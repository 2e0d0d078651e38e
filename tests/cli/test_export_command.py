"""``darkside export`` as a process: what it writes, says and answers."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from cli_calls import RunCli, RunHere
from golden import DATA
from onnx_files import read_metadata
from small_descriptor import write_small_descriptor

from darkside_cli.interop.load import open_checkpoint
from darkside_cli.methods.export import TOLERANCES
from darkside_cli.retrieval.describe.load import load_model


@pytest.fixture
def export(run_here: RunHere) -> RunHere:
    """``export("hedngan", "-o", "h.onnx")``."""
    return partial(run_here, "export")


def run_onnx(path: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": np.zeros(shape, np.float32)})[0])


def test_a_generator(run_inside: RunCli, tmp_path: Path, generator_file: Path) -> None:
    done = run_inside("export", generator_file, "-o", "out/g.onnx")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"out/g.onnx\n"
    assert b"ONNX Runtime differs from float64 by at most" in done.stderr
    assert b"tolerance 0.0001; 4 shapes" in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert run_onnx(tmp_path / "out" / "g.onnx", (2, 3, 22, 31)).shape == (2, 3, 22, 31)
    facts = read_metadata(tmp_path / "out" / "g.onnx")
    assert (facts["name"], facts["architecture"]) == (generator_file.name, "resnet_generator")


def test_what_is_said_and_what_is_replaced(export: RunHere, tmp_path: Path, generator_file: Path) -> None:
    verbose = export(generator_file, "-o", "g.onnx", "--verbose")
    assert verbose.returncode == 0, verbose.stderr
    assert "2 x 97x61: differs by at most" in verbose.stderr
    (tmp_path / "g.onnx").write_bytes(b"an older file")
    again = export(generator_file, "-o", "g.onnx")
    assert (again.returncode, again.stdout) == (2, "")
    assert "g.onnx is there already" in again.stderr
    assert (tmp_path / "g.onnx").read_bytes() == b"an older file"
    quiet = export(generator_file, "-o", "g.onnx", "--overwrite", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "g.onnx\n", "")
    assert run_onnx(tmp_path / "g.onnx", (1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_json_and_options(export: RunHere, tmp_path: Path, generator_file: Path) -> None:
    done = export(generator_file, "--size", "20x36", "--opset", "13", "--precision", "fp16", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    path = tmp_path / f"{generator_file.stem}.onnx"
    assert 0 < facts.pop("max_difference") < 0.02
    assert 0 < facts.pop("pytorch_difference") < 1e-4
    assert [each["shape"] for each in facts.pop("compared")] == [[1, 20, 36], [2, 20, 36]]
    assert facts == {
        "file": path.name,
        "size_bytes": path.stat().st_size,
        "name": generator_file.name,
        "kind": "generator",
        "precision": "fp16",
        "opset": 13,
        "size_px": [20, 36],
        "tolerance": 0.02,
    }
    done = export(generator_file, "--overwrite", "--no-check", "--dynamic", "--json")
    unchecked = json.loads(done.stdout)
    assert (unchecked["compared"], unchecked["max_difference"], unchecked["size_px"]) == ([], None, None)
    assert "not held against PyTorch" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "20x36", "--dynamic"], "contradict"),
        (["--size", "20by36"], "'20by36' is no size in pixels"),
        (["--size", "0x40"], "no images of 40x0 pixels"),
        (["--opset", "9"], "Invalid value for '--opset'"),
        (["--precision", "bf16"], "unknown precision 'bf16'"),
        (["--no-whiten", "--whitening", "w.pkl"], "contradict"),
        (["-o", "."], "is a folder"),
    ],
)
def test_wrong_usage(
    options: list[str], message: str, export: RunHere, tmp_path: Path, generator_file: Path
) -> None:
    done = export(generator_file, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.onnx"))


def test_models_that_cannot_be_exported_or_are_not_there(export: RunHere, generator_file: Path) -> None:
    done = export(generator_file.parent / "hed_plain.pth")
    assert (done.returncode, "edge-detector" in done.stderr) == (2, True)
    done = export("hedgnan")
    assert (done.returncode, "did you mean hedngan" in done.stderr) == (2, True)
    done = export("hedngan", "--offline")
    assert (done.returncode, "darkside download hedngan" in done.stderr) == (3, True)
    done = export("nowhere/generator.pth")
    assert (done.returncode, "nowhere/generator.pth" in done.stderr) == (3, True)


def test_other_numbers_than_pytorchs_are_not_written(
    export: RunHere, tmp_path: Path, generator_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOLERANCES, "fp32", 1e-12)
    done = export(generator_file, "-o", "g.onnx")
    assert (done.returncode, done.stdout) == (1, "")
    assert "g.onnx was not written" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.onnx"))


def test_a_folder_has_two_generators(export: RunHere, tmp_path: Path, generator_file: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(generator_file, tmp_path / "run" / "latest_net_G_A.pth")
    shutil.copy(generator_file.parent / "generator_batch.pth", tmp_path / "run" / "latest_net_G_B.pth")
    for options, norm, direction in [
        ((), "instance", "day2night"),
        (("--direction", "night2day", "--overwrite"), "batch", "night2day"),
    ]:
        done = export("run", *options, "--no-check")
        assert done.stdout == "run.onnx\n", done.stderr
        facts = read_metadata(tmp_path / "run.onnx")
        assert (facts["config"]["norm"], facts["direction"]) == (norm, direction)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_extra(
    missing: str, export: RunHere, tmp_path: Path, generator_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    done = export(generator_file, "-o", "g.onnx")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"needs the package {missing}" in done.stderr
    assert "pip install 'darkside-cli[onnx]'" in done.stderr
    assert not (tmp_path / "g.onnx").exists()


def test_a_published_descriptor(export: RunHere, tmp_path: Path, environment: dict[str, str]) -> None:
    """By name; the files in the data root have the published forms and sizes."""
    weights = Path(environment["DARKSIDE_HOME"]) / "weights"
    weights.mkdir(parents=True)
    shutil.copy(DATA / "files" / "checkpoints" / "embed_vgg16.pth", weights / "hedngan_embed_vgg16.pth")
    lacking = export("gem_vgg16_hedngan", "--offline")
    assert lacking.returncode == 3
    assert "hedngan_embed_vgg16_lw.pkl" in lacking.stderr
    shutil.copy(DATA / "files" / "whitening_vgg16.pkl", weights / "hedngan_embed_vgg16_lw.pkl")
    done = export("gem_vgg16_hedngan", "--dim", "16")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "gem_vgg16_hedngan.onnx\n"
    facts = read_metadata(tmp_path / "gem_vgg16_hedngan.onnx")
    assert (facts["name"], facts["dim"], facts["whitened"]) == ("gem_vgg16_hedngan", 16, True)
    assert facts["scales"] == [1.0, 2**-0.5, 0.5]
    assert facts["clahe"] == {"clip_limit": 1.0, "grid_size": 8}
    assert run_onnx(tmp_path / "gem_vgg16_hedngan.onnx", (1, 3, 40, 60)).shape == (1, 16)


def test_options_that_would_be_passed_over_are_refused(
    export: RunHere, tmp_path: Path, generator_file: Path
) -> None:
    write_small_descriptor(tmp_path / "net.safetensors")
    for model, target, options, message in [
        (generator_file, "x.onnx", ("--dim", "8"), "--dim is of descriptors; "),
        (generator_file, "x.onnx", ("--no-whiten",), "--no-whiten is of descriptors; "),
        (generator_file, "x.onnx", ("--single-scale",), "--single-scale is of descriptors; "),
        (generator_file, "x.safetensors", ("--no-whiten",), "--no-whiten is of descriptors; "),
        (generator_file, "x.safetensors", ("--opset", "12"), "--opset is of ONNX files; "),
        (generator_file, "x.pth", ("--size", "8x8"), "--size is of ONNX files; "),
        ("net.safetensors", "x.onnx", ("--direction", "night2day"), "--direction is of generators; "),
        ("net.safetensors", "x.pth", ("--direction", "night2day"), "--direction is of generators; "),
        ("net.safetensors", "x.safetensors", ("--dim", "8"), "--dim is of ONNX files; "),
        ("net.safetensors", "x.pt", (), "x.pt says no format by its name; end it in .onnx, "),
    ]:
        done = export(model, "-o", target, *options)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.startswith(f"darkside: {message}")
        assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize(
    ("target", "beside"), [("x.safetensors", "x_whitening.safetensors"), ("x.pth", "x_lw.pkl")]
)
def test_weights_of_a_descriptor_bring_its_whitening(
    target: str, beside: str, export: RunHere, tmp_path: Path
) -> None:
    """What was written is the same descriptor when it is loaded again."""
    write_small_descriptor(tmp_path / "net.safetensors")
    done = export("net.safetensors", "-o", target)
    assert (done.returncode, done.stdout) == (0, f"{target}\n{beside}\n"), done.stderr
    images = torch.rand(1, 3, 96, 80)
    with torch.no_grad():
        before, after = (load_model(tmp_path / name).model(images) for name in ("net.safetensors", target))
    assert torch.equal(before, after)
    assert after.shape == (1, 24)
    (tmp_path / target).unlink()
    again = export("net.safetensors", "-o", target)
    assert (again.returncode, f"{beside} is there already" in again.stderr) == (2, True)
    assert not (tmp_path / target).exists()
    plain = export("net.safetensors", "-o", f"plain{Path(target).suffix}", "--no-whiten", "--json")
    assert json.loads(plain.stdout)["whitening"] is None
    (tmp_path / "net_whitening.safetensors").unlink()
    without = export("net.safetensors", "-o", f"bare{Path(target).suffix}", "--json")
    assert (without.returncode, json.loads(without.stdout)["whitening"]) == (0, None)


def test_weights_in_other_formats(export: RunHere, tmp_path: Path, generator_file: Path) -> None:
    done = export(generator_file, "-o", "g.safetensors", "--precision", "fp16")
    assert (done.returncode, done.stdout.strip()) == (0, "g.safetensors")
    assert export("g.safetensors", "-o", "g.pth", "--json").returncode == 0
    assert open_checkpoint(tmp_path / "g.pth").format == "gandtr"

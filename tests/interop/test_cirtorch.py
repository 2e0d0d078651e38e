from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darkside_cli.errors import CheckpointError, ConfigError
from darkside_cli.interop import cirtorch
from darkside_cli.interop.gandtr_write import save_gandtr
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
from darkside_cli.networks.state_file import read_state_file
from darkside_cli.networks.weights import build_network
from darkside_cli.retrieval.describe.descriptor import DescriptorModel

CONFIG = RetrievalNetConfig(backbone="squeezenet1_1", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
DIM = 512
DATASET = "retrieval-SfM-120k"


def learned(seed: int, dtype: Any = np.float64, order: Any = "C") -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "m": rng.normal(size=(DIM, 1)).astype(dtype),
        "P": np.asarray(rng.normal(size=(6, DIM)), dtype=dtype, order=order),
    }


def content(config: RetrievalNetConfig = CONFIG, **meta: Any) -> dict[str, Any]:
    """A network as cirtorch keeps it, with whitenings of one data set."""
    torch.manual_seed(0)
    stored = {
        "architecture": config.backbone,
        "pooling": config.pooling,
        "local_whitening": config.local_whitening,
        "regional": config.regional,
        "whitening": config.whitening,
        "mean": list(config.mean),
        "std": list(config.std),
        "outputdim": DIM,
        "Lw": {DATASET: {"ss": learned(1), "ms": learned(2)}},
        **meta,
    }
    return {"meta": stored, "state_dict": OrderedDict(RetrievalNet(config).state_dict())}


def zipped(value: Any, path: Path) -> None:
    torch.save(value, path)


def legacy(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def numpy_1(value: Any, path: Path) -> None:
    """The old container with arrays as NumPy 1 named them: what the published files are."""
    legacy(value, path)
    data = path.read_bytes()
    changed = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        assert changed != data
    path.write_bytes(changed)


Write = Callable[[Any, Path], None]


@pytest.mark.parametrize("write", [zipped, legacy, numpy_1])
def test_network_and_whitenings(write: Write, tmp_path: Path) -> None:
    path, stored = tmp_path / "x.pth", content()
    write(stored, path)
    checkpoint = open_checkpoint(path)
    assert (checkpoint.format, checkpoint.kind) == ("cirtorch", "descriptor")
    assert checkpoint.config == CONFIG
    assert checkpoint.metadata["mean"] == [0.1, 0.2, 0.3]
    assert checkpoint.metadata["cirtorch"]["whitenings"] == [f"{DATASET}/ss", f"{DATASET}/ms"]
    state = build_network(checkpoint).state_dict()
    assert list(state) == list(stored["state_dict"])
    assert all(torch.equal(value, stored["state_dict"][key]) for key, value in state.items())
    for which, scale in ((f"{DATASET}/ss", "ss"), (f"{DATASET}/ms", "ms"), (None, "ms")):
        whitening = read_whitening(path, which=which)
        expected = stored["meta"]["Lw"][DATASET][scale]
        np.testing.assert_array_equal(whitening.mean, expected["m"][:, 0])
        np.testing.assert_array_equal(whitening.projection, expected["P"])


def test_described_and_whitened(tmp_path: Path) -> None:
    zipped(content(), tmp_path / "x.pth")
    whitening = read_whitening(tmp_path / "x.pth")
    model = DescriptorModel.from_checkpoint(open_checkpoint(tmp_path / "x.pth"), whitening=whitening)
    assert "Clahe" not in repr(model.transform), "these networks were trained without"
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 64)).shape == (1, 6)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_other_types_and_orders_of_arrays(dtype: Any, order: str, tmp_path: Path) -> None:
    numbers = learned(3, dtype, order)
    legacy(content(Lw={"x": {"ss": numbers}}), tmp_path / "x.pth")
    np.testing.assert_array_equal(
        read_whitening(tmp_path / "x.pth").projection, numbers["P"].astype(np.float64)
    )


def test_whitenings_may_be_tensors(tmp_path: Path) -> None:
    numbers = {key: torch.from_numpy(value) for key, value in learned(4).items()}
    zipped(content(Lw={"x": {"ms": numbers}}), tmp_path / "x.pth")
    np.testing.assert_array_equal(read_whitening(tmp_path / "x.pth").projection, numbers["P"].numpy())


@pytest.mark.parametrize(
    "config",
    [
        RetrievalNetConfig(backbone="squeezenet1_1", pooling="mac", regional=True),
        RetrievalNetConfig(backbone="squeezenet1_1", pooling="rmac"),
        RetrievalNetConfig(backbone="squeezenet1_1", local_whitening=True, whitening=True),
    ],
    ids=["regional", "rmac", "whitenings"],
)
def test_forms(config: RetrievalNetConfig, tmp_path: Path) -> None:
    """The poolings that leave no trace in the weights are known from the description."""
    zipped(content(config), tmp_path / "x.pth")
    assert open_checkpoint(tmp_path / "x.pth").config == config


def test_what_early_files_leave_out_is_off(tmp_path: Path) -> None:
    stored = content()
    for key in ("local_whitening", "regional", "whitening", "mean", "std", "Lw", "outputdim"):
        del stored["meta"][key]
    zipped(stored, tmp_path / "x.pth")
    assert open_checkpoint(tmp_path / "x.pth").config == RetrievalNetConfig(backbone="squeezenet1_1")
    with pytest.raises(ConfigError, match="does not hold one whitening") as caught:
        read_whitening(tmp_path / "x.pth")
    assert caught.value.hint == "it has: none"


@pytest.mark.parametrize(
    ("recorded", "transforms"),
    [
        ({}, "pil2np | totensor | normalize"),
        ({"clahe": {"clip_limit": 1.0, "grid_size": 8}}, "pil2np | apply_clahe:1.0 | totensor | normalize"),
        ({"clahe": {"clip_limit": 2.0, "grid_size": 4}}, "pil2np | apply_clahe:2.0:4 | totensor | normalize"),
    ],
)
def test_as_a_file_of_gandtrs(recorded: dict[str, Any], transforms: str, tmp_path: Path) -> None:
    """The images' way comes along, and back: without CLAHE, which cirtorch does not have, or as recorded."""
    zipped(content(), tmp_path / "x.pth")
    opened = open_checkpoint(tmp_path / "x.pth")
    opened = replace(opened, metadata={**opened.metadata, **recorded})
    again = open_checkpoint(save_gandtr(tmp_path / "y.pth", opened))
    assert again.metadata["gandtr"]["runtime"]["data"]["transforms"] == transforms
    assert again.config == CONFIG
    one, other = (DescriptorModel.from_checkpoint(each).transform for each in (opened, again))
    assert repr(one) == repr(other)


def test_weights_within_a_training_state(tmp_path: Path) -> None:
    stored = content()
    parallel = {f"module.{key}": value for key, value in stored["state_dict"].items()}
    zipped({"epoch": 3, "min_loss": 0.5, **stored, "state_dict": parallel}, tmp_path / "x.pth")
    assert list(open_checkpoint(tmp_path / "x.pth").state) == list(stored["state_dict"])


def test_which_whitening(tmp_path: Path) -> None:
    zipped(
        content(Lw={"a": {"ss": learned(1), "ms": learned(2)}, "b": {"ms": learned(3)}}), tmp_path / "x.pth"
    )
    with pytest.raises(ConfigError) as caught:
        read_whitening(tmp_path / "x.pth")
    assert caught.value.hint == "it has: a/ss, a/ms, b/ms"
    with pytest.raises(ConfigError, match="'b/ss'"):
        read_whitening(tmp_path / "x.pth", which="b/ss")
    np.testing.assert_array_equal(
        read_whitening(tmp_path / "x.pth", which="b/ms").projection, learned(3)["P"]
    )


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ({"architecture": "vgg61"}, "unknown backbone"),
        ({"pooling": "gme"}, "unknown pooling"),
        ({"architecture": ["vgg16"]}, "x.pth"),
        ({"whitening": True}, "missing whiten.weight"),
        ({"mean": [0.5]}, "three channels"),
        ({"mean": object}, "x.pth"),
        ({"Lw": 3}, "whitening that cannot be read"),
        ({"Lw": {"a": {"ss": {"m": np.zeros(3)}}}}, "whitening that cannot be read"),
        ({"Lw": {"a": {"ss": {"m": np.zeros(3), "P": np.zeros((2, 4))}}}}, "whitening that cannot be read"),
        (
            {"Lw": {"a": {"ss": {"m": np.array([{}]), "P": np.zeros((2, 4))}}}},
            "whitening that cannot be read",
        ),
        ({"Lw": {"a": {"ss": {"m": [1.0], "P": [[1.0]]}}}}, "a list in place of an array"),
        ({"Lw": {"a": {"ss": {"m": np.zeros(3, int), "P": np.zeros((2, 3))}}}}, "an array of the type 'i8'"),
    ],
)
def test_what_cannot_be(meta: dict[str, Any], says: str, tmp_path: Path) -> None:
    legacy(content(**meta), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(tmp_path / "x.pth")


class Evil:
    """Writes a file when it is unpickled by somebody who trusts it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("write", [zipped, legacy])
def test_hostile_files_run_nothing(write: Write, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    for function, argument in (
        (os.system, f"touch {victim}"),
        (np.load, str(victim)),
        (np.fromfile, str(victim)),
    ):
        write(content(Lw={"a": Evil(function, argument)}), tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match="refused as unsafe"):
            open_checkpoint(tmp_path / "x.pth")
    assert not victim.exists()


def test_numpys_own_functions_are_not_called(tmp_path: Path) -> None:
    """What bears their names only keeps its arguments, however strange these are."""
    numbers = {"m": Evil(np.dtype, "O", False, True), "P": Evil(np.dtype, [("a", "O")])}
    legacy(content(Lw={"a": {"ss": numbers}}), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="in place of an array"):
        open_checkpoint(tmp_path / "x.pth")


def test_arrays_are_allowed_only_while_the_block_runs(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    zipped(content(), tmp_path / "x.pth")
    with cirtorch.arrays_allowed():
        assert cirtorch.is_cirtorch(read_state_file(tmp_path / "x.pth").content)
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(CheckpointError, match="refused as unsafe"):
        read_state_file(tmp_path / "x.pth")


def test_pickles_of_whitenings(tmp_path: Path) -> None:
    numbers = learned(5)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        if protocol < 2:
            continue  # textual: nobody writes them
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(numbers, protocol))
        whitening = read_whitening(tmp_path / "w.pkl")
        np.testing.assert_array_equal(whitening.projection, numbers["P"])
        np.testing.assert_array_equal(whitening.mean, numbers["m"][:, 0])


def test_files_without_a_whitening(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"m": np.zeros(3)}))
    with pytest.raises(CheckpointError, match="of no whitening"):
        read_whitening(tmp_path / "w.pkl")
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"m": np.zeros(3), "P": np.zeros((2, 4))}))
    with pytest.raises(CheckpointError, match="damaged whitening"):
        read_whitening(tmp_path / "w.pkl")
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(Evil(os.system, "true")))
    with pytest.raises(CheckpointError, match="refused as unsafe"):
        read_whitening(tmp_path / "w.pkl")
    zipped({"a": torch.zeros(2)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="holds no whitening"):
        read_whitening(tmp_path / "x.pth")
    (tmp_path / "w.txt").write_text("hello")
    with pytest.raises(CheckpointError, match="text file"):
        read_whitening(tmp_path / "w.txt")

"""Files made to run something when they are opened: nothing runs, and the message says why they were refused."""

from __future__ import annotations

import builtins
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from darkside_cli.errors import CheckpointError
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.interop.safe_pickle import load_pickle
from darkside_cli.networks.state_file import pickle_globals


class Calls:
    """Unpickles by calling ``function(*arguments)``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class RunsWhenGivenItsState:
    """Harmless to make; its ``__setstate__`` creates the file it is given."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __getstate__(self) -> dict[str, str]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["path"]).touch()


def touching(marker: Path) -> dict[str, bytes]:
    """Pickles that create ``marker`` when a trusting program loads them."""
    command, code = f"touch {marker}", f"open({str(marker)!r}, 'w').close()"
    objects = {
        "os.system": Calls(os.system, command),
        "eval": Calls(builtins.eval, code),
        "exec": Calls(builtins.exec, code),
        "subprocess": Calls(subprocess.check_call, ["touch", str(marker)]),
        "setstate": RunsWhenGivenItsState(str(marker)),
        "inside tensors": {"model.1.weight": torch.zeros(2), "x": Calls(os.system, command)},
    }
    payloads = {
        f"{name}, protocol {protocol}": pickle.dumps(value, protocol)
        for name, value in objects.items()
        for protocol in (0, 2, 4)
    }
    quoted = repr(command).encode()
    payloads["GLOBAL"] = b"cos\nsystem\n(S" + quoted + b"\ntR."
    payloads["INST"] = b"(S" + quoted + b"\nios\nsystem\n."
    payloads["OBJ"] = b"(cos\nsystem\nS" + quoted + b"\no."
    payloads["after a torch magic number"] = (
        pickle.dumps(0x1950A86A20F9469CFC6C, 2)
        + pickle.dumps(1001, 2)
        + pickle.dumps(objects["os.system"], 2)
    )
    return payloads


NAMES = list(touching(Path("marker")))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.mark.parametrize("name", [name for name in NAMES if "magic" not in name])
def test_the_payloads_do_run_elsewhere(name: str, marker: Path) -> None:
    """Else the tests below would show nothing."""
    pickle.loads(touching(marker)[name])
    assert marker.exists()


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_a_pickle(name: str, marker: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(touching(marker)[name])
    with pytest.raises(CheckpointError, match="was refused as unsafe: it asks Python for"):
        open_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_a_zip_container(name: str, marker: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", touching(marker)[name])
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert "was refused as unsafe: it asks Python for" in caught.value.message or "magic" in name
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_written_by_torch(zipped: bool, marker: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = {"model.1.weight": torch.zeros(3), "x": Calls(os.system, f"touch {marker}")}
    content = {"type": "SingleNetwork", "frozen": False, "network_params": {}, "model_state": state}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        CheckpointError, match=r"was refused as unsafe: it asks Python for \w+\.system"
    ) as caught:
        open_checkpoint(path)
    assert caught.value.hint is not None
    assert "source you trust" in caught.value.hint
    assert not marker.exists()


def test_torchs_own_switch_does_not_open_the_door(
    marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / "weights.pth"
    torch.save({"x": Calls(os.system, f"touch {marker}")}, path)
    with pytest.raises(CheckpointError, match="unsafe"):
        open_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", [name for name in NAMES if "magic" not in name])
def test_data_pickles(name: str, marker: Path, tmp_path: Path) -> None:
    path = tmp_path / "whitening.pkl"
    path.write_bytes(touching(marker)[name])
    with pytest.raises(CheckpointError, match="was refused as unsafe: it asks Python for"):
        load_pickle(path)
    assert not marker.exists()


HANDMADE = {
    # A function of the reader's own list given another state, were it let through.
    "state of a function": b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.",
    "state of a class": b"\x80\x02cbuiltins\nset\n}X\x01\x00\x00\x00aK\x01sb.",
    "attribute of an allowed name": b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
    "persistent object": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "extension": b"\x80\x02\x82\x01.",
    "module that only begins like an allowed one": b"\x80\x02cnumpy_evil\nndarray\n.",
    "numpy.load": b"\x80\x02cnumpy\nload\nX\x01\x00\x00\x00a\x85R.",
    # dtype('V8') that claims to hold an object but not to need care: raw bytes followed as a pointer.
    "structured dtype": b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00V8\x89\x88\x87R.",
    "array subclass": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncbuiltins\nset\nK\x00\x85C\x01b\x87R.",
}


@pytest.mark.parametrize("name", HANDMADE)
def test_handmade_data_pickles(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(HANDMADE[name])
    with pytest.raises(CheckpointError, match="was refused as unsafe"):
        load_pickle(path)


def test_dtype_that_lies_about_objects(tmp_path: Path) -> None:
    """numpy takes such a state and would read eight bytes of the file as a pointer."""
    pointer_dtype = (
        b"cnumpy\ndtype\nX\x02\x00\x00\x00i8\x89\x88\x87R("
        b"K\x03X\x01\x00\x00\x00|NX\x01\x00\x00\x00f\x85}X\x01\x00\x00\x00fcnumpy\ndtype\n"
        b"X\x02\x00\x00\x00O8\x89\x88\x87RK\x00\x86sK\x08K\x01K\x00tb"
    )
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02" + pointer_dtype + b".")
    with pytest.raises(CheckpointError, match=r"refused as unsafe.*structured data type"):
        load_pickle(path)


def test_globals_are_found_without_running(marker: Path) -> None:
    payload = pickle.dumps([Calls(os.system, f"touch {marker}"), Calls(builtins.eval, "1"), {1, 2}], 4)
    system = f"{os.system.__module__}.system"
    assert pickle_globals(payload) == [system, "builtins.eval"]
    assert pickle_globals(payload[:-10])[0] == system, "what stands before the damage counts"
    assert pickle_globals(b"no pickle") == []
    assert not marker.exists()


def test_nothing_imports_what_a_file_names(tmp_path: Path) -> None:
    """An import alone may run code."""
    (tmp_path / "sneaky_module_of_the_test.py").write_text("raise SystemExit('imported')")
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02csneaky_module_of_the_test\nx\n.")
    sys.path.insert(0, str(tmp_path))
    try:
        for opens in (load_pickle, open_checkpoint):
            with pytest.raises(CheckpointError, match=r"sneaky_module_of_the_test\.x"):
                opens(path)
    finally:
        sys.path.remove(str(tmp_path))
    assert "sneaky_module_of_the_test" not in sys.modules

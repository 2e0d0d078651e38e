from __future__ import annotations

import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from darkside_cli.errors import CheckpointError, DarksideError, MissingAssetError
from darkside_cli.networks.state_file import read_state_file

STATE = {"a": torch.arange(500.0), "b": torch.ones(2, 3, dtype=torch.float16)}


def zipped(path: Path) -> Path:
    torch.save(STATE, path)
    return path


def legacy(path: Path) -> Path:
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    return path


def tensors(path: Path) -> Path:
    save_file(STATE, path, metadata={"key": "value"})
    return path


@pytest.mark.parametrize("write", [zipped, legacy, tensors])
@pytest.mark.parametrize("name", ["x.pth", "x.bin", "x.safetensors"])
def test_containers_are_told_by_content(write: object, name: str, tmp_path: Path) -> None:
    file = read_state_file(write(tmp_path / name))  # type: ignore[operator]
    assert file.path == tmp_path / name
    assert file.header == ({"key": "value"} if write is tensors else {})
    assert list(file.content) == ["a", "b"]
    for key, value in STATE.items():
        assert file.content[key].dtype == value.dtype
        assert torch.equal(file.content[key], value)


@pytest.mark.parametrize("write", [zipped, legacy, tensors])
def test_truncated_anywhere(write: object, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole").read_bytes()  # type: ignore[operator]
    path = tmp_path / "cut.pth"
    for length in [1, 5, 9, 30, 100, 400, len(whole) // 2, len(whole) - 100, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut\.pth .* \(get the file again"):
            read_state_file(path)


def test_flipped_bit_in_the_weights(tmp_path: Path) -> None:
    """torch would load it: it does not look at the archive's checksums."""
    path = zipped(tmp_path / "x.pth")
    data = bytearray(path.read_bytes())
    data[data.index(STATE["a"].numpy().tobytes()) + 401] ^= 1
    path.write_bytes(data)
    torch.load(path, weights_only=True)
    with pytest.raises(CheckpointError, match="damaged or incomplete: Bad CRC"):
        read_state_file(path)


def test_garbled_description(tmp_path: Path) -> None:
    """Whatever torch says of it, its advice to switch the precaution off is not passed on."""
    path = legacy(tmp_path / "x.pth")
    data = path.read_bytes()
    for opcode in (b"\xff", b"\x8a"):
        path.write_bytes(data.replace(b"ctorch._utils", opcode + b"torch._utils", 1))
        with pytest.raises(CheckpointError) as caught:
            read_state_file(path)
        assert caught.value.message == f"{path} is damaged or incomplete: its content is garbled"


def test_archive_without_checksums_is_fine(tmp_path: Path) -> None:
    computing = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        path = zipped(tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(computing)
    assert list(read_state_file(path).content) == ["a", "b"]


OTHER_FILES = {
    "is empty": b"",
    "is a web page": b"\n<!DOCTYPE html>\n<html><body>404</body></html>",
    "is a web page, not weights": b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>",
    "is a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "is a gzip or tar archive": b"\x1f\x8b\x08" + bytes(60),
    "is an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(60),
    "is filled with zeros": bytes(4096),
    "is a text file": b"just some words",
    "is a plain Python pickle": pickle.dumps({"m": np.zeros(3), "P": np.zeros((3, 3))}, 4),
    "is a plain Python pickle, not weights": pickle.dumps([1, 2, 3], 2),
    "is of an unknown kind": bytes(range(1, 255)),
}


@pytest.mark.parametrize("says", OTHER_FILES)
def test_what_is_no_weights_is_named(says: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(OTHER_FILES[says])
    with pytest.raises(CheckpointError, match=rf"w\.pth {says}") as caught:
        read_state_file(path)
    assert caught.value.hint


def test_safetensors_name_with_other_content(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"some words and more words")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        read_state_file(path)


def test_other_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
        archive.writestr("b.jpg", b"")
    with pytest.raises(CheckpointError, match=r"a zip archive, but no checkpoint: it holds a\.jpg, b\.jpg"):
        read_state_file(tmp_path / "photos.zip")
    (tmp_path / "empty.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(CheckpointError, match="not weights"):
        read_state_file(tmp_path / "empty.zip")
    with tarfile.open(tmp_path / "old.tar", "w") as tar:
        tar.add(tmp_path / "photos.zip", "sys_info")
    with pytest.raises(CheckpointError, match="is a gzip or tar archive"):
        read_state_file(tmp_path / "old.tar")


def test_torchscript_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "program.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"program/{name}", b"x")
    with pytest.raises(CheckpointError, match="is a TorchScript program"):
        read_state_file(path)


def test_absent_folder_and_forbidden(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="there is no file"):
        read_state_file(tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="is not a file"):
        read_state_file(tmp_path)
    path = zipped(tmp_path / "closed.pth")
    path.chmod(0)
    if os.geteuid() != 0:  # the superuser may read anything
        with pytest.raises(CheckpointError, match="cannot read"):
            read_state_file(path)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x10\0\0\0\0\0\0\0{"]))
def test_random_bytes_never_give_another_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, start: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.pth"
    path.write_bytes(start + content)
    message = ""
    try:
        read_state_file(path)
    except DarksideError as error:
        message = error.message
    assert "random.pth" in message

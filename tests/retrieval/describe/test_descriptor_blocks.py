"""Descriptor files: every form is read the same, block by block, and what is none is told."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkside_cli.errors import MissingAssetError
from darkside_cli.retrieval.describe.descriptor_file import DescriptorFileError
from darkside_cli.retrieval.describe.store import open_descriptors

TABLE = np.random.default_rng(0).standard_normal((11, 6)).astype(np.float32)
NAMES = tuple(f"day/{number:02}.jpg" for number in range(11))


def write_npy(path: Path, table: np.ndarray) -> None:
    np.save(path, table)


def write_npz(path: Path, table: np.ndarray) -> None:
    np.savez(path, names=np.array(NAMES), descriptors=table, other=np.zeros((2, 2)))


def write_packed_npz(path: Path, table: np.ndarray) -> None:
    np.savez_compressed(path, only=table)


def write_hloc(path: Path, table: np.ndarray) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, row in zip(NAMES, table, strict=True):
            file.create_group(name).create_dataset("global_descriptor", data=row)


def write_h5_table(path: Path, table: np.ndarray) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["descriptors"] = table
        file.create_dataset("names", data=list(NAMES), dtype=h5py.string_dtype())


FORMS = {
    "npy": (write_npy, ".npy", False),
    "npz": (write_npz, ".npz", True),
    "packed npz": (write_packed_npz, ".npz", False),
    "hloc": (write_hloc, ".h5", True),
    "h5 table": (write_h5_table, ".h5", True),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, ">f4"])
@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str, dtype: Any, tmp_path: Path) -> None:
    write, suffix, named = FORMS[form]
    table = TABLE.astype(dtype)
    write(tmp_path / f"d{suffix}", table)
    file = open_descriptors(tmp_path / f"d{suffix}")
    assert (file.count, file.dim) == TABLE.shape
    assert file.names == (NAMES if named else None)
    for rows, sizes in ((4, [4, 4, 3]), (11, [11]), (100, [11])):
        blocks = [block.copy() for block in file.blocks(rows)]
        assert [len(block) for block in blocks] == sizes
        assert all(block.dtype == np.float32 for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), table.astype(np.float32))
    np.testing.assert_array_equal(file.read(), table.astype(np.float32))


def test_columns_in_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.asfortranarray(TABLE))
    np.testing.assert_array_equal(np.concatenate(list(open_descriptors(tmp_path / "d.npy").blocks(4))), TABLE)


def test_columns_in_npz_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", np.asfortranarray(TABLE))
    with pytest.raises(DescriptorFileError, match="column by column"):
        open_descriptors(tmp_path / "d.npz")


def test_wrong_files_are_told(tmp_path: Path) -> None:
    def problem(name: str) -> str:
        with pytest.raises(DescriptorFileError) as caught:
            open_descriptors(tmp_path / name)
        assert caught.value.hint
        return str(caught.value)

    np.save(tmp_path / "flat.npy", TABLE.ravel())
    np.save(tmp_path / "whole.npy", np.ones((3, 4), int))
    np.savez(tmp_path / "two.npz", a=TABLE, b=TABLE)
    np.savez(tmp_path / "names.npz", descriptors=TABLE, names=np.array(["one"]))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "cut.npy", TABLE)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-1])
    (tmp_path / "d.csv").write_text("1,2")
    assert "shape (66,)" in problem("flat.npy")
    assert "int64" in problem("whole.npy")
    assert "has the arrays a, b" in problem("two.npz")
    assert "11 descriptors, but 1 names" in problem("names.npz")
    assert "cannot read" in problem("text.npy")
    assert "cannot read" in problem("text.npz")
    assert "ends too early" in problem("cut.npy")
    assert "known: .npy, .npz, .h5" in problem("d.csv")


def test_wrong_h5_files_are_told(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["image.jpg/keypoints"] = np.ones(4)
    with pytest.raises(DescriptorFileError, match="no global_descriptor"):
        open_descriptors(tmp_path / "other.h5")
    (tmp_path / "text.h5").write_text("no table")
    with pytest.raises(DescriptorFileError, match="cannot read"):
        open_descriptors(tmp_path / "text.h5")
    with h5py.File(tmp_path / "mixed.h5", "w") as file:
        file["a.jpg/global_descriptor"] = np.ones(4)
        file["b.jpg/global_descriptor"] = np.ones(5)
    with pytest.raises(DescriptorFileError, match=r"b\.jpg has a descriptor of shape \(5,\)"):
        open_descriptors(tmp_path / "mixed.h5").read()


@pytest.mark.parametrize("name", ["none.npy", "none.npz", "none.h5"])
def test_missing_files(name: str, tmp_path: Path) -> None:
    if name.endswith("h5"):
        pytest.importorskip("h5py")
    with pytest.raises(MissingAssetError, match="there is no file"):
        open_descriptors(tmp_path / name)


def test_h5py_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingAssetError, match="pip install h5py"):
        open_descriptors(tmp_path / "d.h5")


# What files state of their size


def stated_npz(path: Path, **headers: tuple[tuple[int, ...], str]) -> Path:
    """An archive whose arrays state a shape and type, and have sixteen bytes each."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (shape, descr) in headers.items():
            member = io.BytesIO()
            np.lib.format.write_array_header_2_0(
                member, {"descr": descr, "fortran_order": False, "shape": shape}
            )
            archive.writestr(f"{name}.npy", member.getvalue() + bytes(16))
    return path


@pytest.mark.parametrize(
    "arrays",
    [
        {"descriptors": ((10**12, 8), "<f4")},
        {"descriptors": ((2, 2), "<f4"), "names": ((10**12,), "<U9")},
        {"descriptors": ((2, 2), "<f4"), "names": ((2,), "<U100000000")},
        {"descriptors": ((5, 1), "<f4")},
    ],
    ids=["rows", "names", "length of names", "one row too many"],
)
def test_npz_that_states_more_than_it_has(
    arrays: dict[str, tuple[tuple[int, ...], str]], tmp_path: Path
) -> None:
    """A trillion rows were gone through, and their names made, as far as the memory reached."""
    with pytest.raises(DescriptorFileError, match="ends too early"):
        open_descriptors(stated_npz(tmp_path / "d.npz", **arrays))


def test_npz_whose_directory_lies_too(tmp_path: Path) -> None:
    path = stated_npz(tmp_path / "d.npz", descriptors=((10**8, 4), "<f4"))
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (16 * 10**8 + 500).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DescriptorFileError, match=r"states 1,600,000,500 bytes, which its \d+ cannot hold"):
        open_descriptors(path)


def test_negative_shapes(tmp_path: Path) -> None:
    with pytest.raises(DescriptorFileError, match="no descriptors"):
        open_descriptors(stated_npz(tmp_path / "d.npz", descriptors=((-1, 4), "<f4")))


def test_packed_files_are_read(tmp_path: Path) -> None:
    """Zeros are packed as tightly as Deflate can."""
    np.savez_compressed(tmp_path / "d.npz", descriptors=np.zeros((20_000, 64), np.float32))
    assert open_descriptors(tmp_path / "d.npz").count == 20_000


def test_h5_rows_that_were_never_written(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("descriptors", (10**12, 8), "f4", chunks=(16, 8))
    with pytest.raises(DescriptorFileError, match="ends too early"):
        open_descriptors(tmp_path / "d.h5")

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from darkside_cli.errors import CheckpointError, DarksideError, MissingAssetError
from darkside_cli.interop.safe_pickle import load_pickle, loads

FILES = Path(__file__).parents[1] / "parity" / "data" / "files"


def same(one: Any, other: Any) -> bool:
    """Equal in type and value, NaNs and arrays' writability included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return alike and one.flags.writeable and same(one.tolist(), other.tolist())
    if isinstance(one, float) and one != one:
        return other != other
    return bool(one == other)


PICKLES = sorted(path.relative_to(FILES).as_posix() for path in FILES.rglob("*.pkl"))


def test_there_are_files_of_every_sort() -> None:
    assert {"whitening_vgg16.pkl", "whitening_learned_numpy1.pkl", "sfm/retrieval-SfM-120k.pkl"} <= set(
        PICKLES
    )
    assert sum(name.startswith("test/") for name in PICKLES) == 2


@pytest.mark.parametrize("name", PICKLES)
def test_published_formats_load_as_pickle_would(name: str) -> None:
    with (FILES / name).open("rb") as file:
        expected = pickle.load(file)
    assert same(load_pickle(FILES / name), expected)


def test_numpy_1_and_2_paths_give_the_same() -> None:
    one, two = (load_pickle(FILES / f"whitening_learned{tag}.pkl") for tag in ("", "_numpy1"))
    assert sorted(one) == ["P", "m"]
    assert same(one, two)


VALUES = {
    "containers": {"a": [1, (2, None)], "b": {3, 4}, "c": frozenset("xy"), "d": {}},
    "numbers": [True, -(10**40), 1.5, 2 - 3j, float("inf")],
    "bytes": [b"", b"\x00\xff", bytearray(b"ab"), bytearray()],
    "text": "Žižkov",
    "scalars": [
        np.float32(1.5),
        np.int64(-7),
        np.bool_(True),
        np.complex64(1j),
        np.str_("ab"),
        np.bytes_(b"c"),
    ],
    "matrix": np.arange(6.0).reshape(2, 3),
    "columns first": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "text array": np.array(["ab", "cde"]),
    "bytes array": np.array([b"ab", b"c"]),
    "objects": np.array([[1, "x"], [None, [2, np.float64(3)]]], dtype=object),
    "empty": [np.zeros((0, 4)), np.array(5), np.array([], dtype="U3")],
    "halves": np.ones((2, 2), np.float16),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", VALUES)
def test_values_in_every_protocol(name: str, protocol: int) -> None:
    assert same(loads(pickle.dumps(VALUES[name], protocol)), VALUES[name])


def test_other_byte_order_is_read_as_numpy_reads_it() -> None:
    array = np.arange(5, dtype=">i4")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        loaded = loads(pickle.dumps(array, protocol))
        assert loaded.tolist() == [0, 1, 2, 3, 4]
    assert np.dtype("i4").isnative, "no shared dtype was changed on the way"


def test_python_2_strings_and_arrays() -> None:
    # {'name': 'caf\xe9', 'm': numpy.array([1.0, 2.0])}, as Python 2 with numpy 1 writes it in protocol 2
    numbers = np.array([1.0, 2.0]).tobytes()
    written = (
        b"\x80\x02}(U\x04nameU\x04caf\xe9U\x01m"
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x10" + numbers + b"tbu."
    )
    loaded = loads(written)
    assert loaded["name"] == "café"
    assert same(loaded["m"], np.array([1.0, 2.0]))


def test_python_2_set_and_old_names() -> None:
    assert loads(b"\x80\x02c__builtin__\nset\n](K\x01K\x02e\x85R.") == {1, 2}
    assert loads(b"\x80\x02ccollections\nOrderedDict\n)R(K\x01K\x02u.") == {1: 2}


def test_shared_and_circular_objects_stay_so() -> None:
    row = [1]
    shared = loads(pickle.dumps([row, row]))
    assert shared[0] is shared[1]
    row.append(row)  # type: ignore[arg-type]
    circle = loads(pickle.dumps(row))
    assert circle[1] is circle


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.one_of(
            st.none(),
            st.integers(),
            st.floats(),
            st.binary(max_size=5),
            st.lists(st.text(max_size=3), max_size=3),
            npst.arrays(
                st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, np.dtype("U4")]),
                npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
            ),
        ),
        max_size=4,
    ),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
def test_round_trip(value: dict[str, Any], protocol: int) -> None:
    assert same(loads(pickle.dumps(value, protocol)), value)


@pytest.fixture(scope="module")
def whitening() -> bytes:
    return (FILES / "whitening_learned.pkl").read_bytes()


@settings(deadline=None)
@given(data=st.data())
def test_damaged_pickles_never_give_another_error(
    data: st.DataObject, whitening: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    where = data.draw(st.integers(0, 300))
    damaged = bytearray(whitening)
    damaged[where : where + 1] = data.draw(st.binary(max_size=3))
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(damaged)
    read: Any = None
    try:
        read = load_pickle(path)
    except DarksideError as error:
        read = error.hint
    assert read is not None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page, not data"),
        (b"hello", "is a text file, not data"),
        (b"\x80\x04\x95\x10", "is damaged or incomplete"),
        (pickle.dumps(np.arange(9))[:-20], "is damaged or incomplete"),
    ],
)
def test_what_is_no_pickle(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"x.pkl {says}"):
        load_pickle(path)


def test_array_with_too_few_bytes_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(np.arange(4, dtype=np.uint8), 2).replace(b"K\x04\x85", b"K\x08\x85"))
    with pytest.raises(CheckpointError, match="damaged"):
        load_pickle(path)


def test_absent_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="there is no file"):
        load_pickle(tmp_path / "x.pkl")
    with pytest.raises(CheckpointError, match="cannot read"):
        load_pickle(tmp_path)

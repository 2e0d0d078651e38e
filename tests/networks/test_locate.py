from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.config.paths import data_root
from darkside_cli.errors import DarksideError, MissingAssetError, UnknownNameError, UsageError
from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.locate import locate


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with the weights of hedngan, beside an empty current folder."""
    weights = tmp_path / "root" / "weights"
    weights.mkdir(parents=True)
    (weights / "hedngan_generator_X.pth").write_bytes(b"x")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "root"


def test_name_gives_entry_and_file(root: Path) -> None:
    entry, path = locate("hedngan", root)
    assert entry is MODELS.get("hedngan")
    assert path == root / "weights" / "hedngan_generator_X.pth"
    assert locate("hedngan", data_root(root), kind="generator") == (entry, path)


def test_alias_gives_the_same_entry(root: Path) -> None:
    (root / "weights" / "cyclegan_embed_resnet101.pth").write_bytes(b"x")
    assert locate("gem_r101_cyclegan", root)[0] is MODELS.get("gem_resnet101_cyclegan")


def test_absent_weights_name_address_and_place(root: Path) -> None:
    with pytest.raises(MissingAssetError) as caught:
        locate("cyclegan", root)
    assert caught.value.message == "the weights of 'cyclegan' are not on this machine"
    assert caught.value.hint is not None
    assert (
        "http://ptak.felk.cvut.cz/personal/jenicto2/download/iccv23_gan/cyclegan_generator_X.pth"
        in caught.value.hint
    )
    assert str(root / "weights" / "cyclegan_generator_X.pth") in caught.value.hint


def test_misspelt_name_is_answered_with_near_matches(root: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean hedngan.*a path to a weights file"):
        locate("hedngann", root)
    with pytest.raises(UnknownNameError) as caught:
        locate("gem_vgg", root, kind="generator")
    assert caught.value.near == [], "only names of the kind that is wanted are proposed"


def test_name_of_another_kind(root: Path) -> None:
    with pytest.raises(UsageError, match=r"'hed' is of the kind 'edge-detector'.*known: cyclegan, hedngan"):
        locate("hed", root, kind="generator")


def test_a_name_wins_over_a_file_of_that_name(root: Path) -> None:
    Path("hedngan").write_bytes(b"mine")
    assert locate("hedngan", root)[1] == root / "weights" / "hedngan_generator_X.pth"
    assert locate("./hedngan", root) == (None, Path("hedngan"))
    assert locate(Path("hedngan"), root) == (None, Path("hedngan"))


def test_a_bare_word_that_is_no_name_may_be_a_folder(root: Path) -> None:
    Path("myrun").mkdir()
    assert locate("myrun", root) == (None, Path("myrun"))


def test_paths(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.pth").write_bytes(b"x")
    assert locate("a.pth", root, kind="generator") == (None, Path("a.pth"))
    assert locate(str(root), root) == (None, root)
    monkeypatch.setenv("HOME", str(root))
    assert locate("~/weights", root) == (None, root / "weights")


@pytest.mark.parametrize(
    "path", ["no/such", "no.pth", "/nowhere", "~nobody-of-that-name/x.pth", "a" * 5000 + "/b"]
)
def test_absent_path(root: Path, path: str) -> None:
    with pytest.raises(MissingAssetError, match="there is no file or folder"):
        locate(path, root)


def test_absent_path_that_resembles_a_name(root: Path) -> None:
    with pytest.raises(MissingAssetError, match="'hedngan' alone is the name of a published model"):
        locate("hedngan.pth", root)


def test_empty_name_is_not_the_current_folder(root: Path) -> None:
    with pytest.raises(UnknownNameError):
        locate("", root)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_answered(name: str) -> None:
    """Never a bare exception, whatever the name: a path that exists, or an error that says what to do."""
    hint: str | None = "found"
    try:
        assert locate(name, "/nonexistent-root")[1].exists()
    except DarksideError as error:
        hint = error.hint
    assert hint

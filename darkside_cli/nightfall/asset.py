"""The city as an asset: what of it is here, making it when it is needed, checking and removing it."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from darkside_cli.assets.disk import Stopped
from darkside_cli.assets.entries import COMPLETE, MISSING, PARTIAL, State
from darkside_cli.events import Emit, ignore
from darkside_cli.nightfall.config import DEFAULT_SIZE, NAME, SIZES, VERSION, NightfallConfig
from darkside_cli.nightfall.layout import FOLDERS, TESTS, TRAIN
from darkside_cli.nightfall.marker import Marker, lacking, listed, read_marker
from darkside_cli.nightfall.write import MAKING, write


@dataclass(frozen=True)
class City:
    """Where the city's parts are, once it is made.

    ``day_list`` and ``night_list`` name unpaired images (relative to their folder) for a GAN. ``tuples`` and
    ``whitening`` are databases in the published form, whose images are in ``images`` by id. ``ground_truth`` asks by
    night, ``ground_truth_day`` by day from the same spots, and those of ``validation`` ask for other places.
    """

    config: NightfallConfig
    day_list: Path
    night_list: Path
    images: Path
    tuples: Path
    whitening: Path
    ground_truth: Path
    ground_truth_day: Path
    validation: Path
    validation_day: Path


def ensure(
    root: str | os.PathLike[str],
    emit: Emit = ignore,
    *,
    size: str = "",
    workers: int | None = None,
    stop: threading.Event | None = None,
) -> City:
    """Make the city below the data root ``root`` unless it is there, and say where its parts are.

    ``size`` is a name in ``SIZES``; without one whatever size is there will do, else it is the usual one. Raises what
    :func:`~darkside_cli.nightfall.write.write` raises, and UnknownNameError for a size that is none.
    """
    root = Path(root)
    config = _wanted(root, size)
    write(root, config, emit, workers=workers, stop=stop)
    train = root / TRAIN
    truths = [root / "data" / "test" / name / f"gnd_{name}.pkl" for name in TESTS]
    return City(
        config, train / "dataset" / "train_day.txt", train / "dataset" / "train_night.txt", train / "ims",
        train / f"{NAME}.pkl", train / f"{NAME}-whiten.pkl", *truths,
    )  # fmt: skip


def _wanted(root: Path, size: str) -> NightfallConfig:
    if size:
        return SIZES.get(size).config
    marker = read_marker(root / TRAIN)
    if marker is not None and marker.version == VERSION:
        try:
            config = NightfallConfig(**marker.config)
        except TypeError:
            config = None
        if config is not None and config.fingerprint == marker.fingerprint:
            return config
    known = marker is not None and marker.size in SIZES
    return SIZES.get(marker.size if marker is not None and known else DEFAULT_SIZE).config


class Maker:
    """What the asset store asks of things that are made here; see :class:`~darkside_cli.assets.entries.Maker`."""

    def state(self, root: Path) -> State:
        """How much of the city is there; one of an older version is as good as none."""
        markers = {name: read_marker(root / name) for name in FOLDERS}
        there = {name: marker for name, marker in markers.items() if marker is not None}
        size = sum(marker.bytes for marker in there.values())
        images = sum(_images(root / name, marker) for name, marker in there.items())
        if not there:
            begun = any(True for _ in self.leftovers(root))
            return State(PARTIAL if begun else MISSING, lacking=(TRAIN,))
        if any(marker.version != VERSION for marker in there.values()):
            return State(PARTIAL, size, images, (f"{NAME} of version {VERSION}",))
        missing = [name for name in FOLDERS if name not in there]
        if len({marker.fingerprint for marker in there.values()}) > 1:
            missing.append(f"{TRAIN} of one size")
        for name, marker in there.items():
            missing += [f"{name}/{file}" for file in lacking(root / name, marker)]
        return State(PARTIAL if missing else COMPLETE, size, images, tuple(missing[:5]))

    def make(self, root: Path, size: str, emit: Emit, stop: threading.Event) -> None:
        """Make what is not there; ``size`` as in :func:`ensure`."""
        ensure(root, emit, size=size, stop=stop)

    def right_size(self, root: Path, size: str) -> bool:
        """Whether what is there is of the size asked for."""
        marker = read_marker(root / TRAIN)
        return not size or (marker is not None and marker.fingerprint == SIZES.get(size).config.fingerprint)

    def folders(self, root: Path) -> list[Path]:
        """Folders that belong to the city."""
        return [root / name for name in FOLDERS]

    def damaged(self, folder: Path, stop: threading.Event) -> tuple[int, str]:
        """Read a folder's files and compare them with their digests: how many there are, and what is wrong."""
        marker = read_marker(folder)
        if marker is None:
            return 0, "is not complete"
        gone = lacking(folder, marker)
        bad: list[str] = [] if gone else [
            name for name, digest in listed(folder) if _digest(folder / name, stop) != digest
        ]  # fmt: skip
        reasons = [f"{len(gone)} files are missing ({', '.join(gone[:3])})"] if gone else []
        reasons += [f"{len(bad)} files are damaged ({', '.join(bad[:3])})"] if bad else []
        return marker.files, "; ".join(reasons)

    def remove(self, root: Path) -> None:
        """Delete the city; folders that are not ours stay."""
        for name in FOLDERS:
            if read_marker(root / name) is not None and not (root / name).is_symlink():
                shutil.rmtree(root / name)

    def leftovers(self, root: Path) -> list[Path]:
        """Folders of cities that were never finished."""
        found = []
        for name in FOLDERS:
            folder = root / name
            if folder.parent.is_dir():
                found += sorted(folder.parent.glob(f".{folder.name}{MAKING}*"))
        return found


def _images(folder: Path, marker: Marker) -> int:
    """Count of images, by what else there is in a folder."""
    others = {"data/train": 5, "data/test": 1}["/".join(folder.parts[-3:-1])]
    return max(0, marker.files - others)


def _digest(path: Path, stop: threading.Event) -> str:
    if stop.is_set():
        raise Stopped
    return hashlib.sha256(path.read_bytes()).hexdigest()


MAKER = Maker()

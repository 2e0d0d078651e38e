"""Writes the city to disk: whole or not at all, going on where it was stopped.

Images are collected in a hidden folder beside each of the final ones (``.nightfall.making-<fingerprint>``), each
file whole or not there. When all of them and the lists are, the folders get their names one by one; a folder with a
marker of the right fingerprint is complete, so a run that is killed anywhere is continued by the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from darkside_cli.assets.disk import Stopped, free_bytes, locked, not_enough_space
from darkside_cli.assets.ledger import FOLDER as LEDGER_FOLDER
from darkside_cli.assets.transfer import Work, run_parallel
from darkside_cli.atomic import TEMPORARY_PREFIX, write_bytes_atomic
from darkside_cli.errors import DarksideError, MissingAssetError
from darkside_cli.events import Emit, ImageReady, Notice, RunFinished, RunStarted, ignore
from darkside_cli.images.settings import usable_cpus
from darkside_cli.nightfall.config import NAME, VERSION, NightfallConfig, size_of
from darkside_cli.nightfall.layout import FOLDERS, CityImage, documents, images
from darkside_cli.nightfall.marker import MARKER, SUMS, Marker, read_marker, whole
from darkside_cli.nightfall.worker import Worker, take

MAKING = ".making-"
#: From so many images on processes are worth starting.
_WORTH_PROCESSES = 48
_MOST_WORKERS = 16
#: Disk space of a pixel as JPEG, generously.
_BYTES_PER_PIXEL = 1.0

Task = tuple[int, list[tuple[CityImage, list[Path]]]]


def write(
    folder: str | os.PathLike[str],
    config: NightfallConfig,
    emit: Emit = ignore,
    *,
    workers: int | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Write the city ``config`` below the data root ``folder``, unless it is there already.

    Another city of ours that is there (an older version, another size) is replaced, once the new one is complete.
    ``workers`` is the number of processes, by default that of the processors; 1 does everything here. Two processes
    that call this at once do not disturb one another.

    Raises DarksideError when a folder of the same name is not ours, MissingAssetError when the disk is too small or
    cannot be written to, and :class:`~darkside_cli.assets.disk.Stopped` when ``stop`` is set; what is done by then is
    kept for the next call.
    """
    root = Path(folder)
    if all(_is_ours_and_whole(root / name, config) for name in FOLDERS):
        return  # also where nothing may be written
    stop = stop or threading.Event()
    with locked(root / LEDGER_FOLDER, NAME, emit, stop):
        try:
            _write(root, config, emit, workers or usable_cpus(), stop)
        except OSError as error:
            raise MissingAssetError(
                f"cannot write {NAME} to {root}: {error.strerror or error}",
                hint="mend that and run the same command again, it goes on where it was",
            ) from error


def _write(root: Path, config: NightfallConfig, emit: Emit, workers: int, stop: threading.Event) -> None:
    missing = [name for name in FOLDERS if not _is_ours_and_whole(root / name, config)]
    if not missing:
        return
    for name in missing:
        _refuse_foreign(root / name)
    every = images(config)
    tasks = list(_tasks(root, every, missing, config))
    count, left = len(every), sum(len(wanted) for _, wanted in tasks)
    _tell(root, config, count, left, emit)
    needed = int(left * config.image_px**2 * _BYTES_PER_PIXEL) + 4096 * left
    free = free_bytes(root)
    if needed > free:
        raise not_enough_space(NAME, root, needed, free)
    if left:
        _take_all(tasks, config, emit, workers if left >= _WORTH_PROCESSES else 1, stop)
    for path, data in documents(config).items():
        target = _staged(root, path, missing, config)
        if target is not None:
            write_bytes_atomic(target, data)
    for name in missing:
        _seal(_making(root / name, config), config)
    for name in missing:
        _swap(_making(root / name, config), root / name)
    _clear(root)


def _tell(root: Path, config: NightfallConfig, count: int, left: int, emit: Emit) -> None:
    markers = [marker for name in FOLDERS if (marker := read_marker(root / name)) is not None]
    old = min(markers, key=lambda marker: marker.version, default=None)
    size = size_of(config)
    what = f"{NAME}, the embedded city, size {size}: {count:,} pictures of {config.image_px} px"
    if 0 < left < count:
        emit(Notice(f"going on with {what}: {count - left:,} of them are here"))
    elif old is not None and (old.version, old.fingerprint) != (VERSION, config.fingerprint):
        reason = f"of version {old.version}" if old.version != VERSION else f"another one ({old.size})"
        emit(Notice(f"the {NAME} in {root} is {reason}; making {what}"))
    else:
        emit(Notice(f"making {what}, in {root}; nothing is downloaded"))


def _take_all(
    tasks: list[Task], config: NightfallConfig, emit: Emit, workers: int, stop: threading.Event
) -> None:
    started = time.monotonic()
    total = sum(len(wanted) for _, wanted in tasks)
    emit(RunStarted(f"making {NAME}", total))
    waiting = iter(tasks)
    lock = threading.Lock()

    def following() -> Task | None:
        with lock:
            return next(waiting, None)

    def job(tell: Emit, halt: threading.Event) -> int:
        done = 0
        if workers == 1:
            done += sum(1 for _ in _work(None, following, config, tell, (stop, halt)))
        else:
            with Worker() as worker:
                done += sum(1 for _ in _work(worker, following, config, tell, (stop, halt)))
        return done

    jobs: list[Work[int]] = [job] * min(workers, _MOST_WORKERS, len(tasks))
    done = sum(result.result() for result in run_parallel(jobs, workers=len(jobs), emit=emit))
    if stop.is_set():
        raise Stopped
    emit(RunFinished(f"making {NAME}", done, 0, 0, time.monotonic() - started))


def _work(
    worker: Worker | None,
    following: Callable[[], Task | None],
    config: NightfallConfig,
    tell: Emit,
    stops: tuple[threading.Event, threading.Event],
) -> Iterator[None]:
    while (task := following()) is not None:
        place, wanted = task
        taken = (
            take(place, wanted, config) if worker is None else worker.take(place, wanted, config, stops[1])
        )
        for (_, files), seconds in zip(wanted, taken, strict=False):
            size = (config.image_px, config.image_px)
            tell(ImageReady(Path(NAME), files[0], size, seconds))
            yield
            if any(stop.is_set() for stop in stops):
                return


def _tasks(
    root: Path, every: Sequence[CityImage], missing: Sequence[str], config: NightfallConfig
) -> Iterator[Task]:
    """What is still to be taken, place by place."""
    place, wanted = -1, list[tuple[CityImage, list[Path]]]()
    for image in every:
        if image.place != place and wanted:
            yield place, wanted
            wanted = []
        place = image.place
        targets = [
            target for path in image.paths if (target := _staged(root, path, missing, config)) is not None
        ]
        if not all(target.is_file() for target in targets):
            wanted.append((image, targets))
    if wanted:
        yield place, wanted


def _staged(root: Path, path: str, missing: Sequence[str], config: NightfallConfig) -> Path | None:
    """Where a file is collected; None if its folder is complete."""
    for name in FOLDERS:
        if path.startswith(f"{name}/"):
            return _making(root / name, config) / path.removeprefix(f"{name}/") if name in missing else None
    raise ValueError(f"{path} is in none of the city's folders")


def _making(folder: Path, config: NightfallConfig) -> Path:
    return folder.with_name(f".{folder.name}{MAKING}{config.fingerprint}")


def _is_ours_and_whole(folder: Path, config: NightfallConfig) -> bool:
    marker = read_marker(folder)
    if marker is None or (marker.version, marker.fingerprint) != (VERSION, config.fingerprint):
        return False
    return whole(folder, marker)


def _refuse_foreign(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and read_marker(folder) is None and any(folder.iterdir())):
        raise DarksideError(
            f"{folder} was not made by darkside, and would have to be replaced",
            hint="move it away, or name another data folder with --data-dir",
        )


def _seal(folder: Path, config: NightfallConfig) -> None:
    """Add digests of all files, and the marker that says that they are all there."""
    files = sorted(
        path for path in folder.rglob("*")
        if path.is_file() and path.name not in (MARKER, SUMS) and not path.name.startswith(TEMPORARY_PREFIX)
    )  # fmt: skip
    lines, size = [], 0
    for path in files:
        data = path.read_bytes()
        size += len(data)
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {path.relative_to(folder).as_posix()}\n")
    sums = "".join(lines).encode()
    write_bytes_atomic(folder / SUMS, sums, sync=True)
    marker = Marker(
        NAME,
        VERSION,
        config.fingerprint,
        size_of(config),
        len(files),
        size,
        hashlib.sha256(sums).hexdigest(),
        asdict(config),
    )
    write_bytes_atomic(folder / MARKER, json.dumps(asdict(marker), indent=1).encode(), sync=True)


def _swap(new: Path, folder: Path) -> None:
    """Put a complete folder in its place."""
    if folder.exists():
        old = folder.with_name(f".{folder.name}{MAKING}old")
        shutil.rmtree(old, ignore_errors=True)
        folder.replace(old)
        new.replace(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        new.replace(folder)


def _clear(root: Path) -> None:
    """Remove what other cities left that were never finished."""
    for name in FOLDERS:
        folder = root / name
        if folder.parent.is_dir():
            for path in folder.parent.glob(f".{folder.name}{MAKING}*"):
                shutil.rmtree(path, ignore_errors=True)

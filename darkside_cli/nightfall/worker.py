"""Takes images of places, here or in processes of their own.

A worker process runs :func:`main`: it reads a JSON line for each place and answers with a line for each image. It is
no child of multiprocessing's, which would run the caller's script again; and when its
caller is killed, its input ends, and so does it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.errors import DarksideError
from darkside_cli.nightfall.config import NightfallConfig
from darkside_cli.nightfall.layout import CityImage

#: Files of one image, below the data root, and where they are written instead.
Targets = Callable[[str], Path]


def take(
    place: int, wanted: Sequence[tuple[CityImage, Sequence[Path]]], config: NightfallConfig
) -> Iterator[float]:
    """Build a place, take the ``wanted`` images of it and write their files; yield the seconds each one took.

    A file is whole or not there. Raises ImageError when one cannot be written.
    """
    from darkside_cli.images.images import write_image
    from darkside_cli.nightfall.place import build_scene
    from darkside_cli.nightfall.render import render
    from darkside_cli.nightfall.shot import draw_shot

    started = time.monotonic()
    scene = build_scene(config.seed, place)
    for image, files in wanted:
        shot = draw_shot(scene, image.pose, night=image.night, size_px=config.image_px)
        pixels = render(scene, shot, samples=config.samples)
        write_image(files[0], pixels, format="JPEG", quality=config.quality)
        for other in files[1:]:
            write_bytes_atomic(other, files[0].read_bytes())
        now = time.monotonic()
        yield now - started
        started = now


class Worker:
    """A process that takes images; use it as a context, which ends it."""

    def __init__(self) -> None:
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        # A session of its own: Ctrl-C is for the caller, who then closes the worker's input.
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from darkside_cli.nightfall.worker import main; main()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.terminate()
        self._process.wait()

    def take(
        self,
        place: int,
        wanted: Sequence[tuple[CityImage, Sequence[Path]]],
        config: NightfallConfig,
        stop: threading.Event,
    ) -> Iterator[float]:
        """Do what :func:`take` does, in the process. Raises DarksideError when it fails there."""
        from dataclasses import asdict

        job = {
            "place": place,
            "config": asdict(config),
            "pictures": [
                [image.pose, image.night, [os.fspath(file) for file in files]] for image, files in wanted
            ],
        }
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ValueError("the process has no pipes")
        try:
            stdin.write(json.dumps(job).encode() + b"\n")
            stdin.flush()
            for _ in wanted:
                answer = json.loads(stdout.readline())
                if "error" in answer:
                    raise DarksideError(answer["error"], hint=answer["hint"])
                if stop.is_set():
                    return
                yield answer["seconds"]
        except (OSError, ValueError) as error:
            raise DarksideError(
                f"a process that makes nightfall's pictures ended ({error})",
                hint="run the same command again, it goes on where it was; memory may have run out",
            ) from error


def main() -> None:
    """Answer jobs from standard input until it ends."""
    import cv2

    cv2.setNumThreads(1)
    answers = sys.stdout.buffer

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document).encode() + b"\n")
        answers.flush()

    for line in sys.stdin.buffer:
        job = json.loads(line)
        wanted = [
            (CityImage("", job["place"], pose, night, ()), [Path(file) for file in files])
            for pose, night, files in job["pictures"]
        ]
        try:
            for seconds in take(job["place"], wanted, NightfallConfig(**job["config"])):
                answer({"seconds": seconds})
        except DarksideError as error:
            answer({"error": error.message, "hint": error.hint})
        except BrokenPipeError:
            return  # nobody listens any more

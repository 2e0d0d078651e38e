"""The command line in the tests' own process, which has torch already, with streams like those of another one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any
from unittest import mock


def run_in_process(
    *arguments: str | os.PathLike[str] | bytes, stdin: bytes, cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Run ``darkside`` here: standard input is a pipe, standard output and error are files that are read afterwards."""
    from darkside_cli.cli.app import main

    words = ["darkside", *map(os.fsdecode, arguments)]
    before, folder = signal.getsignal(signal.SIGTERM), Path.cwd()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with mock.patch.dict(os.environ, env, clear=True), mock.patch.object(sys, "argv", words):
            os.chdir(cwd)
            try:
                with _streams(stdin, out, err):
                    code = _exit_code(main)
            finally:
                os.chdir(folder)
                signal.signal(signal.SIGTERM, before)
        said = [_content(stream) for stream in (out, err)]
    return subprocess.CompletedProcess(words, code, *said)


def _exit_code(main: Any) -> int:
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)
    raise AssertionError("it did not exit")


def _content(stream: Any) -> bytes:
    stream.seek(0)
    content: bytes = stream.read()
    return content


@contextmanager
def _streams(stdin: bytes, out: Any, err: Any) -> Iterator[None]:
    """Descriptors 0, 1 and 2 and the streams of ``sys`` are these for a while."""
    read, write = os.pipe()
    feeder = threading.Thread(target=_feed, args=(write, stdin), daemon=True)
    feeder.start()
    kept = [os.dup(number) for number in (0, 1, 2)]
    names = ("stdin", "stdout", "stderr")
    old = [getattr(sys, name) for name in names]
    for stream in old[1:]:
        stream.flush()
    try:
        for number, descriptor in enumerate((read, out.fileno(), err.fileno())):
            os.dup2(descriptor, number)
        os.close(read)
        for number, name in enumerate(names):
            binary = os.fdopen(os.dup(number), "wb" if number else "rb")
            setattr(sys, name, TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape"))
        yield
    finally:
        for name, stream in zip(names, old, strict=True):
            getattr(sys, name).close()
            setattr(sys, name, stream)
        for number, descriptor in enumerate(kept):
            os.dup2(descriptor, number)
            os.close(descriptor)
        feeder.join()


def _feed(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as stream:
        try:
            stream.write(content)
            stream.flush()
        except BrokenPipeError:
            pass

"""Names of images, and images themselves, out of standard input and lists."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.images.formats import START_BYTES, image_suffix, is_video
from darkside_cli.regular_file import read_regular

MAX_NAME_BYTES = 1 << 16
"""Of a name in a list: systems take 4,096 for a path, and long ones elsewhere eight times that."""
MAX_NAMES = 5_000_000
"""Of a list: held in memory, those take a gigabyte."""
#: More is not read into memory; a file can be as large as it likes.
LARGEST_IMAGE_BYTES = 1 << 30

_LARGEST_LIST_BYTES = 1 << 28
_CHUNK_BYTES = 1 << 16
_FIRST_IN_TEXT = 9  # the tabulator
_NEVER_IN_TEXT = frozenset(range(1, 9)) | frozenset(range(14, 27))


def iter_path_tokens(stream: BinaryIO, null: bool) -> Iterator[Path]:
    """Names from ``stream`` as they come in: one a line, or with ``null`` separated by NUL bytes.

    Any bytes but the separator may be in a name, also such as are no UTF-8 (``os.fsdecode``); spaces belong
    to it, and with ``null`` so do line breaks. Lines may end in CR LF. Empty lines, and those of nothing but
    white space, are passed over.

    Raises UsageError when a line holds a NUL byte (that list was made with ``find -print0``), for a name that is
    longer than any file's, and when there are more names than a list can have: neither is read to its end.
    """
    for number, name in enumerate(_null_separated(stream) if null else _lines(stream)):
        if number == MAX_NAMES:
            raise UsageError(
                f"more than {MAX_NAMES:,} names are no list of images", hint="give them in parts"
            )
        yield Path(os.fsdecode(name))


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline(MAX_NAME_BYTES + 2):
        name = line.removesuffix(b"\n").removesuffix(b"\r")
        if b"\0" in name:
            raise UsageError(
                "the names are separated by NUL bytes, not by line ends", hint="read them with -0"
            )
        _require_name(name)
        if name.strip():
            yield name


def _null_separated(stream: BinaryIO) -> Iterator[bytes]:
    # read1 answers with what a pipe holds by now; read would wait for a full chunk.
    read = getattr(stream, "read1", stream.read)
    rest = b""
    while chunk := read(_CHUNK_BYTES):
        *tokens, rest = (rest + chunk).split(b"\0")
        for token in (*tokens, rest):
            _require_name(token)
        yield from filter(None, tokens)
    if rest:
        yield rest


def _require_name(name: bytes) -> None:
    if len(name) > MAX_NAME_BYTES:
        raise UsageError(
            f"no file has a name of more than {MAX_NAME_BYTES:,} bytes",
            hint="give names, one a line, or separated by NUL bytes with -0",
        )


def read_image_list(path: Path, root: Path, *, null: bool = False) -> list[str]:
    """Names from ``root``, one a line of the file ``path``, or separated by NUL bytes with ``null``.

    As in hloc's lists, lines that begin with ``#`` are passed over, and so is what follows a name that is a file's
    (a camera's model and numbers). Raises MissingAssetError if there is no such file, UsageError if it is no list, or
    a name leads out of ``root``.
    """
    try:
        data = read_regular(path, limit_bytes=_LARGEST_LIST_BYTES)
    except FileNotFoundError as error:
        raise MissingAssetError(f"there is no file {os.fsdecode(path)}", hint="check --image-list") from error
    except OSError as error:
        raise UsageError(
            f"cannot read {os.fsdecode(path)}: {error.strerror}", hint="--image-list - reads standard input"
        ) from error
    return listed_names(io.BytesIO(data), root, null=null)


def listed_names(stream: BinaryIO, root: Path, *, null: bool = False) -> list[str]:
    """Names of images in ``root`` from a list as :func:`read_image_list` reads it."""
    names = []
    for line in map(os.fspath, iter_path_tokens(stream, null)):
        name = line if null else _without_camera(line, root)
        if name.startswith("#") and not null:
            continue
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise UsageError(
                f"'{name}' in the list of images is no name of one in {os.fsdecode(root)}",
                hint="names are paths from --image-root",
            )
        names.append(path.as_posix())
    return names


def _without_camera(line: str, root: Path) -> str:
    first = line.split(maxsplit=1)[0]
    alone = first == line or (root / line).is_file() or not (root / first).is_file()
    return line if alone else first


def image_or_names(stream: BinaryIO) -> tuple[bytes | None, BinaryIO]:
    """Read the image that ``stream`` holds, or give a stream of the names that it holds.

    An image is told by its first bytes. Raises UsageError for a video and other files that are no text, and for an
    image of more than LARGEST_IMAGE_BYTES.
    """
    start = b""
    while len(start) < START_BYTES and (more := stream.read(START_BYTES - len(start))):
        start += more
    # Names have no such bytes; every image but a portable any-map does, and no name looks like that one.
    suffix = image_suffix(start)
    if suffix is None or (suffix != ".ppm" and min(start) >= _FIRST_IN_TEXT):
        if is_video(start) and min(start) < _FIRST_IN_TEXT:
            raise UsageError(
                "a video came in on standard input", hint="take frames out first: ffmpeg -i - frame-%05d.png"
            )
        if 0 in start and any(byte in _NEVER_IN_TEXT for byte in start):
            raise UsageError(
                "standard input is neither an image of a known kind nor a list of names",
                hint="pipe in an image, or names: ls *.jpg | darkside …",
            )
        return None, io.BufferedReader(_Resumed(start, stream))
    rest = stream.read(LARGEST_IMAGE_BYTES + 1 - len(start))
    if len(start) + len(rest) > LARGEST_IMAGE_BYTES:
        raise UsageError(
            f"the image on standard input has more than {LARGEST_IMAGE_BYTES >> 20} MiB",
            hint="write it to a file and name that",
        )
    return start + rest, stream


def is_followed(image: bytes) -> bool:
    """Whether another image comes right after this JPEG or PNG, as ``cat *.jpg`` makes it."""
    if image.startswith(b"\xff\xd8"):
        # The JPEGs of telephones that hold several images say so at the beginning.
        return b"\xff\xd9\xff\xd8\xff" in image and b"MPF\0" not in image[: 1 << 18]
    return b"IEND\xaeB`\x82\x89PNG" in image


class _Resumed(io.RawIOBase):
    """``start``, and then what is left of ``stream``."""

    def __init__(self, start: bytes, stream: BinaryIO) -> None:
        self._start, self._stream = start, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data, self._start = self._start[: len(buffer)], self._start[len(buffer) :]
        if not data:  # what a pipe holds by now, rather than a full buffer
            data = getattr(self._stream, "read1", self._stream.read)(len(buffer))
        buffer[: len(data)] = data
        return len(data)

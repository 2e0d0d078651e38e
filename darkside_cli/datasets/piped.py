"""Standard input of a command that takes images: either the bytes of one, or names of many."""

from __future__ import annotations

import io
from typing import BinaryIO

from darkside_cli.errors import UsageError
from darkside_cli.images.formats import START_BYTES, image_suffix, is_video

#: More is not read into memory; a file can be as large as it likes.
LARGEST_IMAGE_BYTES = 1 << 30


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
    if image.startswith(
        b"\xff\xd8"
    ):  # the JPEGs of telephones that hold several images say so at the beginning
        return b"\xff\xd9\xff\xd8\xff" in image and b"MPF\0" not in image[: 1 << 18]
    return b"IEND\xaeB`\x82\x89PNG" in image


_FIRST_IN_TEXT = 9  # the tabulator
_NEVER_IN_TEXT = frozenset(range(1, 9)) | frozenset(range(14, 27))


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

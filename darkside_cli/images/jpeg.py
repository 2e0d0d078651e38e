"""What a JPEG file's markers say before anything is decoded: how many scans it has, and how much metadata.

Both can be made to cost minutes by files of a few hundred kilobytes: a progressive image is gone through once for
every scan, and libraries join EXIF segments one by one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from darkside_cli.errors import ImageError

#: Encoders make some ten scans; libjpeg-turbo warns of files with more than 500.
MAX_SCANS = 500
#: Scans times pixels: a hundred scans of the largest image that is read.
MAX_SCANNED_PIXELS = 50_000_000_000
#: EXIF is one segment of 64 KiB, or a few where a camera joins them; profiles have 255 segments at most.
MAX_EXIF_BYTES = 1 << 20
MAX_PROFILE_BYTES = 16 << 20
MAX_OTHER_BYTES = 64 << 20
MAX_SEGMENTS = 4096
#: From here on nobody reads on to where the image begins.
TOO_MANY_SEGMENTS = 65_536

START = b"\xff\xd8"
_SOS, _EOI, _COM = 0xDA, 0xD9, 0xFE
_ALONE = frozenset((0x01, *range(0xD0, 0xDA)))  # markers without a length
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
# In coded data 0xFF is followed by 0 or a restart; anything else is a marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_CHUNK = 1 << 20
_JUNK = 1 << 20


@dataclass(frozen=True)
class _Segment:
    marker: int
    start: int
    end: int
    beginning: bytes


@dataclass(frozen=True)
class Header:
    """What is in front of the first scan.

    ``several_scans`` is whether the image can have more than one. ``kept`` are the parts of the file to be read
    (from, to), up to the first scan at ``scan``; ``left_out`` is how many segments of metadata are not among them.
    """

    scan: int
    several_scans: bool
    kept: tuple[tuple[int, int], ...]
    left_out: int


def read_header(stream: IO[bytes]) -> Header:
    """Go through the segments of a JPEG up to its first scan (or its damaged place). Raises ImageError for junk."""
    left = {"exif": MAX_EXIF_BYTES, "profile": MAX_PROFILE_BYTES, "other": MAX_OTHER_BYTES}
    kept: list[tuple[int, int]] = [(0, 2)]
    segments = left_out = components = 0
    several = False
    end = 2
    for each in _segments(stream):
        end = each.start
        if each.marker == _SOS:
            several = several or each.beginning[0] < components
            break
        if each.marker in _FRAMES:
            several = each.marker in _PROGRESSIVE
            components = each.beginning[5] if len(each.beginning) > 5 else 0
        elif 0xE0 <= each.marker <= 0xEF or each.marker == _COM:
            kind = _kind(each)
            left[kind] -= each.end - each.start
            segments += 1
            if left[kind] < 0 or segments > MAX_SEGMENTS:
                left_out += 1
                end = each.end
                if segments > TOO_MANY_SEGMENTS:
                    raise ImageError(
                        f"the JPEG file has more than {TOO_MANY_SEGMENTS:,} segments of metadata"
                    )
                continue
        end = each.end
        if kept[-1][1] == each.start:
            kept[-1] = (kept[-1][0], each.end)
        else:
            kept.append((each.start, each.end))
    return Header(end, several, tuple(kept), left_out)


def _kind(segment: _Segment) -> str:
    if segment.marker == 0xE1 and segment.beginning.startswith(b"Exif\0"):
        return "exif"
    return "profile" if segment.marker == 0xE2 and segment.beginning.startswith(b"ICC_PROF") else "other"


def _segments(stream: IO[bytes]) -> Iterator[_Segment]:
    """Segments from the start of image on, the first scan's last; ends early where the file is damaged."""
    position = 2
    while True:
        position = _next_marker(stream, position)
        if position < 0:
            return
        stream.seek(position)
        head = stream.read(12)
        marker = head[1]
        if marker in _ALONE:
            position += 2
            if marker == _EOI:
                return
            continue
        if len(head) < 5:
            return
        length = int.from_bytes(head[2:4], "big")
        if length < 2:
            return
        yield _Segment(marker, position, position + 2 + length, head[4:])
        if marker == _SOS:
            return
        position += 2 + length


def _next_marker(stream: IO[bytes], position: int) -> int:
    """Place of the next marker from ``position`` on; -1 at the end. Readers pass over junk, but not over any amount."""
    stream.seek(position)
    begun = position
    last = b""
    while position - begun <= _JUNK:
        chunk = stream.read(64)
        if not chunk:
            return -1
        found = re.search(rb"\xff[^\x00\xff]", last + chunk)
        if found:
            return position - len(last) + found.start()
        position += len(chunk)
        last = chunk[-1:]
    raise ImageError("the JPEG file cannot be decoded: no marker found")


def check_scans(stream: IO[bytes], header: Header, pixels: int) -> None:
    """Raise ImageError if an image of ``pixels`` has so many scans that it is made to be slow, not to be seen."""
    if not header.several_scans:
        return
    most = min(MAX_SCANS, max(10, MAX_SCANNED_PIXELS // max(1, pixels)))
    if count_scans(stream, header.scan, most + 1) > most:
        raise ImageError(f"the JPEG file has more than {most} scans, which would take minutes to decode")


def count_scans(stream: IO[bytes], position: int, most: int) -> int:
    """How many scans there are from ``position`` on, up to ``most``; what follows the image's end is not counted."""
    count = at = 0
    stream.seek(position)
    block, more = stream.read(_CHUNK), True
    while count < most:
        found = _MARKER.search(block, at)
        if more and (found is None or found.end() + 2 > len(block)):
            # Kept is what may be the beginning of a marker, or the marker whose length is in the next block.
            block = block[-1:] if found is None else block[found.start() :]
            at, following = 0, stream.read(_CHUNK)
            block, more = block + following, bool(following)
            continue
        if found is None:
            return count
        marker = block[found.end() - 1]
        if marker == _EOI:
            return count
        count += marker == _SOS
        at = found.end()
        if marker not in _ALONE:
            at += int.from_bytes(block[at : at + 2], "big")
            if more and at > len(block):
                stream.seek(at - len(block), os.SEEK_CUR)
                block, at = stream.read(_CHUNK), 0
    return count

"""What the first bytes of a file say it is: an image, a video, or neither. Imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: So many bytes are enough for :func:`image_suffix` and :func:`is_video`.
START_BYTES = 64

# First bytes, and the suffix of such files.
_IMAGES: Sequence[tuple[bytes, str]] = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"II+\0", ".tif"),
    (b"MM\0+", ".tif"),
    (b"8BPS\0", ".psd"),
    (b"\x01\xda", ".sgi"),
    (b"\0\0\0\x0cjP  ", ".jp2"),
    (b"\xff\x4f\xff\x51", ".j2k"),
    (b"\0\0\0\x0cJXL ", ".jxl"),
    (b"\xff\x0a", ".jxl"),
)
_VIDEOS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"\0\0\x01\xba",  # MPEG
    b"\0\0\x01\xb3",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
)
#: Brands (ISO 14496-12, 23008-12) of still images and their sequences; other files with brands are videos.
_IMAGE_BRANDS = {
    b"avif": ".avif", b"avis": ".avif", b"heic": ".heic", b"heix": ".heic", b"heim": ".heic", b"heis": ".heic",
    b"hevc": ".heic", b"hevx": ".heic", b"mif1": ".heif", b"msf1": ".heif", b"mif2": ".heif", b"jxl ": ".jxl",
}  # fmt: skip
_PNM = re.compile(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s")


def image_suffix(start: bytes) -> str | None:
    """Suffix of the kind of image whose file begins with ``start`` (:data:`START_BYTES` of it); None if it is none."""
    if _box(start) == b"ftyp":
        return _IMAGE_BRANDS.get(start[8:12])
    for magic, suffix in _IMAGES:
        if start.startswith(magic):
            return suffix
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return ".webp"
    if start[:4] == b"qoif" and start[12:13] in (b"\3", b"\4"):
        return ".qoi"
    if start[:2] == b"BM" and start[6:10] == bytes(4):
        return ".bmp"
    return ".ppm" if _PNM.match(start) else None


def is_video(start: bytes) -> bool:
    """Whether a file that begins with ``start`` is a video."""
    box = _box(start)
    if box == b"ftyp":
        return start[8:12] not in _IMAGE_BRANDS
    if start[:4] == b"RIFF":
        return start[8:12] == b"AVI "
    # The last ones: QuickTime before it had brands.
    return any(start.startswith(magic) for magic in _VIDEOS) or box in (b"moov", b"mdat", b"wide")


def _box(start: bytes) -> bytes:
    """Kind of the first box of an ISO base media file (ISO 14496-12); boxes of 16 MiB are not the first."""
    return start[4:8] if start[:1] == b"\0" else b""

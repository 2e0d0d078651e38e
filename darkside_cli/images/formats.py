"""Kinds of image files: by suffix, by first bytes, and which can be written. Imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from darkside_cli.errors import UnknownNameError

#: Suffix (lower case) -> Pillow name of the format that is written under it.
WRITABLE_SUFFIXES: dict[str, str] = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".avif": "AVIF",  # only where Pillow was built with it, see `can_write`
}

#: Suffixes (lower case) of the files that a folder's images are. Formats that may turn out unreadable
#: (.heic without its Pillow plugin) are in, so that such a photograph is named as failed, not passed over.
IMAGE_SUFFIXES: frozenset[str] = frozenset(
    (
        *WRITABLE_SUFFIXES,
        ".jpe", ".jfif", ".dib", ".gif", ".jp2", ".j2k", ".jxl", ".heic", ".heif",
        ".ppm", ".pgm", ".pbm", ".pnm", ".psd", ".qoi", ".sgi",
    )
)  # fmt: skip

#: Suffixes (lower case) of videos, which are passed over.
VIDEO_SUFFIXES: frozenset[str] = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".mpg", ".mpeg", ".mts", ".3gp")
)


def is_image_name(name: str) -> bool:
    """Whether a file called ``name`` is taken for an image when its folder is listed."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


def can_write(format_name: str) -> bool:
    """Whether this machine's Pillow writes ``format_name`` ("JPEG", "AVIF"...)."""
    from PIL import Image

    if format_name not in WRITABLE_SUFFIXES.values():
        return False
    if format_name not in Image.SAVE:
        Image.init()
    return format_name in Image.SAVE


def suffix_of_format(name: str) -> str:
    """File suffix for a format a person named: "jpg" -> ".jpg", "JPEG" -> ".jpeg", ".Tif" -> ".tif".

    Raises UnknownNameError if it is no format that can be written here.
    """
    suffix = "." + name.lower().removeprefix(".")
    if suffix not in WRITABLE_SUFFIXES or not can_write(WRITABLE_SUFFIXES[suffix]):
        known = [s.removeprefix(".") for s, form in WRITABLE_SUFFIXES.items() if can_write(form)]
        raise UnknownNameError("image format", name, known)
    return suffix


def format_of_path(path: PurePath) -> str | None:
    """Pillow name of the format of ``path``'s suffix; None if that is none we can write."""
    name = WRITABLE_SUFFIXES.get(path.suffix.lower())
    return name if name is not None and can_write(name) else None


# What the first bytes of a file say it is.

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

"""Image file suffixes and formats: which are looked for, which can be written. Imports nothing heavy."""

from __future__ import annotations

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

"""What of a photograph's EXIF goes on to its translation: who, when, where and how it was taken.

What would be wrong there stays behind: the orientation (pixels are upright by then), every embedded preview,
which would show the day image, and the tags that describe how the source file was stored.
"""

from __future__ import annotations

from typing import Any

from PIL import ExifTags, Image

_ORIENTATION = 0x0112

# Of the main directory (IFD0). A list of what is kept, not of what is dropped, because in a TIFF file this
# directory is also where strips, previews and editors' private data are found.
# ImageDescription, Make, Model, XResolution, YResolution, ResolutionUnit, Software, DateTime, Artist, HostComputer,
# Rating, RatingPercent, Copyright, XPTitle, XPComment, XPAuthor, XPKeywords, XPSubject.
_KEPT = frozenset(
    (
        0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298,
        *range(0x9C9B, 0x9CA0),
    )
)  # fmt: skip

# Of the Exif directory: exposure, dates, lens and scene as EXIF 3.0 numbers them. Maker notes and private
# tags hold previews, and offsets that point nowhere after a rewrite; subjects are not where their tags say.
_KEPT_EXIF = frozenset(
    (
        0x829A, 0x829D, *range(0x8822, 0x8836), 0x9000, 0x9003, 0x9004, *range(0x9010, 0x9013),
        0x9101, 0x9102, *range(0x9201, 0x920B), 0x9286, *range(0x9290, 0x9293), *range(0x9400, 0x9406),
        *range(0xA000, 0xA005), *range(0xA20B, 0xA211), 0xA215, 0xA217, *range(0xA300, 0xA303),
        *range(0xA401, 0xA40D), 0xA420, *range(0xA430, 0xA43D), *range(0xA460, 0xA463), 0xA500,
    )
)  # fmt: skip
_WIDTH, _HEIGHT = 0xA002, 0xA003


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1 to 8 of a *loaded* image; 1 where there is none or it makes no sense.

    Pillow turns TIFF images upright by itself when it loads them, which is why it has to be loaded first.
    """
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow's EXIF parser raises whatever damaged data leads it to
        return 1
    return value if value in range(1, 9) else 1


def carried_exif(image: Image.Image, size_px: tuple[int, int]) -> bytes | None:
    r"""EXIF for the translation of ``image``, which is upright and ``size_px`` (width, height) large.

    It starts with ``Exif\0\0``. None if there is nothing to carry or the EXIF is damaged.
    """
    try:
        source = image.getexif()
        result = Image.Exif()
        result.endian = source.endian or "<"
        for tag, value in source.items():
            if tag in _KEPT:
                result[tag] = value
        details: dict[int, Any] = {
            tag: value for tag, value in source.get_ifd(ExifTags.IFD.Exif).items() if tag in _KEPT_EXIF
        }
        for tag, pixels in zip((_WIDTH, _HEIGHT), size_px, strict=True):
            if tag in details:
                details[tag] = pixels
        gps = dict(source.get_ifd(ExifTags.IFD.GPSInfo))
        if details:
            result[ExifTags.IFD.Exif] = details
        if gps:
            result[ExifTags.IFD.GPSInfo] = gps
        if len(result) == 0:
            return None
        result[_ORIENTATION] = 1
        return result.tobytes()
    except Exception:  # as above: a photograph is worth translating without its EXIF
        return None

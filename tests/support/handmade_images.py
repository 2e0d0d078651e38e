"""Small photographs, and image files put together byte by byte, for what Pillow reads but cannot write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

_TIFF_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 7: "s", 8: "h", 9: "i", 11: "f"}
_STRIP = 0xDEADBEEF  # stands for the offset of the pixels until it is known


def image_pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth coloured image with some texture, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x / max(1, width), y / max(1, height), (x + y) / max(1, width + height)], axis=-1)
    return np.clip(base * 200 + rng.integers(0, 40, (height, width, 3)), 0, 255).astype(np.uint8)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, chunks: bytes = b"") -> bytes:
    """A PNG of ``rows`` (each beginning with its filter byte), with ``chunks`` between header and data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + chunks + data + png_chunk(b"IEND", b"")


def ifd(
    tags: Sequence[tuple[int, int, Sequence[int | float] | bytes]], at: int, order: str, following: int = 0
) -> bytes:
    """A TIFF directory at offset ``at`` of ``tags`` (tag, type, values); long values come after it."""
    entries, values = b"", b""
    values_at = at + 2 + 12 * len(tags) + 4
    for tag, kind, content in sorted(tags, key=lambda entry: entry[0]):
        if isinstance(content, bytes):
            data, count = content, len(content)
        else:
            data = struct.pack(order + _TIFF_TYPES[kind][0] * len(content), *content)
            count = len(content) // len(_TIFF_TYPES[kind])
        if len(data) <= 4:
            entries += struct.pack(order + "HHI", tag, kind, count) + data.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "HHII", tag, kind, count, values_at + len(values))
            values += data
    return struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", following) + values


def tiff(
    width: int,
    height: int,
    bits: Sequence[int],
    photometric: int,
    data: bytes,
    *,
    order: str = "<",
    sample_format: int = 1,
    extra: Sequence[tuple[int, int, Sequence[int]]] = (),
) -> bytes:
    """An uncompressed TIFF of one strip."""
    tags: list[tuple[int, int, Sequence[int | float] | bytes]] = [
        (256, 3, [width]),
        (257, 3, [height]),
        (258, 3, list(bits)),
        (259, 3, [1]),
        (262, 3, [photometric]),
        (273, 4, [_STRIP]),
        (277, 3, [len(bits)]),
        (278, 3, [height]),
        (279, 4, [len(data)]),
        (339, 3, [sample_format] * len(bits)),
        *extra,
    ]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + ifd(tags, 8, order)
    return head.replace(struct.pack(order + "I", _STRIP), struct.pack(order + "I", len(head))) + data


def icc_profile(space: bytes, tags: dict[bytes, bytes], device_class: bytes = b"prtr") -> bytes:
    """An ICC v2 profile from ``space`` ("CMYK", "GRAY") to the connection space Lab or XYZ."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061), **tags}  # D50
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    connection = b"XYZ " if space == b"GRAY" else b"Lab "
    header = struct.pack(
        ">I4sI4s4s4s", start + len(body), b"lcms", 0x02400000, device_class, space, connection
    )
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


def cmyk_profile(cyan_lightness: int) -> bytes:
    """A press that prints black ink black, and full cyan as a grey of CIE L* ``cyan_lightness`` (0-100)."""
    grid = b""
    for corner in range(16):  # cyan varies slowest, black fastest
        cyan, black = corner >> 3, corner & 1
        lightness = 0 if black else (cyan_lightness if cyan else 100)
        grid += bytes([round(lightness * 2.55), 128, 128])
    line = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + line * 4 + grid + line * 3
    return icc_profile(b"CMYK", {b"A2B0": lut})


def linear_grey_profile() -> bytes:
    """Grey that is proportional to light."""
    return icc_profile(b"GRAY", {b"kTRC": b"curv\0\0\0\0" + struct.pack(">I", 0)}, device_class=b"mntr")


def exif_block(
    orientation: int, *, size_px: tuple[int, int], thumbnail: bytes, maker_note: bytes, order: str = ">"
) -> bytes:
    """EXIF as cameras write it: main directory, details with a maker note, GPS, and a thumbnail directory."""
    head_bytes = 8

    def main(details: int, gps: int, following: int) -> bytes:
        return ifd(
            [
                (0x010F, 2, b"Maker\0"),
                (0x0112, 3, [orientation]),
                (0x0132, 2, b"2019:07:01 12:30:00\0"),
                (0x8769, 4, [details]),
                (0x8825, 4, [gps]),
            ],
            head_bytes,
            order,
            following,
        )

    details_at = head_bytes + len(main(0, 0, 0))
    details = ifd(
        [
            (0x829A, 5, [1, 250]),
            (0x8827, 3, [200]),
            (0x9003, 2, b"2019:07:01 12:29:58\0"),
            (0x927C, 7, maker_note),
            (0xA002, 4, [size_px[0]]),
            (0xA003, 4, [size_px[1]]),
        ],
        details_at,
        order,
    )
    gps_at = details_at + len(details)
    gps = ifd(
        [
            (0, 1, [2, 2, 0, 0]),
            (1, 2, b"N\0"),
            (2, 5, [50, 1, 5, 1, 30, 1]),
            (3, 2, b"E\0"),
            (4, 5, [14, 1, 25, 1, 0, 1]),
        ],
        gps_at,
        order,
    )
    thumbnail_at = gps_at + len(gps)
    # Two entries of one value each: the thumbnail itself follows right behind the directory.
    image_at = thumbnail_at + 2 + 12 * 2 + 4
    small = ifd([(0x0201, 4, [image_at]), (0x0202, 4, [len(thumbnail)])], thumbnail_at, order)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return (
        b"Exif\0\0" + mark + struct.pack(order + "I", 8) + main(details_at, gps_at, thumbnail_at)
        + details + gps + small + thumbnail
    )  # fmt: skip

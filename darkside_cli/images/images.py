"""Photographs in and out of files: any Pillow mode in, upright 8-bit RGB for the network, whole files out."""

from __future__ import annotations

import errno
import io
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.errors import ImageError, NoSpaceError
from darkside_cli.images.colour import Pixels, to_rgb
from darkside_cli.images.exif import carried_exif, orientation_of
from darkside_cli.images.formats import can_write, format_of_path
from darkside_cli.images.identify import (
    MAX_SECONDS,
    check_codestream_end,
    decoding_failure,
    identify,
    is_animated,
    left_out,
    load_whole,
    open_regular_file,
    reason_of,
)

# PNG by zlib's run-length strategy: what PNG's filters leave of a photograph has runs but hardly repeats, so
# looking for repeats costs time and, by longer codes, space. Synthetic night images of 512 px with noise of
# standard deviation 1 / 2 / 4, one core, Pillow 13 with zlib-ng 2.3:
#   run-length        46 / 104 /  69 ms   286 / 355 / 441 KiB
#   level 1           58 /  95 / 104 ms   354 / 424 / 500 KiB
#   level 3           85 / 146 / 129 ms   338 / 413 / 499 KiB
#   level 6          405 / 389 / 156 ms   303 / 360 / 441 KiB   (Pillow's default)
_PNG_RUN_LENGTH = {"compress_type": zlib.Z_RLE, "compress_level": 1}

#: JPEG and AVIF keep full colour resolution from this quality on.
FULL_COLOUR_QUALITY = 90

#: What one JPEG segment holds; larger EXIF is left out of a JPEG.
LARGEST_JPEG_EXIF_BYTES = 65533

_T = Image.Transpose
#: What turns an image upright, for EXIF orientations from 2 on.
_TURNS = (
    _T.FLIP_LEFT_RIGHT, _T.ROTATE_180, _T.FLIP_TOP_BOTTOM, _T.TRANSPOSE, _T.ROTATE_270, _T.TRANSVERSE, _T.ROTATE_90,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded photograph.

    ``pixels`` (H, W, 3) uint8 RGB, upright. ``alpha`` (H, W) uint8 where the file has transparency. ``exif``
    is what a translation may carry on (orientation 1, no previews; with GPS and date), ``icc_profile`` the
    RGB profile that ``pixels`` are meant in (None: sRGB). ``format`` is Pillow's name of the source's format
    ("JPEG", also for the multi-picture JPEGs of telephones, which Pillow calls MPO). ``animated``: it is only the first
    frame of a file that moves. ``left_out`` says in words what of the metadata was not even read.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    exif: bytes | None = None
    icc_profile: bytes | None = None
    format: str | None = None
    animated: bool = False
    left_out: str | None = None


def read_image(
    path: str | os.PathLike[str] | bytes,
    *,
    max_size_px: int | None = None,
    upright: bool = True,
    max_pixels: int | None = None,
    max_seconds: float = MAX_SECONDS,
) -> DecodedImage:
    """Decode an image file: its first frame, upright, as 8-bit RGB (:func:`darkside_cli.images.colour.to_rgb`).

    ``path`` may also be the file's contents themselves, as ``bytes``.

    ``upright`` False leaves the pixels as they are stored, whatever the EXIF orientation says: benchmarks are
    described like that, and their boxes count stored pixels.

    ``max_size_px`` shrinks (never enlarges) to that longest side with Lanczos, from all pixels: JPEG's
    cheaper decoding to a fraction of the size is not used. Safe to call from several threads.

    Raises ImageError when the file is missing, no regular file, unreadable, empty, no image, cut short,
    damaged, larger than ``max_pixels`` (default: MAX_PIXELS), made to be slow, or not decoded within
    ``max_seconds``. The message is the reason alone: whoever reports it puts the path before it.
    """
    with _reading(path, max_size_px) as stream:
        image = identify(stream, max_pixels=max_pixels, max_seconds=max_seconds)
        layers, icc_profile = _decode(image, stream, max_size_px, upright)
        return DecodedImage(
            pixels=np.array(layers[0]),
            alpha=np.array(layers[1]) if len(layers) == 2 else None,
            exif=carried_exif(image, layers[0].size),
            icc_profile=icc_profile,
            format="JPEG" if image.format == "MPO" else image.format,
            animated=is_animated(image),
            left_out=left_out(image),
        )


def read_rgb(
    path: str | os.PathLike[str], *, max_size_px: int | None = None, fast: bool = False
) -> Image.Image:
    """Decode an image file as :func:`read_image` does, upright, and give the colours alone: an RGB Pillow image.

    For those who want a part of it: the whole is then never copied into an array. ``fast`` decodes large JPEGs at a
    half, a quarter or an eighth of their size where that is still as large as wanted. Raises what read_image does.
    """
    with _reading(path, max_size_px) as stream:
        image = identify(stream)
        if fast and max_size_px is not None and max(image.size) > max_size_px:
            try:
                factor = max_size_px / max(image.size)
                image.draft(None, (math.ceil(image.width * factor), math.ceil(image.height * factor)))
            except Exception as error:  # as in _decode
                raise ImageError(decoding_failure(image.format, error)) from error
        return _decode(image, stream, max_size_px, upright=True)[0][0]


@contextmanager
def _reading(path: str | os.PathLike[str] | bytes, max_size_px: int | None) -> Iterator[IO[bytes]]:
    if max_size_px is not None and max_size_px < 1:
        raise ValueError(f"max_size_px must be at least 1, not {max_size_px}")
    try:
        with io.BytesIO(path) if isinstance(path, bytes) else open_regular_file(Path(path)) as stream:
            yield stream
    except OSError as error:
        raise ImageError(reason_of(error)) from error
    except MemoryError as error:
        raise ImageError("not enough memory to decode it") from error


def _decode(
    image: ImageFile.ImageFile, stream: IO[bytes], max_size_px: int | None, upright: bool
) -> tuple[list[Image.Image], bytes | None]:
    """Load what was identified in ``stream``; its layers as :func:`_layers` gives them, shrunk."""
    try:
        if image.format == "JPEG2000":
            check_codestream_end(stream)
        load_whole(image)
        layers, icc_profile = _layers(image, upright=upright)
        if max_size_px is not None and max(layers[0].size) > max_size_px:
            for layer in layers:
                # No reducing gap: that is the shortcut over a box filter (and JPEG's draft mode).
                layer.thumbnail((max_size_px, max_size_px), Image.Resampling.LANCZOS, reducing_gap=None)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything from struct.error to ZeroDivisionError
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk failed, not the file's contents
        raise ImageError(decoding_failure(image.format, error)) from error
    return layers, icc_profile


def _layers(image: Image.Image, *, upright: bool) -> tuple[list[Image.Image], bytes | None]:
    """RGB, and alpha where there is transparency, of a loaded image, and the RGB's profile."""
    colour = to_rgb(image)
    layers = [colour.rgb] if colour.alpha is None else [colour.rgb, colour.alpha]
    if upright and (orientation := orientation_of(image)) > 1:
        layers = [layer.transpose(_TURNS[orientation - 2]) for layer in layers]
    return layers, colour.icc_profile


def image_from_pillow(image: Image.Image) -> DecodedImage:
    """Give an image in memory as :func:`read_image` gives its file: upright, 8-bit RGB, alpha apart.

    Raises ImageError for modes and values that have no meaning as an image.
    """
    image.load()
    layers, icc_profile = _layers(image, upright=True)
    alpha = np.array(layers[1]) if len(layers) == 2 else None
    return DecodedImage(np.array(layers[0]), alpha, icc_profile=icc_profile, format=image.format)


def write_image(
    path: str | os.PathLike[str],
    pixels: Pixels,
    *,
    like: DecodedImage | None = None,
    format: str | None = None,
    quality: int = 95,
    compress_level: int | None = None,
) -> None:
    """Write (H, W, 3) uint8 RGB ``pixels`` to ``path``, whole or not at all; missing folders are made.

    ``format`` is Pillow's name (JPEG, PNG, WEBP, TIFF, BMP, AVIF where Pillow has it), by default what the
    suffix says. ``like`` is the photograph that was translated: its alpha goes along to PNG, WebP, TIFF and
    AVIF, and its EXIF and ICC profile to all but BMP. JPEG and BMP have no alpha: pixels are written as they
    are, also where the photograph was transparent. ``quality`` (1-100) is that of JPEG, WebP and AVIF; JPEG
    and AVIF keep full colour resolution (4:4:4) from 90 on and halve it below. ``compress_level`` (0-9) is
    PNG's; None is fast and about as small as 6. AVIF's alpha is as lossy as its colours.

    Raises ImageError (with ``path`` in its message, because the source is what reports name) when encoding or
    writing fails, NoSpaceError where that is for want of room, ValueError for arrays of another kind.
    """
    target = Path(path)
    name = format or format_of_path(target)
    if name is None or not can_write(name):
        raise ImageError(
            f"cannot write {target}: no image format that can be written has the suffix '{target.suffix}'"
        )
    try:
        data = encode_image(pixels, name, like=like, quality=quality, compress_level=compress_level)
    except ImageError as error:
        raise ImageError(f"cannot write {target}: {error.message}", hint=error.hint) from error
    try:
        write_bytes_atomic(target, data)
    except OSError as error:
        kind = NoSpaceError if error.errno in (errno.ENOSPC, errno.EDQUOT) else ImageError
        raise kind(f"cannot write {target}: {reason_of(error)}") from error


def encode_image(
    pixels: Pixels,
    format: str,
    *,
    like: DecodedImage | None = None,
    quality: int = 95,
    compress_level: int | None = None,
) -> memoryview:
    """Encode (H, W, 3) uint8 RGB ``pixels`` as :func:`write_image` does, into memory.

    Raises ImageError when encoding fails, ValueError for arrays of another kind.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"pixels must be (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1 to 100, not {quality}")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if like is not None and like.alpha is not None and format not in ("JPEG", "BMP"):
        if like.alpha.shape != pixels.shape[:2]:
            raise ValueError(f"alpha is {like.alpha.shape}, pixels are {pixels.shape}")
        image.putalpha(Image.fromarray(np.ascontiguousarray(like.alpha)))
    buffer = io.BytesIO()
    try:
        # Into memory first: Pillow's own errors hide why the disk refused.
        image.save(buffer, format=format, **_save_options(format, like, quality, compress_level))
    except MemoryError as error:
        raise ImageError("not enough memory to encode it") from error
    except Exception as error:  # encoders, too, raise whatever they come upon; mostly it is a size limit
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise ImageError(
            f"{format} does not take this image of {size} ({error})", hint="use --format png"
        ) from error
    return buffer.getbuffer()


def _save_options(
    name: str, like: DecodedImage | None, quality: int, compress_level: int | None
) -> dict[str, Any]:
    """Pillow's options for writing format ``name``."""
    options: dict[str, Any] = {}
    if name in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = quality
    if name in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4" if quality >= FULL_COLOUR_QUALITY else "4:2:0"
    if name == "PNG":
        options |= _PNG_RUN_LENGTH if compress_level is None else {"compress_level": compress_level}
    # TIFF stays uncompressed: Pillow leaves compression to libtiff, which cannot write EXIF's directories for
    # it, and on noisy night images LZW would save a quarter only.
    if like is not None and name != "BMP":
        if like.exif is not None and not (name == "JPEG" and len(like.exif) > LARGEST_JPEG_EXIF_BYTES):
            options["exif"] = like.exif
        if like.icc_profile is not None:
            options["icc_profile"] = like.icc_profile
    return options

"""Opening image files: what is no image, or only part of one, is told apart before anything is decoded."""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from PIL import Image, ImageFile

from darkside_cli.errors import ImageError
from darkside_cli.images.formats import is_video
from darkside_cli.images.jpeg import START, check_scans, read_header
from darkside_cli.regular_file import NotRegularError, open_regular

#: How long reading and decoding one image may take. The largest photographs take some twenty seconds.
MAX_SECONDS = 120.0
#: Images of more pixels than this are refused before they are decoded (at three bytes a pixel: 1.5 GB).
MAX_PIXELS = 500_000_000
#: A side counts as a thousandth of the other at least: networks widen lines to images.
MAX_ASPECT = 1000

#: Formats looked for in a file, whatever its name says. Left out on purpose: EPS and WMF, which run other
#: programs, and formats without a signature, which take any file for theirs. HEIF and JXL are read where a
#: plugin for Pillow has been registered.
READABLE_FORMATS = (
    "JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "HEIF", "JXL", "PSD", "QOI",
    "SGI", "DIB",
)  # fmt: skip

_LEFT_OUT = "darkside:left_out"
_J2K_START, _J2K_END = b"\xff\x4f\xff\x51", b"\xff\xd9"

_REASONS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "no space left in the disk quota",
    errno.EROFS: "the disk is read-only",
    errno.EISDIR: "a folder of that name is in the way",
    errno.ENAMETOOLONG: "the file name is too long",
    errno.ELOOP: "its symbolic links go round in a circle",
}


class GuardedStream:
    """An open file for a decoder, which asks for it block by block: past the deadline there is nothing more to read.

    With ``kept`` only those parts of what is in front of ``rest`` are there, and all that follows.
    """

    def __init__(self, stream: IO[bytes], seconds: float) -> None:
        self._stream = stream
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._head: bytes | None = None
        self._rest = 0
        self._at = 0

    def leave_out(self, kept: Sequence[tuple[int, int]], rest: int) -> None:
        """Read on from the beginning, and of what is in front of ``rest`` only the parts ``kept``."""
        parts = []
        for start, end in kept:
            self._stream.seek(start)
            parts.append(self._stream.read(end - start))
        self._head, self._rest, self._at = b"".join(parts), rest, 0

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes. Raises ImageError past the deadline."""
        if time.monotonic() > self._ends:
            raise ImageError(f"reading it takes longer than {self._seconds:g} s")
        if self._head is None:
            return self._stream.read(size)
        head = self._head[self._at :] if size < 0 else self._head[self._at : self._at + size]
        missing = size - len(head)
        if size < 0 or missing > 0:
            self._stream.seek(self._rest + max(0, self._at - len(self._head)))
            head += self._stream.read(-1 if size < 0 else missing)
        self._at += len(head)
        return head

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go somewhere, as files do."""
        if self._head is None:
            return self._stream.seek(offset, whence)
        if whence == os.SEEK_END:
            offset += len(self._head) + self._stream.seek(0, os.SEEK_END) - self._rest
        elif whence == os.SEEK_CUR:
            offset += self._at
        self._at = max(0, offset)
        return self._at

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._stream.tell() if self._head is None else self._at

    def __getattr__(self, name: str) -> Any:
        if self._head is not None and name in ("fileno", "readinto", "readline"):
            raise AttributeError(name)  # they would read what is left out
        return getattr(self._stream, name)


def reason_of(error: OSError) -> str:
    """Say in a few words, and without the path, what the system had against it."""
    return _REASONS.get(error.errno or 0) or (error.strerror or str(error) or type(error).__name__).lower()


def is_animated(image: Image.Image) -> bool:
    """Whether a loaded ``image`` moves, so that its first frame is not all of it.

    Pages of a TIFF, layers, and the second images of telephones' JPEGs do not count.
    """
    try:
        return image.format in ("GIF", "WEBP", "PNG", "AVIF") and bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame may raise anything; the first one is what counts
        return False


def open_regular_file(path: Path) -> IO[bytes]:
    """Open ``path``, but no folder, and nothing that could block or change by being opened."""
    try:
        return open_regular(path)
    except FileNotFoundError:
        if path.is_symlink():
            raise ImageError("it is a symbolic link to a file that does not exist") from None
        raise
    except NotRegularError as error:
        if error.errno != errno.EISDIR:
            raise ImageError(error.strerror) from error
    if not os.access(path, os.R_OK | os.X_OK):
        raise ImageError("the folder cannot be read: permission denied")
    raise ImageError("it is a folder, not an image")


def identify(
    stream: IO[bytes], *, max_pixels: int | None = None, max_seconds: float = MAX_SECONDS
) -> ImageFile.ImageFile:
    """Open the image in ``stream`` without decoding it; :func:`left_out` says what of its metadata is not read.

    It is to be decoded within ``max_seconds`` from now, which is looked at between two blocks of the file.

    Raises ImageError for what is no image, for more than ``max_pixels`` (default: MAX_PIXELS), and for a JPEG of so
    many scans that it is made to be slow.

    ``Image.open`` would do, but for its check against ``Image.MAX_IMAGE_PIXELS``: that one refuses
    photographs from 179 megapixels on, and cannot be moved without moving it for every thread and library of
    the process. So the plugins it asks are asked here.
    """
    start = stream.read(16)
    if not start:
        raise ImageError("the file is empty")
    guarded = GuardedStream(stream, max_seconds)
    header = read_header(stream) if start.startswith(START) else None
    if header is not None and header.left_out:
        guarded.leave_out(header.kept, header.scan)
    image = _identify(guarded, start)
    check_size(image, max_pixels)
    if header is not None and header.several_scans:
        check_scans(stream, header, image.width * image.height)
        image.decodermaxblock = 4096  # a block may hold many scans, and the clock is looked at between two
    if header is not None and header.left_out:
        image.info[_LEFT_OUT] = f"{header.left_out:,} segments of metadata were left out: it has too many"
    return image


def left_out(image: Image.Image) -> str | None:
    """What of the metadata of an identified ``image`` was not read, in words; None for nothing."""
    word: str | None = image.info.get(_LEFT_OUT)
    return word


def check_size(image: Image.Image, max_pixels: int | None = None) -> None:
    """Raise ImageError for more than ``max_pixels`` (MAX_PIXELS by default)."""
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    shorter, longer = sorted(image.size)
    if max(shorter, longer // MAX_ASPECT) * longer > limit:
        what = "are more than" if shorter * longer > limit else "are too thin a line for"
        raise ImageError(f"its {image.width}x{image.height} pixels {what} the limit of {limit:,}")


def _identify(stream: GuardedStream, start: bytes) -> ImageFile.ImageFile:
    Image.preinit()
    tried: set[str] = set()
    damaged: str | None = None
    for load_more in (lambda: None, Image.init):
        load_more()
        for name in READABLE_FORMATS:
            if name in tried or name not in Image.OPEN:
                continue
            tried.add(name)
            try:
                image = _open_as(name, stream, start)
            except Image.DecompressionBombError as error:
                raise ImageError(f"it is too large: {error}") from error
            except OSError as error:
                if error.errno is not None:
                    raise
                damaged = damaged or decoding_failure(name, error)
            except Exception as error:  # as in _decode
                damaged = damaged or decoding_failure(name, error)
            else:
                if image is not None:
                    return image
    if damaged is None and is_video(start):
        raise ImageError(
            "it is a video, not a photograph", hint="take frames out first: ffmpeg -i VIDEO frame-%05d.png"
        )
    if damaged is None and len(start) >= 12 and start[4:8] == b"ftyp":
        raise ImageError(
            "HEIF or AVIF of its kind cannot be read here", hint="convert it to JPEG or PNG first"
        )
    raise ImageError(damaged or "it is not an image of a format that can be read")


def load_whole(image: ImageFile.ImageFile) -> None:
    """Decode ``image``, whatever ``Image.MAX_IMAGE_PIXELS`` is.

    Of WebP and GIF Pillow itself refuses those of 179 megapixels and more.
    """
    pixels = image.width * image.height
    if image.format == "TIFF" and Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
        # Newer Pillows check TIFFs once more as they allocate them. A TIFF that has its memory is not
        # checked.
        image.im = Image.new(image.mode, getattr(image, "_tile_size", image.size)).im
    image.load()


def _open_as(name: str, stream: GuardedStream, start: bytes) -> ImageFile.ImageFile | None:
    """Open ``stream`` as format ``name``; None if its first bytes, ``start``, say that it is another."""
    factory, accept = Image.OPEN[name]
    if accept is not None:
        try:
            verdict = accept(start)
        except (struct.error, IndexError):  # a file of a few bytes
            return None
        if isinstance(verdict, str) or not verdict:  # a string says why this Pillow cannot
            return None
    stream.seek(0)
    return factory(cast("IO[bytes]", stream), "")


def decoding_failure(format_name: str | None, error: Exception) -> str:
    """Say in a few words why a decoder gave up on an image of format ``format_name``."""
    what = f"the {format_name or 'image'} file"
    detail = str(error) or type(error).__name__
    cut = isinstance(error, EOFError) or any(word in detail.lower() for word in ("truncated", "reached eof"))
    return f"{what} is cut short" if cut else f"{what} cannot be decoded: {detail}"


def check_codestream_end(stream: IO[bytes]) -> None:
    """Raise ImageError if a JPEG 2000 file ends before its end-of-codestream marker (ISO 15444-1, A.4.4).

    Its decoder notices most cuts, but not those that leave it nothing at all to decode.
    """
    offset, end = 0, stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if stream.read(4) != _J2K_START:
        # Boxes of length, type and contents; length 1 is followed by a longer one, 0 means up to the end.
        while True:
            stream.seek(offset)
            length, kind = struct.unpack(">I4s", stream.read(8))
            if length == 1:
                (length,) = struct.unpack(">Q", stream.read(8))
            if kind == b"jp2c":
                end = offset + length if length else end
                break
            if length < 8:
                raise ImageError("the JPEG2000 file cannot be decoded: it has no codestream")
            offset += length
    stream.seek(end - 2)
    if stream.read(2) != _J2K_END:
        raise ImageError("the JPEG2000 file is cut short")

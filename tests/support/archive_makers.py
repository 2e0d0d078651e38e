"""Archives for tests, good and hostile, made in memory."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image


def _smallest_jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, "JPEG")
    return stream.getvalue()


JPEG = _smallest_jpeg()


def jpeg_bytes(seed: int, size: int = 2000) -> bytes:
    """A JPEG of exactly ``size`` bytes, most of them a comment of random ones."""
    comment = random.Random(seed).randbytes(size - len(JPEG) - 4)
    return JPEG[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + JPEG[2:]


def tar_bytes(
    files: Mapping[str, bytes] | Sequence[tuple[str, bytes]], *extra: tarfile.TarInfo, mode: str = "w:gz"
) -> bytes:
    """Tar archive of regular files, then of the headers ``extra`` (without content)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items() if isinstance(files, Mapping) else files:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
        for header in extra:
            archive.addfile(header)
    return stream.getvalue()


def tar_header(name: str, kind: bytes, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    """Header of a member that is no regular file."""
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.mode = kind, link, mode
    return header


def zip_bytes(files: Mapping[str, bytes] | Sequence[tuple[str, bytes]], *links: tuple[str, str]) -> bytes:
    """Zip archive of regular files, then of symbolic ``links`` (name, target)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        for name, target in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, target)
    return stream.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, hidden ones too, with its content; links to folders with where they lead."""
    return {
        path.relative_to(folder).as_posix(): b"-> " + bytes(path.readlink())
        if path.is_dir()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() or path.is_symlink()
    }

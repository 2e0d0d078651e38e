"""What zip archives state of their members' sizes, held against the bytes that there are."""

from __future__ import annotations

import zipfile

#: Deflate packs at best so many bytes into one (zlib's own documentation: 1032 to 1).
DEFLATE_RATIO = 1032
_SLACK = 64


def require_possible_size(member: zipfile.ZipInfo) -> None:
    """See that a member's packed bytes can make as many as it states; costs nothing.

    Raises zipfile.BadZipFile otherwise, and for packing that neither NumPy nor torch writes.
    """
    if member.compress_type == zipfile.ZIP_STORED:
        possible = member.file_size == member.compress_size
    elif member.compress_type == zipfile.ZIP_DEFLATED:
        possible = member.file_size <= DEFLATE_RATIO * member.compress_size + _SLACK
    else:
        raise zipfile.BadZipFile(f"{member.filename} is packed in a way that is not read")
    if not possible:
        raise zipfile.BadZipFile(
            f"{member.filename} states {member.file_size:,} bytes, which its {member.compress_size:,} cannot hold"
        )

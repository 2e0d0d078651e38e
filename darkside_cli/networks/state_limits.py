"""What a file of weights may state of itself, looked at before anything is unpacked or built, and hold as numbers.

A file of a few megabytes can unpack to gigabytes, and a pickle or a JSON text to a hundred times its bytes.
"""

from __future__ import annotations

import json
import pickletools
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darkside_cli.config.limits import MAX_WEIGHT
from darkside_cli.errors import CheckpointError
from darkside_cli.stated_size import require_possible_size
from darkside_cli.units import human_size

TRUST = "get the weights from a source you trust; other programs may run what is in this file"
"""What to do about a file that was refused as hostile."""

PICKLES_IN_LEGACY = 5
"""Pickles in a row that torch's old container begins with."""

#: Of what describes the tensors of a file. A network of a thousand tensors has a tenth of a megabyte; read, a pickle
#: may take a hundred times its bytes.
_MAX_DESCRIPTION_BYTES = 1 << 23
_MAX_HEADER = 1 << 24
_MAX_OPCODES = 1_000_000
#: Weights are hardly packed smaller than they are. What unpacks to more than so many times its bytes was made to fill
#: the memory, small files apart.
_MOST_UNPACKED, _SMALL_BYTES = 8, 1 << 26


def check_sizes(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """See that a zip file states no sizes that checkpoints do not have, before anything is unpacked.

    Raises CheckpointError, or BadZipFile for sizes that the packed bytes cannot have.
    """
    for member in members:
        require_possible_size(member)
        if "/data/" not in member.filename and member.file_size > _MAX_DESCRIPTION_BYTES:
            stated = human_size(member.file_size)
            raise _oversized(path, f"{member.filename}, which describes its tensors, has {stated}")
    size, unpacked = path.stat().st_size, sum(member.file_size for member in members)
    if unpacked > max(_SMALL_BYTES, _MOST_UNPACKED * size):
        raise _oversized(path, f"its {human_size(size)} unpack to {human_size(unpacked)}")


def _oversized(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path} was refused, since no weights are like that: {what}", hint=TRUST)


def check_description(path: Path, data: bytes) -> None:
    """See that the pickles that ``data`` begins with, in torch's old container, are not too long to be read.

    Raises CheckpointError.
    """
    if _is_too_long(data):
        raise _oversized(path, "what describes its tensors is longer than of any network")


def _is_too_long(data: bytes) -> bool:
    stream, opcodes = BytesIO(data), 0
    with suppress(Exception):  # the end, or damage, which others tell
        for _ in range(PICKLES_IN_LEGACY):
            for _, _, position in pickletools.genops(stream):
                opcodes += 1
                if opcodes > _MAX_OPCODES or (position or 0) > _MAX_DESCRIPTION_BYTES:
                    return True
    return False


def read_header(text: str) -> Mapping[str, Any]:
    """What a header of ours says, a JSON object.

    Raises ValueError if it is none, or larger or more deeply nested than any that darkside writes.
    """
    if len(text) > _MAX_HEADER:
        raise ValueError(f"it has more than {_MAX_HEADER:,} characters")
    try:
        description = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(description, dict):
        raise ValueError("it is no JSON object")
    return description


_SMALLEST_STD = 1e-6


def require_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """See that weights, read from ``path``, have no NaN and no infinity: what they make would be no image.

    Raises CheckpointError that names the tensors.
    """
    wrong = {key: value for key, value in state.items() if not _is_finite(value)}
    if not wrong:
        return
    key, value = next(iter(wrong.items()))
    count = int((~value.isfinite()).sum())
    what = "NaN" if bool(value.isnan().any()) else "infinite"
    others = f", and so have {len(wrong) - 1} other tensors" if len(wrong) > 1 else ""
    raise CheckpointError(
        f"{path} has weights that are no numbers: {count:,} of the {value.numel():,} in {key} are {what}{others}",
        hint="the training went astray: give an earlier checkpoint; or get the file again",
    )


def _is_finite(value: Tensor) -> bool:
    if not value.is_floating_point():
        return True
    # A sum is ten times as fast; where it is beyond what float32 can hold, every number is looked at.
    return bool(value.sum(dtype=torch.float32).isfinite()) or bool(value.isfinite().all())


def require_normalisation(metadata: Mapping[str, Any], path: Path) -> None:
    """See that ``mean`` and ``std``, where a file states them, are numbers that images can be normalised with.

    Raises CheckpointError.
    """
    for name, least in (("mean", -MAX_WEIGHT), ("std", _SMALLEST_STD)):
        values = metadata.get(name)
        if values is None:
            continue
        if not isinstance(values, (list, tuple)) or not all(
            isinstance(each, (int, float)) and least <= each <= MAX_WEIGHT for each in values
        ):
            raise CheckpointError(
                f"{path} has a {name} of the input that cannot be: {str(values)[:80]}",
                hint=f"it is a list of numbers from {least:g} to {MAX_WEIGHT:g}, one a channel",
            )

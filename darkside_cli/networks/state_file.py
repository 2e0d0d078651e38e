"""Reading a file of tensors without trusting it: torch's two containers and safetensors."""

from __future__ import annotations

import os
import pickletools
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from darkside_cli.errors import CheckpointError, MissingAssetError
from darkside_cli.networks.state_limits import (
    PICKLES_IN_LEGACY,
    TRUST,
    check_description,
    check_sizes,
    read_header,
)
from darkside_cli.regular_file import NotRegularError, open_regular

#: The number that torch's old container begins with, as a pickled integer.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_CHUNK_BYTES = 1 << 20
_LONGEST_TEXT_PICKLE = 1 << 24

_AGAIN = "get the file again: it may be an interrupted or failed download"


@dataclass(frozen=True)
class StateFile:
    """What a file of tensors holds.

    ``content`` is the pickled object, or the dict of tensors of a safetensors file, whose header is ``header``.
    Tensors are on the CPU, as stored.
    """

    path: Path
    content: Any
    header: Mapping[str, str] = field(default_factory=dict)

    def description(self, key: str, version: int) -> Mapping[str, Any] | None:
        """What the header of a file of ours says under ``key``, in format ``version``; None if it has no such entry.

        Raises ValueError or KeyError if that is damaged, CheckpointError if it is of another version.
        """
        if key not in self.header:
            return None
        description = read_header(self.header[key])
        if description["version"] != version:
            raise CheckpointError(
                f"{self.path} has format version {description['version']}, this darkside reads {version}",
                hint="update darkside",
            )
        return description


def read_state_file(path: str | Path) -> StateFile:
    """Read a ``torch.save`` file of either container or a safetensors file, told apart by content.

    Raises MissingAssetError if there is no such file; CheckpointError if it is empty, truncated, damaged,
    unsafe or something else than weights.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(512)
    except FileNotFoundError as error:
        raise MissingAssetError(f"there is no file {path}", hint="check the path") from error
    except NotRegularError as error:
        kind = error.strerror.removesuffix(", not a file")
        raise CheckpointError(f"{path} is not a file: {kind}", hint="name a weights file") from error
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"cannot read {path}: {reason}", hint="check its permissions") from error
    if size == 0:
        raise CheckpointError(f"{path} is empty", hint=_AGAIN)
    # The first, since the length of its header may look like another format's magic number.
    if looks_like_safetensors(head):
        return _safetensors(path)
    for magic, check in ((b"PK\x03\x04", _check_zip), (b"\x80", _check_legacy)):
        if head.startswith(magic):
            check(path)
            return StateFile(path, _load_torch(path))
    if path.suffix == ".safetensors":
        return _safetensors(path)  # which will say what is wrong with it
    if size <= _LONGEST_TEXT_PICKLE and _ends(data := path.read_bytes()):
        _refuse_unsafe(path, data)  # in the oldest, textual protocol: only hostile files still come so
    raise CheckpointError(f"{path} {kind_of(head)}, not weights", hint=_AGAIN)


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is one: eight bytes of header length, then a JSON object."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000


def kind_of(head: bytes) -> str:
    """Say what a file that begins with ``head`` (some hundred bytes) is, if not weights: "is a web page"."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return "is a web page"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer (the file itself was not fetched)"
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        return "is a gzip or tar archive"
    if head.startswith(b"\x89HDF"):
        return "is an HDF5 file"
    if not head.strip(b"\0"):
        return "is filled with zeros"
    if head.isascii() and b"\0" not in head:
        return "is a text file"
    return "is of an unknown kind"


def _check_zip(path: Path) -> None:
    """See that a zip file is whole and a torch checkpoint; torch itself does not look at the checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if any(name.endswith("/constants.pkl") for name in names):
                raise CheckpointError(
                    f"{path} is a TorchScript program, not a plain checkpoint",
                    hint="programs are not run; give the state dict it was made from",
                )
            if not any(name.endswith("/data.pkl") for name in names):
                shown = ", ".join(names[:3]) or "nothing"
                raise CheckpointError(
                    f"{path} is a zip archive, but no checkpoint: it holds {shown}",
                    hint="if the weights are inside, unpack it first",
                )
            check_sizes(path, members)
            for member in members:
                if member.CRC == 0:  # torch can be told not to compute checksums
                    continue
                with archive.open(member) as content:
                    while content.read(_CHUNK_BYTES):
                        pass
    except CheckpointError:
        raise
    except Exception as error:  # zipfile raises whatever damaged fields lead to
        text = f"{path} is damaged or incomplete: {_first_line(error)}"
        raise CheckpointError(text, hint=_AGAIN) from error


def _check_legacy(path: Path) -> None:
    """See that a file that begins as a pickle is torch's old container, and not any pickle."""
    data = path.read_bytes()
    if not _ends(data):
        raise CheckpointError(f"{path} is damaged or incomplete: it ends too early", hint=_AGAIN)
    if any(argument == _LEGACY_MAGIC for _, argument, _ in pickletools.genops(data)):
        check_description(path, data)
        return
    _refuse_unsafe(path, data, unless=lambda name: name.startswith("numpy"))
    raise CheckpointError(
        f"{path} is a plain Python pickle, not weights",
        hint="whitenings and ground truths are such files; give a network's weights",
    )


def _ends(data: bytes) -> bool:
    """Whether ``data`` begins with a whole pickle."""
    try:
        return any(opcode.name == "STOP" for opcode, _, _ in pickletools.genops(data))
    except Exception:  # damaged, or no pickle
        return False


def _load_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and old storage classes: no matter here
            with path.open("rb") as file:  # given a path, torch would go by its suffix
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for damaged files
        _refuse_unsafe(path, _pickled_part(path), cause=error)
        # Other texts are of no help; that of the pickle reader even advises to do without the precaution.
        reason = _first_line(error) if type(error) in (RuntimeError, EOFError) else "its content is garbled"
        raise CheckpointError(f"{path} is damaged or incomplete: {reason}", hint=_AGAIN) from error


def _safetensors(path: Path) -> StateFile:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = dict(file.metadata() or {})
            content = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:
        text = f"{path} is not a whole safetensors file: {_first_line(error)}"
        raise CheckpointError(text, hint=_AGAIN) from error
    return StateFile(path, content, header)


def _pickled_part(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))


def pickle_globals(data: bytes) -> list[str]:
    """Names ("module.attribute") that the pickles in ``data`` would have Python import, in order, each once.

    The pickles are read, not run. Only the first few of a row of pickles are looked at; reading stops at
    damage.
    """
    stream = BytesIO(data)
    names: dict[str, None] = {}
    with suppress(Exception):  # the end, or damage: what was found until here counts
        for _ in range(PICKLES_IN_LEGACY):
            for name in _globals_of_one(stream):
                names[name] = None
    return list(names)


def _globals_of_one(stream: BytesIO) -> Iterator[str]:
    pushed: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        name, number = opcode.name, argument if isinstance(argument, int) else 0
        if name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".", 1)
        elif name == "STACK_GLOBAL":
            yield ".".join(str(part) for part in pushed[-2:])
        elif name.startswith("EXT"):
            yield f"copyreg extension {argument}"
        if name == "MEMOIZE":
            memo[len(memo)] = pushed[-1] if pushed else None
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[number] = pushed[-1] if pushed else None
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            pushed.append(memo.get(number))
        elif opcode.stack_after:
            pushed.append(argument)


_HARMLESS = {
    *("_codecs.encode", "builtins.bytearray", "builtins.complex", "builtins.set"),
    *("collections.Counter", "collections.OrderedDict", "torch.Size", "torch.Tensor", "torch.device"),
    *("torch.nn.parameter.Parameter", "torch.serialization._get_layout"),
}


def _is_harmless(name: str) -> bool:
    """Whether weights have a use for it. For messages only: torch's reader decides what is let through."""
    module, _, attribute = name.rpartition(".")
    return (
        name in _HARMLESS
        or (module == "torch._utils" and attribute.startswith("_rebuild_"))
        or (module in ("torch", "torch.storage") and attribute.endswith("Storage"))
        or (module == "torch" and isinstance(getattr(torch, attribute, None), torch.dtype))
    )


def _refuse_unsafe(
    path: Path,
    data: bytes,
    *,
    unless: Callable[[str], bool] = lambda _: False,
    cause: Exception | None = None,
) -> None:
    """Raise CheckpointError if the pickles in ``data`` ask for what weights have no use for, ``unless`` all of it."""
    names = [name for name in pickle_globals(data) if not _is_harmless(name)]
    if not all(map(unless, names)):
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise CheckpointError(
            f"{path} was refused as unsafe: it asks Python for {shown}, which weights have no use for",
            hint=TRUST,
        ) from cause


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:160] or "it ends too early"

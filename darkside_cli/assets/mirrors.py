"""Other places that hold the same files: a lab's server, or a disk that everybody mounts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from darkside_cli.assets.disk import Stopped
from darkside_cli.assets.entries import RemoteFile
from darkside_cli.assets.http import Hooks
from darkside_cli.assets.http_failures import Refused
from darkside_cli.assets.partial import PartFile, PartNote
from darkside_cli.errors import ConfigError
from darkside_cli.regular_file import read_regular

#: Mirrors, separated by blanks, or one list file.
VARIABLE = "DARKSIDE_MIRROR"

_MAX_BYTES = 1 << 24  # of a list of them
_CHUNK = 1 << 20
_SCHEMES = ("http", "https", "file")


@dataclass(frozen=True)
class Mirror:
    """A place that is asked before the published addresses.

    ``base`` is an address or a folder that holds the files as the data root does (or all in one folder). With
    ``prefix``, it stands for the addresses that begin so, and what follows the prefix is kept.
    """

    base: str
    prefix: str = ""

    def addresses(self, file: RemoteFile) -> list[str]:
        """Addresses under which this mirror may have ``file``, in the order to try."""
        if self.prefix:
            return [self.base + url[len(self.prefix) :] for url in file.urls if url.startswith(self.prefix)]
        base = self.base.rstrip("/\\")
        plain = local_path(base) is not None and not base.lower().startswith("file:")
        return [f"{base}/{name if plain else quote(name)}" for name in dict.fromkeys((file.path, file.name))]


def read_mirrors(values: Iterable[str] = (), environment: str | None = None) -> tuple[Mirror, ...]:
    """Mirrors from ``--mirror`` values, then those of ``environment`` (by default DARKSIDE_MIRROR).

    A value is an ``http(s):`` or ``file:`` address, a folder, or a list file: one mirror a line, ``#``
    begins a comment, and two words on a line mean "addresses that begin with the first are to be had at the
    second". Raises ConfigError for a value that is none of these.
    """
    text = os.environ.get(VARIABLE, "") if environment is None else environment
    named = [*values, *([text] if _there(text) is not None else text.split())]
    result: list[Mirror] = []
    for value in filter(None, named):
        path = None if _scheme(value) in _SCHEMES else _there(value)
        if path is not None and path.is_file():
            result.extend(_read_list(path))
        else:
            result.append(Mirror(_checked(value, "mirror")))
    return tuple(dict.fromkeys(result))


def _there(text: str) -> Path | None:
    """Path that ``text`` names, if there is something; None for what no path can be."""
    try:
        path = Path(text).expanduser()
        return path if text and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, an unknown user's home
        return None


def _scheme(address: str) -> str:
    return address.partition(":")[0].lower() if ":" in address else ""


def local_path(address: str) -> Path | None:
    """Path that ``address`` means, if it is a folder's or file's and no server's."""
    parts = urlsplit(address)
    if parts.scheme.lower() == "file":
        return Path(url2pathname(unquote(parts.path)) if os.name == "nt" else unquote(parts.path))
    if not parts.scheme or re.match(r"[A-Za-z]:[\\/]", address):
        return Path(address).expanduser()
    return None


def _read_list(path: Path) -> list[Mirror]:
    result = []
    try:
        text = read_regular(path, limit_bytes=_MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"mirror: {path} is no list of mirrors", hint="one mirror a line, or: PREFIX MIRROR"
        ) from error
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        where = f"{path}, line {number}"
        if len(words) > 2:
            raise ConfigError(f"{where}: more than two words", hint="one mirror a line, or: PREFIX MIRROR")
        if words:
            result.append(Mirror(_checked(words[-1], where), words[0] if len(words) == 2 else ""))
    return result


def _checked(value: str, where: str) -> str:
    if _scheme(value) in _SCHEMES:
        try:
            parts = urlsplit(value)
            wrong = parts.scheme.lower() != "file" and not (parts.hostname and parts.port != 0)
        except ValueError:
            wrong = True
        if wrong:
            raise ConfigError(f"{where}: {value} is no address", hint="give https://HOST/PATH")
        return value
    path = _there(value)
    if path is None or not path.is_dir():
        raise ConfigError(
            f"{where}: {value} is neither an address nor a folder nor a list file",
            hint="give https://…, a folder that holds the files, or a file that lists mirrors",
        )
    return str(path.absolute())


def copy_from_folder(source: Path, part: PartFile, hooks: Hooks) -> None:
    """Copy the file ``source`` of a mirror that is a folder. Raises Refused if it cannot be read, Stopped when told."""
    if not source.is_file():
        raise Refused("not there")
    try:
        stream = source.open("rb")
    except OSError as error:  # another mirror may do, and what is there of the file is kept
        raise Refused(f"cannot be read: {error.strerror or error}") from error
    with stream:
        total = source.stat().st_size
        hooks.begun(0, total)
        part.begin(PartNote(str(source), total=total))
        done = 0
        while piece := stream.read(_CHUNK):
            part.append(piece)
            done += len(piece)
            hooks.moved(done, total)
            if hooks.stopped():
                raise Stopped

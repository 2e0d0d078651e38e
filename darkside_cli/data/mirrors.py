"""Other places that hold the same files: a lab's server, or a disk that everybody mounts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from darkside_cli.errors import ConfigError
from darkside_cli.regular_file import read_regular
from darkside_cli.remote import RemoteFile

#: Mirrors, separated by blanks, or one list file.
VARIABLE = "DARKSIDE_MIRROR"

_MAX_BYTES = 1 << 24  # of a list of them
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
    named = [*values, *([text] if Path(text).exists() else text.split())]
    result: list[Mirror] = []
    for value in filter(None, named):
        if urlsplit(value).scheme.lower() not in _SCHEMES and Path(value).expanduser().is_file():
            result.extend(_read_list(Path(value).expanduser()))
        else:
            result.append(Mirror(_checked(value, "mirror")))
    return tuple(dict.fromkeys(result))


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
    for number, line in enumerate(read_regular(path, limit_bytes=_MAX_BYTES).decode("utf-8").splitlines(), 1):
        words = line.split("#", 1)[0].split()
        where = f"{path}, line {number}"
        if len(words) > 2:
            raise ConfigError(f"{where}: more than two words", hint="one mirror a line, or: PREFIX MIRROR")
        if words:
            result.append(Mirror(_checked(words[-1], where), words[0] if len(words) == 2 else ""))
    return result


def _checked(value: str, where: str) -> str:
    if urlsplit(value).scheme.lower() in _SCHEMES:
        return value
    path = local_path(value)
    if path is None or not path.is_dir():
        raise ConfigError(
            f"{where}: {value} is neither an address nor a folder nor a list file",
            hint="give https://…, a folder that holds the files, or a file that lists mirrors",
        )
    return str(path.absolute())

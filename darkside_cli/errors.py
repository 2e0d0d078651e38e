"""Errors a user can meet. Each says what is wrong and, in ``hint``, what to do next.

The command line turns them into one line and an exit code (see ``cli/errors.py``, the only place that formats
them): 1 some items failed, 2 wrong usage or configuration, 3 something needed is missing, 130 interrupted.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import Any, ClassVar

#: So many names are shown at most, and so many of more than that.
_SHOWN, _FIRST = 12, 5


class DarksideError(Exception):
    """Base of every error darkside raises on purpose.

    ``message`` is one line without a full stop's worth of advice; ``hint`` is the next step, if there is one.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(DarksideError):
    """The command or call was given something that cannot be meant."""


class ConfigError(UsageError):
    """A configuration key or value does not exist or has the wrong type."""


class UnknownNameError(UsageError):
    """A name is not in a registry; the near matches are named, else all that are known, or some of many.

    ``what`` is the kind of thing ("model"), ``name`` what was asked for, ``known`` the valid names, those that a user
    rather means first. Names that differ in case alone are shown once.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], *, extra_hint: str | None = None) -> None:
        names = list(known)
        near = _once(get_close_matches(name, names, n=6, cutoff=0.5))[:3]
        likeness = [SequenceMatcher(None, match, name).ratio() for match in near]
        near = [match for match, ratio in zip(near, likeness, strict=True) if ratio > likeness[0] - 0.1]
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {some_names(names)}"
        super().__init__(f"unknown {what} '{name}'", hint=f"{hint}; {extra_hint}" if extra_hint else hint)
        self.name = name
        self.near = near


def some_names(names: Iterable[str]) -> str:
    """Names in a line, those that differ in case alone once: all of them, or the first of many."""
    shown = _once(names)
    if len(shown) <= _SHOWN:
        return ", ".join(shown)
    return f"{', '.join(shown[:_FIRST])} and {len(shown) - _FIRST} more"


def _once(names: Iterable[str]) -> list[str]:
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(name.casefold(), name)
    return list(found.values())


class CheckpointError(UsageError):
    """A weights file is damaged, unsafe, of another kind, or does not fit the network."""


class ImageError(DarksideError):
    """One image could not be read, translated or written; the others go on."""

    exit_code = 1


class NoSpaceError(ImageError):
    """There is no room: what comes after this item would fail as it did, so the run stops. ``why`` says why.

    ``result`` is what the job had done until then, as it would have returned it; None where nobody knows.
    """

    result: Any = None

    def __init__(self, message: str, *, hint: str | None = None, why: str = "the disk is full") -> None:
        super().__init__(message, hint=hint)
        self.why = why


def why_no_space(error: OSError) -> str | None:
    """Why a file could not be written for want of room, in words; None for errors of another kind."""
    return {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the quota of this disk is used up",
        errno.EFBIG: "files may not become that large here (see ulimit -f)",
    }.get(error.errno or 0)


class OutOfDeviceMemoryError(ImageError):
    """One image alone does not fit into the device's memory."""


class MissingAssetError(DarksideError):
    """Weights, a data set or a program that the job needs is not on this machine.

    ``assets`` are those that a download would bring.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None, assets: Iterable[Any] = ()) -> None:
        super().__init__(message, hint=hint)
        self.assets = tuple(assets)

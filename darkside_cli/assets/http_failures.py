"""What a server's failure means: whether another try may help, and how it is told to people."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError, LocationValueError

NUMBER = re.compile(r"\d{1,18}", re.ASCII)


_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


_TEXT_SUFFIXES = frozenset({".txt", ".csv", ".json"})


#: What asking a server raises. Besides the library's own errors there are those of what it is built on: an address
#: to which a server redirects may be such that nothing can be made of it (ValueError), certificates may not be
#: where the environment says (OSError).
FAILURES = (requests.RequestException, HTTPError, http.client.HTTPException, ValueError, OSError)


class Transient(Exception):  # noqa: N818 - a verdict on one try, not an error that a caller sees
    """This try failed; another may not.

    ``wait_s`` is what the server asked for, ``connected`` whether it answered at all; ``at_once`` says that
    the failure was one of versions, so that there is nothing to wait for. ``lasting``: the server is there and
    breaks the rules of HTTP, which it will most likely do again, so that a few quick tries are enough.
    """

    def __init__(
        self,
        reason: str,
        *,
        wait_s: float | None = None,
        connected: bool = True,
        at_once: bool = False,
        lasting: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s
        self.connected = connected
        self.at_once = at_once
        self.lasting = lasting


class Refused(Exception):  # noqa: N818
    """This address will not give the file, however often it is asked.

    ``unheard``: nothing at all came from its host.
    """

    def __init__(self, reason: str, *, unheard: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.unheard = unheard


def error_page(start: bytes, content_type: str, name: str) -> str | None:
    """Say why an answer that begins so is a page for people, not the file ``name``; None if it may be it."""
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if head.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<error", b"<script", b"<body")):
        return "the server sent a web page instead of the file"
    declared = content_type.split(";")[0].strip().lower()
    textual = declared in (
        "text/html",
        "application/xhtml+xml",
        "application/json",
        "application/problem+json",
    )
    if declared in ("text/html", "application/xhtml+xml") and b"\0" not in start[:1024]:
        return f"the server sent {declared} instead of the file"  # none of the files is a page
    if textual and Path(name).suffix.lower() not in _TEXT_SUFFIXES and b"\0" not in start[:1024]:
        return f"the server sent {declared} instead of the file"
    return None


def verdict(response: requests.Response) -> Transient | Refused:
    """What an answer with a status other than those of success means."""
    reason = f"HTTP {response.status_code} {response.reason or ''}".strip()
    if response.status_code in _TRANSIENT_STATUS:
        return Transient(reason, wait_s=_retry_after(response))
    if response.status_code in (401, 403, 407):
        return Refused(f"{reason}: the server or a proxy wants a log-in")
    return Refused(reason)


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "").strip()
    if NUMBER.fullmatch(value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    from datetime import datetime, timezone

    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def failed_to_connect(error: Exception) -> Transient | Refused:
    """What an error of FAILURES means that came in place of an answer."""
    if isinstance(error, requests.exceptions.SSLError) and "certificate" in str(error).lower():
        return Refused(f"the server's certificate is not trusted: {plainly(error)}")
    if isinstance(
        error,
        (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidProxyURL,
            LocationValueError,
            http.client.InvalidURL,
        ),
    ) or not isinstance(error, (OSError, HTTPError, http.client.HTTPException)):
        return Refused(f"it leads to an address that is none: {_first_line(error)}")
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return Refused("the server redirects without end")
    if not isinstance(error, (requests.RequestException, HTTPError)) and isinstance(error, OSError):
        return Refused(
            _first_line(error)
        )  # nothing was sent: certificates that the environment names are not there
    for cause in causes(error):
        # RemoteDisconnected is a BadStatusLine too: the server closed the connection without a word.
        if isinstance(cause, http.client.RemoteDisconnected):
            return Transient("the server closed the connection without an answer", lasting=True)
        if isinstance(cause, http.client.BadStatusLine):
            sent = _shown(getattr(cause, "line", ""))
            return Transient(f"the server does not speak HTTP: it sent {sent}", lasting=True)
        if isinstance(cause, http.client.HTTPException):
            return Transient(
                f"the server's answer breaks the rules of HTTP: {_first_line(cause)}", lasting=True
            )
    answered = "aborted" in str(error).lower()
    return Transient(plainly(error), connected=answered)


def causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and the errors that it was made of, which the libraries keep in various places."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]


def _shown(text: object) -> str:
    """What a server sent, so that it can be read: printable, and not too much of it."""
    shown = ascii(text)
    return shown if len(shown) <= 60 else f"{shown[:56]}...'"


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


def plainly(error: BaseException) -> str:
    """Word the failure for people, without the layers of exceptions that it came wrapped in."""
    text = str(error).lower()
    if "resolve" in text or "name or service not known" in text:
        return "the host's name cannot be resolved"
    if "timed out" in text:
        return "the server fell silent" if "read timed out" in text else "no connection in time"
    for sign, words in (
        ("refused", "the connection was refused"),
        ("reset", "the connection was reset"),
        ("unreachable", "the network cannot be reached"),
        ("remote end closed", "the server closed the connection"),
        ("incompleteread", "the connection ended early"),
        ("broken", "the connection broke"),
    ):
        if sign in text:
            return words
    return f"{type(error).__name__}: {_first_line(error)}"

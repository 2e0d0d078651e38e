"""One try at fetching one address into a ``.part`` file, and the judgement of what the server answered.

A try either completes the part or raises: :class:`Transient` (another try may help, and will go on where
this one stopped) or :class:`Refused` (this address will not give the file). Ranges are asked for with
``If-Range``, and an answer is only ever joined to what is there when status, ``Content-Range`` and validators
all say that it fits.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError, LocationValueError

from darkside_cli import __version__
from darkside_cli.assets.disk import Stopped
from darkside_cli.assets.entries import RemoteFile
from darkside_cli.assets.partial import PartFile, PartNote

USER_AGENT = f"darkside/{__version__} (+https://arxiv.org/abs/2309.16351)"
_CHUNK = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII)
_POLL_S = 0.1
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_TEXT_SUFFIXES = frozenset({".txt", ".csv", ".json"})
#: What asking a server raises. Besides the library's own errors there are those of what it is built on: an address
#: to which a server redirects may be such that nothing can be made of it (ValueError), certificates may not be
#: where the environment says (OSError).
_FAILURES = (requests.RequestException, HTTPError, http.client.HTTPException, ValueError, OSError)


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


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for a connection, and for the next bytes of an answer."""

    connect_s: float = 20.0
    silence_s: float = 30.0


@dataclass(frozen=True)
class Hooks:
    """What a try tells: ``begun(offset, total)`` once, ``moved(done, total)`` per piece.

    ``stopped()`` is asked after every piece whether to end with Stopped.
    """

    begun: Callable[[int, int | None], None]
    moved: Callable[[int, int | None], None]
    stopped: Callable[[], bool]


def new_session() -> requests.Session:
    """Session for one thread. Proxies and certificates come from the environment, retries are ours."""
    session = requests.Session()
    session.headers.update({"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"})
    return session


def probe_size(session: requests.Session, url: str, timeouts: Timeouts) -> int | None:
    """Size in bytes that the server states for ``url``, None if it does not, or cannot be reached."""
    try:
        response = session.head(url, allow_redirects=True, timeout=(timeouts.connect_s, timeouts.silence_s))
    except _FAILURES:
        return None
    if response.status_code != 200 or "text/html" in response.headers.get("Content-Type", ""):
        return None
    return _length(response)


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


def fetch(
    session: requests.Session,
    url: str,
    part: PartFile,
    file: RemoteFile,
    *,
    hash_known: bool,
    timeouts: Timeouts,
    hooks: Hooks,
) -> None:
    """Bring ``part`` to its end from ``url``, going on where it stands if server and version allow it.

    ``hash_known``: the whole will be checked against a digest, so a part without validators, or one begun at
    another address, may be continued. Raises Transient, Refused, Stopped; OSError if the disk refuses.
    """
    note, offset = part.note, part.size
    if offset and (note is None or not (note.validator or hash_known)):
        part.discard()
        note, offset = None, 0
    if note is not None and note.total is not None and offset:
        if offset == note.total:
            hooks.begun(offset, note.total)
            return
        if offset > note.total:
            part.discard()
            note, offset = None, 0
    headers = {}
    if offset and note is not None:
        headers["Range"] = f"bytes={offset}-"
        if note.validator and (note.url == url or not hash_known):
            headers["If-Range"] = note.validator
    with _answer(session, url, headers, timeouts, hooks) as response:
        answer = _note(response, url)
        if offset and note is not None and response.status_code == 206:
            total = _check_range(
                response, answer, note, part, versions_matter=note.url == url or not hash_known
            )
            hooks.begun(offset, total)
            part.go_on()
            _receive(response, part, total, b"", hooks)
        elif offset and response.status_code == 416:
            _beyond_end(response, part, offset, hooks)
        elif response.status_code == 200:
            _from_start(response, answer, part, file, hooks)
        else:
            raise _verdict(response)


def _answer(
    session: requests.Session, url: str, headers: dict[str, str], timeouts: Timeouts, hooks: Hooks
) -> requests.Response:
    """Ask for ``url`` and wait until its headers are there, but not for ever: they might come byte by byte.

    The sockets know limits for each byte only, so it is another thread that waits for them, and is left behind when
    it takes too long.
    """
    result: list[requests.Response | Exception] = []

    def ask() -> None:
        limits = (timeouts.connect_s, timeouts.silence_s)
        try:
            result.append(session.get(url, headers=headers, stream=True, timeout=limits))
        except Exception as error:  # it is raised below, in the thread that asked
            result.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    limit_s = timeouts.connect_s + timeouts.silence_s
    end = time.monotonic() + limit_s
    while thread.is_alive():
        thread.join(_POLL_S)
        if hooks.stopped():
            raise Stopped
        if time.monotonic() > end and not result:
            raise Transient(f"the server did not answer within {limit_s:.0f} s", connected=False)
    answer = result[0]
    if isinstance(answer, _FAILURES):
        raise _failed_to_connect(answer) from answer
    if isinstance(answer, Exception):
        raise answer
    return answer


def _from_start(
    response: requests.Response, answer: PartNote, part: PartFile, file: RemoteFile, hooks: Hooks
) -> None:
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    # A server that calls a .tar.gz "gzip-encoded" sends just the file; anything else we did not ask for.
    if encoding not in ("", "identity") and not file.name.endswith((".gz", ".tgz")):
        raise Refused(f"the server insists on sending it {encoding}-encoded")
    if file.size is not None and answer.total not in (None, file.size):
        raise Refused(f"the server's file has {answer.total} bytes, the published one {file.size}")
    start = _read(response)
    if not start:
        raise Transient("the server sent nothing", lasting=True)
    reason = error_page(start, response.headers.get("Content-Type", ""), file.name)
    if reason:  # judged before the part is touched: what it holds may still be good
        raise Refused(reason)
    hooks.begun(0, answer.total)
    part.begin(answer)
    _receive(response, part, answer.total, start, hooks)


def _receive(
    response: requests.Response, part: PartFile, total: int | None, start: bytes, hooks: Hooks
) -> None:
    done = part.size

    def read() -> bytes:
        try:
            return _read(response)
        except Transient as failure:
            if failure.lasting and total is not None:
                return b""  # said below, with figures
            raise

    piece = start or read()
    while piece:
        part.append(piece)
        done += len(piece)
        hooks.moved(done, total)
        if hooks.stopped():
            raise Stopped
        if total is not None and done >= total:
            break
        piece = read()
    if total is not None and done < total:
        raise Transient(f"the connection ended after {done} of {total} bytes", lasting=True)


def _read(response: requests.Response) -> bytes:
    """Read what has arrived, b"" at the end. Reads are short, so nothing is lost when the line drops."""
    try:
        return bytes(response.raw.read1(_CHUNK, decode_content=False) or b"")
    except (HTTPError, OSError, http.client.HTTPException, ValueError) as error:
        # The server ended the connection in good order, with fewer bytes than it had promised.
        short = any(isinstance(cause, http.client.IncompleteRead) for cause in _causes(error))
        raise Transient(_plainly(error), lasting=short) from error


def _check_range(
    response: requests.Response, answer: PartNote, note: PartNote, part: PartFile, *, versions_matter: bool
) -> int | None:
    """Size of the whole file, once it is sure that the answer goes on where the part ends."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    start, last, total = match.groups() if match else (None, None, None)
    whole = int(total) if total not in (None, "*") else note.total
    fits = start is not None and int(start) == part.size and (note.total is None or note.total == whole)
    if fits and whole is not None and last is not None and int(last) >= whole:
        fits = False
    if versions_matter and not note.same_version(PartNote(answer.url, answer.etag, answer.last_modified)):
        fits = False
    if not fits:
        part.discard()
        raise Transient("the file changed on the server; starting afresh", at_once=True, lasting=True)
    return whole


def _beyond_end(response: requests.Response, part: PartFile, offset: int, hooks: Hooks) -> None:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    note = part.note
    if match and match.group(3) == str(offset) and note is not None and note.total in (None, offset):
        hooks.begun(offset, offset)
        return
    fits = match and match.group(3) == str(offset)
    part.discard()
    reason = (
        f"the server announces {note.total} bytes and has {offset}"
        if fits and note is not None
        else "the file on the server is shorter than what was received; starting afresh"
    )
    raise Transient(reason, at_once=True, lasting=True)


def _note(response: requests.Response, url: str) -> PartNote:
    header = response.headers.get
    return PartNote(url, header("ETag", ""), header("Last-Modified", ""), _length(response))


def _length(response: requests.Response) -> int | None:
    value = response.headers.get("Content-Length", "")
    if "Transfer-Encoding" in response.headers or not _NUMBER.fullmatch(value):
        return None
    return int(value)


def _verdict(response: requests.Response) -> Transient | Refused:
    reason = f"HTTP {response.status_code} {response.reason or ''}".strip()
    if response.status_code in _TRANSIENT_STATUS:
        return Transient(reason, wait_s=_retry_after(response))
    if response.status_code in (401, 403, 407):
        return Refused(f"{reason}: the server or a proxy wants a log-in")
    return Refused(reason)


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "").strip()
    if _NUMBER.fullmatch(value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    from datetime import datetime, timezone

    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def _failed_to_connect(error: Exception) -> Transient | Refused:
    causes = list(_causes(error))
    if isinstance(error, requests.exceptions.SSLError) and "certificate" in str(error).lower():
        return Refused(f"the server's certificate is not trusted: {_plainly(error)}")
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
    for cause in causes:
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
    return Transient(_plainly(error), connected=answered)


def _causes(error: BaseException) -> Iterator[BaseException]:
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


def _plainly(error: BaseException) -> str:
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

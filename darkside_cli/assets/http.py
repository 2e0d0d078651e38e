"""One try at fetching one address into a ``.part`` file, and the check of what the server answered.

A try either completes the part or raises: :class:`Transient` (another try may help, and will go on where
this one stopped) or :class:`Refused` (this address will not give the file). Ranges are asked for with
``If-Range``, and an answer is only ever joined to what is there when status, ``Content-Range`` and validators
all say that it fits.
"""

from __future__ import annotations

import http.client
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests
from urllib3.exceptions import HTTPError

from darkside_cli import __version__
from darkside_cli.assets.disk import Stopped
from darkside_cli.assets.entries import RemoteFile
from darkside_cli.assets.http_failures import (
    FAILURES,
    NUMBER,
    Refused,
    Transient,
    causes,
    error_page,
    failed_to_connect,
    plainly,
    verdict,
)
from darkside_cli.assets.partial import PartFile, PartNote

USER_AGENT = f"darkside/{__version__} (+https://arxiv.org/abs/2309.16351)"
_CHUNK = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII)
_POLL_S = 0.1


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


class Sessions:
    """Sessions that are used again, with the connections that they hold. Close it when all is done."""

    def __init__(self) -> None:
        self._idle: queue.LifoQueue[requests.Session] = queue.LifoQueue()

    @contextmanager
    def lend(self) -> Iterator[requests.Session]:
        """Give a session to one thread; one that something went wrong with is not lent again."""
        try:
            session = self._idle.get_nowait()
        except queue.Empty:
            session = new_session()
        try:
            yield session
        except BaseException:
            session.close()
            raise
        self._idle.put(session)

    def close(self) -> None:
        """Close those that nobody has."""
        while not self._idle.empty():
            self._idle.get().close()


def probe_size(session: requests.Session, url: str, timeouts: Timeouts) -> int | None:
    """Size in bytes that the server states for ``url``, None if it does not, or cannot be reached."""
    try:
        response = session.head(url, allow_redirects=True, timeout=(timeouts.connect_s, timeouts.silence_s))
    except FAILURES:
        return None
    if response.status_code != 200 or "text/html" in response.headers.get("Content-Type", ""):
        return None
    return _length(response)


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
            raise verdict(response)


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
    if isinstance(answer, FAILURES):
        raise failed_to_connect(answer) from answer
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
        short = any(isinstance(cause, http.client.IncompleteRead) for cause in causes(error))
        raise Transient(plainly(error), lasting=short) from error


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
    if "Transfer-Encoding" in response.headers or not NUMBER.fullmatch(value):
        return None
    return int(value)

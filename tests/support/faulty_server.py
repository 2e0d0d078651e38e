"""An HTTP server on this machine that fails in every way that servers and lines do, and counts what it sends."""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Fault:
    """How one GET goes wrong. The first fault of a resource is used up by each GET; without any, all goes well.

    ``drop_after``/``stall_after`` body bytes the connection ends / falls silent; ``trickle_s`` is slept between
    pieces; ``until`` is called after the first piece, and what follows waits for it; ``status`` with ``headers`` is
    answered instead; ``page`` is a body sent instead, as ``content_type``; ``ignore_range`` sends the whole file with
    200; ``honour_stale`` sends ranges whatever If-Range says; ``claim`` is added to the true length in the headers;
    ``content`` replaces the file from here on; ``reset`` ends a dropped connection with RST instead of FIN. ``raw``
    bytes are sent instead of any HTTP, those of ``head_trickle_s`` one by one with this pause between, and the
    connection ends; b"" is an empty reply. ``hang`` says nothing at all, and keeps the connection.
    """

    drop_after: int | None = None
    stall_after: int | None = None
    trickle_s: float = 0.0
    until: Callable[[], object] | None = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    page: bytes | None = None
    content_type: str = "text/html"
    ignore_range: bool = False
    honour_stale: bool = False
    claim: int = 0
    content: bytes | None = None
    reset: bool = False
    raw: bytes | None = None
    head_trickle_s: float = 0.0
    hang: bool = False


@dataclass
class Resource:
    """A file on the server. ``always`` is the fault of every GET that has none of its own.

    ``chunked`` and ``lengthless`` say no length, the second ends with the connection; ``encoding`` is
    claimed.
    """

    content: bytes
    etag: bool = True
    dated: bool = True
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault = field(default_factory=Fault)
    chunked: bool = False
    lengthless: bool = False
    encoding: str = ""

    @property
    def tag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'

    @property
    def date(self) -> str:
        # A second per version, so that a changed file has a changed date.
        return email.utils.formatdate(1_600_000_000 + int(self.tag[1:6], 16), usegmt=True)


@dataclass
class Seen:
    """One request: its method and path, the Range and If-Range it came with, the status and body bytes it got."""

    method: str
    path: str
    range: str
    if_range: str
    status: int = 0
    sent: int = 0


class FaultyServer:
    """The server; use it as a context manager. ``base`` is its address, ``files`` its resources by path.

    ``seen`` are the requests, ``connections`` counts what they came over.
    """

    def __init__(self) -> None:
        self.files: dict[str, Resource] = {}
        self.seen: list[Seen] = []
        self.connections = 0
        self.release = threading.Event()  # ends every stall
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultyServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, path: str, content: bytes, *faults: Fault, **options: Any) -> str:
        self.files[path] = Resource(content, faults=deque(faults), **options)
        return self.base + path

    def gets(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "GET" and seen.path == path]

    def sent(self, path: str) -> int:
        return sum(seen.sent for seen in self.gets(path))


def _handler(server: FaultyServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def handle(self) -> None:
            server.connections += 1
            with contextlib.suppress(OSError):
                super().handle()

        def _note(self) -> Seen:
            path = self.path
            if path.startswith("http://"):  # we are asked as a proxy
                path = "/" + path.split("/", 3)[3]
            seen = Seen(self.command, path, self.headers.get("Range", ""), self.headers.get("If-Range", ""))
            server.seen.append(seen)
            return seen

        def _headers(self, resource: Resource, length: int | None, extra: dict[str, str]) -> None:
            if length is not None:
                self.send_header("Content-Length", str(length))
            if resource.etag:
                self.send_header("ETag", resource.tag)
            if resource.dated:
                self.send_header("Last-Modified", resource.date)
            for key, value in extra.items():
                self.send_header(key, value)
            self.end_headers()

        def do_HEAD(self) -> None:
            seen = self._note()
            resource = server.files.get(seen.path)
            seen.status = 200 if resource else 404
            if resource is not None and resource.always.status // 100 == 3:  # it redirects whoever asks
                seen.status = resource.always.status
                self.send_response(seen.status)
                self.send_header("Location", resource.always.headers["Location"])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(seen.status)
            if resource is None:
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._headers(resource, len(resource.content) + resource.always.claim, {})

        def do_GET(self) -> None:
            seen = self._note()
            resource = server.files.get(seen.path)
            if resource is None:
                self._plain(seen, 404, b"not here", {})
                return
            fault = resource.faults.popleft() if resource.faults else resource.always
            if fault.content is not None:
                resource.content = fault.content
            if fault.hang:
                server.release.wait(250)
                self.close_connection = True
            elif fault.raw is not None:
                self._raw(fault.raw, fault.head_trickle_s)
            elif fault.status:
                self._plain(seen, fault.status, b"sorry", fault.headers)
            elif fault.page is not None:
                self._plain(seen, 200, fault.page, {"Content-Type": fault.content_type})
            else:
                self._file(seen, resource, fault)

        def _raw(self, data: bytes, trickle_s: float) -> None:
            self.close_connection = True
            if not trickle_s:
                self.wfile.write(data)
                return
            for number in range(len(data)):
                if server.release.wait(trickle_s):
                    return
                self.wfile.write(data[number : number + 1])

        def _plain(self, seen: Seen, status: int, body: bytes, headers: dict[str, str]) -> None:
            seen.status = status
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def _file(self, seen: Seen, resource: Resource, fault: Fault) -> None:
            content, start = resource.content, 0
            fresh = fault.honour_stale or seen.if_range in ("", resource.tag, resource.date)
            if seen.range and fresh and not fault.ignore_range:
                start = int(seen.range.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    seen.status = 416
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            body = content[start:]
            seen.status = 206 if start else 200
            self.send_response(seen.status)
            extra = {"Content-Type": "application/octet-stream"}
            whole = len(content) + fault.claim
            if start:
                extra["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
            if resource.chunked:
                extra["Transfer-Encoding"] = "chunked"
            if resource.encoding:
                extra["Content-Encoding"] = resource.encoding
            if resource.lengthless:
                extra["Connection"] = "close"
                self.close_connection = True
            unsaid = resource.chunked or resource.lengthless
            self._headers(resource, None if unsaid else len(body) + fault.claim, extra)
            self._send(seen, body, fault, resource.chunked)

        def _send(self, seen: Seen, body: bytes, fault: Fault, chunked: bool) -> None:
            limit = min(x for x in (fault.drop_after, fault.stall_after, len(body)) if x is not None)
            piece = 1 << 14 if fault.trickle_s or fault.until else max(1, len(body))
            for at in range(0, limit, piece):
                data = body[at : min(at + piece, limit)]
                seen.sent += len(data)  # before who gets it can look at the sum
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
                if fault.until and not at:
                    fault.until()
                if fault.trickle_s:
                    server.release.wait(fault.trickle_s)
            if fault.stall_after is not None:
                server.release.wait(250)
            if limit < len(body) or fault.claim:
                self.close_connection = True
                if fault.reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                    self.connection.close()
                else:
                    self.connection.shutdown(socket.SHUT_WR)
            elif chunked:
                self.wfile.write(b"0\r\n\r\n")

    return Handler

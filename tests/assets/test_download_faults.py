"""Servers that will never give the file: told from those that may, tried a few times quickly, and the wait said."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest
from faulty_server import Fault, FaultyServer
from waiting import wait_until

from darkside_cli.assets.download import Downloader
from darkside_cli.assets.download_options import Options
from darkside_cli.assets.entries import RemoteFile
from darkside_cli.assets.http import Timeouts, new_session, probe_size
from darkside_cli.errors import MissingAssetError
from darkside_cli.events import Event, TransferRetrying

BODY = random.Random(3).randbytes(20_000)
OK = b"HTTP/1.1 200 OK\r\n"
#: What breaks the rules of HTTP, and what is said of it.
LASTING = {
    "empty reply": (Fault(raw=b""), "closed the connection without an answer"),
    "garbage": (Fault(raw=b"\x16\x03\x01 what \xff\r\n\r\n"), "does not speak HTTP: it sent"),
    "another protocol": (Fault(raw=b"SSH-2.0-OpenSSH_9.6\r\n"), "does not speak HTTP: it sent 'SSH-2.0"),
    "no number": (Fault(raw=b"HTTP/1.1 abc OK\r\n\r\n"), "does not speak HTTP"),
    "10,000 headers": (
        Fault(raw=OK + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n"),
        "got more than 100 headers",
    ),
    "a long header": (Fault(raw=OK + b"X: " + b"a" * 100_000 + b"\r\n\r\n"), "more than 65536 bytes"),
    "no body": (Fault(raw=OK + b"Content-Length: 0\r\n\r\n"), "sent nothing"),
    "no chunks": (Fault(raw=OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n"), "ended early"),
    "short body": (Fault(claim=100), "ended after 20000 of 20100 bytes"),
}


def fetch(server: FaultyServer, root: Path, *urls: str, **changes: object) -> tuple[list[float], list[Event]]:
    """Fetch from ``urls``, which fails; give the waits that were asked for, and what was told."""
    waits: list[float] = []
    events: list[Event] = []
    quick = Options(
        # Who answers does so in time, on a busy machine too.
        timeouts=Timeouts(connect_s=60.0, silence_s=60.0),
        wait=lambda stop, seconds: waits.append(seconds),
        chance=lambda: 0.5,
        clock=itertools.count(step=10.0).__next__,
        spare_bytes=0,
    )
    file = RemoteFile(path="w/net.bin", urls=urls)
    with pytest.raises(MissingAssetError):
        Downloader(root, replace(quick, **changes)).fetch(file, events.append)  # type: ignore[arg-type]
    assert not (root / "w" / "net.bin").exists()
    return waits, events


@pytest.mark.parametrize("kind", LASTING)
def test_what_breaks_the_rules_ends_after_three_quick_tries(
    server: FaultyServer, tmp_path: Path, kind: str
) -> None:
    fault, reason = LASTING[kind]
    url = server.add("/net.bin", BODY, always=fault)
    waits, events = fetch(server, tmp_path, url)
    assert sum(waits) <= 3.0
    assert len(server.gets("/net.bin")) <= 3
    retries = [event for event in events if isinstance(event, TransferRetrying)]
    assert [(each.attempt, each.attempts) for each in retries] == [(2, 3), (3, 3)]
    assert reason in retries[0].reason


def test_what_may_get_better_is_tried_six_times_and_the_whole_wait_is_said(
    server: FaultyServer, tmp_path: Path
) -> None:
    url = server.add("/net.bin", BODY, always=Fault(status=503))
    waits, events = fetch(server, tmp_path, url)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0]
    told = [event for event in events if isinstance(event, TransferRetrying)]
    # The first wait as it is, the others at most; and each try takes the ten seconds that the last one took.
    assert told[0].whole_s == 1.0 + 1.5 * (2 + 4 + 8 + 16) + 5 * 10
    assert (told[0].attempts, told[0].source) == (6, url)
    assert told[-1].whole_s == 16.0 + 10


@pytest.mark.parametrize(("attempts", "times"), [(1, 1), (2, 2), (9, 9)])
def test_the_user_says_how_often(server: FaultyServer, tmp_path: Path, attempts: int, times: int) -> None:
    url = server.add("/net.bin", BODY, always=Fault(status=503))
    fetch(server, tmp_path, url, attempts=attempts)
    assert len(server.gets("/net.bin")) == times
    garbage = server.add("/garbage", BODY, always=Fault(raw=b"no\r\n"))
    fetch(server, tmp_path, garbage, attempts=attempts)
    assert len(server.gets("/garbage")) == min(3, times)


def test_what_goes_on_is_never_given_up(server: FaultyServer, tmp_path: Path) -> None:
    """Every try ends too early, but each brings something: that is a bad line, not a wrong length."""
    url = server.add("/net.bin", BODY, *(Fault(drop_after=2000) for _ in range(9)))
    path = Downloader(tmp_path, Options(wait=lambda stop, seconds: None, spare_bytes=0)).fetch(
        RemoteFile(path="w/net.bin", urls=(url,))
    )
    assert path.read_bytes() == BODY


@pytest.mark.parametrize(
    "fault",
    [Fault(hang=True), Fault(raw=OK + b"A: b\r\n" * 90, head_trickle_s=0.05)],
    ids=["hang", "trickle"],
)
def test_a_server_that_never_answers_is_asked_twice_and_its_other_addresses_once(
    server: FaultyServer, tmp_path: Path, fault: Fault
) -> None:
    urls = [server.add(f"/{name}", BODY, always=fault) for name in "abc"]
    waits, _ = fetch(server, tmp_path, *urls, timeouts=Timeouts(connect_s=0.2, silence_s=0.2))

    def asked() -> list[int]:
        return [len(server.gets(f"/{name}")) for name in "abc"]

    wait_until(lambda: sum(asked()) >= 4)  # the server may come to the last one only after we gave up
    assert asked() == [2, 1, 1]
    assert waits == [1.0]


@pytest.mark.parametrize(
    "place",
    [
        "http://[::bad",
        "http://" + "a" * 300 + ".com/",
        "http://.a..b/",
        "http://127.0.0.1:99999/",
        "http://%00/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
    ],
)
def test_a_redirection_to_no_address_is_one_refusal_and_the_next_address_is_asked(
    server: FaultyServer, tmp_path: Path, place: str
) -> None:
    away = server.add("/away", BODY, always=Fault(status=302, headers={"Location": place}))
    waits, _ = fetch(server, tmp_path, away)
    assert waits == []
    assert len(server.gets("/away")) == 1
    with new_session() as session:
        assert probe_size(session, away, Timeouts(1.0, 1.0)) is None
    good = server.add("/good", BODY)
    file = RemoteFile(path="w/net.bin", urls=(away, good))
    assert Downloader(tmp_path, Options(spare_bytes=0)).fetch(file).read_bytes() == BODY


def test_a_redirection_that_goes_round_is_told_as_one(server: FaultyServer, tmp_path: Path) -> None:
    loop = server.add("/loop", BODY, always=Fault(status=302, headers={"Location": "/loop"}))
    waits, events = fetch(server, tmp_path, loop)
    assert waits == []
    assert "redirects without end" in str(events[-1])


@pytest.mark.parametrize("length", [b"\xb2", b"9" * 5000, b"-5"])
def test_a_length_that_is_no_number_is_none(server: FaultyServer, tmp_path: Path, length: bytes) -> None:
    url = server.add("/net.bin", BODY, always=Fault(raw=OK + b"Content-Length: " + length + b"\r\n\r\nabc"))
    path = Downloader(tmp_path, Options(spare_bytes=0)).fetch(RemoteFile(path="w/net.bin", urls=(url,)))
    assert path.read_bytes() == b"abc"


def test_certificates_that_are_not_there_are_told(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    waits, events = fetch(server, tmp_path, server.base.replace("http:", "https:") + "/net.bin")
    assert waits == []
    assert "none.pem" in str(events[-1])

"""Downloads over a line that fails in every way: whole and right, or a clear error and a rerun that completes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import zipfile
from dataclasses import replace
from functools import partial as partial_of
from pathlib import Path
from typing import Any

import pytest
from faulty_server import Fault, FaultyServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import Process, wait_until

from darkside_cli.assets import partial
from darkside_cli.assets.disk import Space, free_bytes
from darkside_cli.assets.download import Downloader
from darkside_cli.assets.download_options import Options
from darkside_cli.assets.entries import RemoteFile
from darkside_cli.assets.http import Timeouts
from darkside_cli.assets.http_failures import error_page
from darkside_cli.assets.mirrors import Mirror, read_mirrors
from darkside_cli.assets.soundness import wrong_form
from darkside_cli.assets.transfer import run_parallel
from darkside_cli.errors import ConfigError, DarksideError, MissingAssetError
from darkside_cli.events import (
    Emit,
    Event,
    Notice,
    TransferFailed,
    TransferFinished,
    TransferProgress,
    TransferRetrying,
    TransferStarted,
)

BODY = random.Random(7).randbytes(300_000)
OTHER = random.Random(8).randbytes(280_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
PATH = "/weights/net.bin"


def options(**changes: object) -> Options:
    """No real waiting: back-off is recorded by the caller's ``wait``. Nothing is taken for silence that is none."""
    quick = Options(
        timeouts=Timeouts(connect_s=60.0, silence_s=60.0),
        wait=lambda stop, seconds: None,
        chance=lambda: 0.5,
        spare_bytes=0,
    )
    return replace(quick, **changes)  # type: ignore[arg-type]


def remote(server: FaultyServer, **changes: object) -> RemoteFile:
    file = RemoteFile(path="weights/net.bin", urls=(server.base + PATH,))
    return replace(file, **changes)  # type: ignore[arg-type]


def whole(root: Path, content: bytes = BODY) -> bool:
    """Whether the file is there, right, and nothing unfinished beside it."""
    folder = root / "weights"
    return [p.name for p in folder.iterdir()] == ["net.bin"] and (folder / "net.bin").read_bytes() == content


def test_a_file_comes_whole_and_is_recorded(server: FaultyServer, tmp_path: Path) -> None:
    url = server.add(PATH, BODY)
    events: list[Event] = []
    path = Downloader(tmp_path, options()).fetch(remote(server), events.append)
    assert path == tmp_path / "weights" / "net.bin"
    assert whole(tmp_path)
    record = Downloader(tmp_path).ledger.read().files["weights/net.bin"]
    assert (record.sha256, record.size, record.url) == (DIGEST, len(BODY), url)
    assert events[0] == TransferStarted("net.bin", len(BODY), 0)
    assert isinstance(events[-1], TransferFinished)
    assert events[-1].size == len(BODY)
    assert any(isinstance(event, TransferProgress) and event.done == len(BODY) for event in events)
    assert server.gets(PATH)[0].range == ""


def test_a_file_that_is_there_is_not_fetched_again(server: FaultyServer, tmp_path: Path) -> None:
    server.add(PATH, BODY)
    downloader = Downloader(tmp_path, options())
    downloader.fetch(remote(server))
    downloader.fetch(remote(server))
    assert len(server.seen) == 1


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(1, 120_000), min_size=1, max_size=5), reset=st.booleans(), chunked=st.booleans()
)
def test_drops_at_random_bytes_cost_no_byte_twice(
    server: FaultyServer,
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[int],
    reset: bool,
    chunked: bool,
) -> None:
    root = tmp_path_factory.mktemp("root")
    server.seen.clear()
    server.add(PATH, BODY, *(Fault(drop_after=cut, reset=reset) for cut in cuts), chunked=chunked)
    Downloader(root, options()).fetch(remote(server))
    assert whole(root)
    gets = server.gets(PATH)
    if not reset:  # a reset may throw away what the kernel held, on either side
        assert server.sent(PATH) == len(BODY)
    starts = [int(seen.range[6:-1]) for seen in gets if seen.range]
    assert starts == sorted(set(starts))
    assert all(seen.if_range == server.files[PATH].tag for seen in gets if seen.range)


def test_silence_is_noticed_and_what_came_before_it_is_kept(server: FaultyServer, tmp_path: Path) -> None:
    server.add(PATH, BODY, Fault(stall_after=1000), Fault(stall_after=0), Fault(stall_after=50_000))
    events: list[Event] = []
    impatient = options(timeouts=Timeouts(connect_s=60.0, silence_s=1.0))
    Downloader(tmp_path, impatient).fetch(remote(server), events.append)
    assert whole(tmp_path)
    assert server.sent(PATH) == len(BODY)
    reasons = [event.reason for event in events if isinstance(event, TransferRetrying)]
    assert reasons == ["the server fell silent"] * 3


def test_backoff_grows_with_jitter_and_retry_after_is_heeded(server: FaultyServer, tmp_path: Path) -> None:
    waits: list[float] = []
    server.add(
        PATH,
        BODY,
        Fault(status=500),
        Fault(status=503),
        Fault(status=502),
        Fault(status=429, headers={"Retry-After": "37"}),
        Fault(status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    )
    chances = iter([0.0, 1.0, 0.5, 0.5, 0.5])
    Downloader(
        tmp_path,
        options(
            wait=lambda stop, seconds: waits.append(seconds), chance=lambda: next(chances), backoff_cap_s=10.0
        ),
    ).fetch(remote(server))
    assert whole(tmp_path)
    # 1 * 0.5, 2 * 1.5, 4 * 1, Retry-After, min(10, 16) * 1 (the date lies in the past)
    assert waits == [0.5, 3.0, 4.0, 37.0, 10.0]


def test_a_server_that_wants_too_long_a_wait_is_not_waited_for(server: FaultyServer, tmp_path: Path) -> None:
    server.add(PATH, BODY, Fault(status=429, headers={"Retry-After": "86400"}))
    with pytest.raises(MissingAssetError, match="come back in 86400 s"):
        Downloader(tmp_path, options()).fetch(remote(server))


def test_endless_failure_ends_and_counts_only_tries_without_progress(
    server: FaultyServer, tmp_path: Path
) -> None:
    server.add(PATH, BODY, *(Fault(drop_after=1000) for _ in range(20)), always=Fault(status=500))
    with pytest.raises(MissingAssetError, match=r"HTTP 500.*4 times in a row") as caught:
        Downloader(tmp_path, options(attempts=4)).fetch(remote(server))
    assert caught.value.exit_code == 3
    assert "run the same command again" in str(caught.value.hint)
    # 20 that each brought something, the last of them the first of the four failures
    assert len(server.gets(PATH)) == 20 + 3
    server.files[PATH].always = Fault()
    Downloader(tmp_path, options()).fetch(remote(server))
    assert whole(tmp_path)
    assert server.sent(PATH) == len(BODY)


@pytest.mark.parametrize("status", [404, 403, 410])
def test_what_will_not_change_is_not_tried_again(server: FaultyServer, tmp_path: Path, status: int) -> None:
    server.add(PATH, BODY, always=Fault(status=status))
    with pytest.raises(MissingAssetError, match=f"HTTP {status}"):
        Downloader(tmp_path, options()).fetch(remote(server))
    assert len(server.gets(PATH)) == 1


def test_a_server_that_ignores_range_is_begun_afresh(server: FaultyServer, tmp_path: Path) -> None:
    server.add(PATH, BODY, Fault(drop_after=100_000), always=Fault(ignore_range=True))
    Downloader(tmp_path, options()).fetch(remote(server))
    assert whole(tmp_path)
    assert [seen.status for seen in server.gets(PATH)] == [200, 200]


@pytest.mark.parametrize("honour_stale", [False, True])
@pytest.mark.parametrize("etag", [False, True])
def test_a_file_that_changes_between_tries_is_begun_afresh(
    server: FaultyServer, tmp_path: Path, honour_stale: bool, etag: bool
) -> None:
    server.add(
        PATH,
        BODY,
        Fault(drop_after=100_000),
        Fault(content=OTHER + BODY[:20_000], honour_stale=honour_stale),  # of the same length
        etag=etag,
    )
    Downloader(tmp_path, options()).fetch(remote(server))
    assert whole(tmp_path, OTHER + BODY[:20_000])


def test_a_file_that_became_shorter_than_the_part_is_begun_afresh(
    server: FaultyServer, tmp_path: Path
) -> None:
    short = BODY[:500]
    server.add(PATH, BODY, Fault(drop_after=100_000), Fault(content=short, honour_stale=True))
    Downloader(tmp_path, options()).fetch(remote(server))
    assert whole(tmp_path, short)


def test_without_validators_a_part_is_only_gone_on_with_if_the_digest_is_known(
    server: FaultyServer, tmp_path: Path
) -> None:
    server.add(PATH, BODY, Fault(drop_after=100_000), etag=False, dated=False)
    Downloader(tmp_path / "a", options()).fetch(remote(server))
    assert [seen.range for seen in server.gets(PATH)] == ["", ""]
    server.seen.clear()
    server.add(PATH, BODY, Fault(drop_after=100_000), etag=False, dated=False)
    Downloader(tmp_path / "b", options()).fetch(remote(server, sha256=DIGEST[:8]))
    assert [seen.range for seen in server.gets(PATH)] == ["", "bytes=100000-"]
    assert whole(tmp_path / "a")
    assert whole(tmp_path / "b")


def test_a_length_that_is_too_large_is_no_whole_file(server: FaultyServer, tmp_path: Path) -> None:
    server.add(PATH, BODY, always=Fault(claim=10))
    with pytest.raises(MissingAssetError):
        Downloader(tmp_path, options(attempts=3)).fetch(remote(server))
    assert not (tmp_path / "weights" / "net.bin").exists()
    server.files[PATH].always = Fault()
    Downloader(tmp_path, options()).fetch(remote(server))
    assert whole(tmp_path)


@pytest.mark.parametrize("known", [True, False])
def test_without_a_length_a_drop_is_found_by_the_digest(
    server: FaultyServer, tmp_path: Path, known: bool
) -> None:
    server.add(PATH, BODY, Fault(drop_after=100_000), lengthless=True)
    Downloader(tmp_path, options()).fetch(remote(server, sha256=DIGEST[:9] if known else ""))
    assert whole(tmp_path, BODY if known else BODY[:100_000])  # who knows nothing cannot notice


def test_an_encoding_that_nobody_asked_for_is_refused_but_for_archives(
    server: FaultyServer, tmp_path: Path
) -> None:
    server.add(PATH, BODY, encoding="gzip")
    with pytest.raises(MissingAssetError, match="insists on sending it gzip-encoded"):
        Downloader(tmp_path, options()).fetch(remote(server))
    packed = gzip.compress(BODY)
    url = server.add("/ims.tar.gz", packed, Fault(drop_after=1000), encoding="x-gzip")  # Apache calls them so
    path = Downloader(tmp_path, options()).fetch(RemoteFile(path="ims.tar.gz", urls=(url,)))
    assert path.read_bytes() == packed


def test_redirections_are_followed_and_resumed(server: FaultyServer, tmp_path: Path) -> None:
    server.add("/real", BODY, Fault(drop_after=100_000))
    server.add(PATH, BODY, always=Fault(status=302, headers={"Location": server.base + "/real"}))
    Downloader(tmp_path, options()).fetch(remote(server))
    assert whole(tmp_path)
    assert [seen.range for seen in server.gets("/real")] == ["", "bytes=100000-"]


@pytest.mark.parametrize("known", [{"sha256": DIGEST}, {"sha256": DIGEST[:7]}, {"size": len(BODY)}])
def test_a_length_that_is_too_small_is_found_by_digest_or_size(
    server: FaultyServer, tmp_path: Path, known: dict[str, object]
) -> None:
    server.add(PATH, BODY, always=Fault(claim=-10))
    with pytest.raises(MissingAssetError):
        Downloader(tmp_path, options(attempts=3)).fetch(remote(server, **known))
    assert not (tmp_path / "weights" / "net.bin").exists()
    server.files[PATH].always = Fault()
    Downloader(tmp_path, options()).fetch(remote(server, **known))
    assert whole(tmp_path)


def test_a_length_that_is_too_small_is_found_by_the_form_of_the_file(
    server: FaultyServer, tmp_path: Path
) -> None:
    pickled = b"\x80\x04" + BODY.replace(b".", b"-") + b"."
    url = server.add("/gnd.pkl", pickled, always=Fault(claim=-10))
    file = RemoteFile(path="data/gnd.pkl", urls=(url,))
    with pytest.raises(MissingAssetError, match="cut short"):
        Downloader(tmp_path, options(attempts=3)).fetch(file)
    server.files["/gnd.pkl"].always = Fault()
    assert Downloader(tmp_path, options()).fetch(file).read_bytes() == pickled


@pytest.mark.parametrize(
    ("page", "content_type"),
    [
        (
            b"<!DOCTYPE html><html><body>Log in to the campus network</body></html>",
            "text/html; charset=utf-8",
        ),
        (b"\n  <html><head><title>302 Found</title></head></html>", "application/octet-stream"),
        (b'{"error": "quota exceeded"}', "application/json"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "application/xml"),
    ],
)
def test_a_web_page_is_no_file_and_does_not_harm_the_part(
    server: FaultyServer, tmp_path: Path, page: bytes, content_type: str
) -> None:
    html = Fault(page=page, content_type=content_type)
    server.add(PATH, BODY, Fault(drop_after=100_000), html)
    with pytest.raises(MissingAssetError, match="instead of the file"):
        Downloader(tmp_path, options()).fetch(remote(server))
    assert (tmp_path / "weights" / "net.bin.part").stat().st_size == 100_000
    Downloader(tmp_path, options()).fetch(remote(server))
    assert whole(tmp_path)
    assert server.sent(PATH) == len(BODY)


def test_error_pages_are_told_from_files() -> None:
    assert error_page(b"Sorry, too many visitors", "text/html", "net.pth") is not None
    assert error_page(b"<h1>Please log in</h1>", "text/html", "train_day.txt") is not None
    assert error_page(b"0a1b2c\n", "text/plain", "train_day.txt") is None
    assert (
        error_page(b"PK\x03\x04\x00\x00", "text/html", "net.pth") is None
    )  # a server that names types wrongly
    assert error_page(b"3fb7b4f3\n015bb8aa\n", "text/plain", "train_day.txt") is None
    assert error_page(b"\xef\xbb\xbf<!doctype html>", "text/plain", "train_day.txt") is not None


def test_a_wrong_digest_is_refused_and_the_next_address_asked(server: FaultyServer, tmp_path: Path) -> None:
    bad = server.add("/bad", OTHER)
    good = server.add(PATH, BODY)
    file = remote(server, urls=(bad, good), sha256=DIGEST[:7])
    Downloader(tmp_path, options()).fetch(file)
    assert whole(tmp_path)
    with pytest.raises(MissingAssetError, match=f"instead of {DIGEST[:7]}"):
        Downloader(tmp_path / "other", options()).fetch(replace(file, urls=(bad,)))
    assert not (tmp_path / "other" / "weights" / "net.bin").exists()


def test_the_digest_of_the_first_download_is_enforced_later(server: FaultyServer, tmp_path: Path) -> None:
    server.add(PATH, BODY)
    path = Downloader(tmp_path, options()).fetch(remote(server))
    path.unlink()
    server.add(PATH, OTHER)
    with pytest.raises(MissingAssetError, match=r"recorded at its first use.*darkside cache forget"):
        Downloader(tmp_path, options()).fetch(remote(server))
    assert not path.exists()
    Downloader(tmp_path).ledger.forget("weights/net.bin")
    Downloader(tmp_path, options()).fetch(remote(server))
    assert whole(tmp_path, OTHER)


def test_a_file_that_was_changed_on_disk_is_refused_not_replaced(
    server: FaultyServer, tmp_path: Path
) -> None:
    server.add(PATH, BODY)
    path = Downloader(tmp_path, options()).fetch(remote(server))
    path.write_bytes(OTHER)
    with pytest.raises(MissingAssetError, match="is not the file that was recorded"):
        Downloader(tmp_path, options()).fetch(remote(server))
    assert path.read_bytes() == OTHER


def test_what_is_found_is_recorded_and_a_cut_one_is_put_aside(server: FaultyServer, tmp_path: Path) -> None:
    server.add(PATH, BODY)
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "net.bin").write_bytes(BODY[:1000])
    events: list[Event] = []
    Downloader(tmp_path, options()).fetch(remote(server, sha256=DIGEST[:7]), events.append)
    assert (folder / "net.bin").read_bytes() == BODY
    assert (folder / "net.bin.damaged").read_bytes() == BODY[:1000]
    assert any(isinstance(event, Notice) and event.level == "warning" for event in events)
    other = tmp_path / "other"
    (other / "old").mkdir(parents=True)
    (other / "old" / "net.bin").write_bytes(BODY)
    found = Downloader(other, options()).fetch(remote(server, sha256=DIGEST[:7], also_at=("old/net.bin",)))
    assert found == other / "old" / "net.bin"
    assert Downloader(other).ledger.read().files["old/net.bin"].sha256 == DIGEST
    assert len(server.seen) == 1


def test_offline_never_asks(server: FaultyServer, tmp_path: Path) -> None:
    server.add(PATH, BODY)
    with pytest.raises(MissingAssetError, match="off limits") as caught:
        Downloader(tmp_path, options(offline=True)).fetch(remote(server))
    assert caught.value.exit_code == 3
    plan = Downloader(tmp_path, options(offline=True)).plan([remote(server)])
    assert (plan[0].state, plan[0].size) == ("missing", None)
    assert server.seen == []


def test_a_plan_asks_sizes_and_fetches_nothing(server: FaultyServer, tmp_path: Path) -> None:
    server.add(PATH, BODY, Fault(drop_after=1000), always=Fault(status=404))
    with pytest.raises(MissingAssetError):
        Downloader(tmp_path, options()).fetch(remote(server))
    there = RemoteFile(path="there.txt", urls=(server.base + "/there",))
    (tmp_path / "there.txt").write_text("x")
    unknown = RemoteFile(path="unknown.bin", urls=(server.base + "/unknown",))
    new = RemoteFile(path="new.bin", urls=(server.add("/new", OTHER),))
    before = len(server.gets(PATH))
    plan = Downloader(tmp_path, options()).plan([remote(server), there, unknown, new])
    assert [(p.state, p.size, p.received, p.remaining) for p in plan] == [
        ("partial", len(BODY), 1000, len(BODY) - 1000),
        ("there", 1, 0, 0),
        ("missing", None, 0, None),
        ("missing", len(OTHER), 0, len(OTHER)),
    ]
    assert len(server.gets(PATH)) == before
    assert not (tmp_path / "new.bin").exists()


def test_mirrors_come_first_by_path_name_and_prefix(server: FaultyServer, tmp_path: Path) -> None:
    official = server.add(PATH, OTHER)
    server.add("/lab/weights/net.bin", BODY)
    Downloader(tmp_path / "a", options(mirrors=(Mirror(server.base + "/lab/"),))).fetch(remote(server))
    assert whole(tmp_path / "a")
    server.add("/flat/net.bin", BODY)
    Downloader(tmp_path / "b", options(mirrors=(Mirror(server.base + "/flat"),))).fetch(remote(server))
    assert whole(tmp_path / "b")
    server.add("/copy/net.bin", BODY)
    prefix = Mirror(server.base + "/copy/", server.base + "/weights/")
    Downloader(tmp_path / "c", options(mirrors=(prefix,))).fetch(remote(server))
    assert whole(tmp_path / "c")
    assert not server.gets(PATH)
    Downloader(tmp_path / "d", options(mirrors=(Mirror(server.base + "/none"),))).fetch(remote(server))
    assert whole(tmp_path / "d", OTHER)
    assert official.endswith(PATH)


def test_a_mirror_may_be_a_folder(server: FaultyServer, tmp_path: Path) -> None:
    shelf = tmp_path / "a shelf" / "weights"
    shelf.mkdir(parents=True)
    (shelf / "net.bin").write_bytes(BODY)
    for number, base in enumerate((str(shelf.parent), shelf.as_uri())):
        mirrors = read_mirrors([base], environment="")
        Downloader(tmp_path / str(number), options(mirrors=mirrors)).fetch(remote(server))
        assert whole(tmp_path / str(number))
    assert server.seen == []


def test_mirrors_are_read_from_options_environment_and_lists(tmp_path: Path) -> None:
    listed = tmp_path / "mirrors.txt"
    listed.write_text(
        f"# of the lab\nhttps://lab.example/darkside\n\nhttp://a.example/ {tmp_path}  # and another\n"
    )
    assert read_mirrors(["https://x.example"], environment=f"http://y.example {tmp_path}") == (
        Mirror("https://x.example"),
        Mirror("http://y.example"),
        Mirror(str(tmp_path)),
    )
    assert read_mirrors([], environment=str(listed)) == (
        Mirror("https://lab.example/darkside"),
        Mirror(str(tmp_path), "http://a.example/"),
    )
    with pytest.raises(ConfigError, match="neither an address nor a folder"):
        read_mirrors([str(tmp_path / "nowhere")], environment="")
    for address in ("http://[::bad", "http://", "https:///x", "http://host:99999/", "http:x"):
        with pytest.raises(ConfigError, match="is no address"):
            read_mirrors([address], environment="")
        listed.write_text(f"{address}\n")
        with pytest.raises(ConfigError, match=r"line 1: .* is no address"):
            read_mirrors([str(listed)], environment="")
    for value in ("x" * 5000, "a\0b", "~no-such-user-here/x", "ftp://x.example"):
        with pytest.raises(ConfigError, match="neither an address nor a folder"):
            read_mirrors([value], environment="")
        with pytest.raises(ConfigError, match="neither an address nor a folder"):
            read_mirrors([], environment=value)
    listed.write_bytes(b"\xff\xfe\0bad")
    with pytest.raises(ConfigError, match="is no list of mirrors"):
        read_mirrors([str(listed)], environment="")
    listed.write_text("one two three\n")
    with pytest.raises(ConfigError, match="line 1: more than two words"):
        read_mirrors([str(listed)], environment="")


def test_a_part_begun_at_one_address_goes_on_at_another_if_the_digest_is_known(
    server: FaultyServer, tmp_path: Path
) -> None:
    first = server.add("/first", BODY, Fault(drop_after=100_000), always=Fault(status=404))
    second = server.add("/second", BODY, dated=False)
    file = remote(server, urls=(first, second), sha256=DIGEST)
    Downloader(tmp_path, options()).fetch(file)
    assert whole(tmp_path)
    assert server.sent("/first") + server.sent("/second") == len(BODY)


def test_pieces_joined_wrongly_are_fetched_again(server: FaultyServer, tmp_path: Path) -> None:
    """Another address has another file of the same size: the digest finds it, and a fresh try mends it."""
    first = server.add("/first", OTHER + BODY[:20_000], Fault(drop_after=100_000), always=Fault(status=404))
    second = server.add("/second", BODY)
    Downloader(tmp_path, options()).fetch(remote(server, urls=(first, second), sha256=DIGEST))
    assert whole(tmp_path)


def test_the_proxy_of_the_environment_is_used(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("/net.bin", BODY)
    monkeypatch.setenv("http_proxy", server.base)
    file = RemoteFile(path="weights/net.bin", urls=("http://files.example/net.bin",))
    Downloader(tmp_path, options()).fetch(file)
    assert whole(tmp_path)
    assert len(server.gets("/net.bin")) == 1


def test_no_server_at_all_is_told_plainly(tmp_path: Path) -> None:
    file = RemoteFile(path="weights/net.bin", urls=("http://127.0.0.1:9/net.bin",))
    events: list[Event] = []
    with pytest.raises(MissingAssetError, match="the connection was refused") as caught:
        Downloader(tmp_path, options(attempts=6)).fetch(file, events.append)
    assert "by hand" in str(caught.value.hint)
    assert sum(isinstance(event, TransferRetrying) for event in events) == 1  # a third of the attempts
    assert isinstance(events[-1], TransferFailed)


def test_too_small_a_disk_is_told_before_a_byte_is_written(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(PATH, BODY)
    monkeypatch.setattr("darkside_cli.assets.disk.free_bytes", lambda folder: 100_000)
    with pytest.raises(MissingAssetError, match=r"not enough space for net\.bin: 300 kB needed, 100 kB free"):
        Downloader(tmp_path, options()).fetch(remote(server))
    assert not list((tmp_path / "weights").iterdir())


def test_several_downloads_do_not_promise_the_same_space(tmp_path: Path) -> None:
    space = Space(spare_bytes=0)
    half = free_bytes(tmp_path) * 2 // 3
    space.claim("a", tmp_path / "not" / "yet", half)
    with pytest.raises(MissingAssetError, match="not enough space for b"):
        space.claim("b", tmp_path, half)
    space.claim("a", tmp_path, half)  # the same one again is no second claim
    space.update("a", 10)
    space.claim("b", tmp_path, half)
    space.release("b")
    space.claim("c", tmp_path, half)


@pytest.fixture
def small_disk(tmp_path: Path) -> object:
    """A real file system of 200 kB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_what_was_received(
    server: FaultyServer, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "darkside_cli.assets.disk.free_bytes", lambda folder: 10**9
    )  # others filled it meanwhile
    server.add(PATH, BODY)
    with pytest.raises(MissingAssetError, match="the disk is full") as caught:
        Downloader(small_disk, options()).fetch(remote(server))
    assert caught.value.exit_code == 3
    part = small_disk / "weights" / "net.bin.part"
    kept = part.stat().st_size
    assert 100_000 < kept < len(BODY)
    assert part.read_bytes() == BODY[:kept]
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    Downloader(small_disk, options()).fetch(remote(server))
    assert whole(small_disk)
    assert server.gets(PATH)[-1].range == f"bytes={kept}-"


def test_a_disk_that_fills_while_writing(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where nothing can be mounted: writes fit in part, as the kernel does it, then fail."""
    server.add(PATH, BODY)
    real = partial.PartFile.append
    limit = 150_000

    def append(self: partial.PartFile, data: bytes) -> None:
        room = limit - self.size
        real(self, data[:room])
        if len(data) > room:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(partial.PartFile, "append", append)
        with pytest.raises(MissingAssetError, match=r"the disk is full: 150 kB of net\.bin"):
            Downloader(tmp_path, options()).fetch(remote(server))
    Downloader(tmp_path, options()).fetch(remote(server))
    assert whole(tmp_path)
    assert server.gets(PATH)[-1].range == "bytes=150000-"


SCRIPT = textwrap.dedent(
    """
    import sys, threading
    from pathlib import Path
    from darkside_cli.assets.download import Downloader
    from darkside_cli.assets.download_options import Options
    from darkside_cli.assets.entries import RemoteFile
    options = Options(spare_bytes=0)
    path = Downloader(sys.argv[1], options).fetch(RemoteFile(path="weights/net.bin", urls=(sys.argv[2],)))
    print(path.stat().st_size)
    """
)


def start(root: Path, url: str) -> Process[bytes]:
    return Process(
        [sys.executable, "-c", SCRIPT, str(root), url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_a_rerun_goes_on(
    server: FaultyServer, tmp_path: Path, sign: signal.Signals
) -> None:
    url = server.add(PATH, BODY, Fault(stall_after=100_000))
    part = tmp_path / "weights" / "net.bin.part"
    with start(tmp_path, url) as process:
        wait_until(lambda: part.exists() and part.stat().st_size > 30_000, process=process)
        process.send_signal(sign)
        process.communicate(timeout=120)
    assert process.returncode != 0
    assert not (tmp_path / "weights" / "net.bin").exists()
    kept = part.stat().st_size
    assert part.read_bytes() == BODY[:kept]
    with start(tmp_path, url) as again:
        assert again.communicate(timeout=120)[0].strip() == str(len(BODY)).encode()
    assert whole(tmp_path)
    assert [seen.range for seen in server.gets(PATH)] == ["", f"bytes={kept}-"]
    assert server.gets(PATH)[1].sent == len(BODY) - kept


def test_killed_between_the_last_byte_and_the_rename_nothing_is_fetched(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(PATH, BODY)

    def killed(self: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(partial.PartFile, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            Downloader(tmp_path, options()).fetch(remote(server))
    Downloader(tmp_path, options()).fetch(remote(server))
    assert whole(tmp_path)
    assert len(server.seen) == 1


def test_two_processes_at_once_fetch_once(server: FaultyServer, tmp_path: Path) -> None:
    url = server.add(PATH, BODY, Fault(trickle_s=0.02))
    with start(tmp_path, url) as first, start(tmp_path, url) as second:
        for process in (first, second):
            out, err = process.communicate(timeout=120)
            assert out.strip() == str(len(BODY)).encode(), err
    assert whole(tmp_path)
    assert server.sent(PATH) == len(BODY)


def test_another_thread_is_waited_for_and_said_so(server: FaultyServer, tmp_path: Path) -> None:
    waiting = threading.Event()
    server.add(PATH, BODY, Fault(until=partial_of(waiting.wait, 60)))
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, Notice) and "waiting" in event.message:
            waiting.set()

    downloader = Downloader(tmp_path, options())
    results = run_parallel(
        [lambda emit, stop: downloader.fetch(remote(server), emit, stop)] * 2, workers=2, emit=emit
    )
    assert [result.result() for result in results] == [tmp_path / "weights" / "net.bin"] * 2
    assert server.sent(PATH) == len(BODY)
    assert any(isinstance(event, Notice) and "waiting" in event.message for event in events)


def test_jobs_run_in_parallel_and_speak_in_the_callers_thread(server: FaultyServer, tmp_path: Path) -> None:
    files = []
    together = threading.Barrier(4)  # nobody passes unless all four are being sent
    for number in range(4):
        url = server.add(f"/{number}", BODY, Fault(drop_after=1000, until=partial_of(together.wait, 60)))
        files.append(RemoteFile(path=f"{number}.bin", urls=(url,)))
    files.append(RemoteFile(path="gone.bin", urls=(server.base + "/gone",)))
    downloader = Downloader(tmp_path, options())
    threads = set()
    results = run_parallel(
        [lambda emit, stop, file=file: downloader.fetch(file, emit, stop) for file in files],  # type: ignore[misc]
        workers=5,
        emit=lambda event: threads.add(threading.get_ident()),
    )
    assert not together.broken
    assert threads == {threading.get_ident()}
    assert [result.exception() is None for result in results] == [True] * 4 + [False]
    assert isinstance(results[-1].exception(), MissingAssetError)


def test_an_interrupt_in_the_caller_stops_the_jobs(server: FaultyServer, tmp_path: Path) -> None:
    stops: list[threading.Event] = []
    server.add(PATH, BODY, Fault(until=lambda: stops[0].wait(60)))
    downloader = Downloader(tmp_path, options())

    def interrupt(event: Event) -> None:
        if isinstance(event, TransferProgress):
            raise KeyboardInterrupt

    worker: list[threading.Thread] = []

    def work(emit: Emit, stop: threading.Event) -> Any:
        worker.append(threading.current_thread())
        stops.append(stop)
        return downloader.fetch(remote(server), emit, stop)

    with pytest.raises(KeyboardInterrupt):
        run_parallel([work], workers=1, emit=interrupt)
    wait_until(lambda: not worker[0].is_alive())  # it stopped
    assert 0 < (tmp_path / "weights" / "net.bin.part").stat().st_size < len(BODY)
    Downloader(tmp_path, options()).fetch(remote(server))
    assert whole(tmp_path)


def test_a_part_of_unknown_origin_is_not_trusted(server: FaultyServer, tmp_path: Path) -> None:
    server.add(PATH, BODY)
    folder = tmp_path / "weights"
    folder.mkdir()
    for note in (None, "not json", json.dumps({"who": "knows"})):
        (folder / "net.bin.part").write_bytes(OTHER[:1000])
        if note is not None:
            (folder / "net.bin.part.json").write_text(note)
        Downloader(tmp_path, options()).fetch(remote(server))
        assert whole(tmp_path)
        (folder / "net.bin").unlink()


def test_a_root_that_cannot_be_written_serves_what_it_has(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "net.bin").write_bytes(BODY)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a superuser may always write
    assert Downloader(tmp_path, options()).fetch(remote(server)).read_bytes() == BODY
    assert not (tmp_path / ".darkside").exists()


def test_a_damaged_ledger_is_an_error_that_names_it(tmp_path: Path) -> None:
    downloader = Downloader(tmp_path, options())
    for text in ("{", "[]", '{"files": {"a": 1}, "archives": {}, "used": {}}'):
        downloader.ledger.path.parent.mkdir(exist_ok=True)
        downloader.ledger.path.write_text(text)
        with pytest.raises(DarksideError, match=r"damaged: .*ledger\.json"):
            downloader.ledger.read()


def test_the_ledger_survives_many_writers(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    ledger = Downloader(tmp_path).ledger

    def write(number: int) -> None:
        for step in range(10):
            ledger.record(f"{number}/{step}", tmp_path / "file", "00")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.read().files) == 40


def stored(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def packed(members: dict[str, bytes]) -> bytes:
    return stored(members, zipfile.ZIP_DEFLATED)


def test_forms(tmp_path: Path) -> None:
    cases = {
        "a.pth": (b"PK\x03\x04 but no end", "cut short"),
        "b.zip": (b"PK\x03\x04 but no end", "cut short"),
        "c.tgz": (gzip.compress(b"read through when it is unpacked"), None),
        "c2.tgz": (b"\x00\x01 no archive at all", "is no archive"),
        "d.pkl": (b"\x80\x04 no stop", "cut short"),
        "h.pkl": (b"(dp0\nno stop", "cut short"),
        "i.pkl": (b"\x1f\x8b somebody's own idea of a pickle", None),
        "e.bin": (b"", "is empty"),
        "f.pkl": (b"\x80\x04N.", None),
        "g.pth": (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19. an old one", None),
        "g2.pth": (b"\x80\x02 some other pickle.", "no file of weights"),
        "g3.pth": (OTHER[:5000], "no file of weights"),
        "g4.pth": (stored({"a.txt": b"x"}), "zip archive, but no file of weights"),
        "g5.pth": (stored({"net/data.pkl": b"\x80\x02N.", "net/data/0": bytes(8)}), None),
        "g6.pth": (
            stored({"net/data.pkl": b"\x80\x02N.", "net/data/0": b"12345"}).replace(b"345", b"354", 1),
            "damaged",
        ),
        "g7.pth": (packed({"net/data.pkl": bytes(100_000)}), "unpacks to more than"),
        "j.pth": (b"Too many requests, try later\n", "is text"),
        "k.pkl": (b"Too many requests, try later.", "is text"),
        "l.txt": (b"two words", "one a line"),
        "m.txt": (b"<html></html>", "one a line"),
        "n.txt": (b"\n\n", "without names"),
        "o.txt": (b"\xff\xfe\x00", "no list"),
        "p.txt": (b"0a1b2c\r\nab/cd/ef\r\n", None),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        found = wrong_form(tmp_path / name)
        assert (found is None) if reason is None else (reason in str(found)), name


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a\\b"])
def test_a_published_file_stays_in_the_root(path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside the data root"):
        RemoteFile(path=path)
    with pytest.raises(ValueError, match="SHA-256"):
        RemoteFile(path="a", sha256="xyz")

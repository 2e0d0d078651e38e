"""What the tests of downloads share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asset_world import fill
from faulty_server import FaultyServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """A faulty server on this machine; no proxy of the environment comes between."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "DARKSIDE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with FaultyServer() as running:
        yield running


@pytest.fixture
def full(server: FaultyServer) -> FaultyServer:
    """The faulty server with everything of the small world of assets on it."""
    fill(server)
    return server

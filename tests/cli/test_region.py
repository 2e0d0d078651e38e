"""Lines that are drawn again and again: what stands above them stays, and nothing of an older view does."""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text
from small_terminal import SmallTerminal

from darkside_cli.cli import region as module
from darkside_cli.cli.region import LiveRegion, can_be_live


class Pipe(io.StringIO):
    """A stderr whose reader is a terminal."""

    def __init__(self, terminal: SmallTerminal) -> None:
        super().__init__()
        self.terminal = terminal

    def write(self, text: str) -> int:
        self.terminal.feed(text.replace("\n", "\r\n"))
        return len(text)

    def isatty(self) -> bool:
        return True


class Scene:
    """A terminal, a region on it, and the lines it has to show."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, width: int, height: int = 24) -> None:
        self.terminal = SmallTerminal(width, height)
        self.pipe = Pipe(self.terminal)
        monkeypatch.setattr(sys, "stderr", self.pipe)
        monkeypatch.setattr(module, "REFRESH_EVERY_S", 3600.0)  # drawn by hand
        self.shown = ["one", "two"]
        self.console = Console(file=self.pipe, width=width, height=height, color_system=None)
        self.region = LiveRegion(self.console, self._view)

    def _view(self, width: int, height: int, ascii_only: bool) -> Any:
        return Text("\n".join(line[:width] for line in self.shown))

    def resize(self, width: int) -> None:
        self.terminal.resize(width)
        self.console.width = width


def test_the_view_is_drawn_over_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, 20)
    scene.pipe.write("before\n")
    scene.region.start()
    assert scene.terminal.lines == ["before", "one", "two"]
    scene.shown = ["1", "2", "3"]
    scene.region._draw()
    assert scene.terminal.lines == ["before", "1", "2", "3"]
    scene.shown = ["x"]
    scene.region._draw()
    assert scene.terminal.lines == ["before", "x"]
    scene.region.stop()
    assert scene.terminal.lines == ["before"]
    scene.pipe.write("after\n")
    assert scene.terminal.lines == ["before", "after"]


def test_lines_go_above_the_view_and_long_ones_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, 10)
    scene.region.start()
    scene.region.above("short")
    scene.region.above("a long line of text\nand one")
    assert scene.terminal.lines == ["short", "a long lin", "e of text", "and one", "one", "two"]
    scene.region.stop()
    assert scene.terminal.lines == ["short", "a long lin", "e of text", "and one"]


def test_what_others_write_to_stderr_goes_above_too(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, 40)
    scene.region.start()
    assert sys.stderr is not scene.pipe
    print("a warning", file=sys.stderr)
    sys.stderr.write("half a ")
    sys.stderr.flush()
    assert scene.terminal.lines == ["a warning", "one", "two"]
    sys.stderr.writelines(["line\n", "10 %\r", "20 %\r", "open end"])
    assert sys.stderr.isatty()
    assert scene.terminal.lines == ["a warning", "half a line", "one", "two"]
    scene.region.stop()
    assert sys.stderr is scene.pipe
    assert scene.terminal.lines == ["a warning", "half a line", "open end"]


def test_a_forked_process_writes_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, 40)
    scene.region.start()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        sys.stderr.write("x")
    assert scene.terminal.lines == ["one", "two", "x"]
    scene.region.stop()


LINES = st.lists(st.integers(0, 60).map(lambda n: "abcdefghij"[n % 10] * n), min_size=1, max_size=5)
ACTIONS = st.one_of(
    st.tuples(st.just("draw"), LINES),
    st.tuples(st.just("above"), st.integers(1, 50)),
    st.tuples(st.just("resize"), st.integers(10, 60)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=12))
def test_nothing_of_an_older_view_stays(actions: list[tuple[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        scene = Scene(monkeypatch, 40, 200)
        scene.region.start()
        above: list[str] = []
        for number, (what, value) in enumerate(actions):
            if what == "draw":
                scene.shown = value
                scene.region._draw()
            elif what == "above":
                above.append(str(number % 10) * value)
                scene.region.above(above[-1])
            else:
                scene.resize(value)
                scene.region._draw()
            width = scene.terminal.width
            folded = [line[i : i + width] for line in above for i in range(0, len(line), width)]
            view = [line[: width - 1] for line in scene.shown]
            while view and not view[-1]:
                view.pop()
            if view or not folded:
                assert scene.terminal.lines == folded + view
            else:
                assert scene.terminal.lines == folded
        scene.region.stop()


def test_a_view_is_no_higher_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, 20, height=5)
    scene.shown = [str(n) for n in range(30)]
    scene.region.start()
    scene.region._draw()
    assert scene.terminal.lines == ["0", "1", "2", "3"]
    scene.region.stop()


def test_it_is_drawn_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, 20)
    monkeypatch.setattr(module, "REFRESH_EVERY_S", 0.01)
    drawn = threading.Event()

    def view(width: int, height: int, ascii_only: bool) -> Text:
        if threading.current_thread() is not threading.main_thread():
            drawn.set()
        return Text("x")

    region = LiveRegion(scene.console, view)
    region.start()
    assert drawn.wait(100)
    region.stop()
    assert not region._thread.is_alive()


def test_a_terminal_that_goes_away_is_nobodys_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, 20)
    scene.region.start()
    scene.pipe.write = lambda text: (_ for _ in ()).throw(OSError("gone"))  # type: ignore[method-assign]
    scene.region.above("text")
    scene.region.stop()
    assert sys.stderr is scene.pipe


@pytest.mark.parametrize(
    ("term", "width", "height", "live"),
    [("xterm", 80, 24, True), ("dumb", 80, 24, False), ("xterm", 10, 24, False), ("xterm", 80, 2, False)],
)
def test_terminals_that_will_do(
    monkeypatch: pytest.MonkeyPatch, term: str, width: int, height: int, live: bool
) -> None:
    console = Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        height=height,
        _environ={"TERM": term},
        legacy_windows=False,
    )
    assert can_be_live(console) is live

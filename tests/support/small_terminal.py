"""As much of a terminal as the live view needs: lines that fold, a cursor that goes up, erasing. No scrolling back."""

from __future__ import annotations

import re
import unicodedata

_TOKEN = re.compile(r"\x1b\[(?P<number>\d*)(?P<what>[A-Za-z])|(?P<other>.)", re.DOTALL)


class SmallTerminal:
    """Feed it what a program writes and look at its ``lines``. Lines are unlimited; ``height`` bounds the cursor."""

    def __init__(self, width: int, height: int = 24) -> None:
        self.width, self.height = width, height
        self._rows: list[str] = [""]
        self._folded: list[bool] = [False]  # whether a row goes on in the next
        self._x = self._y = 0

    @property
    def lines(self) -> list[str]:
        """Rows, without the blanks at their ends and the empty ones at the end."""
        rows = [row.rstrip() for row in self._rows]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def resize(self, width: int) -> None:
        """Fold and join rows as terminals do; the cursor stays at the character where it was."""
        text: list[str] = [""]
        cursor = (0, 0)
        for number, row in enumerate(self._rows):
            if number == self._y:
                cursor = (len(text) - 1, len(text[-1]) + self._x)
            text[-1] += row
            if not self._folded[number]:
                text.append("")
        self.width, self._rows, self._folded = width, [], []
        for number, line in enumerate(text[:-1]):
            pieces = [line[i : i + width] for i in range(0, len(line), width)] or [""]
            if number == cursor[0]:
                self._y, self._x = (
                    len(self._rows) + min(cursor[1] // width, len(pieces) - 1),
                    cursor[1] % width,
                )
            self._rows += pieces
            self._folded += [True] * (len(pieces) - 1) + [False]

    def feed(self, text: str) -> None:
        """Take in what was written."""
        for token in _TOKEN.finditer(text):
            what, number = token["what"], int(token["number"] or 0)
            if what == "A":
                self._y = max(0, self._y - max(1, number), len(self._rows) - self.height)
            elif what == "K":
                row = self._rows[self._y]
                self._rows[self._y] = "" if number == 2 else row[: self._x]
                self._folded[self._y] = False
            elif what == "J":
                self._rows[self._y] = self._rows[self._y][: self._x]
                del self._rows[self._y + 1 :]
                del self._folded[self._y + 1 :]
                self._folded[self._y] = False
            elif what == "m":
                pass
            elif what is not None:
                raise AssertionError(f"unknown sequence {token[0]!r}")
            else:
                self._character(token["other"])

    def _character(self, character: str) -> None:
        if character == "\r":
            self._x = 0
        elif character == "\n":
            self._down(folded=False)
        else:
            assert unicodedata.category(character) not in ("Cc", "Cs"), character
            if self._x == self.width:
                self._down(folded=True)
            row = self._rows[self._y].ljust(self._x)
            self._rows[self._y] = row[: self._x] + character + row[self._x + 1 :]
            self._x += 1

    def _down(self, *, folded: bool) -> None:
        self._folded[self._y] = folded
        self._x, self._y = 0, self._y + 1
        if self._y == len(self._rows):
            self._rows.append("")
            self._folded.append(False)

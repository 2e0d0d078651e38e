"""What models of others are called, and what their code may do.

::

    hub:OWNER/REPO[@REF]:ENTRY[:name=value…]    an entry point of torch.hub, at GitHub
    hub:./FOLDER:ENTRY[:name=value…]            one of a folder with a hubconf.py (it begins with /, . or ~)
    MODULE:FACTORY[:name=value…]                what a function of a Python module returns

Each gives a callable, ``(B, 3, H, W)`` to ``(B, D)`` or to a tuple that begins with that. Values that are named
``input_…`` say what the network wants, all others are arguments of the function. Torch-free.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkside_cli.config.limits import MAX_CROP_PX
from darkside_cli.errors import UsageError
from darkside_cli.networks.configs import TIMM
from darkside_cli.networks.others import HUB, OTHERS, OtherInput

FORMS = "hub:OWNER/REPO:ENTRY, hub:./FOLDER:ENTRY or MODULE:FACTORY, with :name=value behind it"
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(:.*)?")
_GITHUB = re.compile(r"[\w-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True)
class Trust:
    """What models of others may do: run their ``code``, and fetch it and weights from the ``network``.

    ``why_not`` says what to do where they may not fetch.
    """

    code: bool = False
    network: bool = False
    why_not: str = "get it while you are online"


@dataclass(frozen=True)
class OtherSpec:
    """A model of others as it was named. ``text`` means the same from any folder, and with other catalogues.

    ``place`` is OWNER/REPO[@REF] (``kind`` "github"), a folder ("folder") or a Python module ("module").
    """

    text: str
    kind: str
    place: str
    entry: str
    arguments: Mapping[str, Any]
    input: OtherInput
    alone: bool = False

    def require(self, trust: Trust) -> None:
        """Raise UsageError unless the model's code may run."""
        if not trust.code:
            where = f"https://github.com/{self.place}" if self.kind == "github" else self.place
            raise UsageError(
                f"{self.text} is code of others, which would run on this machine",
                hint=f"look at it first ({where}), then say --trust",
            )


def is_other(model: str | Path) -> bool:
    """Whether ``model`` is one of others: a name of the catalogue's, ``hub:…`` or ``MODULE:FACTORY``."""
    text = model if isinstance(model, str) else ""
    if text in OTHERS or text.startswith(HUB):
        return True
    return not text.startswith(TIMM) and _MODULE.fullmatch(text) is not None


def parse_other(model: str) -> OtherSpec:
    """Take ``model`` apart. Raises UsageError for what is no such name, value or size."""
    known = OTHERS.get(model) if model in OTHERS else None
    if known is not None and not known.call:
        raise UsageError(f"'{model}' is a published figure, no model that can be had", hint=known.paper)
    text = f"{HUB}{known.call}" if known is not None else model
    place, _, rest = text.removeprefix(HUB).partition(":")
    entry, *pairs = rest.split(":")
    if not place or not entry.isidentifier():
        raise UsageError(f"'{model}' names no model of others", hint=FORMS)
    kind = "module"
    if text.startswith(HUB):
        kind = "folder" if place[0] in "/.~" else "github"
        if kind == "folder":
            place = str(Path(place).expanduser().absolute())
        elif not _GITHUB.fullmatch(place):
            if Path(place).is_dir():
                raise UsageError(
                    f"'{place}' is a folder, and names no OWNER/REPO",
                    hint=f"write {HUB}./{text.removeprefix(HUB)}",
                )
            raise UsageError(f"'{place}' is no OWNER/REPO at GitHub", hint=f"{FORMS}; folders begin with ./")
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier() or name in values:
            raise UsageError(f"'{pair}' in '{model}' is no :name=value", hint=FORMS)
        values[name] = value
    text = ":".join([f"{HUB}{place}" if kind != "module" else place, entry, *pairs])
    wanted = {name: values.pop(name) for name in list(values) if name.startswith("input_")}
    arguments = {name: _value(value) for name, value in values.items()}
    if known is not None:
        return OtherSpec(text, kind, place, entry, arguments, known.input, known.alone)
    same = next((each for each in OTHERS if each.call and text == f"{HUB}{each.call}"), None)
    if same is not None:  # as an index recorded it
        return OtherSpec(text, kind, place, entry, arguments, same.input, same.alone)
    return OtherSpec(text, kind, place, entry, arguments, _input(wanted))


def _value(text: str) -> Any:
    """A value of Python's (14, 0.5, True, None), else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _input(wanted: Mapping[str, str]) -> OtherInput:
    """Read ``input_size=322x322``, ``input_multiple=14``, ``input_mean=…`` and ``input_std=…``."""
    numbers = {"input_size": 0, "input_multiple": 1, "input_mean": 3, "input_std": 3}
    found: dict[str, Any] = {}
    for name, text in wanted.items():
        try:
            if name not in numbers:
                raise ValueError
            if numbers[name] == 3:
                values = tuple(float(part) for part in text.split(","))
                if len(values) != 3 or (name == "input_std" and min(values) <= 0):
                    raise ValueError
                found[name.removeprefix("input_")] = values
                continue
            sides = tuple(int(part) for part in text.split("x"))
            if not all(0 < side <= MAX_CROP_PX for side in sides) or len(sides) > (1 if numbers[name] else 2):
                raise ValueError
            found[name.removeprefix("input_")] = sides[0] if numbers[name] else (sides[0], sides[-1])
        except ValueError:
            raise UsageError(
                f"{name}={text} does not say what a network wants",
                hint="input_size=HEIGHTxWIDTH, input_multiple=14, input_mean=0.5,0.5,0.5, input_std=0.5,0.5,0.5",
            ) from None
    return OtherInput(**found)

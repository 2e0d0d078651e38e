"""How mkdocstrings shows requests: each field with the default and the help that ``ask`` was given."""

from __future__ import annotations

from typing import Any

import griffe

from darkside_cli.jobs.request import Request, asked
from darkside_cli.registry import resolve


class Requests(griffe.Extension):
    """Takes ``ask(help, default)`` out of the fields of requests."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Say of each field what ``asked`` knows of it."""
        if ".jobs." not in cls.path:
            return
        request = resolve(f"{cls.module.path}:{cls.name}")
        if not (isinstance(request, type) and issubclass(request, Request)):
            return
        for name, field in asked(request).items():
            attribute = cls.members.get(name)
            if isinstance(attribute, griffe.Attribute):
                attribute.value = repr(field.default)
                attribute.docstring = griffe.Docstring(field.help, parent=attribute)

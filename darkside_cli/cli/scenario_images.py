"""The images that a scenario's inference is about: named on standard input, found as the reference finds them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from darkside_cli.errors import UsageError

if TYPE_CHECKING:
    from darkside_cli.datasets.outputs import InputImage


def named_images(pattern: str, root: Path) -> list[InputImage]:
    """Images named on standard input, as the reference finds them: ``*`` in the pattern stands for the name.

    Of names that lead to no file there, a retrieval-SfM id is looked for in its own folder, and any other name from
    the working directory. Results keep the names, as far as these lead nowhere else. Raises UsageError if standard
    input is a terminal.
    """
    from darkside_cli.datasets.listing import expand_inputs, iter_path_tokens
    from darkside_cli.interop.image_names import join_image_dir, path_of_image_id

    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "no images given", hint="pipe their names in: find . -name '*.jpg' | darkside run output FILE.yml"
        )
    names = list(iter_path_tokens(sys.stdin.buffer, null=False))
    folder = pattern.partition("*")[0]
    paths = []
    for name in names:
        text = os.fspath(name)
        candidates = [root / join_image_dir(pattern, text)]
        if len(name.parts) == 1 and len(text) >= 6:
            candidates.append(root / path_of_image_id(text, folder))
        candidates.append(name)
        paths.append(next((each for each in candidates if each.is_file()), candidates[0]))
    inputs = expand_inputs(paths, recursive=False, exclude=None)
    given = dict(zip(paths, names, strict=True))
    return [
        replace(image, relative=PurePath(given[image.path])) if _stays(given.get(image.path)) else image
        for image in inputs
    ]


def _stays(name: Path | None) -> bool:
    """Whether a name below the folder of results stays in it."""
    return name is not None and not name.is_absolute() and ".." not in name.parts and bool(name.name)

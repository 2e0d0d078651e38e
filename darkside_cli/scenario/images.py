"""The images that a scenario's inference is about: found by the names that are given, as the reference finds them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from darkside_cli.assets.entries import shard_path
from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.datasets.outputs import InputImage

#: What names get that have no suffix, when the folder is given without a pattern.
_USUAL_PATTERN = "*.jpg"


def join_image_dir(image_dir: str, name: str) -> str:
    """Path of the image ``name`` in ``image_dir``, which may be a folder or a pattern.

    In a pattern ``*`` stands for the name: ``ims/*/x.jpg`` and ``abc`` give ``ims/abc/x.jpg``. Where the
    pattern ends in ``*`` and a suffix, this is the suffix of names that have none; with ``!`` behind it
    (``ims/*.png!``) it takes the place of any. A folder without ``*`` is the pattern ``folder/*.jpg``.
    Absolute names stay as they are.
    """
    if posixpath.isabs(name):
        return name
    pattern = image_dir if "*" in image_dir else posixpath.join(image_dir, _USUAL_PATTERN)
    before, _, after = pattern.partition("*")
    if "/" in after:
        return before + name + after
    stem, suffix = posixpath.splitext(name)
    if after.endswith("!"):
        return before + stem + after.removesuffix("!")
    return before + (name if suffix else name + after)


def named_images(names: Sequence[Path], pattern: str, root: Path) -> list[InputImage]:
    """Images called ``names``, as the reference finds them: ``*`` in the pattern stands for the name.

    Of names that lead to no file there, a retrieval-SfM id is looked for in its own folder, and any other name from
    the working directory. Results keep the names, as far as these lead nowhere else.
    """
    folder = pattern.partition("*")[0]
    paths = []
    for name in names:
        text = os.fspath(name)
        candidates = [root / join_image_dir(pattern, text)]
        if len(name.parts) == 1 and len(text) >= 6:
            candidates.append(root / folder / shard_path(text))
        candidates.append(name)
        paths.append(next((each for each in candidates if each.is_file()), candidates[0]))
    given = dict(zip(paths, names, strict=True))
    return [
        replace(image, relative=PurePath(given[image.path])) if _stays(given.get(image.path)) else image
        for image in expand_inputs(paths, recursive=False, exclude=None)
    ]


def _stays(name: Path | None) -> bool:
    """Whether a name below the folder of results stays in it."""
    return name is not None and not name.is_absolute() and ".." not in name.parts and bool(name.name)

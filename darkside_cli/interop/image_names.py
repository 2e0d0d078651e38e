"""How the reference implementations make paths of image names: patterns like ``ims/*.jpg``, and image ids."""

from __future__ import annotations

import posixpath

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


def path_of_image_id(image_id: str, folder: str) -> str:
    """Path of a retrieval-SfM image: its last six characters, two by two from the end, are its folders.

    ``...6b6dbb6`` in ``ims`` is ``ims/b6/db/b6/...6b6dbb6``: the last two first.
    """
    return posixpath.join(folder, image_id[-2:], image_id[-4:-2], image_id[-6:-4], image_id)

"""Words of the reference's transform strings: how they are split, and what holds where nothing is given."""

from __future__ import annotations

DEFAULT_SCALES = (0.5, 0.8)
"""The scales of the reference's ``scalecrop`` without any."""
DEFAULT_CENTRE_SCALE = 0.6
"""The reference's scale of ``centerscalecrop`` without one."""


def split_outside_brackets(text: str, separator: str = ",") -> list[str]:
    """Split at separators outside of ``[]``, ``()`` and ``{}``; an empty text has one empty part."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[({") - (character in "])}")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]

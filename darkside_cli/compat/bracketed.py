"""Lists in the reference's texts: separators count only outside of brackets."""

from __future__ import annotations


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

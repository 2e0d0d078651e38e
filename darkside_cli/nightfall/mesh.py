"""The city as the renderer takes it: flat convex faces with a texture, in arrays.

World coordinates are metres: x to the right, y away from the usual viewer, z up; the ground is z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Patch:
    """A rectangle of the atlas: left, top, width, height in texels, and texels a metre."""

    x: int
    y: int
    width: int
    height: int
    scale: float


@dataclass(frozen=True)
class Mesh:
    """Faces in arrays; F of them.

    ``vertices`` has a (K, 3) array for each. A point of a face is ``origin + tx * along + ty * down`` for the
    atlas texel (tx, ty). ``normal`` is (F, 3); on curved walls the normal is ``normal + s * bend`` with s from -1 to
    1 over the face's width. ``patch`` is (F, 4) left, top, width and height in texels; ``cutout`` marks faces that
    are only there where their texture is not a hole, ``shift`` (F) moves the random numbers of their windows.
    """

    vertices: tuple[Floats, ...]
    origin: Floats
    along: Floats
    down: Floats
    normal: Floats
    bend: Floats
    patch: Floats
    cutout: NDArray[np.bool_]
    shift: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the faces."""
        return len(self.vertices)

    def joined(self, other: Mesh) -> Mesh:
        """Give the faces of both, the other's last."""
        if not len(other):
            return self
        return Mesh(
            self.vertices + other.vertices,
            *(np.concatenate([getattr(self, name), getattr(other, name)]) for name in _COLUMNS),
        )

    def later(self, first: int) -> Mesh:
        """Give the faces from number ``first`` on."""
        return Mesh(self.vertices[first:], *(getattr(self, name)[first:] for name in _COLUMNS))


_COLUMNS = ("origin", "along", "down", "normal", "bend", "patch", "cutout", "shift")

"""nightfall, the embedded synthetic city: hundreds of landmarks by day and at night, rendered here, from a seed.

It needs no download and no asset. A place (:mod:`place`) is a procedural landmark (:mod:`towers`, :mod:`halls`,
:mod:`skyline`, :mod:`works`) in :mod:`surroundings`, made of textured flat faces (:mod:`solids`, :mod:`mesh`,
:mod:`facades`, :mod:`atlas`). A shot (:mod:`shot`) has a camera, a day or a night (:mod:`weather`) and a sensor
(:mod:`sensor`); :mod:`render` takes it: which face is in which pixel (:mod:`raster`), lit by the sun with shadows or
by lamps and windows (:mod:`shade`, :mod:`lamplight`), before a :mod:`sky`, mirrored in water (:mod:`mirror`).
:mod:`layout` says which images make up the data sets, :mod:`write` writes them, :mod:`asset` makes them known to the
rest.

Images depend on the seed alone, not on the machine: random numbers are raw output of PCG64 (:mod:`dice`), and pixels
are touched only by operations that every processor rounds alike.
"""

from __future__ import annotations

from darkside_cli.nightfall.asset import City, ensure
from darkside_cli.nightfall.config import DEFAULT_SIZE, SIZES, VERSION, NightfallConfig
from darkside_cli.nightfall.write import write

__all__ = ["DEFAULT_SIZE", "SIZES", "VERSION", "City", "NightfallConfig", "ensure", "write"]

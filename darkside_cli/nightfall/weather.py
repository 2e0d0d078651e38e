"""Light and air of one moment: a day with its sun and clouds, or a night with its glow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from darkside_cli.nightfall.canvas import Colour, mix, shade
from darkside_cli.nightfall.dice import Dice
from darkside_cli.nightfall.mesh import Vector


@dataclass(frozen=True)
class Day:
    """A day. Radiances are relative to a white wall that faces the sun squarely at noon being about 3.

    ``sun`` points to the sun; ``sunlight``, ``zenith`` and ``horizon`` are linear RGB. ``clouds`` is the share of the
    sky they cover (1: overcast, no shadows), ``haze_m`` the distance at which half of the light is the air's.
    """

    sun: Vector
    sunlight: Colour
    zenith: Colour
    horizon: Colour
    clouds: float
    haze_m: float
    wet: float = 0.0


@dataclass(frozen=True)
class Night:
    """A night. ``glow`` is the sky's light near the ground, ``zenith`` above; ``lit`` the share of lit windows.

    ``lamp`` is the colour of street lamps, ``flood`` that of the floodlights (black: off). ``haze_m`` as by day.
    """

    zenith: Colour
    glow: Colour
    clouds: float
    haze_m: float
    lamp: Colour
    flood: Colour
    lit: float
    wet: float
    moon: bool


def draw_day(dice: Dice) -> Day:
    """Draw a day: clear, with clouds, hazy, overcast, or late."""
    kind = dice.weighted({"clear": 3.5, "clouds": 3.5, "hazy": 1.2, "overcast": 1.6, "late": 1.5})
    high = math.radians(dice.uniform(10, 22) if kind == "late" else dice.uniform(25, 62))
    # Anywhere but straight behind the buildings: most images are taken with the light.
    turn = math.radians(dice.uniform(-150, 150))
    sun = (math.sin(turn) * math.cos(high), -math.cos(turn) * math.cos(high), math.sin(high))
    warm = max(0.0, min(1.0, (math.radians(40) - high) / math.radians(32)))
    sunlight = mix_linear((2.6, 2.5, 2.3), (2.5, 1.6, 0.75), warm)
    zenith, horizon = (0.16, 0.32, 0.72), (0.62, 0.78, 0.98)
    clouds, haze = dice.uniform(0.0, 0.15), dice.uniform(1500, 5000)
    if kind == "clouds":
        clouds, haze = dice.uniform(0.3, 0.7), dice.uniform(1000, 3000)
    elif kind == "hazy":
        clouds, haze = dice.uniform(0.1, 0.5), dice.uniform(160, 500)
        zenith, horizon = (0.36, 0.48, 0.68), (0.86, 0.88, 0.9)
        sunlight = scale_linear(sunlight, 0.8)
    elif kind == "overcast":
        clouds, haze = 1.0, dice.uniform(250, 900)
        grey = dice.uniform(0.45, 0.9)
        zenith, horizon = (grey * 0.9, grey * 0.94, grey), (grey * 1.05, grey * 1.07, grey * 1.1)
        sunlight = (0.0, 0.0, 0.0)
    elif kind == "late":
        clouds = dice.uniform(0.1, 0.6)
        zenith, horizon = (0.18, 0.28, 0.55), (0.95, 0.72, 0.5)
    wet = dice.uniform(0.1, 0.35) if kind == "overcast" and dice.chance(0.4) else 0.0
    return Day(sun, sunlight, zenith, horizon, clouds, haze, wet)


def draw_night(dice: Dice) -> Night:
    """Draw a night: dark, with a sky lit by the city, rainy, or the blue hour."""
    kind = dice.weighted({"dark": 4.0, "glow": 3.0, "rain": 2.0, "blue": 1.5})
    zenith, glow, clouds = (0.0012, 0.0014, 0.0026), (0.006, 0.005, 0.005), dice.uniform(0.0, 0.4)
    haze, wet = dice.uniform(600, 3000), 0.0
    if kind == "glow":
        tone = dice.choice(((0.030, 0.018, 0.010), (0.020, 0.016, 0.020), (0.016, 0.018, 0.024)))
        zenith, glow, clouds = scale_linear(tone, 0.4), scale_linear(tone, 1.2), dice.uniform(0.5, 1.0)
    elif kind == "rain":
        tone = dice.choice(((0.022, 0.015, 0.010), (0.012, 0.013, 0.018)))
        zenith, glow, clouds = scale_linear(tone, 0.5), tone, 1.0
        haze, wet = dice.uniform(120, 400), dice.uniform(0.35, 0.8)
    elif kind == "blue":
        zenith, glow, clouds = (0.008, 0.018, 0.06), (0.045, 0.05, 0.085), dice.uniform(0.0, 0.6)
    lamp = dice.weighted(
        {(1.0, 0.55, 0.16): 4.0, (1.0, 0.74, 0.42): 2.5, (0.85, 0.92, 1.0): 2.5, (0.72, 1.0, 0.78): 0.7}
    )
    flood = (0.0, 0.0, 0.0)
    if dice.chance(0.8):
        flood = dice.weighted(
            {(1.0, 0.72, 0.36): 4.0, (1.0, 0.86, 0.64): 2.5, (0.9, 0.95, 1.0): 1.5, (0.35, 0.45, 1.0): 0.5,
             (1.0, 0.25, 0.6): 0.4, (0.3, 1.0, 0.6): 0.3, (1.0, 0.22, 0.12): 0.3}
        )  # fmt: skip
        flood = scale_linear(flood, dice.uniform(0.5, 1.3))
    return Night(
        zenith, glow, clouds, haze, scale_linear(lamp, dice.uniform(0.7, 1.3)), flood,
        lit=dice.uniform(0.08, 0.5), wet=wet, moon=kind == "dark" and dice.chance(0.25),
    )  # fmt: skip


def mix_linear(one: Colour, two: Colour, share: float) -> Colour:
    """Mix light: ``share`` of the second colour."""
    return mix(one, two, share)


def scale_linear(colour: Colour, factor: float) -> Colour:
    """Make light brighter or darker, without a limit."""
    r, g, b = colour
    return r * factor, g * factor, b * factor


__all__ = ["Day", "Night", "draw_day", "draw_night", "mix_linear", "scale_linear", "shade"]

"""Which file of a training run's folder is the generator, or the descriptor: runs of ours, of gandtr, CycleGAN, CUT.

The first of these that is there (for a direction, day to night being the first choice) is taken:

1. ours: ``generator_<direction>.safetensors`` in the folder, then in ``checkpoints/``;
2. gandtr's: ``generator_X*.pth`` (day to night) or ``generator_Y*.pth`` in ``epochs/``, then in the folder;
3. CycleGAN's ``*_net_G_A.pth`` or ``*_net_G_B.pth``, then CUT's ``*_net_G.pth`` (of either direction).

Of several, the one without or with the tag ``best`` wins, then ``bestsofar``, ``last`` or ``latest``, the
newest epoch, and ``frozen``. Descriptors are ``descriptor.safetensors`` in a folder of ours, ``embed_*.pth`` in
gandtr's.
"""

from __future__ import annotations

import re
from pathlib import Path

from darkside_cli.errors import CheckpointError, MissingAssetError
from darkside_cli.networks.catalog import DIRECTIONS

_GANDTR = {"day2night": "X", "night2day": "Y"}
_CYCLEGAN = {"day2night": "A", "night2day": "B"}
_TAGS = {"": 0, "best": 0, "bestsofar": 1, "last": 2, "latest": 2, "frozen": 4}
_EPOCH_RANK = 3
_WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")

_NAMES = {
    direction: re.compile(
        rf"(?:.*_)?generator_(?:{_GANDTR[direction]}|{direction})(?:_.*)?"
        rf"|(?:.*_)?net_G_{_CYCLEGAN[direction]}(?:_.*)?"
    )
    for direction in DIRECTIONS
}
_EPOCH = re.compile(r".*_epoch_(\d+)|(\d+)_net_.*|generator_[XY]_(\d+)")


def direction_of(path: Path) -> str | None:
    """Direction that a file's name tells: generator_X and G_A go from day to night, _Y and _B back."""
    return next((d for d in DIRECTIONS if _NAMES[d].fullmatch(path.stem)), None)


def epoch_of(path: Path) -> int | None:
    """Epoch that a file's name tells, or that of the file it is a link to."""
    for stem in (path.stem, path.resolve().stem):
        if found := _EPOCH.fullmatch(stem):
            return int(next(group for group in found.groups() if group))
    return None


def find_generator(folder: Path, direction: str | None = None) -> Path:
    """Find the generator's file in a run's folder; see the module's docstring for the order.

    ``direction`` None takes day to night, and the other one where only that is there. Raises
    MissingAssetError naming what is there instead if nothing fits.
    """
    wanted = DIRECTIONS if direction is None else (direction,)
    for each in wanted:
        if found := _find(folder, each):
            return found
    for each in DIRECTIONS:
        if other := _find(folder, each):
            raise MissingAssetError(
                f"{folder} has no generator of the direction {direction}",
                hint=f"it has {other.name} ({each})",
            )
    there = [
        path.name
        for path in _listing(folder) + _listing(folder / "epochs") + _listing(folder / "checkpoints")
    ]
    if there:
        more = ", …" if len(there) > 5 else ""
        hint = f"it has {', '.join(there[:5])}{more}: name the file that is meant"
    else:
        hint = "a run's folder has generator_day2night.safetensors, epochs/generator_X_*.pth or *_net_G*.pth"
    raise MissingAssetError(f"{folder} has no generator's weights", hint=hint)


def find_descriptor(folder: Path) -> Path | None:
    """Find the descriptor's file in a run's folder, as :func:`find_generator` does; None if there is none."""
    ours, gandtr = r"descriptor(?:_(?P<tag>.+))?\.safetensors", r"embed(?:_(?P<tag>.+))?\.pth"
    return _first((ours, folder), (gandtr, folder / "epochs"), (gandtr, folder))


def find_network(folder: Path, direction: str | None = None) -> Path:
    """Find the network that a run's folder is about: its generator, or where there is none, its descriptor.

    Raises MissingAssetError as :func:`find_generator` does.
    """
    try:
        return find_generator(folder, direction)
    except MissingAssetError:
        descriptor = find_descriptor(folder) if direction is None else None
        if descriptor is None:
            raise
        return descriptor


def _find(folder: Path, direction: str) -> Path | None:
    ours = rf"generator_{direction}(?:_(?P<tag>.+))?\.safetensors"
    gandtr = rf"generator_{_GANDTR[direction]}(?:_(?P<tag>.+))?\.pth"
    cyclegan = rf"(?P<tag>[^_]+)_net_G_{_CYCLEGAN[direction]}\.pth"
    cut = r"(?P<tag>[^_]+)_net_G\.pth"
    in_places = ((ours, folder / "checkpoints"), (gandtr, folder / "epochs"), (gandtr, folder))
    return _first((ours, folder), *in_places, (cyclegan, folder), (cut, folder))


def _first(*places: tuple[str, Path]) -> Path | None:
    """The best file of the first folder that has one, by pairs (pattern of names, folder)."""
    return next((best for pattern, place in places if (best := _best(re.compile(pattern), place))), None)


def _best(pattern: re.Pattern[str], place: Path) -> Path | None:
    ranked = []
    for path in _listing(place):
        found = pattern.fullmatch(path.name)
        rank = _rank(found["tag"] or "") if found else None
        if rank is not None:
            ranked.append((rank, path.name, path))
    return min(ranked)[2] if ranked else None


def _rank(tag: str) -> tuple[int, int] | None:
    """Place in the order of preference; None for a tag that is none of ours (another network's name)."""
    if tag in _TAGS:
        return _TAGS[tag], 0
    number = tag.removeprefix("epoch_")
    return (_EPOCH_RANK, -int(number)) if number.isdecimal() else None


def _listing(folder: Path) -> list[Path]:
    """Weights files of a folder by name, without links that lead nowhere; empty if there is no folder."""
    if not folder.is_dir():
        return []
    try:
        return sorted(p for p in folder.iterdir() if p.suffix in _WEIGHT_SUFFIXES and p.is_file())
    except OSError as error:
        raise CheckpointError(
            f"cannot read the folder {folder}: {error.strerror or error}", hint="check its permissions"
        ) from error

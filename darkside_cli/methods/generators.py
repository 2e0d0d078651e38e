"""Trained generators as files: found, opened, and held against what is wanted of them."""

from __future__ import annotations

from pathlib import Path

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import CheckpointError, UsageError
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.catalog import DIRECTION_TO
from darkside_cli.networks.locate import locate
from darkside_cli.networks.weights import Checkpoint


def check_direction(checkpoint: Checkpoint, to: str, *, name: str) -> None:
    """Raise UsageError unless ``checkpoint`` goes to ``to``.

    A file that does not tell its direction passes as day-to-night, which is what such files are made for.
    """
    direction = checkpoint.metadata.get("direction")
    if direction == DIRECTION_TO[to] or (direction is None and to == "night"):
        return
    if direction is None:
        raise UsageError(
            f"'{name}' does not say that it translates to {to}",
            hint="name its direction with --direction night2day if you know that it does",
        )
    raise UsageError(
        f"'{name}' translates {direction.replace('2', ' to ')}, not to {to}",
        hint="CycleGAN's other half does: generator_Y.pth or latest_net_G_B.pth of the same run"
        if to == "day"
        else "use --to day with it, or the run's generator_X.pth or latest_net_G_A.pth",
    )


def open_generator(
    model: str | Path, root: DataRoot, *, to: str, direction: str | None = None
) -> tuple[str, Checkpoint]:
    """Name and checkpoint of the generator ``model``, a name or a path, that translates to ``to``.

    Raises what :func:`darkside_cli.methods.translate.load_generator` does.
    """
    entry, path = locate(str(model), root, kind="generator")
    checkpoint = open_checkpoint(path, direction=DIRECTION_TO[to])
    name = entry.name if entry is not None else str(model)
    architecture = ARCHITECTURES.get(checkpoint.architecture)
    if architecture.kind != "generator":
        article = "an" if architecture.kind[0] in "aeiou" else "a"
        raise CheckpointError(
            f"{path} is {article} {architecture.kind}, not a generator",
            hint="a discriminator only judges pictures; the run's generator_X.pth or latest_net_G_A.pth makes them"
            if architecture.kind == "discriminator"
            else f"see 'darkside models {path}'",
        )
    channels = [getattr(checkpoint.config, key, 3) for key in ("in_channels", "out_channels")]
    if channels != [3, 3]:
        raise CheckpointError(
            f"{path} makes {channels[1]} channels of {channels[0]}, not RGB of RGB",
            hint="give a colour generator",
        )
    if direction is None:
        check_direction(checkpoint, to, name=name)
    elif direction != DIRECTION_TO[to]:
        raise UsageError(
            f"a {direction} generator does not translate to {to}",
            hint=f"use --to {'day' if to == 'night' else 'night'} with it",
        )
    return name, checkpoint


def statistics(checkpoint: Checkpoint) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, of RGB in [0, 1], that a generator's images are normalised by."""
    mean, std = (tuple(checkpoint.metadata.get(key) or (0.5, 0.5, 0.5)) for key in ("mean", "std"))
    return mean, std

"""Options that mean the same wherever they appear: declared once, with their completion and their check."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from darkside_cli.errors import UnknownNameError, UsageError
from darkside_cli.jobs.fields import DEVICES, PRECISIONS, check_device, generator_names
from darkside_cli.jobs.fields import descriptor_names as descriptor_names
from darkside_cli.jobs.request import ADVANCED, DATA, DEVICE, MAIN


def choice(
    what: str,
    values: Callable[[], Iterable[str]],
    *flags: str,
    help: str,
    open_ended: bool = False,
    **extra: Any,
) -> Any:
    """Declare an option that takes one of ``values()``: completed in the shell, near matches named when misspelt.

    ``open_ended`` choices only complete; the command checks the value itself (a model may also be a path).
    """

    def complete(incomplete: str) -> list[str]:
        return [value for value in values() if value.startswith(incomplete)]

    def check(value: Any) -> Any:
        known = list(values())
        for item in [value] if isinstance(value, str) else value or []:
            if item not in known:
                raise UnknownNameError(what, item, known)
        return value

    return typer.Option(
        *flags,
        help=help,
        autocompletion=complete,
        callback=None if open_ended else check,
        metavar=extra.pop("metavar", what.upper()),
        **extra,
    )


def _check_device(value: str) -> str:
    check_device(value)
    return value


Device = Annotated[
    str,
    typer.Option(
        help="auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:N or mps.",
        metavar="DEVICE",
        autocompletion=lambda incomplete: [d for d in DEVICES if d.startswith(incomplete)],
        callback=_check_device,
        rich_help_panel=DEVICE,
    ),
]
Precision = Annotated[
    str,
    choice(
        "precision",
        lambda: PRECISIONS,
        help="auto, fp32, bf16 or fp16; fp32 on the CPU is the exact mode.",
        rich_help_panel=DEVICE,
    ),
]
_GENERATOR = choice(
    "model",
    generator_names,
    "--model",
    "-m",
    help=(
        "A published generator by name, or the path of a checkpoint or run folder "
        "(ours, gandtr's, CycleGAN's, CUT's)."
    ),
    metavar="NAME|PATH",
    open_ended=True,
    rich_help_panel=MAIN,
)
Generator = Annotated[str, _GENERATOR]
Descriptor = Annotated[
    str,
    choice(
        "model",
        descriptor_names,
        "--model",
        "-m",
        help="A published descriptor by name, or the path of a checkpoint (ours, gandtr's, cirtorch's).",
        metavar="NAME|PATH",
        open_ended=True,
        show_default=False,
        rich_help_panel=MAIN,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Threads that decode and encode images (default: by CPU count).",
        min=1,
        max=256,
        rich_help_panel=DEVICE,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        min=0,
        max=1024,
        help="Images of one size run at once (0: chosen by size and memory).",
        rich_help_panel=DEVICE,
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Refuse images of more pixels (default: 500 million).",
        show_default=False,
        rich_help_panel=ADVANCED,
    ),
]
MaxSeconds = Annotated[
    float,
    typer.Option(
        min=0.1,
        max=86_400,
        help="Give up an image that takes longer to read.",
        rich_help_panel=ADVANCED,
    ),
]
# How a descriptor is made.
ImageSize = Annotated[
    int,
    typer.Option(min=0, help="Shrink to this longest side in pixels first (0: never).", rich_help_panel=MAIN),
]
Scales = Annotated[
    str,
    typer.Option(
        metavar="SCALES",
        help="ms (1, 0.7071 and 0.5 of the sides, averaged), ss, or numbers: 1,0.7071,0.5.",
        rich_help_panel=ADVANCED,
    ),
]
Whiten = Annotated[
    bool,
    typer.Option(
        "--whiten/--no-whiten",
        help="Apply the whitening that belongs to the model.",
        rich_help_panel=ADVANCED,
    ),
]
Whitening = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Apply this whitening instead.", show_default=False, rich_help_panel=ADVANCED
    ),
]
Dim = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Keep only so many dimensions of the whitening.",
        show_default=False,
        rich_help_panel=ADVANCED,
    ),
]
Clahe = Annotated[
    str | None,
    typer.Option(
        metavar="CLIP[:GRID]",
        help="Contrast equalisation before the network, or none (default: as recorded with the model).",
        show_default=False,
        rich_help_panel=ADVANCED,
    ),
]
Null = Annotated[
    bool,
    typer.Option(
        "--null",
        "-0",
        help="File names in and out are separated by NUL, not by newlines.",
        rich_help_panel=DATA,
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Take the images of sub-folders too.", rich_help_panel=DATA)
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of text.", rich_help_panel=DATA)
]
Jsonl = Annotated[
    bool,
    typer.Option("--jsonl", help="Print one JSON object per item instead of its path.", rich_help_panel=DATA),
]
Paths = Annotated[
    list[str] | None,
    typer.Argument(
        help="Images or folders; '-' or none at all reads their names from standard input.",
        metavar="PATHS...",
        show_default=False,
    ),
]


# As a path has it: with one slash of two.
_ADDRESS = re.compile(r"(https?|ftps?|sftp|s3|gs|file):/", re.IGNORECASE)


def input_paths(paths: Sequence[str | Path] | None, *, null: bool) -> list[Path]:
    """Resolve the PATHS argument: the given ones, or the names piped into standard input.

    ``-`` stands for the names on standard input, wherever it appears. Raises UsageError when nothing is given and
    standard input is a terminal, when an image came in where names belong, and for URLs.
    """
    given, image = _read_inputs(paths, null=null, advice="curl -LO URL gets it")
    if image is not None:
        raise UsageError(
            "an image came in on standard input, where names of images belong",
            hint="name its file; darkside translate alone reads images from a pipe",
        )
    return given


def inputs_or_image(paths: Sequence[str | Path] | None, *, null: bool) -> tuple[list[Path], bytes | None]:
    """:func:`input_paths`, but that standard input may also be an image, the only one given: its bytes.

    Raises UsageError, besides, for a video, and for an image where other images are named beside it.
    """
    return _read_inputs(paths, null=null, advice="curl -L URL | darkside translate - -o - > night.jpg")


def _read_inputs(
    paths: Sequence[str | Path] | None, *, null: bool, advice: str
) -> tuple[list[Path], bytes | None]:
    """:func:`inputs_or_image`, with ``advice`` for those who give a URL."""
    from darkside_cli.datasets.listing import iter_path_tokens
    from darkside_cli.datasets.piped import image_or_names

    if not paths:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                "no images given", hint="name files or folders, or pipe names in: ls *.jpg | darkside …"
            )
        paths = ["-"]
    result: list[Path] = []
    for token in paths:
        if os.fspath(token) != "-":
            result.append(_no_address(Path(token), advice))
            continue
        # With --null these are names: the bytes that tell an image from them could be of any list.
        image, names = (None, sys.stdin.buffer) if null else image_or_names(sys.stdin.buffer)
        if image is None:
            result.extend(_no_address(path, advice) for path in iter_path_tokens(names, null))
        elif len(paths) == 1:
            return [], image
        else:
            raise UsageError(
                "an image came in on standard input, and others are named beside it",
                hint="give the one or the others",
            )
    return result, None


def _no_address(path: Path, advice: str) -> Path:
    """``path``. Raises UsageError for a URL."""
    if (found := _ADDRESS.match(str(path))) and not os.path.lexists(path):
        raise UsageError(
            f"{str(path).replace(':/', '://', 1)} is a URL, and darkside reads files only",
            hint="give the path alone" if found[1].lower() == "file" else advice,
        )
    return path

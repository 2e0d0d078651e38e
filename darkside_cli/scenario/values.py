"""Values of scenarios as darkside has them: numbers, paths, transform strings, addresses of published files.

Every function raises ValueError, with the reason, for what it cannot translate.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from darkside_cli.assets.catalog import DATA
from darkside_cli.interop.transform_words import DEFAULT_SCALES, split_outside_brackets
from darkside_cli.networks.catalog import MODELS
from darkside_cli.scenario.step import Weights

HALF = [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
IMAGENET = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
PLAIN_TRANSFORMS = "pil2np | totensor | normalize"
SFM = "data/train/retrieval-SfM-120k"
CLAHE_TRANSFORMS = "pil2np | apply_clahe:1.0 | totensor | normalize"
#: Why keys of a data loader do not matter.
LOADERS = "darkside chooses its threads by itself"


def number(value: Any) -> float:
    """A number, also if it is a text as in ``3e-4``, which YAML 1.1 reads as one."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ValueError("this is no number") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("this is no number")
    return value


def whole(value: Any) -> int:
    """A whole number."""
    result = number(value)
    if result != result or abs(result) == float("inf") or int(result) != result:
        raise ValueError("this is no whole number")
    return int(result)


def whole_or_all(value: Any) -> int | None:
    """A whole number; None for null and for infinity, which mean all."""
    return None if value is None or number(value) == float("inf") else whole(value)


def boolean(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("this is neither true nor false")
    return value


def negated(value: Any) -> bool:
    """Return the opposite of true or false."""
    return not boolean(value)


def layers(value: Any) -> list[int]:
    """``"4,8,12,16"`` as numbers."""
    return [whole(part) for part in (value.split(",") if isinstance(value, str) else [value])]


def one_of(names: Mapping[str, str]) -> Callable[[Any], str]:
    """Make a converter of the reference's names to ours."""

    def convert(value: Any) -> str:
        if value not in names:
            raise ValueError(f"only {' or '.join(names)} is translated")
        return names[value]

    return convert


def file_path(value: Any) -> PurePosixPath:
    """Path of a file or a folder."""
    if not isinstance(value, str) or not value:
        raise ValueError("this is no path")
    if "://" in value:
        raise ValueError("darkside does not fetch this by itself: get it, and give its path")
    return PurePosixPath(_inside(value))


def _inside(path: str) -> str:
    """``path``, if it is absolute, or stays below the data folder: a scenario may come from anybody."""
    if not posixpath.isabs(path) and posixpath.normpath(path).split("/")[0] == "..":
        raise ValueError("this leads out of the data folder: where that is meant, write the whole path")
    return path


def image_pattern(value: Any) -> str | None:
    """Folder or pattern in which images are found by name; None for null."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("this is no folder and no pattern")
    return _inside(value)


def image_folder(value: Any) -> PurePosixPath:
    """Folder of the pattern ``folder/*``."""
    if not isinstance(value, str) or not value.endswith("/*") or "*" in value[:-1]:
        raise ValueError("darkside takes names as they are: only a folder and /* behind it is translated")
    return PurePosixPath(_inside(value[:-2]))


def weights(value: Any) -> Weights:
    """Weights by address, which has to be that of a published model, or by path."""
    return _published(value, "weights") or file_path(value)


def whitening(value: Any) -> Weights:
    """Whitening by address (the model whose it is), or by path."""
    return _published(value, "whitening") or file_path(value)


def _published(value: Any, role: str) -> str | None:
    for model in MODELS:
        if any(value in file.urls for file in model.files if file.role == role):
            return model.name
    return None


def edge_detector(value: Any) -> Weights:
    """Edge detector by the address of its published weights, or by path."""
    found = weights(value)
    if isinstance(found, str) and MODELS.get(found).kind != "edge-detector":
        raise ValueError(f"these are the weights of {found}, which is no edge detector")
    return found


def database(value: Any) -> Weights:
    """Training database by path, or by the address of a published one ("retrieval-SfM-120k-whiten")."""
    for asset in DATA:
        for file in asset.files:
            if value in file.urls:
                return PurePosixPath(file.path).stem
    return file_path(value)


def steps_of(transforms: Any) -> list[list[str]]:
    """``pil2np | downscale:362`` as [["pil2np"], ["downscale", "362"]]."""
    if not isinstance(transforms, str):
        raise ValueError("this is no text")
    return [[part.strip() for part in step.split(":")] for step in transforms.split("|") if step.strip()]


def downscaled(transforms: Any) -> int | None:
    """Side in pixels of ``pil2np | downscale:N | totensor | normalize``; None without ``downscale``."""
    steps = steps_of(transforms)
    sizes = [step for step in steps if step[0] == "downscale"]
    rest = [step for step in steps if step[0] != "downscale"]
    if rest != steps_of(PLAIN_TRANSFORMS) or len(sizes) > 1 or any(len(step) != 2 for step in sizes):
        raise ValueError(f"only {PLAIN_TRANSFORMS}, with downscale:SIZE after pil2np, is translated")
    return whole(sizes[0][1]) if sizes else None


def crops(transforms: Any) -> dict[str, Any]:
    """``pil2np | scalecrop:256_256:0.8_1 | totensor | normalize``, maybe with ``downscale:N`` before the crop."""
    steps = steps_of(transforms)
    crops = [step for step in steps if step[0] == "scalecrop"]
    if len(crops) != 1 or not 2 <= len(crops[0]) <= 3:
        raise ValueError(
            f"only {PLAIN_TRANSFORMS}, with scalecrop:WIDTH_HEIGHT:LOW_HIGH in it, is translated"
        )
    rest = " | ".join(":".join(step) for step in steps if step[0] != "scalecrop")
    order = [step[0] for step in steps if step[0] in ("downscale", "scalecrop")]
    if order != sorted(order):
        raise ValueError("only a downscale before the crop is translated")
    size = [whole(side) for side in crops[0][1].split("_")]
    scale = [number(part) for part in crops[0][2].split("_")] if len(crops[0]) == 3 else list(DEFAULT_SCALES)
    if len(size) != 2 or len(scale) != 2:
        raise ValueError("scalecrop takes WIDTH_HEIGHT and LOW_HIGH")
    return {
        "data.crop_px": size[0] if size[0] == size[1] else size,
        "data.scale": [float(part) for part in scale],
        "data.max_size_px": downscaled(rest),
    }


def sample_size(transforms: Any) -> int:
    """Side in pixels of images that are downscaled."""
    size = downscaled(transforms)
    if size is None:
        raise ValueError("darkside shows progress on pictures of one size: only with downscale:SIZE")
    return size


def wrappers_of(value: Any) -> list[tuple[str, list[str] | Mapping[str, Any]]]:
    """Names and options of wrappers: of ``a:1,b:2``, or of a mapping from ``<number>_<name>`` to options, sorted."""
    if value is None or value == "" or value == {}:
        return []
    if isinstance(value, str):
        parts = [split_outside_brackets(each, ":") for each in split_outside_brackets(value)]
        return [(name, options) for name, *options in parts]
    if not isinstance(value, Mapping):
        raise ValueError("this is neither a text nor a mapping")
    return [
        (str(key).partition("_")[2] if str(key).partition("_")[0].isdigit() else str(key), options or {})
        for key, options in sorted(value.items(), key=lambda item: str(item[0]))
    ]


def scales(value: Any) -> str:
    """What ``cirmultiscale`` is given, as our ``--scales``."""
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
    if isinstance(value, bool):
        return "ms" if value else "ss"
    given = value.strip("[]").split(",") if isinstance(value, str) else value
    if not isinstance(given, list) or not given:
        raise ValueError("scales are true, false or numbers")
    return ",".join(f"{number(each):g}" for each in given)


def at(found: Any, key: str) -> Any:
    """What is in nested mappings at the dotted ``key``; None if nothing is."""
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found

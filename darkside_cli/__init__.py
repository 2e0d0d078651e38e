"""darkside: night photographs from day ones, and descriptors that work in both.

The names below are imported on first use, so ``import darkside_cli`` costs nothing and loads no torch::

    from darkside_cli import load_generator

    night = load_generator("hedngan")          # or a path: generator_X.pth, latest_net_G_A.pth, a run folder
    night(Image.open("street.jpg")).save("street-night.jpg")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from darkside_cli.errors import DarksideError, MissingAssetError, UsageError
    from darkside_cli.jobs.augment import NightAugment
    from darkside_cli.jobs.download import download
    from darkside_cli.jobs.evaluate import evaluate
    from darkside_cli.jobs.evaluate_night import evaluate_night
    from darkside_cli.jobs.export import export
    from darkside_cli.jobs.extract import extract
    from darkside_cli.jobs.finetune import finetune
    from darkside_cli.jobs.search import search
    from darkside_cli.jobs.sort import sort
    from darkside_cli.jobs.train_gan import train_gan
    from darkside_cli.jobs.translate import translate
    from darkside_cli.jobs.whiten import whiten
    from darkside_cli.methods.translate import Translator, load_generator
    from darkside_cli.retrieval.describe.describer import Describer
    from darkside_cli.retrieval.describe.load import load_descriptor

_JOBS = (
    "download",
    "evaluate",
    "evaluate_night",
    "export",
    "extract",
    "finetune",
    "search",
    "sort",
    "train_gan",
    "translate",
    "whiten",
)
_LAZY = {
    **{job: f"darkside_cli.jobs.{job}" for job in _JOBS},
    "DarksideError": "darkside_cli.errors",
    "Describer": "darkside_cli.retrieval.describe.describer",
    "MissingAssetError": "darkside_cli.errors",
    "NightAugment": "darkside_cli.jobs.augment",
    "Translator": "darkside_cli.methods.translate",
    "UsageError": "darkside_cli.errors",
    "load_descriptor": "darkside_cli.retrieval.describe.load",
    "load_generator": "darkside_cli.methods.translate",
}

__all__ = [
    "DarksideError",
    "Describer",
    "MissingAssetError",
    "NightAugment",
    "Translator",
    "UsageError",
    "__version__",
    "download",
    "evaluate",
    "evaluate_night",
    "export",
    "extract",
    "finetune",
    "load_descriptor",
    "load_generator",
    "search",
    "sort",
    "train_gan",
    "translate",
    "whiten",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])

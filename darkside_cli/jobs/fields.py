"""Fields that mean the same in several requests: devices, models, how images are described."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkside_cli.errors import UnknownNameError, UsageError
from darkside_cli.jobs.request import ADVANCED, DATA, DEVICE, Getting, Request, ask
from darkside_cli.training.trainer_config import PRECISION_NAMES

if TYPE_CHECKING:
    from darkside_cli.networks.other_spec import Trust
    from darkside_cli.retrieval.describe.describer import Describer
    from darkside_cli.retrieval.search.nearest import QuerySettings

DEVICES = ("auto", "cpu", "cuda", "mps")


def generator_names() -> list[str]:
    """Names of the registered generators."""
    from darkside_cli.networks.catalog import MODELS

    return [entry.name for entry in MODELS if entry.kind == "generator"]


def descriptor_names() -> list[str]:
    """Names of the registered descriptors, aliases included."""
    from darkside_cli.networks.catalog import MODELS

    return [name for name in MODELS.names(aliases=True) if MODELS.get(name).kind == "descriptor"]


def descriptor_and_other_names() -> list[str]:
    """Names of the registered descriptors and of those of others."""
    from darkside_cli.networks.others import other_names

    return descriptor_names() + other_names()


def model_names() -> list[str]:
    """Every registered model name, aliases included."""
    from darkside_cli.networks.catalog import MODELS
    from darkside_cli.networks.others import other_names

    return MODELS.names(aliases=True) + other_names()


def test_set_names() -> list[str]:
    """Names of the test sets, aliases included."""
    from darkside_cli.datasets.catalog import TEST_SETS

    return TEST_SETS.names(aliases=True)


#: Of fields that take a name or a path: what they are called, and which names complete.
_PATH_TOO = {"metavar": "NAME|PATH", "kind": "model", "open_ended": True}
MODEL: dict[str, Any] = {**_PATH_TOO, "choices_from": model_names}
GENERATOR: dict[str, Any] = {**_PATH_TOO, "short": "-m", "choices_from": generator_names}
DESCRIPTOR: dict[str, Any] = {**_PATH_TOO, "short": "-m", "choices_from": descriptor_names}
#: Also a model of others: see :mod:`darkside_cli.networks.other_spec`.
ANY_DESCRIPTOR: dict[str, Any] = {**DESCRIPTOR, "choices_from": descriptor_and_other_names}
TEST_SET: dict[str, Any] = {**_PATH_TOO, "short": "-d", "kind": "data set", "choices_from": test_set_names}
TRAINING_DATA: dict[str, Any] = {
    **_PATH_TOO,
    "kind": "training data",
    "choices_from": "darkside_cli.datasets.catalog:TRAINING_SETS",
}


def check_device(device: str) -> None:
    """Raise UnknownNameError if ``device`` is none: "cuda:1" is one, too."""
    if device not in DEVICES and not (device.startswith("cuda:") and device[5:].isdigit()):
        raise UnknownNameError("device", device, [*DEVICES, "cuda:0"])


def computing_device() -> Any:
    """Declare a field for what is computed on."""
    words = "auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:N or mps."
    return ask(words, "auto", kind="device", choices_from=DEVICES, open_ended=True, group=DEVICE)


def worker_threads(**changes: Any) -> Any:
    """Declare a field for the number of threads that read and write images."""
    words = "Threads that decode and encode images (default: by CPU count)."
    return ask(words, minimum=1, maximum=256, group=DEVICE, **changes)


@dataclass(frozen=True, kw_only=True)
class OnDevice(Getting):
    """A request of a job that computes."""

    device: str = computing_device()
    precision: str = ask(
        "auto, fp32, bf16 or fp16; fp32 on the CPU is the exact mode.",
        "auto",
        kind="precision",
        choices_from=PRECISION_NAMES,
        group=DEVICE,
    )

    def check(self) -> None:
        """Raise UnknownNameError if the device is none."""
        super().check()
        check_device(self.device)


@dataclass(frozen=True, kw_only=True)
class Images(Request):
    """A request of a job that is given images. A folder stands for the images in it."""

    positional = "images"

    images: tuple[Path, ...] = ask(
        "Images or folders; '-' or none at all reads their names from standard input.",
        (),
        metavar="PATHS...",
        argument=True,
    )
    recursive: bool = ask("Take the images of sub-folders too.", False, short="-r", group=DATA)


@dataclass(frozen=True, kw_only=True)
class Limited(Request):
    """A request of a job that refuses images which would take too much."""

    max_pixels: int | None = ask(
        "Refuse images of more pixels (default: 500 million).", minimum=1, group=ADVANCED
    )
    max_seconds: float = ask(
        "Give up an image that takes longer to read.", 120.0, minimum=0.1, maximum=86_400, group=ADVANCED
    )


@dataclass(frozen=True, kw_only=True)
class OnImages(OnDevice):
    """A request of a job that reads many images."""

    batch_size: int = ask(
        "Images of one size run at once (0: chosen by size and memory).",
        0,
        minimum=0,
        maximum=1024,
        group=DEVICE,
    )
    workers: int | None = worker_threads()


@dataclass(frozen=True, kw_only=True)
class Whitened(Getting):
    """A request of a job that may change how a model whitens its descriptors, and equalises images before."""

    whitening: Path | None = ask("Apply this whitening instead.", metavar="FILE", group=ADVANCED)
    dim: int | None = ask("Keep only so many dimensions of the whitening.", minimum=1, group=ADVANCED)
    clahe: str | None = ask(
        "Contrast equalisation before the network, or none (default: as recorded with the model).",
        metavar="CLIP[:GRID]",
        group=ADVANCED,
    )

    trust: bool = ask(
        "Run the code of a model of others (hub:OWNER/REPO:ENTRY, MODULE:FACTORY, megaloc, ...).",
        False,
        group=ADVANCED,
    )

    @property
    def trusted(self) -> Trust:
        """What models of others may do."""
        from darkside_cli.networks.other_spec import Trust

        why = f"{self.why_offline}" if self.offline else "run this command again with --download"
        return Trust(self.trust, self.download and not self.offline, why)

    def query_settings(self, scales: str | None, whiten: bool | None) -> QuerySettings:
        """How images are described, for a file that says how its images were; None is as it says."""
        from darkside_cli.images.settings import parse_clahe
        from darkside_cli.retrieval.describe.scales import parse_scales
        from darkside_cli.retrieval.search.nearest import QuerySettings

        return QuerySettings(
            scales=None if scales is None else parse_scales(scales),
            whiten=self.whitening if self.whitening is not None else whiten,
            dim=self.dim,
            clahe=None if self.clahe is None else parse_clahe(self.clahe),
        )

    def check_description(self, scales: str | None, whiten: bool | None) -> None:
        """Raise UsageError for a whitening where there is to be none, and for what are no settings or scales."""
        from darkside_cli.images.settings import parse_clahe
        from darkside_cli.retrieval.describe.scales import parse_scales

        if whiten is False and self.whitening is not None:
            raise UsageError("--no-whiten and --whitening contradict each other", hint="give one of them")
        parse_clahe(self.clahe)
        if scales is not None:
            parse_scales(scales)


@dataclass(frozen=True, kw_only=True)
class Describing(Whitened, OnImages):
    """A request of a job that describes images."""

    image_size: int | None = ask(
        "Shrink to this longest side in pixels first; 0: never (default: as recorded with the model, else 1024).",
        minimum=0,
    )
    scales: str | None = ask(
        "ms (1, 0.7071 and 0.5 of the sides, averaged), ss, or numbers: 1,0.7071,0.5 (default: ms).",
        metavar="SCALES",
        group=ADVANCED,
    )
    whiten: bool | None = ask("Apply the whitening that belongs to the model (default: yes).", group=ADVANCED)

    def check(self) -> None:
        """Raise UsageError for contradictions, and for what are no scales and no settings of CLAHE."""
        super().check()
        self.check_description(self.scales, self.whiten)

    def load(self, model: str | Path, *, device: str | None = None) -> Describer:
        """Load ``model`` as this request says that it describes images; on ``device`` where that is another one.

        Raises what :func:`darkside_cli.retrieval.describe.load.load_descriptor` raises.
        """
        from darkside_cli.images.settings import parse_clahe
        from darkside_cli.retrieval.describe.load import load_descriptor
        from darkside_cli.retrieval.describe.scales import parse_scales

        return load_descriptor(
            model,
            root=self.root,
            device=device or self.device,
            precision=self.precision,
            scales=parse_scales(self.scales or "ms"),
            whiten=self.whitening if self.whitening is not None else self.whiten is not False,
            dim=self.dim,
            clahe=parse_clahe(self.clahe),
            trust=self.trusted,
        )

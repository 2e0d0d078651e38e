"""From what a user calls a descriptor, a name or a file, to a model that is ready to describe images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from darkside_cli.config import limits
from darkside_cli.config.paths import DataRoot, data_root
from darkside_cli.errors import CheckpointError, ConfigError, MissingAssetError, UsageError
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.inference.device import pick_device
from darkside_cli.interop.folders import find_descriptor
from darkside_cli.interop.load import open_model
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.networks.catalog import EMBEDDED_DESCRIPTOR
from darkside_cli.networks.locate import default_descriptor, how_to_get, locate
from darkside_cli.networks.model_entry import ModelEntry
from darkside_cli.networks.other_spec import Trust, is_other, parse_other
from darkside_cli.networks.retrieval_net import RetrievalNet
from darkside_cli.networks.weights import RAW, Checkpoint, Whitening
from darkside_cli.retrieval.describe import overlap
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.descriptor import DescriptorModel
from darkside_cli.retrieval.describe.image_jobs import USUAL_SIZE_PX
from darkside_cli.retrieval.describe.others import load_other
from darkside_cli.retrieval.describe.scales import PAPER_SCALES, SINGLE_SCALE

WHITENING_SUFFIXES = ("_lw.pkl", "_whitening.safetensors", "_whitening.pkl")
# What published networks were trained on; their files may hold whitenings of its smaller brother, too.
_TRAINING_SET = "retrieval-SfM-120k/"
_HOW_TO_WHITEN = "name one with --whitening FILE, or ask for plain descriptors with --no-whiten"


@dataclass(frozen=True)
class LoadedDescriptor:
    """A model, and where it comes from.

    ``name`` is its registered name, else its path; ``entry`` is that of a registered one. ``metadata`` is JSON-able:
    the files' paths, backbone, pooling, scales, whether and how it whitens. ``learned_from`` are records of the images
    (:mod:`darkside_cli.retrieval.describe.overlap`) that it was "trained" and "whitened" on, as far as known.
    ``image_size_px`` is the longest side of images that it is for.
    """

    model: DescriptorModel
    name: str
    entry: ModelEntry | None
    metadata: dict[str, Any] = field(default_factory=dict)
    learned_from: dict[str, Any] = field(default_factory=dict)
    image_size_px: int = USUAL_SIZE_PX


def load_model(
    name_or_path: str | Path,
    *,
    root: DataRoot | None = None,
    scales: Sequence[float] = PAPER_SCALES,
    whiten: bool | str | Path = True,
    dim: int | None = None,
    clahe: ClaheSettings | bool = True,
    trust: Trust | bool = False,
) -> LoadedDescriptor:
    """Load a descriptor by registered name, or from a checkpoint of ours, gandtr's or cirtorch's, on the CPU.

    A run's folder stands for the descriptor in it.

    ``whiten`` True takes the whitening that belongs to the model: its second published file, the one inside a
    file of cirtorch's that was learned for as many scales, or the one beside a checkpoint ``x.pth``
    (``x_lw.pkl``, ``x_whitening.safetensors``); a network that ends with a whitening of its own needs none, and a
    backbone without training (:mod:`darkside_cli.networks.raw`) has none. A path names another one, False is plain
    descriptors. ``clahe`` True is what is recorded with the checkpoint, and for files that record nothing, none.

    A model of others (:mod:`darkside_cli.networks.other_spec`) is one too, where ``trust`` lets its code run (True: and
    fetch what it needs). It has no whitening of its own, and sees images at one scale.

    Raises MissingAssetError when a file is not on this machine (it says how to get it), CheckpointError when one
    does not hold what it should, UsageError for names of something else, ConfigError for scales and dimensions
    that cannot be.
    """
    if isinstance(name_or_path, str) and is_other(name_or_path):
        allowed = Trust(trust, trust) if isinstance(trust, bool) else trust
        return _load_other(name_or_path, allowed, scales, whiten, dim, clahe)
    place = root if root is not None else data_root()
    entry, path = locate(name_or_path, place, kind="descriptor")
    if path.is_dir():
        path = _in_folder(path)
    published = None if entry is None or whiten is not True else _published_whitening(entry, place)
    checkpoint = open_model(name_or_path, path)
    if checkpoint.kind != "descriptor":
        raise CheckpointError(
            f"{path} is a {checkpoint.kind}, not a descriptor", hint=f"see 'darkside models {path}'"
        )
    whitening, source = _whitening(whiten, published, checkpoint, scales)
    model = DescriptorModel.from_checkpoint(
        checkpoint, scales=scales, whitening=whitening, dim=dim, clahe=clahe
    )
    config = checkpoint.config
    metadata = {
        "model": entry.name if entry is not None else str(path.absolute()),
        "backbone": config.backbone,
        "pooling": config.pooling,
        "scales": list(model.scales),
        "whiten": source if isinstance(source, bool) else str(source.absolute()),
        "reduced_to": dim,
        "clahe": asdict(clahe) if isinstance(clahe, ClaheSettings) else clahe,
    }
    learned_from = {
        "trained": checkpoint.metadata.get(overlap.KEY),
        "whitened": whitening.metadata.get(overlap.KEY) if whitening is not None else None,
    }
    name = entry.name if entry is not None else str(name_or_path)
    size = checkpoint.metadata.get("image_size_px")
    if not (isinstance(size, int) and 8 <= size <= limits.MAX_IMAGE_PX):
        size = USUAL_SIZE_PX
    model.image_size_px = size
    return LoadedDescriptor(model, name, entry, metadata, learned_from, size)


def _load_other(
    name: str,
    trust: Trust,
    scales: Sequence[float],
    whiten: bool | str | Path,
    dim: int | None,
    clahe: ClaheSettings | bool,
) -> LoadedDescriptor:
    if tuple(scales) not in (PAPER_SCALES, SINGLE_SCALE):
        raise UsageError(
            f"{name} sees images at one scale, as models of others do", hint="leave --scales out"
        )
    spec = parse_other(name)
    settings = clahe if isinstance(clahe, ClaheSettings) else None
    network, transform = load_other(spec, trust, settings)
    file = None if isinstance(whiten, bool) else Path(whiten).absolute()
    whitening = None if file is None else read_whitening(file)
    alike = cast(RetrievalNet, network)  # in all that DescriptorModel asks of one
    model = DescriptorModel(alike, scales=SINGLE_SCALE, whitening=whitening, dim=dim, transform=transform)
    metadata = {
        "model": spec.text,
        "backbone": spec.entry,
        "pooling": None,
        "scales": list(SINGLE_SCALE),
        "whiten": False if file is None else str(file),
        "reduced_to": dim,
        "clahe": None if settings is None else asdict(settings),
    }
    return LoadedDescriptor(model.eval(), name, None, metadata)


def load_descriptor(
    name_or_path: str | Path | None = None,
    *,
    root: DataRoot | None = None,
    device: str = "auto",
    precision: str = "auto",
    scales: Sequence[float] = PAPER_SCALES,
    whiten: bool | str | Path = True,
    dim: int | None = None,
    clahe: ClaheSettings | bool = True,
    trust: Trust | bool = False,
) -> Describer:
    """Load a descriptor as :func:`load_model` does, and put it to work on a device.

    Without a name it is the published descriptor with the best figures that is on this machine, else the one that comes
    with the package, as on the command line: a UserWarning says so, and ``name`` of what is returned tells which.
    ``device`` and ``precision`` as in :mod:`darkside_cli.inference.device`, which says what they raise.
    """
    chosen = pick_device(device)
    if name_or_path is None:
        root = root if root is not None else data_root()
        name_or_path, said = default_descriptor(root)
        if name_or_path == EMBEDDED_DESCRIPTOR:
            warnings.warn(said, UserWarning, stacklevel=2)
    options: dict[str, Any] = {"scales": scales, "whiten": whiten, "dim": dim, "clahe": clahe, "trust": trust}
    loaded = load_model(name_or_path, root=root, **options)
    return Describer(
        loaded.model,
        device=chosen,
        precision=precision,
        name=loaded.name,
        metadata=loaded.metadata,
        learned_from=loaded.learned_from,
        image_size_px=loaded.image_size_px,
    )


def find_whitening(
    checkpoint: Checkpoint, whiten: bool | Path, *, entry: ModelEntry | None, root: DataRoot
) -> Whitening | None:
    """The whitening that :func:`load_model` would apply at the published scales; None if there is none.

    Raises as it does, but not for a network without a whitening.
    """
    published = None if entry is None or whiten is not True else _published_whitening(entry, root)
    try:
        return _whitening(whiten, published, checkpoint, PAPER_SCALES)[0]
    except MissingAssetError:
        if whiten is True and published is None:
            return None
        raise


def _in_folder(folder: Path) -> Path:
    """File of the descriptor in a run's folder. Raises UsageError if there is none."""
    found = find_descriptor(folder)
    if found is None:
        raise UsageError(
            f"{folder} is a folder without a descriptor",
            hint="name the file of a descriptor's weights, or the folder of 'darkside finetune'",
        )
    return found


def _published_whitening(entry: ModelEntry, root: DataRoot) -> Path | None:
    """The whitening published beside the weights; None for those that hold their own."""
    path = next((file.under(root) for file in entry.files if file.role == "whitening"), None)
    if path is not None and not path.is_file():
        raise MissingAssetError(
            f"the whitening of '{entry.name}' is not on this machine",
            hint=f"{how_to_get(entry, root)}; or ask for plain descriptors with --no-whiten",
        )
    return path


def _whitening(
    whiten: bool | str | Path, published: Path | None, checkpoint: Checkpoint, scales: Sequence[float]
) -> tuple[Whitening | None, bool | Path]:
    """Find the whitening to apply, and say what to record of it: a file, or whether there is one."""
    if whiten is False:
        return None, False
    if whiten is not True:
        return read_whitening(whiten), Path(whiten)
    if published is not None:
        return read_whitening(published), True
    path = checkpoint.path
    inside = _inside(checkpoint, scales)
    if inside is not None:
        return read_whitening(path, which=inside), True
    for suffix in WHITENING_SUFFIXES:
        beside = path.with_name(f"{path.stem}{suffix}")
        if beside.is_file():
            return read_whitening(beside), True
    if getattr(checkpoint.config, "whitening", False):
        return None, True
    if checkpoint.metadata.get(RAW):
        return None, False
    raise MissingAssetError(f"there is no whitening in {path} or beside it", hint=_HOW_TO_WHITEN)


def _inside(checkpoint: Checkpoint, scales: Sequence[float]) -> str | None:
    """Name of the whitening in a file of cirtorch's that was learned for one scale, or for several."""
    stored = checkpoint.metadata.get("cirtorch")
    names: list[str] = list(stored.get("whitenings", ())) if isinstance(stored, dict) else []
    if not names:
        return None
    wanted = "ss" if tuple(scales) == SINGLE_SCALE else "ms"
    fitting = [name for name in names if name.endswith(f"/{wanted}")]
    if len(fitting) > 1:
        fitting = [name for name in fitting if name.startswith(_TRAINING_SET)]
    if len(fitting) != 1:
        raise ConfigError(
            f"{checkpoint.path} holds the whitenings {', '.join(names)}, of which {len(fitting)} are for these scales",
            hint=_HOW_TO_WHITEN,
        )
    return fitting[0]

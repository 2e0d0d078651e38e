"""Checkpoints: a network's weights together with what it is, as files of ours and in memory.

Our format is one safetensors file. Its header has one entry, ``darkside``, a JSON object with ``version``
(of this format), ``architecture``, ``config`` and ``metadata``. Formats of other projects are opened by
``darkside_cli.interop.load.open_checkpoint``, which opens ours, too.

Metadata keys with a meaning (all optional): ``mean`` and ``std`` (per channel, of RGB in [0, 1]),
``direction`` ("day2night", "night2day" or None), ``clahe`` (what a descriptor's images go through:
``{"clip_limit", "grid_size"}`` or None), ``epoch``, ``method``, ``scores``, ``versions``, ``licence``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from darkside_cli.atomic import temporary_beside
from darkside_cli.errors import CheckpointError, ConfigError, UnknownNameError
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.state_file import StateFile, read_state_file, require_finite, require_normalisation
from darkside_cli.networks.state_limits import read_header
from darkside_cli.registry import resolve

__all__ = [
    "Checkpoint",
    "build_network",
    "check_fit",
    "expected_shapes",
    "from_state_file",
    "normalise_state",
    "read_checkpoint",
    "read_state_file",
    "recognise_state",
    "save_checkpoint",
    "shapes_of",
]

HEADER_KEY = "darkside"
FORMAT_VERSION = 1
_NAMED_KEYS = 4
# Of a network with one damaged tensor; the smallest has six.
_NEARLY_ALL = 0.8


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what they belong to.

    ``format`` is the file's: "darkside", "gandtr", "cirtorch" or "state-dict"; ``architecture`` a name in
    ``ARCHITECTURES`` and ``config`` an object of its configuration class. ``state`` maps the network's own
    keys (no ``module.``) to tensors on the CPU, in the types they are stored in. ``metadata`` is JSON-able;
    see the module's docstring. Raises CheckpointError for a mean or std that no input can have.
    """

    path: Path
    format: str
    architecture: str
    config: Any
    state: dict[str, Tensor] = field(repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_normalisation(self.metadata, self.path)

    @property
    def kind(self) -> str:
        """What the network is: "generator", "discriminator", "edge-detector", …"""
        return ARCHITECTURES.get(self.architecture).kind


def save_checkpoint(
    path: str | Path,
    module_or_state: nn.Module | Mapping[str, Tensor],
    *,
    architecture: str,
    config: Any,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint in our format, whole or not at all, and return its path.

    The same arguments give the same bytes. ``metadata`` must be JSON-able (no NaN). Raises UnknownNameError
    for an unknown architecture, CheckpointError if the weights do not fit ``config`` or cannot be written,
    TypeError or ValueError for metadata that is no JSON.
    """
    path = Path(path)
    state = module_or_state.state_dict() if isinstance(module_or_state, nn.Module) else module_or_state
    check_fit(shapes_of(state), architecture, config, path)
    description = {
        "version": FORMAT_VERSION,
        "architecture": architecture,
        "config": asdict(config),
        "metadata": dict(metadata or {}),
    }
    header = {HEADER_KEY: json.dumps(description, allow_nan=False, ensure_ascii=False)}
    # Cloned, because safetensors takes neither views of one storage nor strides of its own.
    tensors = {
        key: value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for key, value in state.items()
    }
    try:
        with temporary_beside(path, sync=True) as temporary:
            save_file(tensors, temporary, metadata=header)
    except (OSError, SafetensorError) as error:  # safetensors has its own for a full disk
        raise CheckpointError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    return path


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a file in our format.

    Raises MissingAssetError if there is none, CheckpointError if it is damaged or in another format.
    """
    checkpoint = from_state_file(read_state_file(path))
    if checkpoint is None:
        raise CheckpointError(f"{path} is not a checkpoint of darkside's own format")
    return checkpoint


def from_state_file(file: StateFile) -> Checkpoint | None:
    """Make a checkpoint of a file in our format; None if it is in another.

    Raises CheckpointError if its header says nothing darkside understands, or its tensors do not fit it.
    """
    if HEADER_KEY not in file.header:
        return None
    path = file.path
    try:
        description = read_header(file.header[HEADER_KEY])
        version, architecture = description["version"], str(description["architecture"])
        values, metadata = dict(description["config"]), dict(description["metadata"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has a damaged description: {error!r}") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}, this darkside reads {FORMAT_VERSION}",
            hint="update darkside",
        )
    try:
        # Its values are held against their bounds: nothing is built that no network can be.
        config = _config_from_json(architecture, values)
    except (ConfigError, UnknownNameError) as error:
        raise CheckpointError(
            f"{path} describes a network that this darkside does not have: {error}",
            hint="update darkside if a later one wrote it",
        ) from error
    check_fit(shapes_of(file.content), architecture, config, path)
    return Checkpoint(path, "darkside", architecture, config, file.content, metadata)


def _config_from_json(architecture: str, values: Mapping[str, Any]) -> Any:
    config_class = resolve(ARCHITECTURES.get(architecture).config)
    unknown = sorted(set(values) - {each.name for each in fields(config_class)})
    if unknown:
        raise ConfigError(f"{architecture} has no setting {', '.join(unknown)}")
    return config_class(**values)


def build_network(checkpoint: Checkpoint) -> nn.Module:
    """Build the checkpoint's network on the CPU, in float32 and eval mode.

    Weights stored in other types are converted. torch's random stream is left as it was. Raises
    CheckpointError that names the first missing, unexpected and misshapen keys if the weights do not fit, and the
    tensor that has numbers which are not finite.
    """
    entry = ARCHITECTURES.get(checkpoint.architecture)
    with torch.random.fork_rng(devices=[]), _Uninitialised():
        network: nn.Module = resolve(entry.target)(checkpoint.config)
    _raise_differences(
        shapes_of(network.state_dict()), shapes_of(checkpoint.state), checkpoint.architecture, checkpoint.path
    )
    require_finite(checkpoint.state, checkpoint.path)
    network.load_state_dict(checkpoint.state)
    return network.eval()


def check_fit(shapes: Mapping[str, tuple[int, ...]], architecture: str, config: Any, path: Path) -> None:
    """See that a state dict with these keys and shapes is one of ``architecture`` with ``config``.

    Raises CheckpointError that says what differs. Costs no memory.
    """
    _raise_differences(expected_shapes(architecture, config), shapes, architecture, path)


def expected_shapes(architecture: str, config: Any) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the network's state dict, in order, without making its weights."""
    return dict(_shapes(ARCHITECTURES.get(architecture).target, config))


@lru_cache(maxsize=16)  # opening a file asks for the same ones several times
def _shapes(target: str, config: Any) -> tuple[tuple[str, tuple[int, ...]], ...]:
    with torch.device("meta"), _Uninitialised():
        return tuple(shapes_of(resolve(target)(config).state_dict()).items())


class _Uninitialised(TorchFunctionMode):
    """Networks made inside do not draw their weights: these are loaded, or not looked at.

    That saves most of the time of making a large one, and on the meta device torch's loading of its symbolic
    mathematics.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if getattr(func, "__module__", "") == "torch.nn.init" or name in ("normal_", "uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor, by key."""
    return {key: tuple(value.shape) for key, value in state.items()}


def recognise_state(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, Any] | None:
    """Tell which architecture, in which configuration, a state dict belongs to; None if it is none of ours.

    Recognisers look at a few keys. One whose network has exactly these keys and shapes is preferred; else what
    most of the tensors fit is returned, so that :func:`check_fit` names the few that are wrong and not the many
    that are not, even where a recogniser looked at a wrong one.
    """
    recognised: list[tuple[str, Any]] = []
    for entry in ARCHITECTURES:
        try:
            with _Uninitialised():  # some compare with networks of their own making
                config = resolve(entry.recogniser)(shapes)
        except ConfigError:  # sizes no network can have
            continue
        if config is None:
            continue
        if expected_shapes(entry.name, config) == dict(shapes):
            return entry.name, config
        recognised.append((entry.name, config))
    return _closest(shapes, recognised)


def _closest(
    shapes: Mapping[str, tuple[int, ...]], recognised: list[tuple[str, Any]]
) -> tuple[str, Any] | None:
    """Architecture and configuration that agree with most tensors of a state dict that none agrees with wholly.

    What was recognised is tried, then the same with one value as it usually is, then every architecture as it
    usually is, which must agree with nearly all.
    """
    usual = {entry.name: resolve(entry.config)() for entry in ARCHITECTURES}
    variants = [
        (name, replace(config, **{field.name: getattr(usual[name], field.name)}))
        for name, config in recognised
        for field in fields(config)
        if getattr(config, field.name) != getattr(usual[name], field.name)
    ]

    def agreement(candidate: tuple[str, Any]) -> float:
        try:
            expected = expected_shapes(*candidate)
        except ConfigError:
            return 0.0
        return sum(shapes.get(key) == shape for key, shape in expected.items()) / max(
            len(expected), len(shapes)
        )

    # Of two that agree alike, what is usual is likelier.
    best = max([*variants, *recognised], key=agreement, default=None)
    guess = max(usual.items(), key=agreement)
    if agreement(guess) >= _NEARLY_ALL and (best is None or agreement(guess) > agreement(best)):
        return guess
    return best


def normalise_state(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Bring a foreign state dict to our keys.

    The prefix ``module.`` of parallel wrappers is taken off. Running statistics of norms without a scale are
    dropped: instance norms of old torch versions kept them though nothing read them. Where batch norms of old
    versions have no ``num_batches_tracked``, it is put in as zero.

    Raises CheckpointError if something is not a plain tensor.
    """
    result = {str(key): _plain(str(key), value, path) for key, value in state.items()}
    while result and all(key.startswith("module.") for key in result):
        result = {key.removeprefix("module."): value for key, value in result.items()}
    for key in list(result):
        prefix, _, name = key.rpartition(".")
        if name not in ("running_mean", "running_var", "num_batches_tracked"):
            continue
        if f"{prefix}.weight" not in result:
            del result[key]
        elif name == "running_var" and f"{prefix}.num_batches_tracked" not in result:
            result[f"{prefix}.num_batches_tracked"] = torch.tensor(0)
    return result


def _plain(key: str, value: Any, path: Path) -> Tensor:
    if not isinstance(value, Tensor):
        raise CheckpointError(f"{path} holds a {type(value).__name__} under '{key}', not a tensor")
    if value.is_meta or value.is_quantized or value.is_complex() or value.layout != torch.strided:
        raise CheckpointError(f"{path} holds a tensor of an unsupported kind under '{key}'")
    return value.detach()


def _raise_differences(
    expected: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    architecture: str,
    path: Path,
) -> None:
    differences = []
    if missing := [key for key in expected if key not in found]:
        differences.append(f"missing {_some(missing)}")
    if unexpected := [key for key in found if key not in expected]:
        differences.append(f"unexpected {_some(unexpected)}")
    misshapen = [
        f"{key} is {_size(found[key])}, expected {_size(shape)}"
        for key, shape in expected.items()
        if key in found and found[key] != shape
    ]
    if misshapen:
        differences.append(_some(misshapen))
    if differences:
        raise CheckpointError(
            f"{path} does not fit {architecture}: {'; '.join(differences)}",
            hint="the file is of another network, or incomplete",
        )


def _some(items: list[str]) -> str:
    more = len(items) - _NAMED_KEYS
    return ", ".join(items[:_NAMED_KEYS]) + (f" and {more} more" if more > 0 else "")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"

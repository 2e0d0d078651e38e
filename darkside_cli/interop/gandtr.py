"""gandtr's checkpoint files: ``{"type", "frozen", "network_params": {"model", "runtime"}, "model_state"}``.

Read into a :class:`GandtrNetwork` and turned into a :class:`~darkside_cli.networks.weights.Checkpoint` by
``load.open_checkpoint``; :mod:`~darkside_cli.interop.gandtr_write` writes them for those who want to go back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from darkside_cli.errors import CheckpointError, DarksideError
from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.interop.safe_pickle import plain_copy
from darkside_cli.networks.recognise import check_fit, expected_shapes, normalise_state, shapes_of

#: Metadata key under which a checkpoint keeps what gandtr wrote beside its weights.
METADATA_KEY = "gandtr"
SINGLE = "SingleNetwork"


@dataclass(frozen=True)
class GandtrNetwork:
    """One network as gandtr stores it: its ``model`` and ``runtime`` parameters and its weights."""

    type: str
    frozen: bool
    model: Mapping[str, Any]
    runtime: Mapping[str, Any]
    state: dict[str, Tensor]

    @property
    def mean_std(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation of the input, per channel; None where the file does not tell."""
        data = self.runtime.get("data")
        value = data.get("mean_std") if isinstance(data, Mapping) else None
        if value is None:
            return None
        mean, std = ([float(number) for number in part] for part in value)
        return mean, std


def is_gandtr(content: Any) -> bool:
    """Whether the content of a torch file is gandtr's description of a network or of several."""
    if not isinstance(content, Mapping):
        return False
    return _is_part(content) or (bool(content) and all(_is_part(value) for value in content.values()))


def _is_part(content: Any) -> bool:
    return isinstance(content, Mapping) and (
        {"network_params", "model_state"} <= set(content) or {"type", "network_hierarchy"} <= set(content)
    )


def parse(content: Mapping[str, Any], path: Path) -> GandtrNetwork:
    """Check and take apart a gandtr file's content.

    Raises CheckpointError if it describes a set of networks instead of holding one, or lacks a part.
    """
    if "network_hierarchy" in content:
        hierarchy = content["network_hierarchy"]
        names = ", ".join(map(str, hierarchy)) if isinstance(hierarchy, Mapping) else "none"
        raise CheckpointError(
            f"{path} holds no weights, only the names of a set of networks: {names}",
            hint="give the file of one of them, such as generator_X_best.pth beside it",
        )
    if "model_state" not in content:
        raise CheckpointError(
            f"{path} holds several networks: {', '.join(map(str, content))}",
            hint="give a file of one network",
        )
    params, state = content["network_params"], content["model_state"]
    model = params.get("model") if isinstance(params, Mapping) else None
    if not isinstance(model, Mapping) or not isinstance(model.get("architecture"), str):
        raise CheckpointError(f"{path} is gandtr's, but does not say which architecture it is")
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{path} is gandtr's, but holds no weights")
    runtime = params.get("runtime")
    network = GandtrNetwork(
        type=str(content.get("type", SINGLE)),
        frozen=bool(content.get("frozen", False)),
        model=_jsonable(model, path),
        runtime=_jsonable(runtime, path) if isinstance(runtime, Mapping) else {},
        state=normalise_state(state, path),
    )
    try:
        network.mean_std  # noqa: B018
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has no usable mean_std: {error}") from error
    return network


def _jsonable(value: Mapping[str, Any], path: Path) -> dict[str, Any]:
    try:
        return plain_copy(value)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has network parameters that are no plain values: {error}") from error


def identify(network: GandtrNetwork, recognised: tuple[str, Any] | None, path: Path) -> tuple[str, Any]:
    """Architecture and configuration of a gandtr network: the declared ones, if the weights bear them out.

    ``recognised`` is what the keys and shapes look like. Raises CheckpointError for an architecture that is
    not known, and where declaration and weights disagree; it says in what.
    """
    try:
        declared = config_from_reference(network.model)
    except DarksideError as error:
        raise CheckpointError(f"{path} declares a network that is not known here: {error}") from error
    shapes = shapes_of(network.state)
    if (
        recognised is not None
        and expected_shapes(*declared) != shapes
        and expected_shapes(*recognised) == shapes
    ):
        raise CheckpointError(
            f"{path} contradicts itself: it declares {_difference(declared, recognised)}",
            hint="its network_params and model_state are of different networks",
        )
    check_fit(shapes, *declared, path)
    return declared


def _difference(declared: tuple[str, Any], found: tuple[str, Any]) -> str:
    if declared[0] != found[0]:
        return f"{declared[0]}, its weights are of {found[0]}"
    before, after = vars(declared[1]), vars(found[1])
    fields = [key for key in before if before[key] != after[key]]
    one = ", ".join(f"{key}={before[key]!r}" for key in fields)
    other = ", ".join(f"{key}={after[key]!r}" for key in fields)
    return f"{one}, its weights are of {other}"

"""gandtr's checkpoint files: ``{"type", "frozen", "network_params": {"model", "runtime"}, "model_state"}``.

Read into a :class:`GandtrNetwork`, turned into a :class:`~darkside_cli.networks.weights.Checkpoint` by
``load.open_checkpoint``, and written again for those who want to go back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darkside_cli.atomic import temporary_beside
from darkside_cli.errors import CheckpointError, DarksideError
from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.interop.plain_values import plain_copy
from darkside_cli.networks.weights import Checkpoint, check_fit, expected_shapes, normalise_state, shapes_of

#: Metadata key under which a checkpoint keeps what gandtr wrote beside its weights.
METADATA_KEY = "gandtr"
_SINGLE = "SingleNetwork"
#: What gandtr puts around a network, by whether it is a descriptor.
_WRAPPERS = {False: "", True: "cirfaketuplebatch"}


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
        type=str(content.get("type", _SINGLE)),
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


def is_expressible(architecture: str) -> bool:
    """Whether gandtr has networks of this ``architecture``; not all of their forms need be among them."""
    return architecture in _MODEL_PARAMS


def to_gandtr(checkpoint: Checkpoint, *, frozen: bool | None = None) -> dict[str, Any]:
    """Turn a checkpoint into what gandtr loads; ``torch.save`` of it is a file of gandtr's.

    What gandtr itself had written beside the weights comes back as it was. ``frozen`` says whether the network is
    one that is not trained (None: as the checkpoint has it). Raises CheckpointError for a network that gandtr has no
    counterpart of, or weights that do not fit.
    """
    order = expected_shapes(checkpoint.architecture, checkpoint.config)
    check_fit(shapes_of(checkpoint.state), checkpoint.architecture, checkpoint.config, checkpoint.path)
    kept = checkpoint.metadata.get(METADATA_KEY)
    kept = kept if isinstance(kept, Mapping) else {}
    frozen = bool(kept.get("frozen", False)) if frozen is None else frozen
    is_descriptor = checkpoint.kind == "descriptor"
    runtime = kept.get("runtime") or {
        "wrappers": _WRAPPERS[is_descriptor],
        "frozen": frozen,
        "data": {
            "transforms": _transforms(checkpoint),
            "mean_std": [list(checkpoint.metadata.get(key, [0.5, 0.5, 0.5])) for key in ("mean", "std")],
        },
    }
    return {
        "type": kept.get("type", _SINGLE),
        "frozen": frozen,
        "network_params": {"model": _model_params(checkpoint, kept.get("model")), "runtime": runtime},
        "model_state": OrderedDict((key, checkpoint.state[key].detach().clone()) for key in order),
    }


def _transforms(checkpoint: Checkpoint) -> str:
    """What gandtr makes of photographs for this network: descriptors get CLAHE unless ``clahe`` says none."""
    steps = ["pil2np", "totensor", "normalize"]
    clahe = checkpoint.metadata.get("clahe", {"clip_limit": 1.0})
    if checkpoint.kind == "descriptor" and clahe:
        grid = f":{clahe['grid_size']}" if clahe.get("grid_size", 8) != 8 else ""
        steps.insert(1, f"apply_clahe:{clahe['clip_limit']}{grid}")
    return " | ".join(steps)


def save_gandtr(path: str | Path, checkpoint: Checkpoint, *, frozen: bool | None = None) -> Path:
    """Write a checkpoint as a file of gandtr's, whole or not at all, and return its path.

    ``frozen`` as in :func:`to_gandtr`. Raises CheckpointError as it does, or if the file cannot be written.
    """
    return _save(Path(path), to_gandtr(checkpoint, frozen=frozen))


def save_gandtr_set(path: str | Path, names: Sequence[str]) -> Path:
    """Write gandtr's description of a set of networks, the files of which are beside it; its path.

    gandtr's ``Checkpoints`` reads ``net_best.pth`` of a folder and then ``<name>_best.pth`` of each of ``names``.
    Raises CheckpointError if the file cannot be written.
    """
    order = sorted(names)
    content = {
        "type": "NetworkSet",
        "frozen": False,
        "network_order": order,
        "network_hierarchy": {name: [] for name in order},
        "_network_names": order,
    }
    return _save(Path(path), content)


def _save(path: Path, content: Mapping[str, Any]) -> Path:
    try:
        with temporary_beside(path, sync=True) as temporary:
            torch.save(dict(content), temporary)
    except (OSError, RuntimeError) as error:  # torch gives RuntimeError for a full disk
        raise CheckpointError(f"cannot write {path}: {error}") from error
    return path


def _model_params(checkpoint: Checkpoint, kept: Any) -> dict[str, Any]:
    """Give gandtr's ``model`` parameters: those the file came with if they still hold, else new ones."""
    if isinstance(kept, Mapping):
        try:
            if _describes(kept, checkpoint):
                return dict(kept)
        except DarksideError:
            pass  # kept by a newer version: made anew below
    make = _MODEL_PARAMS.get(checkpoint.architecture)
    if make is None:
        raise CheckpointError(
            f"{checkpoint.path} is a {checkpoint.architecture}, which gandtr does not have",
            hint="write it as .safetensors or as .onnx",
        )
    params = make(checkpoint.config)
    if not _describes(params, checkpoint):
        raise CheckpointError(f"{checkpoint.path} has a form that gandtr cannot express: {checkpoint.config}")
    return params


def _describes(params: Mapping[str, Any], checkpoint: Checkpoint) -> bool:
    """Whether gandtr's parameters are those of the checkpoint; mean and std are no part of them."""
    architecture, config = config_from_reference(params)
    own = vars(checkpoint.config)
    same = {key: own[key] for key in ("mean", "std") if key in own}
    return architecture == checkpoint.architecture and replace(config, **same) == checkpoint.config


def _channels(config: Any) -> dict[str, Any]:
    return {"input_nc": config.in_channels, "output_nc": config.out_channels}


def _resnet_generator(config: Any) -> dict[str, Any]:
    return {
        "architecture": "official_resnet_generator",
        "no_antialias": not config.antialias_down,
        "no_antialias_up": not config.antialias_up,
        **_channels(config),
        "n_blocks": config.n_blocks,
        "ngf": config.ngf,
        "norm_layer": config.norm,
        **_unless_default(use_dropout=(config.dropout, False), padding_type=(config.padding, "reflect")),
    }


def _unet_generator(config: Any) -> dict[str, Any]:
    return {
        "architecture": "official_p2p_unet_generator",
        **_channels(config),
        "num_downs": config.num_downs,
        "ngf": config.ngf,
        "norm_layer": config.norm,
        **_unless_default(use_dropout=(config.dropout, False)),
    }


def _patch_discriminator(config: Any) -> dict[str, Any]:
    return {
        "architecture": "official_p2p_discriminator",
        "no_antialias": not config.antialias,
        "input_nc": config.in_channels,
        "ndf": config.ndf,
        "n_layers": config.n_layers,
        "norm_layer": config.norm,
    }


def _retrieval_net(config: Any) -> dict[str, Any]:
    return {
        "architecture": "cirnet",
        "local_whitening": config.local_whitening,
        "pooling": config.pooling,
        "pretrained": False,
        "regional": config.regional,
        "whitening": config.whitening,
        "cir_architecture": config.backbone,
    }


def _unless_default(**values: Sequence[Any]) -> dict[str, Any]:
    return {key: value for key, (value, default) in values.items() if value != default}


_MODEL_PARAMS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "resnet_generator": _resnet_generator,
    "unet_generator": _unet_generator,
    "patch_discriminator": _patch_discriminator,
    "hed": lambda _: {"architecture": "hed_interpolation", "pretrained": None},
    "retrieval_net": _retrieval_net,
    "rcf": lambda _: {"architecture": "rcf", "pretrained": None},
}

"""Networks written as gandtr's files: a single one, or what a run left, where gandtr's users look for it.

gandtr keeps a run's networks in ``epochs``: each as ``<name>_best.pth``, and ``net_best.pth``, which is the network
itself where there is one, and else says which there are. Its ``Checkpoints`` loads a folder by that file.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from darkside_cli.atomic import temporary_beside
from darkside_cli.errors import CheckpointError, DarksideError
from darkside_cli.interop.gandtr import METADATA_KEY, SINGLE
from darkside_cli.interop.key_maps import config_from_reference, config_to_reference, is_expressible
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.interop.whitening import read_whitening, write_published_whitening
from darkside_cli.networks.recognise import check_fit, expected_shapes, shapes_of
from darkside_cli.networks.weights import Checkpoint

#: Our outputs by the names of the reference's networks: ``epochs/<name>_best.pth``.
NETWORKS = {
    "generator_day2night": "generator_X",
    "generator_night2day": "generator_Y",
    "descriptor": "embed",
}
WHITENING, PUBLISHED_WHITENING = "descriptor_whitening.safetensors", "whitening/lw-retrieval.pkl"
_FOLDER, _SET = "epochs", "net"
#: What gandtr puts around a network, by whether it is a descriptor.
_WRAPPERS = {False: "", True: "cirfaketuplebatch"}


def write_gandtr_layout(run: Path) -> list[Path]:
    """Write the networks of a run folder as ``epochs/…_best.pth``, its whitening as ``whitening/lw-retrieval.pkl``.

    Besides the results these are the discriminators and edge detectors of the newest checkpoint, as far as gandtr
    has such networks, and ``epochs/net_best.pth``, by which gandtr loads the folder.

    Returns the paths written; what the run does not have is left out. Raises CheckpointError for a result that gandtr
    cannot express (another backbone than its own, say) or if a file cannot be written.
    """
    written: list[Path] = []
    names: list[str] = []
    for ours, theirs in NETWORKS.items():
        source = run / f"{ours}.safetensors"
        if source.is_file():
            written.append(save_gandtr(_best(run, theirs), open_checkpoint(source)))
            names.append(theirs)
    for theirs, source, frozen in _other_networks(run) if names else ():
        checkpoint = open_checkpoint(source)
        if is_expressible(checkpoint.architecture):
            with suppress(
                CheckpointError
            ):  # a form that gandtr does not have: the results are there without it
                written.append(save_gandtr(_best(run, theirs), checkpoint, frozen=frozen))
                names.append(theirs)
    if len(names) == 1:
        written.append(_link(written[0], _best(run, _SET)))
    elif names:
        written.append(save_gandtr_set(_best(run, _SET), names))
    if (run / WHITENING).is_file():
        target = run / PUBLISHED_WHITENING
        target.parent.mkdir(parents=True, exist_ok=True)
        written.append(write_published_whitening(target, read_whitening(run / WHITENING)))
    return written


def _best(run: Path, name: str) -> Path:
    return run / _FOLDER / f"{name}_best.pth"


def _other_networks(run: Path) -> Iterator[tuple[str, Path, bool]]:
    """Networks that are no results: gandtr's names, our files, and whether they are frozen."""
    checkpoints = run / "checkpoints"
    ends = {
        int(path.parent.name.removeprefix("epoch_")): path.parent
        for path in checkpoints.glob("epoch_*/meta.json")
        if path.parent.name.removeprefix("epoch_").isdecimal()
    }
    if not ends:
        return
    trained = {path.stem: path for path in ends[max(ends)].glob("*.safetensors")}
    frozen = {path.stem: path for path in (checkpoints / "frozen").glob("*.safetensors")}
    # gandtr's CycleGAN calls discriminators by the generator they teach, its other methods by what they judge.
    both = "discriminator_day" in trained
    theirs = {
        "discriminator_night": "discriminator_X" if both else "discriminator_Y",
        "discriminator_day": "discriminator_Y",
        "edge_student": "detector",
        "edge_teacher": "detector_frozen" if "edge_student" in trained else "detector",
    }
    for ours, name in theirs.items():
        if ours in trained:
            yield name, trained[ours], False
        elif ours in frozen:
            yield name, frozen[ours], True


def _link(path: Path, target: Path) -> Path:
    """Let ``target`` be the file ``path`` beside it: a link, as gandtr's own, or a copy where links cannot be."""
    with temporary_beside(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(path.name)
        except OSError:
            temporary.write_bytes(path.read_bytes())
    return target


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
        "type": kept.get("type", SINGLE),
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
    params = config_to_reference(checkpoint.architecture, checkpoint.config)
    if params is None:
        raise CheckpointError(
            f"{checkpoint.path} is a {checkpoint.architecture}, which gandtr does not have",
            hint="write it as .safetensors or as .onnx",
        )
    if not _describes(params, checkpoint):
        raise CheckpointError(f"{checkpoint.path} has a form that gandtr cannot express: {checkpoint.config}")
    return params


def _describes(params: Mapping[str, Any], checkpoint: Checkpoint) -> bool:
    """Whether gandtr's parameters are those of the checkpoint; mean and std are no part of them."""
    architecture, config = config_from_reference(params)
    own = vars(checkpoint.config)
    same = {key: own[key] for key in ("mean", "std") if key in own}
    return architecture == checkpoint.architecture and replace(config, **same) == checkpoint.config

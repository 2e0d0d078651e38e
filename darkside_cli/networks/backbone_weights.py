"""Published weights that backbones begin with: files of a classifier's, and timm's, wherever it keeps them.

State dicts come with the keys of the features alone (``0.weight``, as published for retrieval), of a whole retrieval
network (``features.0.weight`` and more), of torchvision's classifier (``conv1.weight``, ``features.0.weight``), or of
a network of timm's. Nothing is fetched here without being told to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from darkside_cli.errors import CheckpointError, ConfigError, MissingAssetError
from darkside_cli.networks import efficientnet_lite
from darkside_cli.networks.backbones import feature_shapes, features_of_classifier
from darkside_cli.networks.configs import TIMM
from darkside_cli.networks.recognise import normalise_state, shapes_of
from darkside_cli.networks.state_file import read_state_file
from darkside_cli.networks.state_limits import require_finite
from darkside_cli.networks.timm_backbones import TimmFeatures, check_name, require_timm

_COUNTER = "num_batches_tracked"
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_HUB_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors")


def load_features(features: nn.Module, backbone: str, path: Path) -> None:
    """Load the features of ``backbone`` from a file into ``features``.

    Raises MissingAssetError if there is no such file, CheckpointError if it is damaged, unsafe, or of another network.
    """
    content = read_state_file(path).content
    if isinstance(content, Mapping):
        content = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no weights")
    state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if isinstance(features, TimmFeatures):
        state = timm_state(state, features)
    found = features_state(normalise_state(state, path), backbone, path)
    require_finite(found, path)
    features.load_state_dict(found)


def features_state(state: Mapping[str, Tensor], backbone: str, path: Path) -> dict[str, Tensor]:
    """The features' part of ``state`` under the features' keys.

    Raises CheckpointError, saying what is missing, if it is of another network.
    """
    expected = feature_shapes(backbone)
    candidates: list[dict[str, Any]] = [
        dict(state),
        {ours: state[theirs] for theirs, ours in classifier_keys(backbone).items() if theirs in state},
        {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")},
    ]
    if backbone in efficientnet_lite.VARIANTS:
        published = efficientnet_lite.from_published(state, backbone) or {}
        candidates.append({classifier_keys(backbone)[key]: value for key, value in published.items()})
    for candidate in candidates:
        for key in expected:
            if key.endswith(_COUNTER) and key not in candidate and len(candidate):
                candidate[key] = torch.tensor(0)  # files of old torch versions have none
    best = max(candidates, key=lambda each: len(each.keys() & expected.keys()))
    found = {key: shape for key, shape in shapes_of(best).items() if key in expected}
    wrong = [key for key, shape in expected.items() if found.get(key) != shape]
    if wrong:
        first = wrong[0]
        there = "x".join(map(str, found[first])) if first in found else "missing"
        raise CheckpointError(
            f"{path} does not hold the features of {backbone}: {len(wrong)} of {len(expected)} weights do not fit; "
            f"{first} is {there}, expected {'x'.join(map(str, expected[first]))}",
            hint="name the backbone that the file is of with --backbone",
        )
    return {key: best[key] for key in expected}


@cache
def classifier_keys(backbone: str) -> Mapping[str, str]:
    """Keys of the classifier ``backbone``, to ours, of all that the features are made of; timm's have one kind."""
    if backbone.startswith(TIMM):
        return {key: key for key in feature_shapes(backbone)}
    with torch.device("meta"):
        classifier, features = features_of_classifier(backbone)
    names = {id(value): key for key, value in _tensors(features).items()}
    return {key: names[id(value)] for key, value in _tensors(classifier).items() if id(value) in names}


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def timm_state(content: Mapping[str, Any], features: TimmFeatures) -> dict[str, Tensor]:
    """Weights as timm publishes them, by the keys of :class:`TimmFeatures`; what is not of the features stays out."""
    convert = getattr(sys.modules[type(features.model).__module__], "checkpoint_filter_fn", None)
    state: Any = content
    if convert is not None and not all(f"model.{key}" in features.state_dict() for key in content):
        try:
            state = convert(dict(content), features.model)
        except (KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"these are no weights of {features.backbone}: {error!r}") from error
    given = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    for key, expected in features.model.state_dict().items():
        # A network made to average its tokens has its last norm behind that, by another name: here each token has it.
        if key.startswith("norm.") and key not in given and f"fc_{key}" in given:
            given[key] = given.pop(f"fc_{key}")
        # A head is made of convolutions where nothing is averaged before it.
        if key in given and (*given[key].shape, 1, 1) == tuple(expected.shape):
            given[key] = given[key].reshape(expected.shape)
    return {f"model.{key}": value for key, value in given.items()}


def timm_weights_file(backbone: str, folder: Path, *, download: bool = False) -> Path:
    """File of the pretrained weights of ``backbone``, fetched to where timm keeps it with ``download``.

    It is looked for in ``folder`` (``NAME.safetensors``, ``.pth``, ``.bin``), in the cache of the Hugging Face hub and
    in that of torch hub. Raises MissingAssetError if it is not there, or cannot be fetched, ConfigError where timm
    publishes none.
    """
    timm, name = require_timm(), check_name(backbone)
    own = folder / f"{name}.safetensors"
    config = timm.get_pretrained_cfg(name)
    repo, url = (config.hf_hub_id or "", config.url or "") if config is not None else ("", "")
    for path in _timm_places(own, repo, url):
        if path.is_file():
            return path
    hint = f"put a file of them at {own}"
    if not repo and not url:
        raise ConfigError(f"timm publishes no weights of {name}", hint=hint)
    if not download:
        raise MissingAssetError(
            f"timm's weights of {name} are not on this machine", hint=f"run again with --download; or {hint}"
        )
    try:
        return _fetch_timm(repo, url, config.hf_hub_filename)
    except Exception as error:  # the hub's errors have no common base
        raise MissingAssetError(f"cannot get timm's weights of {name}: {error}", hint=hint) from error


def _timm_places(own: Path, repo: str, url: str) -> Iterator[Path]:
    yield from (own.with_name(own.stem + suffix) for suffix in (".safetensors", ".pth", ".bin"))
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    if repo:
        kept = hub / f"models--{repo.partition('@')[0].replace('/', '--')}" / "snapshots"
        yield from (path for name in _HUB_FILES for path in sorted(kept.glob(f"*/{name}")))
    if url:
        yield _in_torch_hub(url)


def _in_torch_hub(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name


def _fetch_timm(repo: str, url: str, filename: str | None) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        if not url:
            raise
        path = _in_torch_hub(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
        return path
    name, _, revision = repo.partition("@")
    return Path(hf_hub_download(name, filename or _HUB_FILES[0], revision=revision or None))

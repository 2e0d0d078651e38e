from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.errors import CheckpointError, DarksideError
from darkside_cli.interop.gandtr import is_gandtr, parse
from darkside_cli.interop.gandtr_write import save_gandtr, to_gandtr
from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.configs import (
    PatchDiscriminatorConfig,
    PixelDiscriminatorConfig,
    ResnetGeneratorConfig,
    UnetGeneratorConfig,
)
from darkside_cli.networks.edge_detectors import HedConfig, RcfConfig
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.patch_sample import PatchSampleMlpConfig
from darkside_cli.networks.retrieval_net import RetrievalNetConfig
from darkside_cli.networks.weights import Checkpoint, save_checkpoint
from darkside_cli.registry import resolve

CHECKPOINTS = Path(__file__).parents[1] / "parity" / "data" / "files" / "checkpoints"
TINY = ResnetGeneratorConfig(ngf=2, n_blocks=1)
MODEL = {
    "architecture": "official_resnet_generator",
    "no_antialias": True,
    "no_antialias_up": True,
    "n_blocks": 1,
    "ngf": 2,
    "norm_layer": "instance",
}


def content(**changes: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "type": "SingleNetwork",
        "frozen": False,
        "network_params": {"model": MODEL, "runtime": {}},
        "model_state": ResnetGenerator(TINY).state_dict(),
        **changes,
    }


def checkpoint_of(architecture: str, config: Any, **metadata: Any) -> Checkpoint:
    with torch.device("meta"):
        state = resolve(ARCHITECTURES.get(architecture).target)(config).state_dict()
    state = {key: torch.full_like(value, 0.25, device="cpu") for key, value in state.items()}
    return Checkpoint(Path("ours"), "darkside", architecture, config, state, metadata)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


LARGE = "embed_resnet101.pth"
FILES = sorted(path.name for path in CHECKPOINTS.glob("[eg]*.pth") if path.name != LARGE)


@pytest.mark.parametrize("name", [*FILES, pytest.param(LARGE, marks=pytest.mark.slow)])
def test_there_and_back(name: str, tmp_path: Path) -> None:
    """What was read from a file of gandtr's is written as it was, tensors, parameters and order."""
    original = torch.load(CHECKPOINTS / name, weights_only=True)
    opened = open_checkpoint(CHECKPOINTS / name)
    assert same(to_gandtr(opened), dict(original))
    path = save_gandtr(tmp_path / "new" / name, opened)
    assert [p.name for p in path.parent.iterdir()] == [name], "no temporary file is left"
    assert same(torch.load(path, weights_only=True), dict(original))


def test_there_and_back_by_way_of_our_own_format(tmp_path: Path) -> None:
    original = torch.load(CHECKPOINTS / "generator_batch_frozen.pth", weights_only=True)
    opened = open_checkpoint(CHECKPOINTS / "generator_batch_frozen.pth")
    path = save_checkpoint(
        tmp_path / "x.safetensors",
        opened.state,
        architecture=opened.architecture,
        config=opened.config,
        metadata=opened.metadata,
    )
    assert same(to_gandtr(open_checkpoint(path)), dict(original))


CONFIGS = [
    ("resnet_generator", TINY),
    ("resnet_generator", replace(TINY, norm="batch", dropout=True, padding="zero", antialias_up=True)),
    ("unet_generator", UnetGeneratorConfig(ngf=1, num_downs=5, dropout=True)),
    ("patch_discriminator", PatchDiscriminatorConfig(ndf=2, n_layers=2, antialias=True, norm="batch")),
    ("hed", HedConfig()),
    ("rcf", RcfConfig()),
    ("retrieval_net", RetrievalNetConfig(backbone="squeezenet1_1", mean=(0.4, 0.4, 0.4))),
]


@pytest.mark.parametrize(("architecture", "config"), CONFIGS)
def test_ours_becomes_gandtrs(architecture: str, config: Any, tmp_path: Path) -> None:
    mean = list(getattr(config, "mean", (0.1, 0.2, 0.3)))
    checkpoint = checkpoint_of(
        architecture, config, mean=mean, std=list(getattr(config, "std", (1.0, 2.0, 3.0)))
    )
    opened = open_checkpoint(save_gandtr(tmp_path / "x.pth", checkpoint))
    assert (opened.format, opened.architecture, opened.config) == ("gandtr", architecture, config)
    assert opened.metadata["mean"] == mean
    assert opened.metadata["std"] == checkpoint.metadata["std"]
    assert same(opened.state, checkpoint.state)


def test_what_a_new_file_declares() -> None:
    made = to_gandtr(checkpoint_of("resnet_generator", TINY))
    assert list(made) == ["type", "frozen", "network_params", "model_state"]
    assert made["network_params"] == {
        "model": {**MODEL, "input_nc": 3, "output_nc": 3},
        "runtime": {
            "wrappers": "",
            "frozen": False,
            "data": {
                "transforms": "pil2np | totensor | normalize",
                "mean_std": [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]],
            },
        },
    }
    runtime = to_gandtr(checkpoint_of("retrieval_net", RetrievalNetConfig()))["network_params"]["runtime"]
    assert runtime["wrappers"] == "cirfaketuplebatch"
    assert runtime["data"]["transforms"] == "pil2np | apply_clahe:1.0 | totensor | normalize"


def test_kept_parameters_that_no_longer_hold_are_made_anew() -> None:
    stale = {"type": "SingleNetwork", "model": {**MODEL, "n_blocks": 9}}
    made = to_gandtr(checkpoint_of("resnet_generator", TINY, gandtr=stale))
    assert config_from_reference(made["network_params"]["model"]) == ("resnet_generator", TINY)
    nonsense = {"model": {"architecture": "of a newer version"}}
    made = to_gandtr(checkpoint_of("resnet_generator", TINY, gandtr=nonsense))
    assert config_from_reference(made["network_params"]["model"]) == ("resnet_generator", TINY)


@pytest.mark.parametrize(
    ("architecture", "config", "says"),
    [
        ("pixel_discriminator", PixelDiscriminatorConfig(), "which gandtr does not have"),
        ("patch_sample_mlp", PatchSampleMlpConfig(channels=(3,)), "which gandtr does not have"),
        (
            "retrieval_net",
            RetrievalNetConfig(backbone="squeezenet1_1", regional=True, regional_whitening=False),
            "cannot express",
        ),
    ],
)
def test_what_gandtr_has_no_counterpart_of(architecture: str, config: Any, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        to_gandtr(checkpoint_of(architecture, config))


def test_weights_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    checkpoint = checkpoint_of("resnet_generator", TINY)
    del checkpoint.state["model.18.bias"]
    with pytest.raises(CheckpointError, match=r"missing model\.18\.bias"):
        save_gandtr(tmp_path / "x.pth", checkpoint)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot write"):
        save_gandtr(tmp_path / "file" / "x.pth", checkpoint_of("resnet_generator", TINY))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"network_params": {}}, "does not say which architecture"),
        ({"network_params": {"model": {"architecture": 3}}}, "does not say which architecture"),
        ({"network_params": [1]}, "does not say which architecture"),
        ({"model_state": {}}, "holds no weights"),
        ({"model_state": {"a": "b"}}, "holds a str under 'a'"),
        (
            {"network_params": {"model": {**MODEL, "architecture": "official_resnet_generater"}}},
            "not known here: .*did you mean official_resnet_generator",
        ),
        ({"network_params": {"model": {**MODEL, "n_blocks": "x"}}}, "n_blocks must be a whole number"),
        ({"network_params": {"model": {**MODEL, "colour": 1}}}, "has no model parameter colour"),
        ({"network_params": {"model": {**MODEL, "ngf": torch.zeros(1)}}}, "no plain values"),
        ({"network_params": {"model": {**MODEL, "ngf": math.nan}}}, "no plain values"),
        (
            {"network_params": {"model": MODEL, "runtime": {"data": {"mean_std": [1, 2]}}}},
            "no usable mean_std",
        ),
        (
            {"network_params": {"model": MODEL, "runtime": {"data": {"mean_std": [["a"], [1]]}}}},
            "no usable mean_std",
        ),
        (
            {"network_params": {"model": MODEL, "runtime": {"data": {"mean_std": [[1]]}}}},
            "no usable mean_std",
        ),
    ],
)
def test_broken_descriptions(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    torch.save(content(**changes), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(tmp_path / "x.pth")


def test_runtime_and_its_parts_are_optional(tmp_path: Path) -> None:
    for runtime in (None, {}, {"data": {}}, {"data": None}, {"data": {"transforms": ""}}):
        torch.save(content(network_params={"model": MODEL, "runtime": runtime}), tmp_path / "x.pth")
        assert open_checkpoint(tmp_path / "x.pth").metadata["mean"] == [0.5, 0.5, 0.5]


def test_declaration_against_weights(tmp_path: Path) -> None:
    declared = {**MODEL, "n_blocks": 9, "norm_layer": "batch"}
    torch.save(content(network_params={"model": declared, "runtime": {}}), tmp_path / "x.pth")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / "x.pth")
    assert caught.value.message.endswith(
        "contradicts itself: it declares n_blocks=9, norm='batch', its weights are of n_blocks=1, norm='instance'"
    )
    torch.save(content(network_params={"model": {"architecture": "rcf"}, "runtime": {}}), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="declares rcf, its weights are of resnet_generator"):
        open_checkpoint(tmp_path / "x.pth")


def test_what_weights_cannot_tell_is_taken_from_the_declaration(tmp_path: Path) -> None:
    declared = {**MODEL, "padding_type": "replicate"}
    torch.save(content(network_params={"model": declared, "runtime": {}}), tmp_path / "x.pth")
    assert open_checkpoint(tmp_path / "x.pth").config == replace(TINY, padding="replicate")


def test_incomplete_weights_are_held_against_the_declaration(tmp_path: Path) -> None:
    state = ResnetGenerator(TINY).state_dict()
    del state["model.1.weight"]
    torch.save(content(model_state=state), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"does not fit resnet_generator: missing model\.1\.weight "):
        open_checkpoint(tmp_path / "x.pth")


def test_sets_of_networks(tmp_path: Path) -> None:
    names = {"discriminator_X": [], "generator_X": []}
    torch.save({"type": "NetworkSet", "frozen": False, "network_hierarchy": names}, tmp_path / "net_best.pth")
    with pytest.raises(
        CheckpointError, match=r"holds no weights, only the names .* discriminator_X, generator_X"
    ):
        open_checkpoint(tmp_path / "net_best.pth")
    sequence = {"augment": content(), "net": {"type": "CirSequentialNetwork", "network_hierarchy": {}}}
    torch.save(sequence, tmp_path / "all.pth")
    with pytest.raises(CheckpointError, match=r"holds several networks: augment, net \(give a file of one"):
        open_checkpoint(tmp_path / "all.pth")


def test_training_state_is_not_mistaken_for_a_network(tmp_path: Path) -> None:
    path = tmp_path / "learning_epoch_03.pth"
    torch.save({"events": {"params": {"dataroot": Path("/data")}}}, path)
    with pytest.raises(CheckpointError, match=r"pathlib.*gandtr's training state: give generator_X_best"):
        open_checkpoint(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "type": JSON,
            "frozen": JSON,
            "network_hierarchy": JSON,
            "network_params": JSON
            | st.fixed_dictionaries(
                {
                    "model": JSON
                    | st.fixed_dictionaries({"architecture": JSON | st.sampled_from(["rcf", "cirnet"])})
                },
                optional={
                    "runtime": JSON
                    | st.fixed_dictionaries({"data": st.fixed_dictionaries({"mean_std": JSON})})
                },
            ),
            "model_state": JSON | st.fixed_dictionaries({"conv1_1.weight": JSON}),
        },
    )
)
def test_nonsense_is_refused_as_such(value: dict[str, Any]) -> None:
    refused = not is_gandtr(value)
    if not refused:
        try:
            parse(value, Path("x.pth"))
        except DarksideError as error:
            refused = "x.pth" in error.message
    assert refused

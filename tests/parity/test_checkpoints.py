"""Case ``checkpoint_files``: the reference's files as they lie on disk, opened, run and written again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import golden
import pytest
import torch
from torch import Tensor

from darkside_cli.errors import CheckpointError
from darkside_cli.interop import gandtr
from darkside_cli.interop.gandtr_write import save_gandtr
from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.networks.state_file import read_state_file
from darkside_cli.networks.weights import build_network, save_checkpoint

CASE = golden.load_case("checkpoint_files")
FILES = {Path(name).name: golden.DATA / name for name in CASE.entry["files"]}
#: Of a file's description the whole tensors, their number, or the bare keys are recorded; one refers to another.
FULL = [
    name for name, value in CASE.values.items() if isinstance(value, Mapping) and "network_params" in value
]
PLAIN = [name for name, value in CASE.values.items() if isinstance(value, Mapping) and "keys" in value]
SAME_AS = {
    name: str(value).split()[3].rstrip(",") for name, value in CASE.values.items() if isinstance(value, str)
}


def described(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Tensors as the case describes them: "tensor float32 [4, 3, 7, 7]"."""
    return {
        key: f"tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        for key, value in state.items()
    }


def total(state: Mapping[str, Tensor]) -> float:
    """Sum of all values, in float64. Tensors of one value expanded are not spread out for it."""
    sums = []
    for value in state.values():
        if value.numel() and not any(value.stride()):
            sums.append(value.reshape(-1)[:1].double().item() * value.numel())
        else:
            sums.append(value.double().sum().item())
    return sum(sums)


def test_every_file_is_described() -> None:
    assert set(FILES) == {*FULL, *PLAIN, *SAME_AS}
    assert FULL
    assert PLAIN
    assert set(SAME_AS.values()) <= set(FULL)


@pytest.mark.parametrize("name", FULL)
def test_parts_of_a_gandtr_file(name: str) -> None:
    expected = CASE.values[name]
    file = read_state_file(FILES[name])
    assert gandtr.is_gandtr(file.content)
    network = gandtr.parse(file.content, FILES[name])
    assert network.type == expected["type"]
    assert network.frozen == expected["frozen"]
    assert network.model == expected["network_params"]["model"]
    assert network.runtime == expected["network_params"]["runtime"]
    if "model_state" in expected:
        assert described(network.state) == expected["model_state"]
        assert list(network.state) == list(expected["model_state"])
    else:
        assert len(network.state) == expected["model_state_keys"]
        assert total(network.state) == pytest.approx(expected["sum_of_all_values"], rel=1e-9)


@pytest.mark.parametrize("name", FULL)
def test_gandtr_file_becomes_a_checkpoint(name: str) -> None:
    params = CASE.values[name]["network_params"]
    checkpoint = open_checkpoint(FILES[name])
    assert checkpoint.format == "gandtr"
    architecture, config = config_from_reference(params["model"])
    assert (checkpoint.architecture, checkpoint.config) == (architecture, config)
    is_descriptor = params["model"]["architecture"] == "cirnet"
    assert checkpoint.kind == ("descriptor" if is_descriptor else "generator")
    assert [checkpoint.metadata["mean"], checkpoint.metadata["std"]] == params["runtime"]["data"]["mean_std"]
    assert checkpoint.metadata["direction"] is None, "these names do not tell it"


def listed_keys(model: Mapping[str, Any]) -> list[list[Any]]:
    """Keys and shapes that the case ``state_dicts`` lists for these model parameters."""
    listed: list[list[Any]] = next(
        entry["keys"]
        for entry in golden.load_case("state_dicts").values.values()
        if all(entry["model"].get(key) == value for key, value in model.items())
    )
    return listed


@pytest.mark.parametrize("name", [name for name in FULL if "model_state_keys" in CASE.values[name]])
def test_descriptor_files_have_the_listed_keys(name: str) -> None:
    state = open_checkpoint(FILES[name]).state
    listed = listed_keys(CASE.values[name]["network_params"]["model"])
    assert [[key, list(value.shape)] for key, value in state.items()] == [entry[:2] for entry in listed]


@pytest.mark.parametrize("name", PLAIN)
def test_plain_state_dict(name: str) -> None:
    checkpoint = open_checkpoint(FILES[name])
    assert checkpoint.format == "state-dict"
    assert len(checkpoint.state) == CASE.values[name]["keys"]
    assert total(checkpoint.state) == pytest.approx(CASE.values[name]["sum_of_all_values"], rel=1e-9)
    assert checkpoint.kind == "edge-detector"
    assert list(build_network(checkpoint).state_dict()) == list(checkpoint.state)


@pytest.mark.parametrize("name", SAME_AS)
def test_old_container_has_the_same_content(name: str) -> None:
    assert FILES[name].read_bytes().startswith(b"\x80")  # a pickle and no archive
    old, new = open_checkpoint(FILES[name]), open_checkpoint(FILES[SAME_AS[name]])
    assert (old.config, old.metadata) == (new.config, new.metadata)
    assert list(old.state) == list(new.state)
    assert all(torch.equal(old.state[key], new.state[key]) for key in new.state)


@pytest.mark.parametrize("name", [name for name in FULL if "model_state" in CASE.values[name]])
def test_weights_are_the_filled_ones(name: str) -> None:
    state = open_checkpoint(FILES[name]).state
    filled = golden.fill_({key: value.clone() for key, value in state.items()}, CASE.seed)
    assert all(torch.equal(state[key], filled[key]) for key in state)


OUTPUTS = [f"{key.removesuffix('_output')}.pth" for key in CASE.arrays if key.endswith("_output")]


@pytest.mark.parametrize("route", ["as it is", "through our format", "and back"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_output_of_a_loaded_generator(name: str, route: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(FILES[name])
    if route != "as it is":
        path = save_checkpoint(
            tmp_path / "x.safetensors",
            checkpoint.state,
            architecture=checkpoint.architecture,
            config=checkpoint.config,
            metadata=checkpoint.metadata,
        )
        checkpoint = open_checkpoint(path)
        assert checkpoint.format == "darkside"
    if route == "and back":
        checkpoint = open_checkpoint(save_gandtr(tmp_path / "x.pth", checkpoint))
        assert checkpoint.format == "gandtr"
    with torch.no_grad():
        output = build_network(checkpoint)(golden.to_input(CASE.arrays["image"]))
    CASE.assert_close(output, CASE.arrays[f"{Path(name).stem}_output"])


def test_several_networks_in_one_are_not_opened_as_one(tmp_path: Path) -> None:
    parts = {
        name: {**part, "model_state": {}} if "network_params" in part else part
        for name, part in CASE.values["sequential_state"].items()
    }
    torch.save(parts, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=", ".join(parts)):
        open_checkpoint(tmp_path / "x.pth")

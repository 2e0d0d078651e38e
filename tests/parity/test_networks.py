"""Networks against the golden cases: state dicts, outputs, features, running statistics, edges, patches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import DATA, Case, build, fill_, load_case, parse_slice, statistics, to_input
from keras_files import write_keras_hed

from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.edge_detectors import Hed
from darkside_cli.networks.weights import build_network
from darkside_cli.registry import resolve

STATE_DICTS: dict[str, Any] = json.loads((DATA / "state_dicts.json").read_text())
RETRIEVAL = "cirnet"


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(params=STATE_DICTS)
def listed(request: pytest.FixtureRequest) -> Any:
    listing = STATE_DICTS[request.param]
    if listing["model"]["architecture"] == RETRIEVAL:
        pytest.skip("retrieval networks have tests of their own")
    return listing


def test_state_dict(listed: Any) -> None:
    case = load_case("state_dicts")
    network = build(listed["model"])
    state = network.state_dict()
    found = [
        [key, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")] for key, tensor in state.items()
    ]
    assert found == listed["keys"]
    assert [name for name, _ in network.named_parameters()] == listed["parameter_names"]
    assert sum(parameter.numel() for parameter in network.parameters()) == listed["parameters"]
    for key, expected in listed["weight_stats"].items():
        # A tensor's value depends on its own key only, so the rest of a large network need not be filled.
        fill_({key: state[key]}, case.seed)
        case.assert_close(np.array(statistics(state[key])), np.array(expected), "weight_stats")


def test_listed_state_dict_is_recognised(listed: Any) -> None:
    architecture, config = config_from_reference(listed["model"])
    shapes = {key: tuple(shape) for key, shape, _ in listed["keys"]}
    recognised = {
        entry.name: found
        for entry in ARCHITECTURES
        if (found := resolve(entry.recogniser)(shapes)) is not None
    }
    assert recognised == {architecture: config}


GENERATORS = ("generator_instance", "generator_batch")


@pytest.fixture(scope="module", params=GENERATORS)
def generator_case(request: pytest.FixtureRequest) -> Case:
    return load_case(request.param)


def test_generator_output(generator_case: Case) -> None:
    generator = build(generator_case.params["model"], generator_case.seed)
    for i in generator_case.numbers("output"):
        output = generator(to_input(generator_case.arrays[f"image{i}"]))
        generator_case.assert_close(output, generator_case.arrays[f"output{i}"])


def test_generator_features(generator_case: Case) -> None:
    params, arrays = generator_case.params, generator_case.arrays
    layers = params["feature_layers"]
    assert layers == generator_case.numbers("feature")
    features = build(params["model"], generator_case.seed).features(to_input(arrays["image0"]), layers)
    for layer, feature in zip(layers, features, strict=True):
        excerpt = feature[parse_slice(params["feature_slice"])]
        generator_case.assert_close(excerpt, arrays[f"feature{layer}"])
        generator_case.assert_close(
            np.array([*feature.shape, *statistics(feature)]), arrays[f"feature{layer}_stats"]
        )


def test_generator_in_train_mode(generator_case: Case) -> None:
    numbers = generator_case.numbers("train_output")
    after = generator_case.with_prefix("after_train.")
    matching = 0  # the running statistics are those behind one of the passes
    for i in numbers:
        generator = build(generator_case.params["model"], generator_case.seed).train()
        output = generator(to_input(generator_case.arrays[f"image{i}"]))
        generator_case.assert_close(output, generator_case.arrays[f"train_output{i}"])
        state = generator.state_dict()
        if len(numbers) == 1:
            for key, expected in after.items():
                generator_case.assert_close(state[key], expected)
        matching += all(np.allclose(state[key].numpy(), value, atol=1e-4) for key, value in after.items())
    assert matching >= 1


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_discriminator(norm: str) -> None:
    case = load_case("discriminators")
    model = {**case.params["model"], "norm_layer": norm}
    image = to_input(case.arrays["image"])
    case.assert_close(build(model, case.seed)(image), case.arrays[f"{norm}_eval"])
    training = build(model, case.seed).train()
    case.assert_close(training(image), case.arrays[f"{norm}_train"])
    state = training.state_dict()
    for key, expected in case.with_prefix(f"{norm}_after_train.").items():
        case.assert_close(state[key], expected)


def test_unet_generator() -> None:
    case = load_case("unet_generator")
    assert case.params["models"]
    for name, model in case.params["models"].items():
        output = build(model, case.seed)(to_input(case.arrays["image"]))
        case.assert_close(output, case.arrays[f"{name}_eval"])


@pytest.mark.parametrize("name", ["edges_hed", "edges_rcf"])
def test_edges(name: str) -> None:
    case = load_case(name)
    detector = build(case.params["model"], case.seed)
    for i in case.numbers("image"):
        image = to_input(case.arrays[f"image{i}"])
        case.assert_close(detector.prepare(image), case.arrays[f"wrapped_input{i}"], "wrapped_input")
        case.assert_close(detector.logits(image), case.arrays[f"logits{i}"], "logits")
        bare = detector.bare_logits(torch.from_numpy(case.arrays[f"wrapped_input{i}"]))
        case.assert_close(bare, case.arrays[f"raw_logits{i}"], "logits")
        case.assert_close(detector(image), case.arrays[f"edges{i}"], "edges")


def test_edges_of_hed_by_way_of_a_file_of_keras(tmp_path: Path) -> None:
    case = load_case("edges_hed")
    path = write_keras_hed(tmp_path / "hed.weights.h5", build(case.params["model"], case.seed).state_dict())
    detector = build_network(open_checkpoint(path))
    assert isinstance(detector, Hed)
    for i in case.numbers("image"):
        case.assert_close(
            detector.logits(to_input(case.arrays[f"image{i}"])), case.arrays[f"logits{i}"], "logits"
        )


def test_patch_sample() -> None:
    case = load_case("patch_sample")
    params, arrays = case.params, case.arrays
    layers = [int(layer) for layer in params["model"]["nce_layers"].split(",")]
    assert layers == case.numbers("patches")
    head = build(params["model"], case.seed)
    features = build(params["generator"], case.seed).features(to_input(arrays["image"]), layers)
    positions = [torch.from_numpy(arrays[f"ids{layer}"]) for layer in layers]
    for where, feature in zip(positions, features, strict=True):
        assert len(where) == min(params["num_patches"], feature.shape[2] * feature.shape[3])
    vectors, taken = head(features, positions=positions)
    scaled, _ = head([feature * 0.5 + 0.1 for feature in features], positions=positions)
    for index, layer in enumerate(layers):
        np.testing.assert_array_equal(taken[index].numpy(), arrays[f"ids{layer}"])
        tolerance = case.entry["tolerance"]["atol"]
        np.testing.assert_allclose(vectors[index].numpy(), arrays[f"patches{layer}"], atol=tolerance, rtol=0)
        np.testing.assert_allclose(
            scaled[index].numpy(), arrays[f"patches_scaled{layer}"], atol=tolerance, rtol=0
        )

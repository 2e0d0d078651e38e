"""Retrieval networks, descriptors and whitening against the golden cases."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import DATA, OTHER_SET, Array, Case, build, fill_, load_case, manifest, statistics, weights_module
from PIL import Image

from darkside_cli.images.transforms import crop_and_shrink
from darkside_cli.interop.key_maps import config_from_reference
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.interop.safe_pickle import load_pickle
from darkside_cli.interop.transforms import parse_transforms
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.networks.retrieval_net import RetrievalNet, recognise
from darkside_cli.networks.weights import Whitening, build_network, save_whitening
from darkside_cli.retrieval.describe.descriptor import DescriptorModel

RETRIEVAL = "cirnet"
LISTED = {
    name: listing
    for name, listing in json.loads((DATA / "state_dicts.json").read_text()).items()
    if listing["model"]["architecture"] == RETRIEVAL
}
IN_BOTH_BACKBONES = [
    "descriptor_vgg16",
    pytest.param("descriptor_resnet101", marks=pytest.mark.slow),
]


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_there_are_retrieval_networks() -> None:
    assert LISTED


@pytest.fixture(params=LISTED)
def listed(request: pytest.FixtureRequest) -> Any:
    return LISTED[request.param]


def test_state_dict(listed: Any) -> None:
    case = load_case("state_dicts")
    network = build(listed["model"])
    state = network.state_dict()
    assert listed["keys"] == [
        [key, list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in state.items()
    ]
    assert listed["parameter_names"] == [name for name, _ in network.named_parameters()]
    assert listed["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    for key, expected in listed["weight_stats"].items():
        fill_({key: state[key]}, case.seed)
        case.assert_close(np.array(statistics(state[key])), np.array(expected), "weight_stats")


def test_state_dict_is_recognised(listed: Any) -> None:
    shapes = {key: tuple(shape) for key, shape, _ in listed["keys"]}
    assert ("retrieval_net", recognise(shapes)) == config_from_reference(listed["model"])


class Descriptors:
    """One case with its network and whitening."""

    def __init__(self, name: str) -> None:
        self.case: Case = load_case(name)
        self.arrays: Mapping[str, Array] = self.case.arrays
        self.network: RetrievalNet = build(self.case.params["model"], self.case.seed)
        self.whitening: Whitening = read_whitening(DATA / self.case.params["whitening"])
        self.images = self.case.numbers("image")

    def transform(self, image: Array) -> torch.Tensor:
        config = self.network.config
        steps = parse_transforms(self.case.params["transforms"], mean=config.mean, std=config.std)
        tensor: torch.Tensor = steps(Image.fromarray(image))
        return tensor

    def input(self, i: int) -> torch.Tensor:
        return self.transform(self.arrays[f"image{i}"]).unsqueeze(0)

    def model(self, **options: Any) -> DescriptorModel:
        return DescriptorModel(self.network, **{"scales": self.case.params["scales"], **options})


@pytest.fixture(scope="module", params=IN_BOTH_BACKBONES)
def descriptors(request: pytest.FixtureRequest) -> Descriptors:
    return Descriptors(request.param)


def test_network_input(descriptors: Descriptors) -> None:
    case = descriptors.case
    for i in descriptors.images:
        case.assert_close(descriptors.input(i)[0], case.arrays[f"network_input{i}"])


def test_exponent(descriptors: Descriptors) -> None:
    power = descriptors.network.aggregation_power()
    assert power is not None
    assert power.item() == pytest.approx(descriptors.case.params["gem_p"])


def test_single_scale(descriptors: Descriptors) -> None:
    case = descriptors.case
    for i in descriptors.images:
        case.assert_close(descriptors.network(descriptors.input(i))[0], case.arrays[f"single{i}"])


def test_batch(descriptors: Descriptors) -> None:
    case = descriptors.case
    batch = torch.stack([descriptors.transform(image) for image in case.arrays["batch_image"]])
    case.assert_close(descriptors.network(batch).T, case.arrays["batch_output"])


def _factor(name: str) -> float:
    """The factor that an array's name means: "1", "sqrt1_2", "1_2"."""
    numerator, _, denominator = name.removeprefix("sqrt").partition("_")
    ratio = int(numerator) / int(denominator or 1)
    return math.sqrt(ratio) if name.startswith("sqrt") else ratio


def test_every_scale(descriptors: Descriptors) -> None:
    case = descriptors.case
    found = 0
    seen: list[tuple[int, int]] = []
    handle = descriptors.network.features.register_forward_pre_hook(
        lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:]))
    )
    try:
        for key, expected in case.arrays.items():
            for i in descriptors.images:
                name = re.fullmatch(rf"scale_(\w+)_{i}", key)
                if name is None:
                    continue
                scale = _factor(name[1])
                assert any(math.isclose(scale, listed) for listed in case.params["scales"])
                model = descriptors.model(scales=[scale])
                case.assert_close(model.aggregate(descriptors.input(i))[0], expected)
                assert list(seen.pop()) == case.arrays[f"scale_{name[1]}_size{i}"].tolist()
                found += 1
    finally:
        handle.remove()
    assert found == len(descriptors.images) * len(case.params["scales"])


def test_aggregated_and_whitened(descriptors: Descriptors, tmp_path: Path) -> None:
    case, whitening = descriptors.case, descriptors.whitening
    full = descriptors.model(whitening=whitening)
    ours = read_whitening(save_whitening(tmp_path / "w.safetensors", whitening))
    single = descriptors.model(whitening=ours, scales=[1])
    for i in descriptors.images:
        x = descriptors.input(i)
        case.assert_close(full.aggregate(x)[0], case.arrays[f"multi{i}"])
        case.assert_close(full(x)[0], case.arrays[f"final{i}"])
        case.assert_close(single(x)[0], case.arrays[f"single_whitened{i}"])


def test_fewer_dimensions(descriptors: Descriptors) -> None:
    case = descriptors.case
    found = 0
    for i in descriptors.images:
        for key, expected in case.arrays.items():
            if key.startswith("final_dim") and key.endswith(str(i)):
                dim = int(key.removeprefix("final_dim").removesuffix(str(i)))
                model = descriptors.model(whitening=descriptors.whitening, dim=dim)
                assert model.dim == dim
                case.assert_close(model(descriptors.input(i))[0], expected)
                found += 1
    assert found >= len(descriptors.images)


def _embed_files() -> list[Any]:
    files = [name for case in manifest()["cases"] for name in case.get("files", ())]
    found = sorted(Path(name).name for name in files if re.search(r"/embed_\w+\.pth$", name))
    return [pytest.param(name, marks=pytest.mark.slow if "resnet" in name else ()) for name in found]


def test_there_are_embed_files() -> None:
    assert _embed_files() or OTHER_SET


@pytest.mark.parametrize("name", _embed_files())
def test_embed_file(name: str) -> None:
    listed = load_case("checkpoint_files").values[name]
    checkpoint = open_checkpoint(DATA / "files" / "checkpoints" / name)
    assert (checkpoint.architecture, checkpoint.config) == config_from_reference(
        listed["network_params"]["model"]
    )
    assert len(checkpoint.state) == listed["model_state_keys"]
    assert [checkpoint.metadata["mean"], checkpoint.metadata["std"]] == listed["network_params"]["runtime"][
        "data"
    ]["mean_std"]
    network = build_network(checkpoint)
    total = sum(value.double().sum().item() for value in network.state_dict().values())
    assert total == pytest.approx(listed["sum_of_all_values"], rel=1e-9)
    model = DescriptorModel.from_checkpoint(checkpoint, scales=[1])
    transforms = listed["network_params"]["runtime"]["data"]["transforms"]
    mean, std = listed["network_params"]["runtime"]["data"]["mean_std"]
    assert repr(model.transform) == repr(parse_transforms(transforms, mean=mean, std=std))


@pytest.mark.slow
def test_descriptors_of_the_evaluation() -> None:
    """Files, boxes, sizes, transforms, scales and a whitening of all dimensions, together."""
    case = load_case("evaluation")
    model_params = load_case("descriptor_vgg16").params["model"]
    network = build(model_params, case.seed)
    dim = network.config.dim
    numbers = weights_module().whitening(dim, dim, case.seed + 50)
    model = DescriptorModel(network, whitening=Whitening(numbers["m"], numbers["P"]))
    steps = parse_transforms(case.params["transforms"], mean=network.config.mean, std=network.config.std)

    def describe(path: Path, box: Any = None) -> Array:
        with Image.open(path) as image:
            part = crop_and_shrink(image.convert("RGB"), case.params["image_size"], box)
        return np.asarray(model(steps(part).unsqueeze(0))[0])

    for name in case.values:
        folder = DATA / "files" / "test" / name
        truth = load_pickle(folder / f"gnd_{name}.pkl")
        database = [describe(folder / "jpg" / f"{image}.jpg") for image in truth["imlist"]]
        queries = [
            describe(folder / "jpg" / f"{image}.jpg", entry.get("bbx"))
            for image, entry in zip(truth["qimlist"], truth["gnd"], strict=True)
        ]
        case.assert_close(np.stack(database, axis=1), case.arrays[f"{name}.database"], "descriptors")
        case.assert_close(np.stack(queries, axis=1), case.arrays[f"{name}.queries"], "descriptors")

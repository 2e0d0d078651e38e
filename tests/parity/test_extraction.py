"""The way that files go (backbones made ready for the CPU, batches, boxes) against the golden cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import DATA, build, load_case, weights_module
from PIL import Image

from darkside_cli.interop.safe_pickle import load_pickle
from darkside_cli.interop.transforms import parse_transforms
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.kernels.fast_resnet import FastResNet
from darkside_cli.kernels.fast_vgg import FastVgg
from darkside_cli.networks.weights import Whitening
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.descriptor import DescriptorModel
from darkside_cli.retrieval.describe.extract import extract_array
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob


def describer_of(case: Any, **options: Any) -> Describer:
    network = build(case.params["model"], case.seed)
    config = network.config
    transform = parse_transforms(case.params["transforms"], mean=config.mean, std=config.std)
    return Describer(DescriptorModel(network, transform=transform, **options))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("descriptor_vgg16", FastVgg), pytest.param("descriptor_resnet101", FastResNet, marks=pytest.mark.slow)],
)
def test_descriptors(name: str, kind: type) -> None:
    case = load_case(name)
    scales = case.params["scales"]
    whitening = read_whitening(DATA / case.params["whitening"])
    full = describer_of(case, scales=scales, whitening=whitening)
    single = describer_of(case, scales=[1])
    assert isinstance(full._model.network.features, kind)  # type: ignore[union-attr]
    for i in case.numbers("image"):
        image = Image.fromarray(case.arrays[f"image{i}"])
        case.assert_close(full(image), case.arrays[f"final{i}"])
        case.assert_close(single(image), case.arrays[f"single{i}"])
    batch = torch.stack([single.transform(Image.fromarray(image)) for image in case.arrays["batch_image"]])
    case.assert_close(single.submit(batch).result().T, case.arrays["batch_output"])


@pytest.mark.slow
def test_whole_test_sets() -> None:
    """Files, boxes, sizes, transforms, scales and whitening together, as ``extract`` does it."""
    case, vgg = load_case("evaluation"), load_case("descriptor_vgg16")
    numbers = weights_module().whitening(512, 512, case.seed + 50)
    network = build(vgg.params["model"], case.seed)
    transform = parse_transforms(case.params["transforms"], mean=network.config.mean, std=network.config.std)
    model = DescriptorModel(network, whitening=Whitening(numbers["m"], numbers["P"]), transform=transform)
    describer = Describer(model)
    for name in case.values:
        folder = DATA / "files" / "test" / name
        truth = load_pickle(folder / f"gnd_{name}.pkl")

        def job(image: str, box: Any = None, folder: Path = folder) -> ImageJob:
            return ImageJob(folder / "jpg" / f"{image}.jpg", image, None if box is None else tuple(box))

        jobs = [job(image) for image in truth["imlist"]]
        queries = zip(truth["qimlist"], truth["gnd"], strict=True)
        jobs += [job(image, entry.get("bbx")) for image, entry in queries]
        options = ExtractOptions(image_size_px=case.params["image_size"], batch_size=3, workers=3)
        rows = extract_array(jobs, describer, options=options)
        expected = [case.arrays[f"{name}.database"], case.arrays[f"{name}.queries"]]
        case.assert_close(rows.T, np.concatenate(expected, axis=1), "descriptors")

"""An epoch of fine-tuning up to its first step: what is mined from the tiny database's images, and its losses.

Images go through the network, the generator (a quarter of the anchors) and CLAHE, so that the whole stream of random
numbers is held to the recorded one, data passes and the order of the tuples included.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from golden import DATA, Case, build, load_case
from torch import Tensor

from darkside_cli.datasets.tuples import TupleSet, chosen_by_name
from darkside_cli.images.images import read_image
from darkside_cli.images.settings import ClaheSettings
from darkside_cli.images.transforms import apply_clahe
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.interop.training_db import read_training_db
from darkside_cli.interop.transforms import parse_transforms
from darkside_cli.losses.metric_learning import contrastive_loss
from darkside_cli.metrics.ranking import IntArray
from darkside_cli.networks.weights import build_network
from darkside_cli.retrieval.mining.config import MiningConfig
from darkside_cli.retrieval.mining.draws import TorchDraws
from darkside_cli.retrieval.mining.hard_tuples import MinedTuples, Role, mine
from darkside_cli.scenario.finetune import night_options
from darkside_cli.scenario.values import IMAGENET


@pytest.fixture(scope="module")
def case() -> Case:
    return load_case("finetune")


@pytest.fixture(scope="module")
def tuples(case: Case) -> TupleSet:
    return read_training_db(
        DATA / case.params["database"], split="train", images=DATA / case.params["images"]
    )


@pytest.fixture(scope="module")
def network_input(case: Case, tuples: TupleSet) -> Callable[[int, Role], Tensor]:
    """What the retrieval network is given of an image in a role, (1, 3, H, W)."""
    generator = build_network(open_checkpoint(DATA / case.params["augment"])).eval()
    size = case.values["data_params"]["train"]["image_size"]
    transform = parse_transforms("pil2np | totensor | normalize", mean=[0.5] * 3, std=[0.5] * 3)
    night = night_options(case.values["augment_wrappers"])
    clahe = ClaheSettings(night["augment.clahe_clip"], night["augment.clahe_grid"])
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in IMAGENET)

    def make(index: int, role: Role) -> Tensor:
        from PIL import Image

        decoded = read_image(tuples.paths[index], max_size_px=size, upright=False)
        x = transform(Image.fromarray(decoded.pixels))[None]
        if role == "anchor" and chosen_by_name(tuples.names[index], night["augment.share"]):
            with torch.no_grad():
                x = generator(x)
        image = x[0].mul(0.5).add(0.5).permute(1, 2, 0).contiguous().numpy()
        equalised = torch.from_numpy(apply_clahe(image, clahe)).permute(2, 0, 1)
        return ((equalised - mean) / std)[None]

    return make


def config_of(params: dict[str, object]) -> MiningConfig:
    values = {key: None if value == "inf" else value for key, value in params.items()}
    return MiningConfig(
        anchors=values["query_size"],  # type: ignore[arg-type]
        anchor_choice="diverse" if values["name"] == "CirDiverseAnchors" else "random",
        anchor_pool=values.get("qpool_size"),  # type: ignore[arg-type]
        similar_exclude=values.get("similar_exclude", 0.2),  # type: ignore[arg-type]
        similar_include=values.get("similar_include", 0.8),  # type: ignore[arg-type]
        negatives=values["neg_num"],  # type: ignore[arg-type]
        negative_pool=values["pool_size"],  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def draws(case: Case) -> TorchDraws:
    return TorchDraws.of_epoch(case.params["training_seed"], 0)


@pytest.fixture(scope="module")
def mined(
    case: Case, tuples: TupleSet, network_input: Callable[[int, Role], Tensor], draws: TorchDraws
) -> MinedTuples:
    network = build(case.params["embed"], case.params["embed_weights_seed"])

    def describe(images: IntArray, role: Role) -> Tensor:
        with torch.no_grad():
            return torch.cat([network(network_input(index, role)) for index in images.tolist()])

    return mine(tuples, describe, config_of(case.values["data_params"]["train"]), draws=draws)


def test_mining(case: Case, mined: MinedTuples) -> None:
    expected = case.values["mining"]
    assert case.entry["tolerance"]["mining"] == "exact"
    assert mined.anchors.tolist() == expected["qidxs"]
    assert mined.positives.tolist() == expected["pidxs"]
    assert mined.negatives.tolist() == expected["nidxs"]
    logged = expected["logged"]
    case.assert_close(mined.similarities, np.array(logged["average_new_query_max_score"]), "losses")
    # Distances of near descriptors: an error of the descriptors' tolerance, as it comes in, not as it is squared.
    case.assert_close(
        mined.distances.reshape(-1), np.array(logged["average_negative_distance"]), "descriptors"
    )


def test_order_and_images_of_the_tuples(
    case: Case, tuples: TupleSet, mined: MinedTuples, draws: TorchDraws
) -> None:
    order = draws.tuple_order(len(mined))
    recorded = [step_tuple for step in case.values["steps"] for step_tuple in step["tuples"]]
    assert len(recorded) == len(order)
    for number, step_tuple in zip(order.tolist(), recorded, strict=True):
        assert [tuples.names[i] for i in mined.images(number)] == [image["name"] for image in step_tuple]


def test_what_the_network_sees(
    case: Case, tuples: TupleSet, network_input: Callable[[int, Role], Tensor]
) -> None:
    """The recorded inputs of the first tuples, translated and not."""
    roles = ("anchor", "positive", "negative")
    seen = 0
    for key, expected in case.arrays.items():
        found = re.fullmatch(r"step(\d+)\.tuple(\d+)\.image(\d+)\.network_input", key)
        if found is None:
            continue
        step, number, image = map(int, found.groups())
        facts = case.values["steps"][step]["tuples"][number][image]
        x = network_input(tuples.names.index(facts["name"]), roles[min(image, 2)])[0].numpy()
        assert x.shape == expected.shape
        if facts["translated"]:
            assert case.entry["tolerance"]["network_input"]["translated"] == "mean |difference| < 2e-3"
            assert np.abs(x - expected).mean() < 2e-3
        else:
            assert case.entry["tolerance"]["network_input"]["untranslated"] == "atol 2e-5"
            np.testing.assert_allclose(x, expected, atol=2e-5, rtol=0)
        seen += 1
    assert seen > 1


def test_losses_of_recorded_descriptors(case: Case) -> None:
    margin, tolerance = 0.75, case.entry["tolerance"]["losses"]
    seen = 0
    for step, facts in enumerate(case.values["steps"]):
        for number, (loss, targets) in enumerate(zip(facts["tuple_losses"], facts["targets"], strict=True)):
            rows = case.arrays.get(f"step{step}.tuple{number}.descriptors")
            if rows is None:
                continue
            table = torch.from_numpy(rows.T.copy())
            assert targets == [-1, 1, *[0] * (len(targets) - 2)]
            own = contrastive_loss(table[:1], table[1:2], table[None, 2:], margin)
            assert own.item() == pytest.approx(loss, rel=tolerance["rtol"], abs=tolerance["atol"])
            seen += 1
    assert seen

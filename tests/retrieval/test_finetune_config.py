"""The options of fine-tuning: the published hyper-parameters, and what cannot be meant."""

from __future__ import annotations

import pytest
from golden import load_case

from darkside_cli.config.load import resolve
from darkside_cli.errors import ConfigError
from darkside_cli.retrieval.config import FinetuneConfig, LossOptions


def resolved(**flags: object) -> FinetuneConfig:
    return resolve(
        FinetuneConfig, flags={key.replace("__", "."): value for key, value in flags.items()}
    ).value


@pytest.mark.parametrize("target", ["finetune", "finetune_r101"])
@pytest.mark.parametrize("method", ["cut", "cyclegan", "hedgan", "hedngan", "rcfgan", "rcfngan"])
def test_defaults_are_those_of_the_published_scenarios(method: str, target: str) -> None:
    steps = load_case("resolved_scenarios").values[f"train/{method}/{target}"]
    train = next(step for step in steps if step["step"] == "1_finetune_embed")["parameters"]
    learning, data = train["learning"], train["data"]["train"]["dataset"]
    model = train["network"]["embed"]["model"]
    config = resolved(backbone=model["cir_architecture"])
    training, optim = learning["training"], learning["training"]["optimizer"]

    assert (config.loss.kind, config.margin) == (
        training["criterion"]["loss"],
        training["criterion"]["margin"],
    )
    assert config.pooling == model["pooling"]
    assert (config.init == "imagenet") is model["pretrained"]
    assert (config.optim.lr, config.optim.weight_decay) == (optim["lr"], optim["weight_decay"])
    assert config.optim.betas == (optim["beta1"], optim["beta2"])
    assert config.schedule.gamma == training["scheduler"]["gamma"]
    assert (config.trainer.epochs, config.trainer.seed) == (training["epochs"], training["seed"])
    assert config.trainer.validate_every == learning["validation"]["frequency"]
    assert config.trainer.checkpoint_every == learning["checkpoints"]["checkpoint_every"]
    assert config.trainer.store_every == learning["checkpoints"]["store_every"]
    assert config.data.batch_size == train["data"]["train"]["loader"]["batch_size"]
    assert config.data.image_size_px == data["image_size"]
    mining = config.mining
    assert (mining.anchors, mining.anchor_pool) == (data["query_size"], data["qpool_size"])
    assert (mining.negatives, mining.negative_pool) == (data["neg_num"], data["pool_size"])
    assert (mining.similar_exclude, mining.similar_include) == (
        data["similar_exclude"],
        data["similar_include"],
    )
    validation = train["data"]["val"]["dataset"]
    assert (validation["query_size"], validation["pool_size"]) == ("inf", "inf")
    own = config.validation_mining
    assert (own.anchors, own.negative_pool, own.negatives) == (None, None, validation["neg_num"])
    wrappers = train["network"]["augment"]["runtime"]["wrappers"]
    assert f"cir_ratio_pass_through:{config.augment.share}:anc" in wrappers
    assert f":{config.augment.clahe_clip}," in wrappers.partition("clahepost")[2]

    whiten = next(step for step in steps if step["step"] == "2_train_whitening")["parameters"]
    assert config.whitening.kind == whiten["whitening"]["type"]
    assert config.whitening.image_size_px == whiten["data"]["test"]["dataset"]["image_size"]
    evaluation = next(step for step in steps if step["step"] == "4_evaluate")["parameters"]
    sizes = {
        part["criterion"]["image_size"]
        for part in evaluation["validation"].values()
        if isinstance(part, dict)
    }
    assert sizes == {config.evaluation.image_size_px}


@pytest.mark.parametrize(
    ("backbone", "margin"),
    [("vgg16", 0.75), ("vgg19_bn", 0.75), ("alexnet", 0.75), ("resnet101", 0.85), ("mobilenet_v2", 0.85)],
)
def test_margin_by_backbone(backbone: str, margin: float) -> None:
    assert LossOptions().margin_for(backbone) == margin
    assert LossOptions(margin=0.5).margin_for(backbone) == 0.5
    assert LossOptions(kind="triplet").margin_for(backbone) == 0.1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"augment__kind": "images"}, "folder"),
        ({"augment__models": []}, "generator"),
        ({"augment__gamma": [3.0, 2.0]}, "low to high"),
        ({"augment__share": 1.5}, "augment.share"),
        ({"mining__anchor_pool": 5}, "5"),
        ({"backbone": "vgg61"}, "vgg16"),
        ({"pooling": "gme"}, "gem"),
    ],
)
def test_what_cannot_be(flags: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolved(**flags)

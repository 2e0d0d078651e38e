"""Which published descriptor a fine-tuning is beside: the one with its backbone, generator and data, or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from darkside_cli.retrieval.config import FinetuneConfig, TupleDataConfig
from darkside_cli.retrieval.finetune_stages import published_counterpart
from darkside_cli.retrieval.mining.config import NightOptions

PUBLISHED = FinetuneConfig()


@pytest.mark.parametrize("backbone", ["vgg16", "resnet101"])
@pytest.mark.parametrize("generator", ["hedngan", "cyclegan"])
def test_as_published(backbone: str, generator: str) -> None:
    config = replace(PUBLISHED, backbone=backbone, augment=NightOptions(models=(generator,)))
    counterpart = published_counterpart(config)
    assert counterpart is not None
    assert counterpart.name == f"gem_{backbone}_{generator}"
    assert counterpart.scores["tokyo247"] > 80


@pytest.mark.parametrize(
    "config",
    [
        replace(PUBLISHED, backbone="resnet18"),
        replace(PUBLISHED, pooling="mac"),
        replace(PUBLISHED, augment=NightOptions(kind="none")),
        replace(PUBLISHED, augment=NightOptions(models=("hedngan", "cyclegan"))),
        replace(PUBLISHED, augment=NightOptions(models=("my/hedngan",))),
        replace(PUBLISHED, data=TupleDataConfig(database="places")),
        replace(PUBLISHED, data=TupleDataConfig(file=Path("mine.pkl"))),
    ],
)
def test_otherwise_there_is_none(config: FinetuneConfig) -> None:
    assert published_counterpart(config) is None

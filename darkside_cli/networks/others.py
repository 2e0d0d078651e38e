"""Published descriptors of others: how their code is called, what their networks want, what was published of them.

Recall@1 is by the rule of visual place recognition, a place within 25 metres, and not the mAP of our own entries.
Torch-free. How a call is written is told in :mod:`darkside_cli.networks.other_spec`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.model_entry import Triple
from darkside_cli.registry import Entry, Registry

HUB = "hub:"

#: What our own descriptors were trained on, by their method; ``pictures`` are counted in the model's record.
_SFM_NIGHTS = "Retrieval-SfM 120k and generated nights"
_OURS = {
    "cyclegan": _SFM_NIGHTS,
    "hedngan": _SFM_NIGHTS,
    "imagenet": "ImageNet",
    "darkside-night": "ImageNet, {pictures} photographs, nights of darkside-night",
}

_NOCPLACE = "https://arxiv.org/abs/2402.17159"
_MEGALOC = "https://arxiv.org/abs/2502.17237"


@dataclass(frozen=True, kw_only=True)
class OtherInput:
    """What a network wants: images of ``size`` (height, width), or with sides that are multiples of ``multiple``.

    None is what the network says of itself, else images as they are, with ImageNet's mean and standard deviation.
    """

    size: tuple[int, int] | None = None
    multiple: int = 1
    mean: Triple | None = None
    std: Triple | None = None
    bicubic: bool = False


@dataclass(frozen=True, kw_only=True)
class OtherModel(Entry):
    """A published descriptor of others, or a figure alone (without a ``call``) to be held against.

    ``call`` is what follows ``hub:``. ``parameters`` are millions. ``recall`` is the published recall@1 in percent (a
    place within 25 m is right), by data set; ``recall_from`` says by whom. ``alone``: its descriptors depend on what
    else is in a batch, so each image is described by itself.
    """

    call: str = ""
    dim: int = 0
    input: OtherInput = field(default_factory=OtherInput)
    parameters: float | None = None
    licence: str = "-"
    trained_on: str
    paper: str
    recall: Mapping[str, float] = field(default_factory=dict, hash=False)
    recall_from: str = ""
    alone: bool = False

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        return {
            "name": self.name,
            "summary": self.summary,
            "call": f"{HUB}{self.call}" if self.call else None,
            "dimensions": self.dim or None,
            "input_size": list(self.input.size) if self.input.size else None,
            "input_multiple": self.input.multiple,
            "million_parameters": self.parameters,
            "licence": self.licence,
            "trained_on": self.trained_on,
            "paper": self.paper,
            "recall_at_1": dict(self.recall),
            "recall_from": self.recall_from,
        }


OTHERS: Registry[OtherModel] = Registry(
    "model",
    (
        OtherModel(
            name="megaloc",
            summary="DINOv2 ViT-B/14 with SALAD, one model for places, landmarks and localisation",
            call="gmberton/MegaLoc:get_trained_model",
            dim=8448,
            input=OtherInput(multiple=14),
            parameters=228,
            licence="MIT",
            trained_on="SF-XL, GSV-Cities, MSLS, MegaScenes, ScanNet",
            paper=_MEGALOC,
            recall={"tokyo247": 96.5},
            recall_from=_MEGALOC,
        ),
        OtherModel(
            name="salad",
            summary="DINOv2 ViT-B/14 with optimal transport to clusters",
            call="serizba/salad:dinov2_salad",
            dim=8448,
            input=OtherInput(size=(322, 322), multiple=14),
            parameters=88.0,
            licence="GPL-3.0",
            trained_on="GSV-Cities",
            paper="https://arxiv.org/abs/2311.15937",
            recall={"tokyo247": 97.5, "svox_night": 97.0},
            recall_from=f"{_NOCPLACE} ({_MEGALOC} has 94.6 on Tokyo 24/7)",
        ),
        OtherModel(
            name="eigenplaces",
            summary="ResNet-50, GeM",
            call="gmberton/eigenplaces:get_trained_model:backbone=ResNet50:fc_output_dim=2048",
            dim=2048,
            parameters=27.7,
            licence="MIT",
            trained_on="SF-XL",
            paper="https://arxiv.org/abs/2308.10832",
            recall={"tokyo247": 93.0, "svox_night": 58.8},
            recall_from=_NOCPLACE,
        ),
        OtherModel(
            name="cosplace",
            summary="ResNet-50, GeM",
            call="gmberton/cosplace:get_trained_model:backbone=ResNet50:fc_output_dim=2048",
            dim=2048,
            parameters=27.7,
            licence="MIT",
            trained_on="SF-XL",
            paper="https://arxiv.org/abs/2204.02287",
            recall={"tokyo247": 87.3},
            recall_from=_MEGALOC,
        ),
        OtherModel(
            name="boq",
            summary="DINOv2 ViT-B/14 with a bag of learned queries",
            call="amaralibey/bag-of-queries:get_trained_boq:backbone_name=dinov2:output_dim=12288",
            dim=12288,
            input=OtherInput(size=(322, 322), multiple=14, bicubic=True),
            licence="MIT",
            trained_on="GSV-Cities",
            paper="https://arxiv.org/abs/2405.07364",
            recall={"svox_night": 97.7},
            recall_from="https://github.com/amaralibey/Bag-of-Queries",
        ),
        OtherModel(
            name="boq_resnet50",
            summary="ResNet-50 with a bag of learned queries",
            call="amaralibey/bag-of-queries:get_trained_boq:backbone_name=resnet50:output_dim=16384",
            dim=16384,
            input=OtherInput(size=(384, 384), bicubic=True),
            licence="MIT",
            trained_on="GSV-Cities",
            paper="https://arxiv.org/abs/2405.07364",
            recall={"svox_night": 87.1},
            recall_from="https://github.com/amaralibey/Bag-of-Queries",
        ),
        OtherModel(
            name="cricavpr",
            summary="DINOv2 ViT-B/14; images of a batch are compared (here each is alone)",
            call="Lu-Feng/CricaVPR:trained_model",
            dim=10752,
            input=OtherInput(size=(224, 224), multiple=14),
            licence="see its repository",
            trained_on="GSV-Cities",
            paper="https://arxiv.org/abs/2402.19231",
            recall={"tokyo247": 93.0, "svox_night": 85.1},
            recall_from="https://arxiv.org/abs/2402.19231 (with PCA to 4096 dimensions)",
            alone=True,
        ),
        OtherModel(
            name="gandtr_r101",
            summary="GeM ResNet-101 of gandtr, as gem_resnet101_hedngan",
            trained_on=_SFM_NIGHTS,
            paper="https://arxiv.org/abs/2309.16351",
            recall={"tokyo247": 69.5, "svox_night": 10.4},
            recall_from=_NOCPLACE,
        ),
        OtherModel(
            name="nocplace",
            summary="EigenPlaces ResNet-50, fine-tuned with generated nights",
            trained_on="SF-XL and generated nights",
            paper=_NOCPLACE,
            recall={"tokyo247": 95.2, "svox_night": 75.6},
            recall_from=_NOCPLACE,
        ),
    ),
)


def other_names() -> list[str]:
    """Names of those that can be called."""
    return [entry.name for entry in OTHERS if entry.call]


def trained_on(model: str) -> str:
    """What a model was trained on, by name; "" where that is not known."""
    if model in OTHERS:
        return OTHERS.get(model).trained_on
    if model not in MODELS:
        return ""
    entry = MODELS.get(model)
    counted = " and ".join(f"{count} {what}" for what, count in entry.pictures().items())
    return _OURS.get(entry.method, "").format(pictures=counted)


def published_for(dataset: str) -> list[tuple[OtherModel, float]]:
    """Models with their published recall@1 on a data set, best first; none for data sets that nobody published on.

    A data set of the user's own is known by its name: "tokyo247/test", "svox/test/queries_night/@1@2@.jpg".
    """
    letters = re.sub(r"[^a-z0-9]", "", dataset.lower())
    key = "tokyo247" if "tokyo247" in letters else "svox_night" if re.search("svox.*night", letters) else ""
    found = [(entry, entry.recall[key]) for entry in OTHERS if key in entry.recall]
    return sorted(found, key=lambda each: -each[1])

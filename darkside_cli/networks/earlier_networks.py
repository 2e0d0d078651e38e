"""Retrieval networks that were published before: cirtorch's, and those of "No Fear of the Dark". Addresses alone."""

from __future__ import annotations

from dataclasses import dataclass

_CIRTORCH = "http://cmp.felk.cvut.cz/cnnimageretrieval/data/networks"
_DAYNIGHT = "http://cmp.felk.cvut.cz/daynightretrieval/download/models"
_SFM_PAPER = "https://arxiv.org/abs/1711.02512"
_NO_FEAR = (
    "https://openaccess.thecvf.com/content_ICCV_2019/html/Jenicek_No_Fear_of_the_Dark_Image_Retrieval_Under_"
    "Varying_Illumination_Conditions_ICCV_2019_paper.html"
)


@dataclass(frozen=True, kw_only=True)
class EarlierNetwork:
    """One network: ``files`` (weights first, then a whitening if it has one) are below ``source`` and ``place``."""

    name: str
    aliases: tuple[str, ...] = ()
    summary: str
    files: tuple[str, ...]
    source: str
    place: str
    paper: str


def _cirtorch(file: str, folder: str, summary: str) -> EarlierNetwork:
    stem = file.rpartition("-")[0]
    return EarlierNetwork(
        name=stem.lower(),
        aliases=(stem,) if stem != stem.lower() else (),
        summary=summary,
        files=(file,),
        source=f"{_CIRTORCH}/{folder}/",
        place="data/networks",
        paper=_SFM_PAPER,
    )


def _of_2019(name: str, backbone: str, *files: str) -> EarlierNetwork:
    return EarlierNetwork(
        name=name,
        summary=f"GeM {backbone} with CLAHE, trained on day and night images (2019), and its whitening",
        files=files,
        source=f"{_DAYNIGHT}/",
        place="weights",
        paper=_NO_FEAR,
    )


_WHITENED = "cirtorch's GeM ResNet-{} with whitening, trained on {}"
_SFM, _GL18 = "Retrieval-SfM 120k", "Google Landmarks 2018"

EARLIER_NETWORKS = (
    _cirtorch("retrievalSfM120k-vgg16-gem-b4dcdc6.pth", "retrieval-SfM-120k", "cirtorch's GeM VGG16"),
    _cirtorch(
        "retrievalSfM120k-resnet101-gem-b80fb85.pth", "retrieval-SfM-120k", "cirtorch's GeM ResNet-101"
    ),
    _cirtorch("rSfM120k-tl-resnet50-gem-w-97bf910.pth", "retrieval-SfM-120k", _WHITENED.format(50, _SFM)),
    _cirtorch("rSfM120k-tl-resnet101-gem-w-a155e54.pth", "retrieval-SfM-120k", _WHITENED.format(101, _SFM)),
    _cirtorch("rSfM120k-tl-resnet152-gem-w-f39cada.pth", "retrieval-SfM-120k", _WHITENED.format(152, _SFM)),
    _cirtorch("gl18-tl-resnet50-gem-w-83fdc30.pth", "gl18", _WHITENED.format(50, _GL18)),
    _cirtorch("gl18-tl-resnet101-gem-w-a4d43db.pth", "gl18", _WHITENED.format(101, _GL18)),
    _cirtorch("gl18-tl-resnet152-gem-w-21278d5.pth", "gl18", _WHITENED.format(152, _GL18)),
    _of_2019(
        "vgg_clahe_sfmnd", "VGG16", "vgg_clahe_sfmnd0.25-85f6ced3.pth", "vgg_clahe_sfmnd0.25-lw-d706adc9.pkl"
    ),
    _of_2019(
        "alex_clahe_sfmnd",
        "AlexNet",
        "alex_clahe_sfmnd0.25-4142b192.pth",
        "alex_clahe_sfmnd0.25-whit-87d5d095.pkl",
    ),
)

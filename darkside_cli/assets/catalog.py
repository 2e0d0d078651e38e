"""Data sets, ground truths, lists and initial weights, as torch-free entries: where from, where to.

Everything lies below the data root as cirtorch lays it out, so a tree made by gandtr or cirtorch is used in
place. The published models are entries of ``networks/catalog.py``; ``jobs/catalog.py`` puts the two together.
"""

from __future__ import annotations

from darkside_cli.assets import webcams
from darkside_cli.assets.entries import Archive, Asset, ImageSet, Link, LooseFiles, RemoteFile, shard_path
from darkside_cli.registry import Registry

_GANDTR = "http://ptak.felk.cvut.cz/personal/jenicto2/download/iccv23_gan"
_CIRTORCH = "http://cmp.felk.cvut.cz/cnnimageretrieval/data"
_DAYNIGHT = "http://cmp.felk.cvut.cz/daynightretrieval/download"
_OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"
_KAGGLE = "https://www.kaggle.com/datasets/skylord/oxbuildings"

_FLICKR = "not stated (photographs of Flickr users; research use)"

SFM = "Radenović, Tolias, Chum: Fine-tuning CNN Image Retrieval with No Human Annotation, TPAMI 2018"
REVISITED = (
    "Radenović, Iscen, Tolias, Avrithis, Chum: Revisiting Oxford and Paris: Large-Scale Image Retrieval "
    "Benchmarking, CVPR 2018"
)
OXFORD = (
    "Philbin, Chum, Isard, Sivic, Zisserman: Object Retrieval with Large Vocabularies and Fast Spatial "
    "Matching, CVPR 2007"
)
PARIS = (
    "Philbin, Chum, Isard, Sivic, Zisserman: Lost in Quantization: Improving Particular Object Retrieval in "
    "Large Scale Image Databases, CVPR 2008"
)
TOKYO = "Torii, Arandjelović, Sivic, Okutomi, Pajdla: 24/7 Place Recognition by View Synthesis, CVPR 2015"
DARK_SIDE = "Mohwald, Jenicek, Chum: Dark Side Augmentation, ICCV 2023"


def _ground_truth(name: str, base: str = f"{_CIRTORCH}/test") -> RemoteFile:
    url = f"{_DAYNIGHT}/data/gnd_{name}.pkl" if base == _DAYNIGHT else f"{base}/{name}/gnd_{name}.pkl"
    return RemoteFile(path=f"data/test/{name}/gnd_{name}.pkl", urls=(url,))


def _archive(url: str, *names: str) -> Archive:
    name = url.rpartition("/")[2]
    return Archive(path=f"downloads/{name}", urls=(url,), names=(name, *names))


def _network(name: str, folder: str, *, also: bool = False) -> RemoteFile:
    digest = name.removesuffix(".pth").rpartition("-")[2]
    return RemoteFile(
        path=f"data/networks/{name}",
        urls=(f"{_CIRTORCH}/networks/{folder}/{name}",),
        sha256=digest,
        also_at=(f"weights/{name}",) if also else (),
    )


def _initial(
    backbone: str, title: str, digest: str, groups: tuple[str, ...], needed: tuple[str, ...]
) -> Asset:
    return Asset(
        name=f"imagenet-{backbone}",
        summary=f"{title} features trained on ImageNet (converted from Caffe), where fine-tuning starts",
        groups=groups,
        files=(_network(f"imagenet-caffe-{backbone}-features-{digest}.pth", "imagenet", also=True),),
        needed_by=needed,
        citation=SFM,
        source=f"{_CIRTORCH}/networks/imagenet/",
    )


#: In the original archive these are not photographs but pages that say "302 Found".
PARIS_BROKEN = frozenset(
    f"paris_{name}.jpg"
    for name in (
        "louvre_000136", "louvre_000146", "moulinrouge_000422", "museedorsay_001059", "notredame_000188",
        "pantheon_000284", "pantheon_000960", "pantheon_000974", "pompidou_000195", "pompidou_000196",
        "pompidou_000201", "pompidou_000467", "pompidou_000640", "sacrecoeur_000299", "sacrecoeur_000330",
        "sacrecoeur_000353", "triomphe_000662", "triomphe_000833", "triomphe_000863", "triomphe_000867",
    )
)  # fmt: skip

_OXFORD_PLACES = (
    "all_souls|ashmolean|balliol|bodleian|christ_church|cornmarket|hertford|jesus|keble|magdalen|new|oriel|"
    "oxford|pitt_rivers|radcliffe_camera|trinity|worcester"
)
_FROM_KAGGLE = (
    f"log in at {_KAGGLE}, press Download, and give what you get to: darkside download --from FILE "
    "(the whole .zip, or the .tgz archives in it, or a folder of the images)"
)
_SFM_FOLDER = "data/train/retrieval-SfM-120k"
_EXAMPLES = (
    "3fb7b4f3c9560312f1e36f00a7abb38a",
    "015bb8aa57c3fbebc41daca6a093f639",
    "0030a526c20a135a33e93d0d495f6737",
    "d543f7828509ebc931c80134b818fd81",
)


def _database(name: str, *also: str) -> RemoteFile:
    """A database of tuples; ``also`` are the folders where cirtorch has it."""
    return RemoteFile(
        path=f"data/train/{name}/{name}.pkl",
        urls=(f"{_CIRTORCH}/train/dbs/{name}.pkl",),
        also_at=tuple(f"data/train/{folder}/{name}.pkl" for folder in also),
    )


def _revisited(name: str, original: str, title: str) -> Asset:
    return Asset(
        name=name,
        summary=f"Revisited {title}: ground truth (easy, medium, hard), and the images of {original}",
        groups=("eval",),
        files=(_ground_truth(name),),
        links=(Link(path=f"data/test/{name}/jpg", target=f"data/test/{original}/jpg"),),
        requires=(original,),
        needed_by=(f"evaluate --dataset {name}", "finetune"),
        citation=REVISITED,
        source="http://cmp.felk.cvut.cz/revisitop/",
    )


DATA: Registry[Asset] = Registry(
    "asset",
    (
        Asset(
            name="nightfall",
            aliases=("nightfall-day", "nightfall-val", "nightfall-val-day"),
            summary="The embedded synthetic city by day and at night: training images, test sets; made, not downloaded",
            made_by="darkside_cli.nightfall.asset:MAKER",
            needed_by=(
                "demo",
                "evaluate --dataset nightfall",
                "finetune --data nightfall",
                "train-gan --data nightfall",
            ),
            licence="MIT (made on your machine)",
            citation="darkside's own: rendered by darkside_cli.nightfall",
        ),
        Asset(
            name="webcams",
            summary="Eight webcams by day and at night, 226 pictures: each place in a folder of its own",
            loose=LooseFiles(
                folder=webcams.FOLDER,
                count=webcams.COUNT,
                base=webcams.BASE,
                listed=webcams.webcam_files,
            ),
            needed_by=("demo --photos webcams",),
            licence="MIT repository, webcam pictures (whose own terms are not stated; research use)",
            citation="Udacity: Computer Vision Nanodegree, exercises (day and night images)",
            source=webcams.REPOSITORY,
            by_hand=f"clone {webcams.REPOSITORY}, or get it as a zip archive, and give it to: "
            "darkside download webcams --from PATH",
        ),
        Asset(
            name="tokyo247",
            aliases=("247tokyo1k", "tokyo"),
            summary="Tokyo 24/7: query images by day, at sunset and at night, and their ground truth",
            groups=("eval",),
            files=(_ground_truth("247tokyo1k", _DAYNIGHT),),
            images=ImageSet(
                folder="data/test/247tokyo1k/jpg",
                archives=(
                    _archive("http://www.ok.ctrl.titech.ac.jp/~torii/project/247/download/247query_v3.zip"),
                ),
                pattern=r"\d{5}\.jpg",
                known_by="247",
                count=1125,
                named_by=("data/test/247tokyo1k/gnd_247tokyo1k.pkl",),
            ),
            needed_by=("evaluate --dataset tokyo247", "finetune"),
            licence="not stated (research use)",
            citation=TOKYO,
            source="http://www.ok.ctrl.titech.ac.jp/~torii/project/247/",
        ),
        Asset(
            name="oxford5k",
            summary="Oxford Buildings: 5,063 images, and the original ground truth",
            groups=("eval",),
            files=(_ground_truth("oxford5k"),),
            images=ImageSet(
                folder="data/test/oxford5k/jpg",
                also_at=("data/test/roxford5k/jpg",),
                archives=(_archive(f"{_OXFORD}/oxbuildings/oxbuild_images-v1.tgz", "oxbuild_images.tgz"),),
                pattern=rf"(?:{_OXFORD_PLACES})_\d{{6}}\.jpg",
                count=5063,
                named_by=("data/test/roxford5k/gnd_roxford5k.pkl", "data/test/oxford5k/gnd_oxford5k.pkl"),
            ),
            needed_by=("evaluate --dataset oxford5k", "evaluate --dataset roxford5k"),
            licence=_FLICKR,
            citation=OXFORD,
            source=f"{_OXFORD}/oxbuildings/",
            by_hand=f"the images whose faces are not blurred are at Kaggle: {_FROM_KAGGLE}",
        ),
        _revisited("roxford5k", "oxford5k", "Oxford"),
        Asset(
            name="paris6k",
            summary="Paris: 6,392 images (20 more in the archives are broken), and the original ground truth",
            groups=("eval",),
            files=(_ground_truth("paris6k"),),
            images=ImageSet(
                folder="data/test/paris6k/jpg",
                also_at=("data/test/rparis6k/jpg",),
                archives=tuple(
                    _archive(f"{_OXFORD}/parisbuildings/paris_{n}-v1.tgz", f"paris_{n}.tgz") for n in (1, 2)
                ),
                pattern=r"paris_[a-z]+_\d{6}\.jpg",
                count=6392,
                named_by=("data/test/rparis6k/gnd_rparis6k.pkl", "data/test/paris6k/gnd_paris6k.pkl"),
                broken=PARIS_BROKEN,
            ),
            needed_by=("evaluate --dataset paris6k", "evaluate --dataset rparis6k"),
            licence=_FLICKR,
            citation=PARIS,
            source=f"{_OXFORD}/parisbuildings/",
            by_hand=f"the images whose faces are not blurred are at Kaggle: {_FROM_KAGGLE}",
        ),
        _revisited("rparis6k", "paris6k", "Paris"),
        Asset(
            name="retrieval-sfm-120k",
            aliases=("retrieval-SfM-120k", "sfm120k"),
            summary="Retrieval-SfM 120k: training images and tuple database",
            groups=("train",),
            files=(_database("retrieval-SfM-120k"),),
            images=ImageSet(
                folder=f"{_SFM_FOLDER}/ims",
                archives=(_archive(f"{_CIRTORCH}/train/ims/ims.tar.gz"),),
                pattern=r"[0-9a-f]{32}",
                layout="sharded",
                named_by=(
                    f"{_SFM_FOLDER}/dataset/train_day.txt",
                    f"{_SFM_FOLDER}/dataset/train_night.txt",
                    f"{_SFM_FOLDER}/retrieval-SfM-120k.pkl",
                ),
            ),
            needed_by=("train-gan", "finetune"),
            licence=_FLICKR,
            citation=SFM,
            source="http://cmp.felk.cvut.cz/cnnimageretrieval/",
        ),
        Asset(
            name="retrieval-sfm-120k-whiten",
            aliases=("retrieval-SfM-120k-whiten",),
            summary="Retrieval-SfM 120k: database to learn whitening from",
            groups=("train",),
            files=(_database("retrieval-SfM-120k-whiten", "retrieval-SfM-120k"),),
            requires=("retrieval-sfm-120k",),
            needed_by=("finetune", "whiten"),
            licence=_FLICKR,
            citation=SFM,
            source="http://cmp.felk.cvut.cz/cnnimageretrieval/",
        ),
        Asset(
            name="retrieval-sfm-30k",
            aliases=("retrieval-SfM-30k", "sfm30k"),
            summary="Retrieval-SfM 30k: database to learn whitening from, and the images of the 120k set",
            groups=("train",),
            files=(_database("retrieval-SfM-30k-whiten", "retrieval-SfM-30k"),),
            links=(Link(path="data/train/retrieval-SfM-30k/ims", target=f"{_SFM_FOLDER}/ims"),),
            requires=("retrieval-sfm-120k",),
            needed_by=("whiten retrieval-sfm-30k-whiten",),
            licence=_FLICKR,
            citation=SFM,
            source="http://cmp.felk.cvut.cz/cnnimageretrieval/",
        ),
        Asset(
            name="day-night-lists",
            aliases=("train_day", "train_night"),
            summary="Which Retrieval-SfM images are day and which are night, for GAN training",
            groups=("train",),
            files=tuple(
                RemoteFile(path=f"{_SFM_FOLDER}/dataset/{name}", urls=(f"{_GANDTR}/{name}",))
                for name in ("train_day.txt", "train_night.txt")
            ),
            needed_by=("train-gan",),
            citation=DARK_SIDE,
            source="https://github.com/mohwald/gandtr",
        ),
        Asset(
            name="day-night-examples",
            summary="Four training pictures to look at while a GAN trains",
            groups=("train",),
            links=tuple(
                Link(path=f"data/val/day_night/{n}.jpg", target=f"{_SFM_FOLDER}/ims/{shard_path(cid)}")
                for n, cid in enumerate(_EXAMPLES, 1)
            ),
            requires=("retrieval-sfm-120k",),
            needed_by=("train-gan",),
            licence=_FLICKR,
            citation=SFM,
        ),
        _initial("vgg16", "VGG16", "d369c8e", ("train",), ("finetune --backbone vgg16",)),
        _initial("resnet101", "ResNet-101", "10a101d", ("train",), ("finetune --backbone resnet101",)),
        _initial("resnet50", "ResNet-50", "ac468af", (), ("finetune --backbone resnet50",)),
        _initial("resnet152", "ResNet-152", "1011020", (), ("finetune --backbone resnet152",)),
    ),
)

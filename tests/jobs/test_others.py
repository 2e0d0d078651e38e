"""Models of others, by stand-ins that have the same entry points and forms of output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from stand_ins import write_cache, write_stand_in
from torchvision.transforms import functional

import darkside_cli
from darkside_cli.errors import ConfigError, MissingAssetError, UnknownNameError, UsageError
from darkside_cli.networks.other_spec import Trust, is_other, parse_other
from darkside_cli.networks.others import OTHERS, other_names, published_for, trained_on
from darkside_cli.retrieval.describe.load import load_descriptor
from darkside_cli.retrieval.describe.store import open_descriptors

MakeImage = Callable[..., Path]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """An empty folder, a cache of torch.hub of its own, and no network at all."""
    sys.modules.pop("network", None)  # of a stand-in that a test before loaded through torch.hub itself
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKSIDE_HOME", environment["DARKSIDE_HOME"])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def no_network(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(torch.hub, "urlopen", no_network)


@pytest.fixture
def images(tmp_path: Path, make_image: MakeImage) -> Path:
    for number, (width, height) in enumerate(((60, 40), (64, 48), (31, 70))):
        make_image(tmp_path / "images" / f"{number}.png", width, height, seed=number)
    return tmp_path / "images"


@pytest.mark.parametrize("name", other_names())
def test_every_model_of_the_catalogue_is_called_as_its_repository_says(
    name: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cache(tmp_path / "torch")
    darkside_cli.extract(images, model=name, output="x.npz", trust=True, offline=True)
    stored = open_descriptors("x.npz")
    dims = {"eigenplaces": 16, "cosplace": 16, "boq": 12, "boq_resnet50": 16}
    assert (stored.count, stored.dim) == (3, dims.get(name, 8))
    np.testing.assert_allclose(np.linalg.norm(stored.read(), axis=1), 1, rtol=1e-5)
    assert stored.metadata["model"] == f"hub:{OTHERS.get(name).call}"
    assert capsys.readouterr().out == ""
    assert "network" not in sys.modules
    # The index names the code, so a search asks for trust again, and then does as the index was made.
    with pytest.raises(UsageError, match="code of others"):
        darkside_cli.search(images / "1.png", index="x.npz")
    found = darkside_cli.search(images / "1.png", index="x.npz", trust=True, offline=True, with_self=True)
    assert (found.answers[0].found[0].image, found.answers[0].found[0].score) == ("1.png", pytest.approx(1))


def test_descriptors_are_those_of_the_code_itself(images: Path, tmp_path: Path) -> None:
    folder = write_stand_in(tmp_path / "repo")
    describer = load_descriptor(
        "hub:./repo:rows:dim=5:input_size=20x30:input_mean=0.5,0.4,0.3:input_std=1,2,4", trust=True
    )
    image = Image.open(images / "0.png").convert("RGB")
    model = torch.hub.load(str(folder), "rows", source="local", dim=5)
    x = functional.normalize(functional.to_tensor(image), [0.5, 0.4, 0.3], [1, 2, 4])
    x = functional.resize(x, [20, 30], antialias=True)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model(x[None]), dim=1)[0].numpy()
    np.testing.assert_allclose(describer(image), expected, atol=1e-6)


@pytest.mark.parametrize("model", ["cricavpr", "hub:./repo:neighbours"])
def test_what_is_in_a_batch_does_not_matter(model: str, images: Path, tmp_path: Path) -> None:
    write_cache(tmp_path / "torch")
    write_stand_in(tmp_path / "repo")
    network = load_descriptor(model, trust=Trust(code=True))._given.network
    x = torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))


def test_reduced_precision_as_on_gpus(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stand_in(tmp_path / "repo")
    exact = load_descriptor("hub:./repo:rows", trust=True)
    monkeypatch.setattr("darkside_cli.kernels.dispatch.multiplies_bf16", lambda: True)
    reduced = load_descriptor("hub:./repo:rows", trust=True, precision="bf16")
    image = Image.open(images / "0.png")
    assert 0.999 < float(exact(image) @ reduced(image)) != pytest.approx(1, abs=1e-7)
    assert reduced.fingerprint == exact.fingerprint


def test_a_function_of_a_module(images: Path, tmp_path: Path) -> None:
    (tmp_path / "own_models.py").write_text(
        "import torch\n\n\ndef build(dim=4):\n"
        "    def describe(x):\n        assert x.shape[2:] == (16, 24)\n"
        "        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)[:, :dim],\n"
        "    describe.image_size, describe.mean, describe.std = (16, 24), (0, 0, 0), (1, 1, 1)\n"
        "    return describe\n"
    )
    places = tmp_path / "places"
    for name in ("a", "b"):
        for time in ("day", "night"):
            (places / name / time).mkdir(parents=True)
            (places / name / time / "x.png").write_bytes((images / f"{'ab'.index(name)}.png").read_bytes())
    result = darkside_cli.evaluate("own_models:build:dim=6", dataset=places, trust=True)
    assert result.lines[0].mean_average_precision == 100
    assert result.evaluations[0].model == "own_models:build:dim=6"
    assert result.published == {}
    again = darkside_cli.evaluate(
        "own_models:build", dataset=places.rename(tmp_path / "tokyo247"), trust=True
    )
    beside = again.document()["published_by_others"]["tokyo247"]
    assert [(each["name"], each["recall_at_1"]) for each in beside][:2] == [
        ("salad", 97.5),
        ("megaloc", 96.5),
    ]
    assert sys.modules.pop("own_models")
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    ("model", "options", "kind", "words"),
    [
        ("hub:./repo:rows", {}, UsageError, "code of others.*--trust"),
        ("megaloc", {}, UsageError, "github.com/gmberton/MegaLoc.*--trust"),
        ("hub:./repo:row", {"trust": True}, UnknownNameError, "unknown entry point of .*did you mean rows"),
        ("hub:./nowhere:rows", {"trust": True}, MissingAssetError, "no folder"),
        ("hub:./images:rows", {"trust": True}, UsageError, "no hubconf.py"),
        ("hub:./repo:rows:dims=3", {"trust": True}, ConfigError, "unexpected keyword argument 'dims'"),
        ("hub:./repo:feature_map", {"trust": True}, ConfigError, r"gives \(2, 8, 1, 1\) for 2 images"),
        ("hub:./repo:no_model", {"trust": True}, ConfigError, "gives a int"),
        ("hub:./repo:in_training", {"trust": True}, ConfigError, "other numbers for the same image.*eval"),
        ("hub:./repo:weights", {"trust": True, "offline": True}, MissingAssetError, "x.pth.*--offline"),
        ("hub:./repo:weights", {"trust": True}, MissingAssetError, "x.pth is not on this.*--download"),
        ("megaloc", {"trust": True, "offline": True}, MissingAssetError, "code of gmberton.*--offline.*git clone"),
        ("nowhere:build", {"trust": True}, MissingAssetError, "no Python module 'nowhere'"),
        ("json:dump_all", {"trust": True}, UnknownNameError, "unknown function of json 'dump_all'"),
        ("hub:./repo:rows", {"trust": True, "scales": "1,0.5"}, UsageError, "at one scale"),
        ("hub:repo:rows", {"trust": True}, UsageError, "'repo' is a folder.*write hub:./repo:rows"),
        ("hub:nowhere:rows", {"trust": True}, UsageError, "no OWNER/REPO at GitHub.*begin with ./"),
        ("hub:./repo:rows:input_size=big", {"trust": True}, UsageError, "input_size=big does not say"),
        ("hub:./repo", {"trust": True}, UsageError, "names no model of others"),
        ("gandtr_r101", {"trust": True}, UsageError, "a published figure"),
    ],
)  # fmt: skip
def test_what_is_said_of_what_cannot_be(
    model: str, options: dict[str, Any], kind: type[Exception], words: str, images: Path, tmp_path: Path
) -> None:
    write_stand_in(tmp_path / "repo")
    with pytest.raises(kind, match=words):
        darkside_cli.extract(images, model=model, output="x.npz", **options)
    assert not Path("x.npz").exists()


def test_nothing_runs_without_trust(images: Path, tmp_path: Path) -> None:
    write_stand_in(tmp_path / "repo")
    (tmp_path / "repo" / "hubconf.py").write_text("open('ran', 'w')\ndef rows():\n    pass\n")
    for call in (darkside_cli.extract, darkside_cli.evaluate):
        more = {"output": "x.npz"} if call is darkside_cli.extract else {"dataset": str(images)}
        with pytest.raises(UsageError, match="trust"):
            call(
                **({"images": images} if call is darkside_cli.extract else {}),
                model="hub:./repo:rows",
                **more,
            )
    with pytest.raises(UsageError, match="trust"):
        load_descriptor("hub:./repo:rows")
    with pytest.raises(UsageError, match="extract, search and evaluate"):
        darkside_cli.whiten(images, model="hub:./repo:rows", output="w.pkl")
    assert not Path("ran").exists()


def test_names() -> None:
    for name in (
        "timm:resnet18",
        "timm:resnet18:pooling=cls",
        "net.pth",
        "./x",
        "gem_vgg16_hedngan",
        "a b:c",
    ):
        assert not is_other(name)
    spec = parse_other("hub:o/r@v1.2:entry:a=1:b=x:c=None:input_multiple=14:input_size=28")
    assert (spec.kind, spec.place, spec.entry) == ("github", "o/r@v1.2", "entry")
    assert spec.arguments == {"a": 1, "b": "x", "c": None}
    assert (spec.input.multiple, spec.input.size) == (14, (28, 28))
    for name in other_names():
        assert parse_other(parse_other(name).text).input == OTHERS.get(name).input
    assert [entry.name for entry, _ in published_for("SVOX-night")][-1] == "gandtr_r101"
    assert published_for("my-places/p0/night/n.png") == published_for("svox/test/queries/1.jpg") == []
    assert published_for("svox/test/queries_night/1.jpg")[0][1] == 97.7
    assert trained_on("efficientnet_lite2") == "ImageNet"
    assert trained_on("gem_vgg16_hedngan") == trained_on("gandtr_r101")
    assert trained_on("mine.pth") == ""


_CODE = """
import sys
from os.path import *

def ends():
    sys.exit(0)

def ends_in_words():
    sys.exit("wrong use\\nof this")

def ends_at_work():
    return lambda x: sys.exit()

def inside():
    raise RuntimeError("inside")

def divides():
    return lambda x: 1 / 0

def zeros():
    return lambda x: x.new_zeros(len(x), 4)

def whole():
    return lambda x: (x.mean((2, 3)) * 100).int()

def of_a_size():
    def model(x):
        assert x.shape[2] == 13, "the height is not 13"
    return model
"""


@pytest.mark.parametrize(
    ("name", "kind", "words", "absent"),
    [
        ("ends", MissingAssetError, "its code ends the program.*--debug", "argument"),
        ("ends_in_words", MissingAssetError, "its code ends the program: wrong use .*--debug", "of this"),
        ("ends_at_work", MissingAssetError, "its code ends the program.*--debug", "input_size"),
        ("inside", ConfigError, "RuntimeError: inside .*--debug", "argument"),
        ("inside:a=1", ConfigError, "unexpected keyword.*:name=value.*--debug", "input_size"),
        ("divides", ConfigError, "ZeroDivisionError.*--debug", "input_size"),
        ("of_a_size", ConfigError, "the height is not 13.*input_size.*--debug", "argument"),
        ("zeros", ConfigError, "nothing but zeros for images of noise", "argument"),
        ("whole", ConfigError, "numbers of the type int32, no descriptors", "argument"),
        ("zzzz", UnknownNameError, "known: ends, ends_in_words, ends_at_work, inside, divides and", "isabs"),
    ],
)
def test_hints_are_of_what_failed(
    name: str, kind: type[Exception], words: str, absent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the code of others ends the program, which is no success of ours."""
    (tmp_path / "faulty_models.py").write_text(_CODE)
    monkeypatch.delitem(sys.modules, "faulty_models", raising=False)
    with pytest.raises(kind, match=words) as caught:
        load_descriptor(f"faulty_models:{name}", trust=True)
    assert absent not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1

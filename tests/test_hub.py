"""torch.hub's entry points as their users meet them: from another folder, without an installation."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from architecture_checker import Source, imports
from golden import DATA, Case, build, fill_, load_case, weights_module
from PIL import Image

from darkside_cli import hub
from darkside_cli.errors import ConfigError, MissingAssetError, UnknownNameError, UsageError
from darkside_cli.interop.gandtr_write import save_gandtr
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.networks.catalog import EMBEDDED_DESCRIPTOR, MODELS
from darkside_cli.networks.weights import Checkpoint
from darkside_cli.retrieval.describe.load import load_descriptor

ROOT = Path(__file__).resolve().parents[1]
GENERATORS = {"cyclegan": "generator_instance", "hedngan": "generator_batch"}
BACKBONES = {"vgg16": "descriptor_vgg16", "resnet101": "descriptor_resnet101"}
NAMES = [*GENERATORS, *(f"gem_{backbone}_{method}" for backbone in BACKBONES for method in GENERATORS)]
OWN = ["backbone", "darkside_night", "gem_lite_night"]
SMALL = [name for name in NAMES if "resnet101" not in name]
PRINTED = """Compose(
    Pil2Numpy()
    ApplyClahe(clip_limit=1.0, grid_size=8, colorspace=lab)
    ToTensor()
    Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], strict_shape=True)
)"""


@pytest.fixture(scope="module")
def hubconf() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with the files of a model, full-size and of the numbers that the golden cases were made with."""
    folder = tmp_path_factory.mktemp("weights")

    def make(name: str) -> Path:
        files = {file.role: folder / Path(file.path).name for file in MODELS.get(name).files}
        if not files["weights"].exists():
            _write_weights(name, files["weights"])
            if "whitening" in files:
                files["whitening"].write_bytes(_whitening_pickle(_dim(name)))
        return folder

    return make


def _write_weights(name: str, path: Path) -> None:
    if name in GENERATORS:
        case = load_case(GENERATORS[name])
        network = build(case.params["model"], case.seed)
        save_gandtr(
            path, Checkpoint(path, "gandtr", "resnet_generator", network.config, network.state_dict(), {})
        )
        return
    backbone = name.split("_")[1]
    content = torch.load(DATA / "files" / "checkpoints" / f"embed_{backbone}.pth", weights_only=True)
    state = {key: value.clone() for key, value in content["model_state"].items()}
    content["model_state"] = fill_(state, load_case(BACKBONES[backbone]).seed)
    torch.save(content, path)


def _dim(name: str) -> int:
    return 2048 if "resnet101" in name else 512


def _whitening(dim: int) -> dict[str, Any]:
    numbers: dict[str, Any] = weights_module().whitening(dim, dim, 7)
    return numbers


def _whitening_pickle(dim: int) -> bytes:
    import pickle

    return pickle.dumps(_whitening(dim))


@dataclass(frozen=True)
class Ask:
    """One call of ``torch.hub.load`` and the images to try the model on; ``label`` tells it from others."""

    name: str
    options: dict[str, Any]
    images: list[np.ndarray[Any, Any]]
    label: str


@dataclass(frozen=True)
class Answer:
    """What the user's process found: facts, arrays by label, and what it said on stderr."""

    facts: dict[str, Any]
    outputs: dict[str, dict[str, np.ndarray[Any, Any]]]
    stderr: str


def ask_user(
    folder: Path, home: Path, asks: list[Ask], *, block: list[str] | None = None, **env: str
) -> Answer:
    """Load models as a user does: in ``folder``, by a process of its own, with the data root ``home``."""
    models = []
    for ask in asks:
        paths = [folder / f"{ask.label}-{i}.npy" for i in range(len(ask.images))]
        for path, image in zip(paths, ask.images, strict=True):
            np.save(path, image)
        models.append(
            {"label": ask.label, "name": ask.name, "options": ask.options, "images": [str(p) for p in paths]}
        )
    file = folder / "job.json"
    file.write_text(json.dumps({"repository": str(ROOT), "models": models, "block": block}), encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DARKSIDE_", "CIRTORCH_", "PYTHONPATH"))}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "hub_client.py"), str(file)],
        cwd=folder,
        env={**kept, "DARKSIDE_HOME": str(home), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = {ask.label: dict(np.load(folder / f"{ask.label}.npz")) for ask in asks}
    return Answer(json.loads(done.stdout.splitlines()[-1]), outputs, done.stderr)


def _golden_images(name: str) -> list[int]:
    """Numbers of the golden images for a model: those that come one at a time."""
    case = _case(name)
    return [
        i
        for i in case.numbers("image")
        if case.arrays[f"image{i}"].ndim == 3 or len(case.arrays[f"image{i}"]) == 1
    ]


def _case(name: str) -> Case:
    return load_case(GENERATORS.get(name) or BACKBONES[name.split("_")[1]])


def _pretrained(name: str) -> Ask:
    case = _case(name)
    images = [
        case.arrays[f"image{i}"].reshape(case.arrays[f"image{i}"].shape[-3:]) for i in _golden_images(name)
    ]
    return Ask(name, {"device": "cpu"}, images, name)


def _random(name: str) -> Ask:
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    return Ask(name, {"pretrained": False, "device": "cpu"}, [image], f"random-{name}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def answer(
    home: Path, weights: Callable[[str], Path], hubconf: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Answer:
    """One user, who loads the small models and random ones.

    The weights come from a mirror, and nothing that is not among the dependencies can be imported.
    """
    for name in SMALL:
        mirror = weights(name)
    return ask_user(
        tmp_path_factory.mktemp("elsewhere"),
        home,
        [*map(_pretrained, SMALL), *map(_random, NAMES)],
        block=hubconf.dependencies,
        DARKSIDE_MIRROR=str(mirror),
    )


# What is loaded computes what the published models do


def _assert_published(name: str, answer: Answer) -> None:
    case = _case(name)
    for at, i in enumerate(_golden_images(name)):
        (found,) = answer.outputs[name][f"output{at}"]
        if name in GENERATORS:
            case.assert_close(found[None], case.arrays[f"output{i}"])
            continue
        assert found.shape == (_dim(name),)
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
        # The golden multi-scale descriptor, whitened here: projected, then made unit length.
        numbers = _whitening(_dim(name))
        projected = numbers["P"] @ (case.arrays[f"multi{i}"].astype(np.float64) - numbers["m"][:, 0])
        expected = projected / (np.linalg.norm(projected) + 1e-6)
        case.assert_close(found, expected.astype(np.float32))


def _assert_ready(facts: dict[str, Any], name: str) -> None:
    transform = "None" if name in GENERATORS else PRINTED
    assert facts == {"training": False, "device": "cpu", "transform": transform}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_pretrained(name: str, answer: Answer) -> None:
    _assert_published(name, answer)
    _assert_ready(answer.facts[name], name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in SMALL])
def test_pretrained_large(name: str, weights: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    shutil.copytree(weights(name), tmp_path / "home" / "weights", copy_function=os.link)
    answer = ask_user(tmp_path, tmp_path / "home", [_pretrained(name)], DARKSIDE_OFFLINE="1")
    _assert_published(name, answer)
    _assert_ready(answer.facts[name], name)
    assert answer.stderr == ""


@pytest.mark.slow
def test_the_package_is_not_installed(answer: Answer) -> None:
    assert answer.facts["package"] == str(ROOT / "darkside_cli" / "__init__.py")
    assert not answer.facts["on_path"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="without a GPU models are on the CPU")
def test_models_are_on_the_gpu_by_default() -> None:
    assert next(hub.cyclegan(pretrained=False).parameters()).device.type == "cuda"


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU models are there")
def test_models_are_on_the_cpu_without_a_gpu() -> None:
    assert next(hub.cyclegan(pretrained=False).parameters()).device.type == "cpu"


def test_options_of_descriptors(weights: Callable[[str], Path], tmp_path: Path) -> None:
    """In this process: single scale, another whitening, fewer dimensions, no whitening (whose file is missing)."""
    name = "gem_vgg16_hedngan"
    shutil.copytree(weights(name), tmp_path / "weights", copy_function=os.link)
    case = load_case("descriptor_vgg16")
    image, options = case.arrays["image0"], {"device": "cpu", "data_dir": tmp_path}

    def describe(**more: Any) -> np.ndarray[Any, Any]:
        model = hub.gem_vgg16_hedngan(**options, **more)
        with torch.inference_mode():
            return np.asarray(model(model.transform(image).unsqueeze(0))[0])

    golden = DATA / case.params["whitening"]
    case.assert_close(describe(whiten=golden), case.arrays["final0"])
    case.assert_close(describe(whiten=str(golden), dim=16), case.arrays["final_dim160"])
    for scales in ([1], 1, 1.0):
        case.assert_close(describe(whiten=golden, scales=scales), case.arrays["single_whitened0"])
    (tmp_path / "weights" / "hedngan_embed_vgg16_lw.pkl").unlink()
    case.assert_close(describe(whiten=False, scales="ss"), case.arrays["single0"])
    case.assert_close(describe(whiten=False), case.arrays["multi0"])


# Random weights


@pytest.mark.parametrize("name", NAMES)
def test_random_weights(name: str, answer: Answer) -> None:
    _assert_ready(answer.facts[f"random-{name}"], name)
    found = answer.outputs[f"random-{name}"]["output0"]
    assert np.isfinite(found).all()
    if name in GENERATORS:
        assert found.shape == (1, 3, 52, 72)
        assert np.abs(found).max() <= 1
    else:
        assert found.shape == (1, _dim(name))
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    others = [answer.outputs[f"random-{other}"]["output0"] for other in NAMES if other != name]
    assert not any(np.array_equal(found, other) for other in others)


@pytest.mark.parametrize(("name", "case"), GENERATORS.items())
def test_random_generators_are_of_the_published_kind(name: str, case: str) -> None:
    network = getattr(hub, name)(pretrained=False, device=torch.device("cpu"))
    published = build(load_case(case).params["model"])
    assert network.config == published.config
    assert not network.training


# Missing weights


@pytest.mark.parametrize("name", SMALL)
def test_missing_weights_come_by_themselves(
    name: str, answer: Answer, home: Path, weights: Callable[[str], Path]
) -> None:
    for file in MODELS.get(name).files:
        assert (home / file.path).read_bytes() == (weights(name) / Path(file.path).name).read_bytes()
        assert answer.stderr.count(f"downloading {Path(file.path).name} ") == 1
        assert f"{Path(file.path).name} is at {home / file.path}\n" in answer.stderr


def test_a_download_can_be_silent(
    weights: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DARKSIDE_MIRROR", str(weights("cyclegan")))
    monkeypatch.delenv("DARKSIDE_OFFLINE", raising=False)
    network = hub.cyclegan(device="cpu", data_dir=tmp_path, progress=False)
    stored = open_checkpoint(tmp_path / "weights" / "cyclegan_generator_X.pth").state
    for key, value in network.state_dict().items():
        assert torch.equal(value, stored[key])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", NAMES)
def test_offline_the_error_says_what_goes_where(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKSIDE_OFFLINE", "yes")
    with pytest.raises(MissingAssetError, match="DARKSIDE_OFFLINE") as caught:
        getattr(hub, name)(device="cpu", data_dir=tmp_path)
    for file in MODELS.get(name).files:
        assert file.urls[0] in str(caught.value)
        assert str(tmp_path / file.path) in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_wrong_options_are_told() -> None:
    with pytest.raises(UsageError, match="cuda:99"):
        hub.cyclegan(pretrained=False, device="cuda:99")
    with pytest.raises(ConfigError, match="dimensions"):
        hub.gem_vgg16_cyclegan(pretrained=False, device="cpu", dim=7)
    with pytest.raises(ConfigError, match="scales"):
        hub.gem_vgg16_cyclegan(pretrained=False, device="cpu", scales="many")


# What torch.hub reads


def test_any_backbone_is_a_descriptor(hubconf: ModuleType, tmp_path: Path) -> None:
    model = hubconf.backbone("efficientnet_lite0", pretrained=False, device="cpu", scales="ss")
    assert model.network.config.std == (0.5, 0.5, 0.5)
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 40, 50)).shape == (1, 1280)
    with pytest.raises(ConfigError, match="only of"):
        hubconf.backbone("efficientnet_lite4", device="cpu", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("gem_lite_night", UsageError, r'a whole descriptor.*torch.hub.load\(REPO, "gem_lite_night"\)'),
        ("gem_r101_hedngan", UsageError, r'torch.hub.load\(REPO, "gem_resnet101_hedngan"\)'),
        ("rSfM120k-tl-resnet50-gem-w", UsageError, r'load_descriptor\("rsfm120k-tl-resnet50-gem-w"\)'),
        ("gem_lite_nigth", UnknownNameError, r"did you mean gem_lite_night\?"),
        ("resnet110", UnknownNameError, r"did you mean resnet101.*timm:NAME"),
    ],
)
def test_what_is_no_backbone_is_named(
    hubconf: ModuleType, name: str, kind: type[Exception], words: str
) -> None:
    for pretrained in (True, False):
        with pytest.raises(kind, match=words):
            hubconf.backbone(name, pretrained, device="cpu")


def test_the_descriptor_that_comes_with_darkside_is_an_entry(hubconf: ModuleType, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8))
    options = {"device": "cpu", "data_dir": tmp_path / "none"}
    model = hubconf.gem_lite_night(**options)
    described = load_descriptor(EMBEDDED_DESCRIPTOR, device="cpu")
    assert not model.training
    assert model.image_size_px == described.image_size_px
    with torch.inference_mode():
        x = model.transform(image).unsqueeze(0)
        np.testing.assert_allclose(model(x)[0].numpy(), described(image), atol=1e-5)
        assert hubconf.gem_lite_night(**options, dim=64, scales=1)(x).shape == (1, 64)
        assert hubconf.gem_lite_night(**options, whiten=False)(x).shape == (1, 1280)
        assert hubconf.gem_lite_night(pretrained=False, device="cpu", scales="ss")(x).shape == (1, 1280)
    assert not (tmp_path / "none").exists(), "nothing is downloaded"
    parameters = list(inspect.signature(hubconf.gem_lite_night).parameters)
    assert parameters[:2] == ["pretrained", "device"]
    assert all(f"\n    {name}: " in hubconf.gem_lite_night.__doc__ for name in parameters)


def test_the_generator_that_comes_with_darkside_is_an_entry(hubconf: ModuleType, tmp_path: Path) -> None:
    day = torch.rand(1, 3, 37, 50) * 2 - 1
    nights = []
    for options in ({}, {"seed": 3}, {"darkness": 1.0}):
        generator = hubconf.darkside_night(device="cpu", data_dir=tmp_path / "none", **options)
        assert not generator.training
        with torch.inference_mode():
            nights.append(generator(day))
    assert all(night.shape == day.shape for night in nights)
    assert nights[0].mean() < day.mean()
    assert nights[2].mean() < nights[0].mean()
    assert not torch.equal(nights[0], nights[1])
    assert not (tmp_path / "none").exists(), "nothing is downloaded"
    with torch.inference_mode():
        random = hubconf.darkside_night(pretrained=False, device="cpu")(day)
    assert random.shape == day.shape
    parameters = list(inspect.signature(hubconf.darkside_night).parameters)
    assert parameters[:2] == ["pretrained", "device"]
    assert all(f"\n    {name}: " in hubconf.darkside_night.__doc__ for name in parameters)


def test_entry_points_are_those_that_were_published(hubconf: ModuleType) -> None:
    callables = [n for n, value in vars(hubconf).items() if callable(value) and not n.startswith("_")]
    assert sorted(callables) == sorted([*NAMES, *OWN]) == sorted(hubconf.__all__)
    for name in NAMES:
        entry = getattr(hubconf, name)
        assert entry.__name__ == name
        parameters = list(inspect.signature(entry).parameters.values())
        assert [(p.name, p.default) for p in parameters[:2]] == [("pretrained", True), ("device", None)]
        for parameter in parameters:
            assert f"\n    {parameter.name}: " in entry.__doc__
        assert f'torch.hub.load(REPO, "{name}"' in entry.__doc__
        for score in list(MODELS.get(name).scores.values())[1:]:
            assert str(score) in entry.__doc__


def test_dependencies_are_exactly_what_is_used(answer: Answer, hubconf: ModuleType) -> None:
    """All else that is installed is out of reach while everything is loaded, downloaded and run."""
    facts = answer.facts
    assert {"typer", "rich", "pytest"} <= set(facts["blocked"])
    assert facts["foreign"] == []
    at_import, anywhere = set(), set()
    for name in facts["modules"]:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Source(
            name, Path(spec.origin).read_text(encoding="utf-8"), spec.submodule_search_locations is not None
        )
        for each in imports(source):
            if each.top not in sys.stdlib_module_names and each.top != "darkside_cli":
                anywhere.add(each.top)
                if each.at_import:
                    at_import.add(each.top)
    assert at_import <= set(hubconf.dependencies) <= anywhere
    assert len(set(hubconf.dependencies)) == len(hubconf.dependencies)


def test_missing_dependencies_are_named_by_torch_hub(hubconf: ModuleType) -> None:
    hidden = [name for name in hubconf.dependencies if name != "torch"]
    code = (
        f"import sys, torch\nfor name in {hidden!r}: sys.modules[name] = None\n"
        f"torch.hub.load({str(ROOT)!r}, 'cyclegan', source='local', pretrained=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"RuntimeError: Missing dependencies: {', '.join(hidden)}" in done.stderr


def test_of_a_folder_torch_hub_lists_nothing_and_the_docstring_says_what_does(hubconf: ModuleType) -> None:
    import torch.hub

    for function in (torch.hub.list, lambda repo: torch.hub.help(repo, "hedngan")):
        with pytest.raises(ValueError, match="unpack"):
            function(str(ROOT))
    told = hubconf.__doc__ or ""
    assert "``__all__`` names them" in told
    assert "take repositories at GitHub only" in told
    assert all((getattr(hubconf, name).__doc__ or "").strip() for name in hubconf.__all__)

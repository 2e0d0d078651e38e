"""Networks of timm as backbones: tiny ones of timm's own, with random weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import CheckpointError, ConfigError, MissingAssetError, UnknownNameError, UsageError
from darkside_cli.interop.load import open_checkpoint, open_model
from darkside_cli.networks import backbone_weights, timm_backbones
from darkside_cli.networks.backbone_weights import load_features
from darkside_cli.networks.backbones import build_features, feature_channels, smallest_side_px
from darkside_cli.networks.locate import locate
from darkside_cli.networks.retrieval_net import RetrievalNet, RetrievalNetConfig
from darkside_cli.networks.weights import build_network, save_checkpoint

timm = pytest.importorskip("timm")

CONVOLUTIONAL, TRANSFORMER, OF_ONE_SIZE, OF_STEPS = (
    "timm:test_efficientnet", "timm:test_vit", "timm:test_maxvit", "timm:dla34",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def images(height: int = 70, width: int = 100) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def features(name: str, **options: bool) -> nn.Module:
    torch.manual_seed(0)
    return build_features(name, **options).eval()


@torch.no_grad()
def test_a_convolutional_network_gives_its_last_maps() -> None:
    ours = features(CONVOLUTIONAL)
    torch.manual_seed(0)
    theirs = timm.create_model("test_efficientnet", num_classes=0, global_pool="").eval()
    assert torch.equal(ours(images()), theirs.forward_features(images()))
    assert ours(images()).shape == (2, feature_channels(CONVOLUTIONAL), 3, 4)


@torch.no_grad()
def test_a_transformer_gives_its_patches_as_a_map_or_its_class_token() -> None:
    maps, token = features(TRANSFORMER), features(TRANSFORMER, class_token=True)
    tokens = maps.model.forward_features(images())  # type: ignore[union-attr, operator]
    y = maps(images())
    assert y.shape == (2, 64, 5, 7)  # patches of 16 pixels, the border's filled up
    assert torch.equal(y[:, :, 1, 2], tokens[:, 1 + 7 + 2])
    assert torch.equal(token(images()), tokens[:, 0, :, None, None])
    for name in (CONVOLUTIONAL, "vgg16"):
        with pytest.raises(ConfigError, match="no class token"):
            build_features(name, class_token=True)
    with pytest.raises(ConfigError, match=r"pool its maps: timm:test_efficientnet:pooling=gem"):
        build_features(CONVOLUTIONAL, class_token=True)
    with pytest.raises(ConfigError, match="timm:test_vit2 has no class token"):  # it has a register alone
        build_features("timm:test_vit2", class_token=True)


@torch.no_grad()
@pytest.mark.parametrize(("name", "seen"), [(OF_ONE_SIZE, (5, 5)), (OF_STEPS, (2, 3))])
def test_networks_that_take_certain_sizes_see_images_resized(name: str, seen: tuple[int, int]) -> None:
    with torch.device("meta"):
        y = build_features(name).eval()(torch.empty(1, 3, 70, 100))
    assert y.shape[2:] == seen
    assert smallest_side_px(name) == 1


@pytest.mark.parametrize(("height", "width"), [(70, 100), (231, 57)])
def test_resized_images_are_the_same_in_onnx(height: int, width: int) -> None:
    """ONNX has no antialiasing: there the resizing is a matrix for each side."""
    pytest.importorskip("onnxruntime")
    from darkside_cli.inference.onnx import OnnxPlan, compare, to_onnx

    class Resized(nn.Module):
        def __init__(self, **facts: Any) -> None:
            super().__init__()
            self.facts = timm_backbones.TimmFacts((), 3, (0.5,) * 3, (0.5,) * 3, **facts)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return timm_backbones._resized(x, self.facts)

    for facts, size in (({"step_px": 32}, None), ({"fixed_px": (48, 160)}, (48, 160))):
        network = Resized(**facts)
        shapes = [(batch, height, width) for batch in (1, 3)]
        plan = OnnxPlan(output="y", fixed_size_px=(height, width), shapes=shapes)
        found = compare(to_onnx(network, plan), network, plan)
        assert max(each.difference for each in found) <= 1e-5
        assert size is None or network(torch.empty(1, 3, height, width)).shape[2:] == size


def test_positions_that_are_looked_up_by_number() -> None:
    """The meta device does not see that there are none for a larger image; real numbers raise IndexError."""
    assert timm_backbones.facts("timm:mvitv2_tiny").fixed_px == (224, 224)


def test_what_cannot_be_used_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="timm:efficientvim_m1 cannot be used: it gives neither"):
        timm_backbones.facts("timm:efficientvim_m1")

    def fails(*_: Any, **__: Any) -> None:
        raise AttributeError("it has no\nsuch thing")

    network = features(CONVOLUTIONAL)
    monkeypatch.setattr(network.model, "forward_features", lambda x: torch.rand(3)[torch.tensor([7])])
    with pytest.raises(
        ConfigError, match=r"timm:test_efficientnet cannot be used on 100x70 pixels: IndexError: "
    ):
        network(images())

    def no_memory(_: torch.Tensor) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")

    monkeypatch.setattr(network.model, "forward_features", no_memory)
    with pytest.raises(RuntimeError, match="out of memory"):
        network(images())
    for what in ("create_model", "data.resolve_data_config"):
        timm_backbones.facts.cache_clear()
        with monkeypatch.context() as patched:
            patched.setattr(f"timm.{what}", fails)
            with pytest.raises(ConfigError) as caught:
                timm_backbones.facts(CONVOLUTIONAL)
        assert (
            str(caught.value)
            == "timm:test_efficientnet cannot be used: AttributeError: it has no (take another network)"
        )


def test_the_smallest_image() -> None:
    least = smallest_side_px("timm:inception_v3")
    assert 64 < least <= 75
    assert smallest_side_px(TRANSFORMER) == 1


def test_mean_and_std_are_the_models_own() -> None:
    assert RetrievalNetConfig.of(TRANSFORMER).mean == (0.5, 0.5, 0.5)
    assert RetrievalNetConfig.of(CONVOLUTIONAL).std == (0.229, 0.224, 0.225)
    assert RetrievalNetConfig.of("efficientnet_lite1").std == (0.5, 0.5, 0.5)
    assert RetrievalNetConfig.of("vgg16").mean == (0.485, 0.456, 0.406)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "pooling"), [(CONVOLUTIONAL, "gem"), (TRANSFORMER, "cls"), (TRANSFORMER, "rmac")]
)
def test_a_checkpoint_is_read_as_it_was_written(name: str, pooling: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = RetrievalNet(RetrievalNetConfig.of(name, pooling=pooling)).eval()
    path = save_checkpoint(
        tmp_path / "x.safetensors", network, architecture="retrieval_net", config=network.config
    )
    again = build_network(open_checkpoint(path))
    assert isinstance(again, RetrievalNet)
    assert again.config == network.config
    assert torch.equal(again(images()), network(images()))


def test_unknown_names_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError) as near:
        RetrievalNetConfig(backbone="timm:test_vitt")
    assert "test_vit" in near.value.near
    with pytest.raises(UsageError, match="list_models"):
        RetrievalNetConfig(backbone="timm:qqqqqqq")
    with pytest.raises(UnknownNameError, match="timm:NAME"):
        RetrievalNetConfig(backbone="convnext")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingAssetError, match=r"pip install 'darkside-cli\[timm\]'"):
        RetrievalNetConfig(backbone=CONVOLUTIONAL)


def published(path: Path, name: str = "test_vit") -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    state: dict[str, torch.Tensor] = timm.create_model(name).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return state


@pytest.mark.parametrize(
    "place",
    ["weights/timm/test_vit.pth", "hub/models--timm--test_vit.r160_in1k/snapshots/1/pytorch_model.bin"],
)
def test_published_weights_are_found_and_loaded_as_timm_has_them(place: str, tmp_path: Path) -> None:
    root = DataRoot(tmp_path, "test")
    with pytest.raises(MissingAssetError, match="--download"):
        locate("timm:test_vit", root)
    state = published(tmp_path / place)
    entry, path = locate("timm:test_vit", root)
    assert path == tmp_path / place
    assert entry is not None
    assert (entry.name, entry.licence, entry.mean) == ("timm:test_vit", "apache-2.0", (0.5, 0.5, 0.5))
    raw = open_model("timm:test_vit:pooling=cls", path)
    assert raw.config.pooling == "cls"
    assert torch.equal(raw.state["features.model.pos_embed"], state["pos_embed"])
    assert not any("head" in key for key in raw.state)
    with pytest.raises(UsageError, match="pooling=cls"):
        locate("timm:test_vit:size=3", root)


@torch.no_grad()
def test_weights_of_a_transformer_that_averages_its_tokens(tmp_path: Path) -> None:
    """Its last norm is behind the average, and called otherwise: as in BEiT, EVA-02 and many with register tokens."""
    state = published(tmp_path / "averaged.pth", "test_vit2")
    assert "fc_norm.weight" in state
    assert "norm.weight" not in state
    theirs = timm.create_model("test_vit2", dynamic_img_size=True).eval()
    theirs.fc_norm.weight.uniform_(0.5, 1.5)
    state |= {key: value.clone() for key, value in theirs.state_dict().items()}
    torch.save(state, tmp_path / "averaged.pth")
    ours = features("timm:test_vit2")
    load_features(ours, "timm:test_vit2", tmp_path / "averaged.pth")
    tokens = theirs.fc_norm(theirs.forward_features(images(160, 160)))[:, theirs.num_prefix_tokens :]
    torch.testing.assert_close(ours(images(160, 160)).flatten(2), tokens.transpose(1, 2))


def test_weights_of_a_head_that_is_a_convolution_here() -> None:
    ours = features("timm:test_coatnet")
    state = dict(ours.model.state_dict())  # type: ignore[union-attr, operator, arg-type]
    key = next(key for key, value in state.items() if value.shape[2:] == (1, 1))
    found = backbone_weights.timm_state({**state, key: state[key][:, :, 0, 0]}, ours)  # type: ignore[arg-type]
    assert torch.equal(found[f"model.{key}"], state[key])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    published(tmp_path / "other.pth", "test_efficientnet")
    with pytest.raises(CheckpointError, match="test_vit"):
        load_features(build_features(TRANSFORMER), TRANSFORMER, tmp_path / "other.pth")


def test_weights_are_fetched_when_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(repo: str, url: str, filename: str | None) -> Path:
        asked.append(repo)
        raise OSError("no network")

    monkeypatch.setattr(backbone_weights, "_fetch_timm", fetch)
    with pytest.raises(MissingAssetError, match=r"no network.*test_vit\.safetensors"):
        backbone_weights.timm_weights_file(TRANSFORMER, tmp_path, download=True)
    assert asked == ["timm/test_vit.r160_in1k"]

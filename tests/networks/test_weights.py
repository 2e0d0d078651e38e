from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from darkside_cli.errors import CheckpointError, MissingAssetError, UnknownNameError
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.networks.architectures import ARCHITECTURES, Architecture
from darkside_cli.networks.configs import (
    GuidedGeneratorConfig,
    PatchDiscriminatorConfig,
    PixelDiscriminatorConfig,
    ProjectedDiscriminatorConfig,
    RelightGeneratorConfig,
    ResnetGeneratorConfig,
    UnetGeneratorConfig,
)
from darkside_cli.networks.edge_detectors import HedConfig, RcfConfig
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.patch_sample import PatchSampleMlpConfig
from darkside_cli.networks.recognise import (
    check_fit,
    expected_shapes,
    normalise_state,
    recognise_state,
    shapes_of,
)
from darkside_cli.networks.retrieval_net import RetrievalNetConfig
from darkside_cli.networks.sobel import SobelConfig
from darkside_cli.networks.weights import Checkpoint, build_network, save_checkpoint
from darkside_cli.registry import resolve

TINY = ResnetGeneratorConfig(ngf=2, n_blocks=1)
CONFIGS: dict[str, list[Any]] = {
    "resnet_generator": [
        TINY,
        replace(TINY, norm="batch", n_blocks=2, in_channels=1),
        replace(TINY, antialias_down=True, antialias_up=True, dropout=True, padding="zero"),
    ],
    "guided_generator": [GuidedGeneratorConfig(ngf=2, n_blocks=1, working_px=64)],
    "unet_generator": [UnetGeneratorConfig(ngf=1, num_downs=5), UnetGeneratorConfig(ngf=1, norm="instance")],
    "relight_generator": [RelightGeneratorConfig(width=8, code=4, levels=2)],
    "patch_discriminator": [
        PatchDiscriminatorConfig(ndf=2, n_layers=2),
        PatchDiscriminatorConfig(ndf=2, norm="batch", antialias=True),
    ],
    "pixel_discriminator": [PixelDiscriminatorConfig(ndf=2)],
    "projected_discriminator": [ProjectedDiscriminatorConfig(width=8)],
    "hed": [HedConfig()],
    "rcf": [RcfConfig()],
    "sobel": [SobelConfig(), SobelConfig(scales=2, width=4)],
    "patch_sample_mlp": [PatchSampleMlpConfig(channels=(3, 5), dim=4)],
    "retrieval_net": [RetrievalNetConfig(backbone="squeezenet1_0"), RetrievalNetConfig(backbone="vgg16")],
}
LARGE = ("hed", "rcf", "retrieval_net")
EVERY = [(name, config) for name, configs in CONFIGS.items() for config in configs]
METADATA = {
    "mean": [0.5, 0.5, 0.5],
    "direction": "day2night",
    "epoch": 3,
    "note": "ž",
    "scores": {"fid": 1.5},
}


def make(config: ResnetGeneratorConfig = TINY) -> ResnetGenerator:
    torch.manual_seed(0)
    return ResnetGenerator(config)


def save(path: Path, **changes: Any) -> Path:
    arguments: dict[str, Any] = {"architecture": "resnet_generator", "config": TINY, "metadata": METADATA}
    return save_checkpoint(path, make(), **{**arguments, **changes})


def test_every_architecture_is_tried() -> None:
    assert list(CONFIGS) == ARCHITECTURES.names()


@pytest.mark.parametrize(("name", "config"), [e for e in EVERY if e[0] not in LARGE])
def test_round_trip(name: str, config: Any, tmp_path: Path) -> None:
    module = resolve(ARCHITECTURES.get(name).target)(config)
    path = save_checkpoint(
        tmp_path / "x.safetensors", module, architecture=name, config=config, metadata=METADATA
    )
    checkpoint = open_checkpoint(path)
    assert (checkpoint.path, checkpoint.format) == (path, "darkside")
    assert (checkpoint.architecture, checkpoint.config) == (name, config)
    assert checkpoint.kind == ARCHITECTURES.get(name).kind
    assert checkpoint.metadata == METADATA
    network = build_network(checkpoint)
    assert not network.training
    assert type(network) is type(module)
    assert list(network.state_dict()) == list(module.state_dict())
    for key, value in module.state_dict().items():
        assert torch.equal(network.state_dict()[key], value)
    opened = open_checkpoint(path)
    assert replace(opened, state={}) == replace(checkpoint, state={})


def test_one_self_describing_file(tmp_path: Path) -> None:
    path = save(tmp_path / "new" / "folder" / "x.safetensors")
    assert [p.name for p in path.parent.iterdir()] == ["x.safetensors"], "no temporary file is left"
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert list(header) == ["darkside"]
    assert json.loads(header["darkside"]) == {
        "version": 1,
        "architecture": "resnet_generator",
        "config": asdict(TINY),
        "metadata": METADATA,
    }


def test_same_content_same_bytes(tmp_path: Path) -> None:
    first, second = save(tmp_path / "1.safetensors"), save(tmp_path / "2.safetensors")
    assert first.read_bytes() == second.read_bytes()


def test_views_and_shared_storage_are_saved(tmp_path: Path) -> None:
    state = dict(make().state_dict())
    state["model.1.bias"] = torch.zeros(1).expand(2)
    state["model.4.weight"] = torch.ones(4, 2, 3, 3).permute(0, 1, 3, 2)
    state["model.7.bias"] = state["model.11.bias"].repeat(2)[:8].detach()
    path = save_checkpoint(tmp_path / "x", state, architecture="resnet_generator", config=TINY)
    for key, value in state.items():
        assert torch.equal(load_file(path)[key], value)


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save(path, metadata={"a": object()})
    with pytest.raises(ValueError):
        save(path, metadata={"a": float("nan")})
    with pytest.raises(UnknownNameError):
        save(path, architecture="resnet_generater")
    assert path.read_bytes() == before
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot write"):
        save(tmp_path / "file" / "x.safetensors")


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("darkside_cli.networks.weights.save_file", fail)
    with pytest.raises(CheckpointError, match=r"cannot write .*No space left"):
        save(tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_saving_what_does_not_fit_its_description(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"does not fit resnet_generator: missing model\.11\.conv_block"
    ):
        save(tmp_path / "x", config=replace(TINY, n_blocks=2))
    assert not list(tmp_path.iterdir())


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in make().state_dict().items()}
    path = save_checkpoint(tmp_path / "x", state, architecture="resnet_generator", config=TINY)
    checkpoint = open_checkpoint(path)
    assert checkpoint.state["model.1.weight"].dtype == torch.float16, "as stored"
    network = build_network(checkpoint)
    assert network.state_dict()["model.1.weight"].dtype == torch.float32
    assert torch.equal(network.state_dict()["model.1.weight"], state["model.1.weight"].float())


def test_building_draws_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = open_checkpoint(save(tmp_path / "x"))

    def draw(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were drawn only to be replaced")

    monkeypatch.setattr(torch.Tensor, "normal_", draw)
    monkeypatch.setattr(torch.Tensor, "uniform_", draw)
    network = build_network(checkpoint)
    assert torch.equal(network.state_dict()["model.1.weight"], checkpoint.state["model.1.weight"])


def test_building_leaves_the_random_stream(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save(tmp_path / "x"))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_network(checkpoint)
    assert torch.equal(torch.rand(3), expected)


def changed_header(path: Path, **changes: Any) -> Path:
    description = {"version": 1, "architecture": "resnet_generator", "config": asdict(TINY), "metadata": {}}
    header = {"darkside": json.dumps({**description, **changes})}
    save_file(dict(make().state_dict()), path, metadata=header)
    return path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 2}, "has format version 2, this darkside reads 1 .update darkside"),
        ({"architecture": "resnet_generater"}, "did you mean resnet_generator"),
        ({"config": {**asdict(TINY), "colour": 1}}, "resnet_generator has no setting colour"),
        ({"config": {"ngf": "many"}}, 'ngf must be a whole number from 1 to 1024, not "many"'),
        ({"config": 5}, "damaged description"),
        ({"metadata": [1]}, "damaged description"),
        ({"config": {**asdict(TINY), "ngf": 3}}, "expected 3x3x7x7"),
    ],
)
def test_headers_that_are_wrong(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(changed_header(tmp_path / "x", **changes))


def test_settings_that_an_older_darkside_did_not_write_have_defaults(tmp_path: Path) -> None:
    path = changed_header(tmp_path / "x", config={"ngf": 2, "n_blocks": 1})
    assert open_checkpoint(path).config == TINY


def test_damaged_header_and_other_formats(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x", metadata={"darkside": "{"})
    with pytest.raises(CheckpointError, match="damaged description"):
        open_checkpoint(tmp_path / "x")
    save_file({"a": torch.zeros(1)}, tmp_path / "y", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="is of no known network"):
        open_checkpoint(tmp_path / "y")
    with pytest.raises(MissingAssetError):
        open_checkpoint(tmp_path / "z")


@pytest.mark.parametrize("entry", list(ARCHITECTURES), ids=lambda entry: entry.name)
def test_a_damaged_tensor_is_named_alone(entry: Architecture) -> None:
    """Also one that the configuration is read from, and though no exact configuration fits."""
    shapes = expected_shapes(entry.name, resolve(entry.config)())
    fours = [key for key, shape in shapes.items() if len(shape) == 4]
    for key in (next(iter(shapes)), *fours[-1:]):
        damaged = {**shapes, key: (shapes[key][0] + 2, *shapes[key][1:])}
        recognised = recognise_state(damaged)
        assert recognised is not None
        with pytest.raises(CheckpointError) as caught:
            check_fit(damaged, *recognised, Path("f.pth"))
        sizes = ("x".join(map(str, damaged[key])), "x".join(map(str, shapes[key])))
        # Without a file's header, the weights of a guided generator are those of a ResNet one.
        name = "resnet_generator" if entry.name == "guided_generator" else entry.name
        assert caught.value.message == f"f.pth does not fit {name}: {key} is {sizes[0]}, expected {sizes[1]}"


def test_what_is_nothing_of_ours_stays_unknown() -> None:
    assert recognise_state({"a.weight": (3, 3), "b.weight": (2,)}) is None
    assert recognise_state({}) is None


def checkpoint_of(state: dict[str, Tensor]) -> Checkpoint:
    return Checkpoint(Path("file.pth"), "state-dict", "resnet_generator", TINY, state)


def test_differences_are_named() -> None:
    state = dict(make().state_dict())
    del state["model.4.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["model.18.bias"] = torch.zeros(4)
    with pytest.raises(CheckpointError) as caught:
        build_network(checkpoint_of(state))
    assert caught.value.message == (
        "file.pth does not fit resnet_generator: missing model.4.bias; unexpected extra.weight; "
        "model.18.bias is 4, expected 3"
    )
    with pytest.raises(CheckpointError, match=r"missing model\.1\.weight, .*, model\.4\.bias and 12 more"):
        build_network(checkpoint_of({}))


@pytest.mark.parametrize(("name", "config"), [each for each in EVERY if each[0] != "guided_generator"])
def test_recognised_from_keys_and_shapes(name: str, config: Any) -> None:
    shapes = expected_shapes(name, config)
    assert recognise_state(shapes) == (name, config)
    check_fit(shapes, name, config, Path("x"))


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        ResnetGeneratorConfig,
        in_channels=st.integers(1, 4),
        out_channels=st.integers(1, 4),
        ngf=st.integers(1, 9),
        n_blocks=st.integers(1, 12),
        norm=st.sampled_from(["instance", "batch"]),
        antialias_down=st.booleans(),
        antialias_up=st.booleans(),
        dropout=st.booleans(),
        padding=st.sampled_from(["reflect", "zero"]),
    )
)
def test_any_generator_is_recognised(config: ResnetGeneratorConfig) -> None:
    assert recognise_state(expected_shapes("resnet_generator", config)) == ("resnet_generator", config)


def test_unknown_networks_are_not_recognised() -> None:
    assert recognise_state({}) is None
    assert recognise_state({"fc.weight": (10, 5)}) is None
    assert (
        recognise_state({"model.1.weight": (0, 3, 7, 7), "model.10.conv_block.1.weight": (0, 0, 3, 3)})
        is None
    )


@settings(deadline=None)
@given(
    st.dictionaries(
        st.from_regex(
            r"(model|net|mlp_0|mlp_1|vgg1|conv1_1)\.(model\.)?\d{0,2}\.?(conv_block\.[0156])?\.?(weight|bias)",
            fullmatch=True,
        ),
        st.lists(st.integers(0, 64), max_size=4).map(tuple),
        max_size=6,
    )
)
def test_recognising_nonsense_raises_nothing(shapes: dict[str, tuple[int, ...]]) -> None:
    found = recognise_state(shapes)
    assert found is None or found[0] in ARCHITECTURES


def test_module_prefix_is_taken_off() -> None:
    plain = dict(make().state_dict())
    for prefix in ("module.", "module.module."):
        wrapped = {prefix + key: value for key, value in plain.items()}
        assert shapes_of(normalise_state(wrapped, Path("x"))) == shapes_of(plain)
    mixed = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert list(normalise_state(mixed, Path("x"))) == ["module.a", "b"], "only if every key has it"


def test_statistics_of_norms() -> None:
    state = {
        "instance.running_mean": torch.zeros(2),
        "instance.running_var": torch.ones(2),
        "instance.num_batches_tracked": torch.tensor(4),
        "batch.weight": torch.ones(2),
        "batch.bias": torch.zeros(2),
        "batch.running_mean": torch.zeros(2),
        "batch.running_var": torch.ones(2),
    }
    result = normalise_state(state, Path("x"))
    assert sorted(result) == [
        "batch.bias",
        "batch.num_batches_tracked",
        "batch.running_mean",
        "batch.running_var",
        "batch.weight",
    ]
    assert result["batch.num_batches_tracked"].item() == 0
    assert len(state) == 7, "what was given is left as it was"


@pytest.mark.parametrize(
    "value",
    [
        3,
        "text",
        None,
        torch.zeros(2, device="meta"),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, 2).to_sparse(),
    ],
)
def test_only_plain_tensors(value: Any) -> None:
    with pytest.raises(CheckpointError, match="under 'a'"):
        normalise_state({"a": value}, Path("x"))


def test_parameters_become_tensors() -> None:
    result = normalise_state({"a": torch.nn.Parameter(torch.ones(1))}, Path("x"))
    assert not result["a"].requires_grad

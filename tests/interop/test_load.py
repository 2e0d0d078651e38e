from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from darkside_cli.errors import CheckpointError, ConfigError, MissingAssetError
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.networks.configs import PatchDiscriminatorConfig, ResnetGeneratorConfig
from darkside_cli.networks.discriminator import PatchDiscriminator
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.retrieval_net import IMAGENET_MEAN, RetrievalNet, RetrievalNetConfig
from darkside_cli.networks.weights import build_network, save_checkpoint

TINY = ResnetGeneratorConfig(ngf=2, n_blocks=2)
Write = Callable[[Any, Path], None]


def generator(config: ResnetGeneratorConfig = TINY) -> ResnetGenerator:
    torch.manual_seed(0)
    return ResnetGenerator(config).eval()


def zipped(value: Any, path: Path) -> None:
    torch.save(value, path)


def legacy(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def tensors(value: Any, path: Path) -> None:
    save_file(dict(value), path)


def statistics_of_old_instance_norms(state: dict[str, Tensor], network: ResnetGenerator) -> dict[str, Tensor]:
    """The state dict as torch 0.3 wrote it: instance norms kept statistics that nothing read."""
    old: dict[str, Tensor] = OrderedDict(state)
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.InstanceNorm2d):
            old[f"{name}.running_mean"] = torch.full((module.num_features,), 7.0)
            old[f"{name}.running_var"] = torch.full((module.num_features,), 9.0)
    assert len(old) == len(state) + 2 * 9
    return old


@pytest.mark.parametrize("write", [zipped, legacy, tensors])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("old_norms", [False, True])
def test_bare_state_dicts(write: Write, prefix: str, old_norms: bool, tmp_path: Path) -> None:
    network = generator()
    state: dict[str, Tensor] = network.state_dict()
    if old_norms:
        state = statistics_of_old_instance_norms(state, network)
    path = tmp_path / "latest_net_G_A.pth"
    write({prefix + key: value for key, value in state.items()}, path)
    checkpoint = open_checkpoint(path)
    assert (checkpoint.path, checkpoint.format, checkpoint.kind) == (path, "state-dict", "generator")
    assert (checkpoint.architecture, checkpoint.config) == ("resnet_generator", TINY)
    assert checkpoint.metadata == {"mean": [0.5] * 3, "std": [0.5] * 3, "direction": "day2night"}
    image = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(build_network(checkpoint)(image), network(image))


def test_batch_norms_of_old_torch_have_no_counter(tmp_path: Path) -> None:
    network = generator(replace(TINY, norm="batch"))
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "60_net_G_B.pth")
    checkpoint = open_checkpoint(tmp_path / "60_net_G_B.pth")
    assert checkpoint.config == replace(TINY, norm="batch")
    assert checkpoint.metadata["direction"] == "night2day"
    assert checkpoint.metadata["epoch"] == 60
    assert build_network(checkpoint).state_dict()["model.2.num_batches_tracked"].item() == 0


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
def test_weights_inside_a_training_state(key: str, tmp_path: Path) -> None:
    torch.save({key: generator().state_dict(), "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "x.pth")
    assert open_checkpoint(tmp_path / "x.pth").config == TINY


def test_only_generators_have_a_direction(tmp_path: Path) -> None:
    config = PatchDiscriminatorConfig(ndf=2, n_layers=2)
    torch.save(PatchDiscriminator(config).state_dict(), tmp_path / "generator_X.pth")
    checkpoint = open_checkpoint(tmp_path / "generator_X.pth")
    assert (checkpoint.kind, checkpoint.config) == ("discriminator", config)
    assert checkpoint.metadata["direction"] is None


def test_normalisation_follows_the_network(tmp_path: Path) -> None:
    gray = replace(TINY, in_channels=1)
    torch.save(generator(gray).state_dict(), tmp_path / "x.pth")
    assert open_checkpoint(tmp_path / "x.pth").metadata["mean"] == [0.5]
    net = RetrievalNet(RetrievalNetConfig(backbone="squeezenet1_1"))
    torch.save(net.state_dict(), tmp_path / "y.pth")
    checkpoint = open_checkpoint(tmp_path / "y.pth")
    assert checkpoint.kind == "descriptor"
    assert checkpoint.metadata["mean"] == list(IMAGENET_MEAN)


def test_our_metadata_wins_over_the_name(tmp_path: Path) -> None:
    path = save_checkpoint(
        tmp_path / "generator_X.safetensors",
        generator(),
        architecture="resnet_generator",
        config=TINY,
        metadata={"direction": "night2day"},
    )
    assert open_checkpoint(path).metadata == {"direction": "night2day"}
    assert open_checkpoint(path).format == "darkside"


def test_direction_chooses_in_a_folder_and_not_among_files(tmp_path: Path) -> None:
    there, back = generator(), generator(replace(TINY, n_blocks=1))
    torch.save(there.state_dict(), tmp_path / "latest_net_G_A.pth")
    torch.save(back.state_dict(), tmp_path / "latest_net_G_B.pth")
    assert open_checkpoint(tmp_path).config.n_blocks == 2
    assert open_checkpoint(tmp_path, direction="day2night").config.n_blocks == 2
    opened = open_checkpoint(tmp_path, direction="night2day")
    assert opened.path.name == "latest_net_G_B.pth"
    assert (opened.config.n_blocks, opened.metadata["direction"]) == (1, "night2day")
    file = open_checkpoint(tmp_path / "latest_net_G_A.pth", direction="night2day")
    assert file.metadata["direction"] == "day2night", "whether that will do is for the caller to say"
    with pytest.raises(ConfigError, match=r"unknown direction 'night' \(day2night or night2day"):
        open_checkpoint(tmp_path, direction="night")


def test_a_string_is_a_path_too(tmp_path: Path) -> None:
    torch.save(generator().state_dict(), tmp_path / "x.pth")
    assert open_checkpoint(str(tmp_path / "x.pth")).path == tmp_path / "x.pth"


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="there is no file or folder"):
        open_checkpoint(tmp_path / "x.pth")
    with pytest.raises(MissingAssetError, match="has no generator's weights"):
        open_checkpoint(tmp_path)


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    state = dict(generator().state_dict())
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (changed(model__19__bias=None), r"does not fit resnet_generator: missing model\.19\.bias"),
        (
            changed(model__2__weight=torch.ones(2)),
            r"does not fit resnet_generator: unexpected model\.2\.weight \(the file",
        ),
        (changed(model__4__weight=torch.ones(4, 3, 3, 3)), r"model\.4\.weight is 4x3x3x3, expected 4x2x3x3"),
        (changed(extra__layer=torch.ones(1)), r"unexpected extra\.layer"),
        ({"a": torch.ones(1), "b": torch.ones(1)}, "is of no known network; its first keys: a, b "),
        ({"epoch": 3, "loss": [1.0]}, "holds no weights; its entries: epoch, loss"),
        ({}, "holds no weights; its entries: nothing"),
        ([torch.ones(1)], "holds a list, not a network's weights"),
        (torch.ones(3), "holds a Tensor, not a network's weights"),
        ({"a": torch.ones(1), "b": "text"}, "holds a str under 'b', not a tensor"),
    ],
)
def test_what_does_not_fit(content: Any, says: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(tmp_path / "x.pth")


def test_a_generator_without_its_first_layer_is_still_named(tmp_path: Path) -> None:
    """The recogniser goes by that layer; then the likeness of the keys decides."""
    state = generator(replace(TINY, n_blocks=9)).state_dict()
    del state["model.1.weight"]
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"does not fit resnet_generator: missing model\.1\.weight; "):
        open_checkpoint(tmp_path / "x.pth")

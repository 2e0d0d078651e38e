"""Files of weights made to fill the memory or to hang: refused by what they state, before anything is unpacked."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from darkside_cli.errors import CheckpointError
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.configs import GuidedGeneratorConfig, ResnetGeneratorConfig
from darkside_cli.networks.generator import ResnetGenerator
from darkside_cli.networks.patch_sample import PatchSampleMlpConfig
from darkside_cli.networks.weights import build_network, save_checkpoint
from darkside_cli.registry import resolve

TINY = ResnetGeneratorConfig(ngf=2, n_blocks=1)
MEGABYTE = 1 << 20


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what is unpacked of archives, and no torch."""
    sizes: list[int] = []
    read = zipfile.ZipExtFile.read

    def counting(self: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
        data = read(self, n)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counting)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch read it"))
    return sizes


def zeros(archive: zipfile.ZipFile, name: str, megabytes: int) -> None:
    """A member of zeros, a thousandth of their size when packed."""
    with archive.open(name, "w", force_zip64=True) as member:
        for _ in range(megabytes):
            member.write(bytes(MEGABYTE))


def archive_of(path: Path, megabytes: int, description: bytes | int, name: str = "x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        if isinstance(description, int):
            zeros(archive, f"{name}/data.pkl", description)
        else:
            archive.writestr(f"{name}/data.pkl", description)
        archive.writestr(f"{name}/version", "3\n")
        zeros(archive, f"{name}/data/0", megabytes)
    return path


def test_weights_that_unpack_to_a_thousand_times_their_size(tmp_path: Path, unpacked: list[int]) -> None:
    """4 MB that unpacked to 4 GB were read whole, in half a minute. This is a twentieth of that."""
    path = archive_of(tmp_path / "bomb.pth", 200, pickle.dumps({}, 2))
    assert path.stat().st_size < 2 * MEGABYTE
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert caught.value.message.startswith(f"{path} was refused, since no weights are like that: its ")
    assert caught.value.message.endswith("unpack to 210 MB")
    assert caught.value.hint is not None
    assert unpacked == []


@pytest.mark.parametrize("name", ["x", "data"])
def test_a_description_that_unpacks_to_more_than_any_network_has(
    name: str, tmp_path: Path, unpacked: list[int]
) -> None:
    """3 MB took 9 GB."""
    path = archive_of(tmp_path / "bomb.pth", 0, 9, name)
    with pytest.raises(CheckpointError, match=r"data\.pkl, which describes its tensors, has 9\.4 MB"):
        open_checkpoint(path)
    assert unpacked == []


def test_sizes_that_packed_bytes_cannot_have(tmp_path: Path, unpacked: list[int]) -> None:
    path = archive_of(tmp_path / "lies.pth", 1, pickle.dumps({}, 2))
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (3 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"damaged or incomplete: x/data/0 states 3,221,225,472 bytes"):
        open_checkpoint(path)
    assert unpacked == []


def test_packed_checkpoints_that_are_honest(tmp_path: Path) -> None:
    """Somebody packed the archive anew, and weights without numbers shrink well."""
    network = ResnetGenerator(TINY)
    torch.save(network.state_dict(), tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert open_checkpoint(tmp_path / "packed.pth").config == TINY


def test_old_containers_with_a_description_beyond_all_networks(tmp_path: Path) -> None:
    parts = [0x1950A86A20F9469CFC6C, 1001, {}]
    content = b"\x80\x02" + b"}0" * MEGABYTE + b"N."
    path = tmp_path / "old.pth"
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts) + content)
    with pytest.raises(CheckpointError, match="what describes its tensors is longer than of any network"):
        open_checkpoint(path)


# What a file of ours states of its network


def described(path: Path, **changes: Any) -> Path:
    description = {"version": 1, "architecture": "resnet_generator", "config": asdict(TINY), "metadata": {}}
    header = {"darkside": json.dumps({**description, **changes})}
    save_file(dict(ResnetGenerator(TINY).state_dict()), path, metadata=header)
    return path


@pytest.fixture
def nothing_built(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No layer of a network may be made."""
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda *_, **__: pytest.fail("something was built"))
    yield
    monkeypatch.undo()


NETWORKS: list[tuple[str, str, Any, str]] = [
    ("resnet_generator", "n_blocks", 10**9, "n_blocks must be a whole number from 1 to 200"),
    ("resnet_generator", "ngf", 2 * 10**9, "ngf must be a whole number from 1 to 1024"),
    ("resnet_generator", "in_channels", 10**30, "in_channels must be a whole number from 1 to 256"),
    ("resnet_generator", "dropout", "yes", "dropout must be true or false"),
    ("resnet_generator", "norm", {}, 'norm must be one of "instance", "batch", not {}'),
    ("guided_generator", "working_px", 10**9, "working_px must be a whole number from 8 to 4096"),
    ("guided_generator", "max_gain", float("nan"), "max_gain must be a number"),
    ("guided_generator", "guide_eps", float("inf"), "guide_eps must be a number"),
    ("unet_generator", "num_downs", 10**9, "num_downs must be a whole number from 5 to 12"),
    ("patch_discriminator", "n_layers", 1000, "n_layers must be a whole number from 1 to 12"),
    ("pixel_discriminator", "ndf", 10**9, "ndf must be a whole number from 1 to 1024"),
    ("sobel", "scales", 10**9, "scales must be a whole number from 1 to 12"),
    ("patch_sample_mlp", "channels", [1] * 100_000, "1 to 256 feature layers, not 100000"),
    ("patch_sample_mlp", "channels", [[1]], r"channels[0] must be a whole number from 1 to 65,536"),
    ("retrieval_net", "backbone", 5, "backbone must be text"),
    ("retrieval_net", "std", [float("nan")] * 3, "std[0] must be a number"),
]


@pytest.mark.parametrize(("architecture", "field", "value", "says"), NETWORKS)
def test_networks_that_cannot_be(
    architecture: str, field: str, value: Any, says: str, tmp_path: Path, nothing_built: None
) -> None:
    """A billion blocks hung for over a minute; two billion filters were an error of torch's."""
    path = tmp_path / "x.safetensors"
    description = {"version": 1, "architecture": architecture, "config": {field: value}, "metadata": {}}
    save_file({"a": torch.zeros(1)}, path, metadata={"darkside": json.dumps(description)})
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert f"{path} describes a network that this darkside does not have: {says}" in caught.value.message or (
        "feature layers" in says and says in caught.value.message
    )


@pytest.mark.parametrize(
    "header",
    [
        '{"version": 1, "architecture": ' + "[" * 100_000,
        '{"version": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "[1]",
        "5",
        '{"version": 1, "architecture": {}, "config": {}, "metadata": {}}',
        '{"version": 1, "architecture": "sobel", "config": [1], "metadata": {}}',
    ],
)
def test_headers_that_are_no_description(header: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"darkside": header})
    with pytest.raises(CheckpointError, match=r"damaged description|does not have|damaged whitening"):
        open_checkpoint(path)
    with pytest.raises(CheckpointError):
        read_whitening(path)


@pytest.mark.parametrize(
    "metadata",
    [{"mean": [float("nan")] * 3}, {"std": [0.0] * 3}, {"std": 1}, {"mean": ["0.5"]}, {"std": [1e30] * 3}],
)
def test_normalisations_that_cannot_be(metadata: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="of the input that cannot be"):
        open_checkpoint(described(tmp_path / "x.safetensors", metadata=metadata))


def test_defaults_and_lists_of_json_are_accepted() -> None:
    for entry in ARCHITECTURES:
        resolve(entry.config)()
    assert PatchSampleMlpConfig(channels=[4, 5]).channels == (4, 5)  # type: ignore[arg-type]
    assert isinstance(GuidedGeneratorConfig(max_gain=3).max_gain, float)


# Weights that are no numbers


@pytest.mark.parametrize(
    ("value", "what"), [(float("nan"), "NaN"), (float("inf"), "infinite"), (-float("inf"), "infinite")]
)
@pytest.mark.parametrize("half", [False, True])
def test_weights_that_are_no_numbers(value: float, what: str, half: bool, tmp_path: Path) -> None:
    """They made an image, and the command exited 0."""
    state = {key: each.half() if half else each for key, each in ResnetGenerator(TINY).state_dict().items()}
    state["model.4.weight"][0, 0, :2, 0] = value
    path = save_checkpoint(tmp_path / "x", state, architecture="resnet_generator", config=TINY)
    checkpoint = open_checkpoint(path)
    says = rf"x has weights that are no numbers: 2 of the \d+ in model\.4\.weight are {what}"
    with pytest.raises(CheckpointError, match=says) as caught:
        build_network(checkpoint)
    assert caught.value.hint is not None
    assert "earlier checkpoint" in caught.value.hint
    state["model.1.weight"][0] = value
    with pytest.raises(CheckpointError, match=r"in model\.1\.weight .*, and so have 1 other tensors"):
        build_network(
            open_checkpoint(save_checkpoint(path, state, architecture="resnet_generator", config=TINY))
        )


def test_sums_that_overflow_are_no_reason_to_refuse(tmp_path: Path) -> None:
    state = dict(ResnetGenerator(TINY).state_dict())
    state["model.4.weight"] = torch.full_like(state["model.4.weight"], 3e38)
    path = save_checkpoint(tmp_path / "x", state, architecture="resnet_generator", config=TINY)
    assert build_network(open_checkpoint(path)) is not None


# What others write beside their weights


def laughing() -> list[Any]:
    """A list of 2^60 values, of which a pickle holds sixty."""
    value: list[Any] = [0, 0]
    for _ in range(60):
        value = [value, value]
    return value


def deep() -> Any:
    value: Any = 0
    for _ in range(100):
        value = [value]
    return value


@pytest.mark.parametrize(
    "make", [laughing, deep, lambda: ["a" * MEGABYTE] * 100], ids=["laughs", "deep", "text"]
)
@pytest.mark.parametrize("kind", ["gandtr", "cirtorch"])
def test_values_that_grow_when_they_are_copied(kind: str, make: Callable[[], Any], tmp_path: Path) -> None:
    state = ResnetGenerator(TINY).state_dict()
    model = {
        "architecture": "official_resnet_generator",
        "n_blocks": 1,
        "norm_layer": "instance",
        "x": make(),
    }
    content = {
        "gandtr": {
            "type": "SingleNetwork",
            "frozen": False,
            "network_params": {"model": model, "runtime": {}},
            "model_state": state,
        },
        "cirtorch": {"meta": {"architecture": "vgg16", "pooling": "gem", "x": make()}, "state_dict": state},
    }[kind]
    path = tmp_path / "x.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"plain values: (more than|nested more than)"):
        open_checkpoint(path)


def test_a_whitening_that_states_more_numbers_than_it_has(tmp_path: Path) -> None:
    wide = torch.zeros(1, 1).expand(100_000, 100_000)
    content = {
        "meta": {
            "architecture": "vgg16",
            "pooling": "gem",
            "Lw": {"x": {"ms": {"m": torch.zeros(512, 1), "P": wide}}},
        },
        "state_dict": {"pool.p": torch.ones(1)},
    }
    path = tmp_path / "x.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="states more numbers than it has"):
        open_checkpoint(path)

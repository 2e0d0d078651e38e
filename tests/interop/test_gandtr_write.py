"""``--layout gandtr``: what a training leaves is where gandtr's users look for it, in the formats its code reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darkside_cli.interop.gandtr_write import write_gandtr_layout
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.interop.safe_pickle import load_pickle
from darkside_cli.networks.architectures import ARCHITECTURES
from darkside_cli.networks.configs import PatchDiscriminatorConfig
from darkside_cli.networks.discriminator import PatchDiscriminator
from darkside_cli.networks.weights import Whitening, save_checkpoint, save_whitening
from darkside_cli.registry import resolve

CHECKPOINTS = Path(__file__).parents[1] / "parity" / "data" / "files" / "checkpoints"


def _ours(source: str, target: Path) -> None:
    checkpoint = open_checkpoint(CHECKPOINTS / source)
    save_checkpoint(
        target,
        checkpoint.state,
        architecture=checkpoint.architecture,
        config=checkpoint.config,
        metadata=checkpoint.metadata,
    )


def test_networks_and_whitening(tmp_path: Path) -> None:
    _ours("generator_instance.pth", tmp_path / "generator_day2night.safetensors")
    _ours("generator_batch.pth", tmp_path / "generator_night2day.safetensors")
    rng = np.random.default_rng(0)
    whitening = Whitening(mean=rng.random(6), projection=rng.random((4, 6)))
    save_whitening(tmp_path / "descriptor_whitening.safetensors", whitening)
    written = [path.relative_to(tmp_path).as_posix() for path in write_gandtr_layout(tmp_path)]
    assert written == [
        "epochs/generator_X_best.pth",
        "epochs/generator_Y_best.pth",
        "epochs/net_best.pth",
        "whitening/lw-retrieval.pkl",
    ]
    for name, source in (("X", "generator_instance.pth"), ("Y", "generator_batch.pth")):
        path = tmp_path / "epochs" / f"generator_{name}_best.pth"
        # The original's own dictionary, as torch reads it without us.
        raw = torch.load(path, weights_only=True)
        assert {"type", "frozen", "network_params", "model_state"} <= raw.keys()
        before, after = open_checkpoint(CHECKPOINTS / source), open_checkpoint(path)
        assert after.config == before.config
        assert all(torch.equal(value, after.state[key]) for key, value in before.state.items())
    pickled = load_pickle(tmp_path / "whitening" / "lw-retrieval.pkl")
    np.testing.assert_array_equal(pickled["m"].ravel(), whitening.mean)
    np.testing.assert_array_equal(pickled["P"], whitening.projection)


def test_nothing_to_lay_out(tmp_path: Path) -> None:
    assert write_gandtr_layout(tmp_path) == []


@pytest.mark.parametrize("name", ["embed_vgg16.pth"])
def test_a_descriptor(name: str, tmp_path: Path) -> None:
    _ours(name, tmp_path / "descriptor.safetensors")
    assert [path.name for path in write_gandtr_layout(tmp_path)] == ["embed_best.pth", "net_best.pth"]
    networks = as_gandtr_loads(tmp_path / "epochs")
    assert networks["net"].keys() == {"type", "frozen", "network_params", "model_state"}
    write_gandtr_layout(tmp_path)  # once more over its own links
    assert as_gandtr_loads(tmp_path / "epochs").keys() == {"net"}
    assert (tmp_path / "epochs" / "embed_best.pth").stat().st_size > 1000


def as_gandtr_loads(folder: Path) -> dict[str, dict[str, Any]]:
    """What gandtr's ``Checkpoints`` makes of a folder: ``net_best.pth``, and the networks that it names."""
    net = torch.load(folder / "net_best.pth", weights_only=True)
    names = net.pop("_network_names", [])
    return {
        "net": net,
        **{name: torch.load(folder / f"{name}_best.pth", weights_only=True) for name in names},
    }


@pytest.mark.parametrize("method", ["cyclegan", "hedngan"])
def test_a_whole_run_loads_as_a_set(method: str, tmp_path: Path) -> None:
    """All networks of a run, by gandtr's names; what is frozen says so. The names are those of the golden run."""
    golden = json.loads((CHECKPOINTS.parents[1] / "training_run.json").read_text())[method]
    newest, frozen = tmp_path / "checkpoints" / "epoch_0003", tmp_path / "checkpoints" / "frozen"
    frozen.mkdir(parents=True)
    for older in ("epoch_0002", "epoch_0003"):
        (tmp_path / "checkpoints" / older).mkdir()
        (tmp_path / "checkpoints" / older / "meta.json").write_text("{}")
    discriminators, places = ["discriminator_night"], {}
    _ours("generator_instance.pth", tmp_path / "generator_day2night.safetensors")
    if method == "cyclegan":
        _ours("generator_instance.pth", tmp_path / "generator_night2day.safetensors")
        discriminators.append("discriminator_day")
    else:
        places = {"edge_student": newest, "edge_teacher": frozen}
    for seed, name in enumerate(discriminators):
        torch.manual_seed(seed)
        network = PatchDiscriminator(PatchDiscriminatorConfig(ndf=4, n_layers=2))
        save_checkpoint(newest / f"{name}.safetensors", network, architecture="patch_discriminator",
                        config=network.config)  # fmt: skip
    for name, folder in places.items():
        _ours("hed_plain.pth", folder / f"{name}.safetensors")
    write_gandtr_layout(tmp_path)

    networks = as_gandtr_loads(tmp_path / "epochs")
    net = networks.pop("net")
    assert net == {key: value for key, value in golden["net_file"].items() if key != "_network_names"}
    assert networks.keys() == golden["models"].keys()
    assert [name for name, each in networks.items() if each["frozen"]] == (
        [] if method == "cyclegan" else ["detector_frozen"]
    )
    for name, params in golden["models"].items():
        assert networks[name]["network_params"]["model"]["architecture"] == params["architecture"], name
    if method == "cyclegan":  # discriminator_X teaches the generator X, so that it judges nights
        mine = open_checkpoint(newest / "discriminator_night.safetensors").state
        assert all(
            torch.equal(mine[key], value) for key, value in networks["discriminator_X"]["model_state"].items()
        )


def test_what_gandtr_has_no_network_for_is_left_out(tmp_path: Path) -> None:
    """The formula that sees edges is none of gandtr's detectors."""
    _ours("generator_instance.pth", tmp_path / "generator_day2night.safetensors")
    folder = tmp_path / "checkpoints"
    (folder / "frozen").mkdir(parents=True)
    (folder / "epoch_0001").mkdir()
    (folder / "epoch_0001" / "meta.json").write_text("{}")
    network = ARCHITECTURES.get("sobel")
    built = resolve(network.target)(resolve(network.config)())
    save_checkpoint(
        folder / "frozen" / "edge_teacher.safetensors", built, architecture="sobel", config=built.config
    )
    assert [path.name for path in write_gandtr_layout(tmp_path)] == ["generator_X_best.pth", "net_best.pth"]

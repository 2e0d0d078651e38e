from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, is_dataclass

import pytest
import torch

from darkside_cli.networks.architectures import ARCHITECTURES, Architecture
from darkside_cli.registry import resolve


@pytest.fixture(params=list(ARCHITECTURES), ids=lambda entry: entry.name)
def entry(request: pytest.FixtureRequest) -> Architecture:
    architecture: Architecture = request.param
    return architecture


def test_default_configuration_goes_to_json_and_back(entry: Architecture) -> None:
    config_class = resolve(entry.config)
    assert is_dataclass(config_class)
    config = config_class()
    assert config_class(**json.loads(json.dumps(asdict(config)))) == config
    assert hash(config) == hash(config_class())


def test_only_its_own_recogniser_knows_a_network(entry: Architecture) -> None:
    config = resolve(entry.config)()
    with torch.device("meta"):
        network = resolve(entry.target)(config)
    assert network.config == config
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    found = {other.name: resolve(other.recogniser)(shapes) for other in ARCHITECTURES}
    known = {name: config for name, config in found.items() if config is not None}
    if entry.name == "guided_generator":  # weights alone are a ResNet generator's; the file's header tells
        assert list(known) == ["resnet_generator"]
    else:
        assert known == {entry.name: config}


def test_entries_are_described(entry: Architecture) -> None:
    assert entry.kind in {"generator", "discriminator", "edge-detector", "head", "descriptor"}
    assert entry.summary


def test_registry_does_not_import_torch() -> None:
    code = "import sys, darkside_cli.networks.architectures; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_shapes_are_told_without_torchs_compiler() -> None:
    """One tensor operation too many on the meta device loads it, or sympy, and takes seconds in every call."""
    code = (
        "import sys\n"
        "from darkside_cli.networks.architectures import ARCHITECTURES\n"
        "from darkside_cli.networks.recognise import expected_shapes\n"
        "from darkside_cli.registry import resolve\n"
        "for entry in ARCHITECTURES:\n"
        "    if entry.kind == 'descriptor':\n"
        "        continue  # torchvision loads the compiler by itself\n"
        "    config = resolve(entry.config)\n"
        "    expected_shapes(entry.name, config())\n"
        "    for setting in ('antialias_down', 'antialias_up'):\n"
        "        if setting in config.__dataclass_fields__:\n"
        "            expected_shapes(entry.name, config(**{setting: True}))\n"
        "    found = [m for m in ('torch._dynamo', 'sympy', 'torchvision') if m in sys.modules]\n"
        "    assert not found, (entry.name, found)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

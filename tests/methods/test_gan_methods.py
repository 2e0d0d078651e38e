"""The registry of methods, and that defaults are the published hyper-parameters."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import golden
import pytest

from darkside_cli.config.load import resolve as resolve_settings
from darkside_cli.errors import UsageError
from darkside_cli.methods import network_options
from darkside_cli.methods.catalog import EDGE_DETECTORS, METHODS
from darkside_cli.methods.config import CutConfig, CycleGanConfig, GanConfig, HedGanConfig, HedNGanConfig
from darkside_cli.methods.cut import CutTask
from darkside_cli.methods.network_options import NetworkOptions
from darkside_cli.methods.task import make_network
from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.configs import UnetGeneratorConfig
from darkside_cli.networks.unet import UnetGenerator
from darkside_cli.registry import Entry, Registry, resolve


def default(method: str) -> Any:
    return resolve(METHODS.get(method).config)()


def scenario(method: str) -> Any:
    """The training step of a method's published scenario."""
    steps = golden.load_case("resolved_scenarios").values[f"train/{method}/train"]
    return next(step["parameters"] for step in steps if step["step"] == "1_train_augment")


def test_registry_does_not_import_torch() -> None:
    code = (
        "import sys, darkside_cli.methods.catalog, darkside_cli.methods.config; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("method", METHODS.names())
def test_entries_lead_to_a_task_and_its_configuration(method: str) -> None:
    entry = METHODS.get(method)
    config = default(method)
    assert isinstance(config, GanConfig)
    assert config.method == method
    assert callable(resolve(entry.target).build)
    assert entry.needs_detector == isinstance(config, HedGanConfig)
    assert entry.paper.startswith("https://arxiv.org/abs/")


def test_licences_of_detectors_are_those_of_their_weights() -> None:
    for entry in EDGE_DETECTORS:
        assert entry.needs_weights == (entry.name != "sobel")
        if entry.needs_weights:
            assert entry.licence == MODELS.get(entry.name).licence


@pytest.mark.parametrize("method", [name for name in METHODS.names() if name != "relight"])
class TestDefaultsArePublished:
    def test_networks(self, method: str) -> None:
        networks, config = scenario(method)["network"], default(method)
        for name, options in (
            ("generator_X", config.generator),
            ("discriminator_Y", config.discriminator),
        ):
            published = networks[name]
            assert options.norm == published["model"]["norm_layer"]
            kind = options.initialisation.kind
            assert f"{kind}_p2p" == published["initialize"]["weights"]
            assert options.initialisation.seed == published["initialize"]["seed"]
            assert options.initialisation.gain == 0.2
        generator = networks["generator_X"]["model"]
        assert config.generator.n_blocks == generator["n_blocks"]
        assert config.generator.antialias_down == (not generator["no_antialias"])
        assert config.generator.antialias_up == (not generator["no_antialias_up"])
        assert (config.generator.ngf, config.discriminator.ndf) == (64, 64)

    def test_training(self, method: str) -> None:
        training, config = scenario(method)["learning"]["training"], default(method)
        assert config.trainer.epochs == training["epochs"]
        assert config.trainer.seed == training["seed"]
        for name, published in training["optimizer"].items():
            if name == "composition":
                continue
            options = config.student if name == "detector" else config.optim
            assert options.lr == published["lr"]
            assert options.betas == (published["beta1"], published["beta2"])
            assert options.weight_decay == published["weight_decay"]
            decay = training["scheduler"][name]["n_epochs_decay"]
            assert config.schedule.decay_of(config.trainer.epochs) == decay
        checkpoints = scenario(method)["learning"]["checkpoints"]
        assert config.trainer.checkpoint_every == checkpoints["checkpoint_every"]
        assert config.trainer.store_every == checkpoints["store_every"]

    def test_losses(self, method: str) -> None:
        criterion, config = scenario(method)["learning"]["training"]["criterion"], default(method)
        assert config.adversarial == "lsgan"
        if method == "cyclegan":
            weights = criterion["loss_G_X"]["weights"]
            assert (config.weights.adversarial, config.weights.cycle) == (
                weights["adversarial"],
                weights["cycle"],
            )
            assert config.weights.identity == 0
            epoch = scenario(method)["learning"]["training"]["epoch_iteration"]
            assert config.pool_size == epoch["pool_size"]
            return
        weights = criterion["weights"]
        assert config.weights.adversarial == weights["adversarial"]
        if method == "cut":
            assert (config.nce_weight, config.identity_weight) == (weights["nce"], weights["identity"])
            nce = criterion["nce"]
            assert config.nce.layers == tuple(int(layer) for layer in nce["nce_layers"].split(","))
            assert config.nce.num_patches == nce["num_patches"]
            assert config.nce.temperature == nce["temperature"]
            assert (config.nce.negatives == "batch") == (nce["batch_dim_for_bmm"] == 1)
        else:
            assert config.weights.edge == weights["edge"]
        if isinstance(config, HedNGanConfig):
            assert config.distillation == weights["hed"]

    def test_data(self, method: str) -> None:
        data, config = scenario(method)["data"]["train"], default(method).data
        assert config.batch_size == data["loader"]["batch_size"]
        assert config.size == data["dataset"]["size"]
        _, size, scale = next(
            part.strip().split(":") for part in data["transforms"].split("|") if "scalecrop" in part
        )
        assert config.crop_size == tuple(int(side) for side in size.split("_"))
        assert config.scale == tuple(float(end) for end in scale.split("_"))


@dataclass(frozen=True, kw_only=True)
class UnetOptions(UnetGeneratorConfig, NetworkOptions):
    """A further kind of generator: its configuration, and which network it is of."""

    architecture = "unet_generator"


def test_a_further_kind_of_generator_is_a_class_and_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry(name="unet", summary="", target=f"{__name__}:UnetOptions")
    kinds = Registry("generator", (*network_options.GENERATORS, entry))
    monkeypatch.setattr(network_options, "GENERATORS", kinds)
    given = [
        "generator.kind=unet",
        "generator.num_downs=5",
        "generator.ngf=2",
        "generator.initialisation.seed=3",
    ]
    for schema, kind, norm in ((HedGanConfig, "kaiming", "batch"), (CycleGanConfig, "normal", "batch")):
        flags = {"method": schema().method}
        options = resolve_settings(schema, overrides=given, flags=flags).value.generator
        assert (options.initialisation.kind, options.initialisation.seed) == (kind, 3)
        network = make_network(options)
        assert isinstance(network, UnetGenerator)
        assert network.config == UnetGeneratorConfig(num_downs=5, ngf=2, norm=norm)
    cut = resolve_settings(
        CutConfig, overrides=[*given, "discriminator.ndf=2"], flags={"method": "cut"}
    ).value
    with pytest.raises(UsageError, match="features of a ResNet generator"):
        CutTask(cut, device="cpu")


@pytest.mark.parametrize("method", ["cyclegan", "hedngan"])
def test_first_weights_of_full_size_are_those_of_the_reference(method: str) -> None:
    case = golden.load_case("initialisation")
    recorded = case.values["hub_uninitialised"][method]
    state = make_network(default(method).generator).state_dict()
    for key, stats in recorded.items():
        scale = abs(stats[1]) or 1.0
        assert golden.statistics(state[key]) == pytest.approx(
            stats, rel=case.entry["tolerance"]["stats"]["rtol"], abs=1e-7 * scale
        )

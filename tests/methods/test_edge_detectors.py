"""Edge detectors found by name or file, their students, and how those learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from darkside_cli.errors import CheckpointError, MissingAssetError, UnknownNameError
from darkside_cli.methods.edge_detectors import (
    load_edge_detector,
    make_student,
    student_parameter_groups,
)
from darkside_cli.methods.network_options import AdamOptions
from darkside_cli.methods.task import NetworkMethod
from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.configs import PatchDiscriminatorConfig
from darkside_cli.networks.discriminator import PatchDiscriminator
from darkside_cli.networks.edge_detectors import Hed, Rcf
from darkside_cli.networks.sobel import Sobel, SobelConfig
from darkside_cli.networks.weights import save_checkpoint

STUDENT = AdamOptions(lr=1e-6, betas=(0.9, 0.999), weight_decay=2e-4)


def test_sobel_needs_nothing_and_is_frozen(tmp_path: Path) -> None:
    detector = load_edge_detector("sobel", tmp_path)
    assert isinstance(detector, Sobel)
    assert not detector.training
    assert not any(parameter.requires_grad for parameter in detector.parameters())


@pytest.mark.parametrize("name", ["hed", "rcf"])
def test_missing_weights_tell_how_to_get_them_and_what_needs_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match=f"'{name}' are not on this machine") as caught:
        load_edge_detector(name, tmp_path)
    hint = caught.value.hint or ""
    assert f"darkside download {name}" in hint
    assert "--edge-detector sobel" in hint


@pytest.mark.parametrize("name", ["hed", "rcf"])
def test_published_weights_are_opened_by_name(name: str, tmp_path: Path) -> None:
    detector = {"hed": Hed, "rcf": Rcf}[name]()
    path = tmp_path / MODELS.get(name).weights.path
    path.parent.mkdir()
    torch.save(detector.state_dict(), path)
    opened = load_edge_detector(name, tmp_path)
    assert type(opened) is type(detector)
    for key, value in detector.state_dict().items():
        assert torch.equal(opened.state_dict()[key], value)
    assert not any(parameter.requires_grad for parameter in opened.parameters())


def test_misspelt_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown edge detector 'sobol'") as caught:
        load_edge_detector("sobol", tmp_path)
    assert caught.value.near == ["sobel"]


def test_file_of_a_student(tmp_path: Path) -> None:
    student = Sobel(SobelConfig(width=4))
    torch.nn.init.constant_(student.fusion_bias, -2.0)
    path = tmp_path / "edge_student.safetensors"
    save_checkpoint(path, student, architecture="sobel", config=student.config)
    opened = load_edge_detector(path, tmp_path)
    assert isinstance(opened, Sobel)
    assert opened.config == student.config
    assert opened.fusion_bias.item() == -2.0
    assert type(load_edge_detector(str(path), tmp_path)) is Sobel


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match="no file or folder"):
        load_edge_detector(str(tmp_path / "none.pth"), tmp_path)


def test_file_of_something_else(tmp_path: Path) -> None:
    network = PatchDiscriminator(PatchDiscriminatorConfig(ndf=4))
    path = tmp_path / "discriminator.safetensors"
    save_checkpoint(path, network, architecture="patch_discriminator", config=network.config)
    with pytest.raises(CheckpointError, match="of kind discriminator, not edge-detector"):
        load_edge_detector(path, tmp_path)


@pytest.mark.parametrize("kind", [Sobel, Rcf])
def test_student_is_trainable_and_its_own(kind: type[Sobel] | type[Rcf]) -> None:
    teacher = kind().requires_grad_(False).eval()
    student = make_student(teacher)
    image = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.equal(student.logits(image), teacher.logits(image))
    assert student.training
    assert all(parameter.requires_grad for parameter in student.parameters())
    before = teacher.logits(image)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1)
    assert torch.equal(teacher.logits(image), before)


def test_every_parameter_of_a_student_learns_once() -> None:
    for student in (Hed(), Rcf(), Sobel(SobelConfig(width=4))):
        groups = student_parameter_groups(student, STUDENT)
        grouped = [id(parameter) for group in groups for parameter in group["params"]]
        assert sorted(grouped) == sorted(id(parameter) for parameter in student.parameters())


def test_heds_layers_learn_at_rates_of_their_own() -> None:
    student = Hed()
    rates = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in student_parameter_groups(student, STUDENT)
        for parameter in group["params"]
    }
    found = {name: rates[id(parameter)] for name, parameter in student.named_parameters()}
    assert found["vgg3.1.weight"] == pytest.approx((1e-6, 2e-4))
    assert found["vgg3.1.bias"] == pytest.approx((2e-6, 0))
    assert found["vgg5.1.weight"] == pytest.approx((1e-4, 2e-4))
    assert found["vgg5.1.bias"] == pytest.approx((2e-4, 0))
    assert found["score2.weight"] == pytest.approx((1e-8, 2e-4))
    assert found["fusion.0.bias"] == pytest.approx((2e-9, 0))


def test_rcf_has_one_group() -> None:
    (group,) = student_parameter_groups(Rcf(), STUDENT)
    assert (group["lr"], group["weight_decay"]) == pytest.approx((1e-6, 2e-4))


def test_edge_logits_are_the_detectors() -> None:
    detector = Sobel()
    logits = NetworkMethod(detector, "logits")
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(logits(image), detector.logits(image))
    assert next(logits.parameters()) is next(detector.parameters())

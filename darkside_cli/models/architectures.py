"""The networks darkside knows, as torch-free entries: what they are called and where their code is."""

from __future__ import annotations

from dataclasses import dataclass

from darkside_cli.registry import Entry, Registry


@dataclass(frozen=True, kw_only=True)
class Architecture(Entry):
    """One kind of network.

    ``kind`` is "generator", "discriminator", "edge-detector" or "head"; ``target``, ``config`` and
    ``recogniser`` are "module:attribute" of the module class, of its configuration dataclass and of the
    function that reads a configuration from the keys and shapes of a state dict.
    """

    kind: str
    config: str
    recogniser: str


def _architecture(name: str, kind: str, module: str, class_name: str, summary: str) -> Architecture:
    place = f"darkside_cli.models.{module}"
    return Architecture(
        name=name,
        kind=kind,
        summary=summary,
        target=f"{place}:{class_name}",
        config=f"{place}:{class_name}Config",
        recogniser=f"{place}:recognise",
    )


ARCHITECTURES: Registry[Architecture] = Registry(
    "architecture",
    (
        _architecture(
            "resnet_generator",
            "generator",
            "generator",
            "ResnetGenerator",
            "ResNet generator (CycleGAN, CUT)",
        ),
    ),
)

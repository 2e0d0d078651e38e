"""Which published sets of tuples and features a fine-tuning opens, and what of them; free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from darkside_cli.assets.catalog import DATA
from darkside_cli.datasets.tuple_sets import published_name
from darkside_cli.errors import ConfigError
from darkside_cli.retrieval.config import FinetuneConfig

#: What the name of a published set's pairs for whitening ends in.
_FOR_WHITENING = "-whiten"


@dataclass(frozen=True)
class TupleNeed:
    """A published set that will be opened: its ``name``, and which parts (``splits``) of it; None: it has none.

    ``with_images`` is whether its images are needed, too; not where the user has them in a folder elsewhere.
    """

    name: str
    splits: tuple[str | None, ...] = (None,)
    with_images: bool = True


def need_of(
    spec: str, splits: tuple[str | None, ...] = (None,), *, with_images: bool = True
) -> TupleNeed | None:
    """What opening ``spec`` needs of the published sets; None if it is a path."""
    name = published_name(spec)
    return None if name is None or Path(spec).exists() else TupleNeed(name, splits, with_images)


def whitening_spec(config: FinetuneConfig) -> tuple[str, Path | None] | None:
    """What the whitening is learned from, and where its images are if they are elsewhere.

    None: from the training data, or there is to be none.
    """
    options, data = config.whitening, config.data
    if options.kind == "none":
        return None
    spec = options.database
    if spec is None:
        spec = f"{published_name(data.database)}{_FOR_WHITENING}"
        if published_name(spec) is None:
            return None
    return spec, options.images or (data.images if published_name(spec) is not None else None)


def validates(config: FinetuneConfig) -> bool:
    """Whether there is validation at all."""
    return config.trainer.validate_every > 0


def tuple_needs(config: FinetuneConfig) -> list[TupleNeed]:
    """All published sets that the fine-tuning of ``config`` opens, by name."""
    data = config.data
    own_part = validates(config) and data.validation is None
    here = data.images is None
    found = [need_of(data.spec, ("train", "val") if own_part else ("train",), with_images=here)]
    if validates(config) and data.validation is not None:
        found.append(need_of(data.validation, ("val",), with_images=here))
    whitening = whitening_spec(config)
    if whitening is not None:
        found.append(need_of(whitening[0], with_images=whitening[1] is None))
    return [need for need in found if need is not None]


def imagenet_asset(backbone: str) -> str:
    """Name of the asset with published features of ``backbone``. Raises ConfigError if there are none."""
    name = f"imagenet-{backbone}"
    if name not in DATA:
        known = [each.removeprefix("imagenet-") for each in DATA.names() if each.startswith("imagenet-")]
        raise ConfigError(
            f"there are no published ImageNet features of {backbone}, only of {', '.join(known)}",
            hint="--init torchvision, random, or a file",
        )
    return name

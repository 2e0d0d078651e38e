"""What of the published sets a configuration opens: what it says, and nothing more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from darkside_cli.retrieval.config import FinetuneConfig, TupleDataConfig, WhiteningOptions
from darkside_cli.retrieval.needs import TupleNeed, need_of, tuple_needs, whitening_spec
from darkside_cli.training.trainer_config import TrainerConfig

SFM, WHITEN = "retrieval-sfm-120k", "retrieval-sfm-120k-whiten"
BOTH = ("train", "val")


def config(
    *, validate_every: int = 5, whitening: WhiteningOptions | None = None, **data: object
) -> FinetuneConfig:
    return FinetuneConfig(
        data=TupleDataConfig(**data),  # type: ignore[arg-type]
        whitening=whitening or WhiteningOptions(),
        trainer=TrainerConfig(epochs=1, validate_every=validate_every),
    )


@pytest.mark.parametrize(
    ("of", "needs"),
    [
        (config(), [TupleNeed(SFM, BOTH), TupleNeed(WHITEN)]),
        (config(validate_every=0), [TupleNeed(SFM, ("train",)), TupleNeed(WHITEN)]),
        (config(whitening=WhiteningOptions(kind="none")), [TupleNeed(SFM, BOTH)]),
        (
            config(whitening=WhiteningOptions(database="my-places")),
            [TupleNeed(SFM, BOTH)],
        ),
        (
            config(whitening=WhiteningOptions(database="Retrieval-SfM-30k-whiten")),
            [TupleNeed(SFM, BOTH), TupleNeed("retrieval-sfm-30k-whiten")],
        ),
        (
            config(images=Path("elsewhere")),
            [TupleNeed(SFM, BOTH, with_images=False), TupleNeed(WHITEN, with_images=False)],
        ),
        (
            config(whitening=WhiteningOptions(images=Path("elsewhere"))),
            [TupleNeed(SFM, BOTH), TupleNeed(WHITEN, with_images=False)],
        ),
        (config(validation="my-places"), [TupleNeed(SFM, ("train",)), TupleNeed(WHITEN)]),
        (config(file=Path("mine.pkl")), [TupleNeed(WHITEN)]),
        (config(database="my-places"), []),
        (config(database="my-places", validation=SFM), [TupleNeed(SFM, ("val",))]),
        (config(database="my-places", validation=SFM, validate_every=0), []),
        (config(database="my-places", whitening=WhiteningOptions(database=WHITEN)), [TupleNeed(WHITEN)]),
        (config(database="nightfall"), [TupleNeed("nightfall", BOTH), TupleNeed("nightfall-whiten")]),
    ],
)
def test_what_is_opened(of: FinetuneConfig, needs: list[TupleNeed]) -> None:
    assert tuple_needs(of) == needs


def test_a_path_that_is_there_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert need_of(SFM) == TupleNeed(SFM)
    (tmp_path / SFM).mkdir()
    assert need_of(SFM) is None


def test_the_whitening_of_own_images_is_learned_from_the_training_data() -> None:
    assert whitening_spec(config(database="my-places")) is None
    assert whitening_spec(config(database="my-places", whitening=WhiteningOptions(database="x"))) == (
        "x",
        None,
    )
    assert whitening_spec(replace(config(), whitening=WhiteningOptions(kind="none"))) is None

"""Sets of tuples by what they are called; of the published ones a configuration opens what it says, and no more."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import MissingAssetError, UnknownNameError
from darkside_cli.retrieval.config import FinetuneConfig, TupleDataConfig
from darkside_cli.retrieval.training_sets import TupleNeed, need_of, open_tuples, tuple_needs, whitening_spec
from darkside_cli.retrieval.whitening.config import WhiteningOptions
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


def published(root: Path, name: str) -> Path:
    content = {"cids": ["a" * 32, "b" * 32], "cluster": [0, 0], "qidxs": [0], "pidxs": [1]}
    path = root / "data" / "train" / "retrieval-SfM-120k" / f"{name}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content if name.endswith("whiten") else {"train": content, "val": content}))
    return path


def test_sets_by_what_they_are_called(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    places = tmp_path / "places"
    for number, name in enumerate(("a/1.png", "a/2.png", "b/1.png", "b/2.png", "b/3.png")):
        make_image(places / name, 20 + 5 * number, 24, seed=number)
    root = DataRoot(tmp_path / "root", "test")
    assert open_tuples(places, root, positives=1).pairs == 5
    (tmp_path / "x.csv").write_text("query,positive\na,b\n")
    assert open_tuples(tmp_path / "x.csv", root, images=places).paths[0] == places / "a"
    with pytest.raises(MissingAssetError, match="not on this machine") as missing:
        open_tuples("retrieval-SfM-120k-whiten", root)
    assert missing.value.hint == "darkside download retrieval-sfm-120k-whiten"
    path = published(root.path, "retrieval-SfM-120k-whiten")
    tuples = open_tuples("retrieval-sfm-120k-whiten", root)
    assert tuples.paths[0] == path.parent / "ims" / "aa" / "aa" / "aa" / ("a" * 32)
    assert open_tuples(path, root, images=tmp_path).paths[0] == tmp_path / "aa" / "aa" / "aa" / ("a" * 32)
    published(root.path, "retrieval-SfM-120k")
    assert open_tuples("retrieval-sfm-120k", root, split="val").name == "retrieval-SfM-120k/val"
    with pytest.raises(UnknownNameError, match="did you mean val"):
        open_tuples("retrieval-sfm-120k", root, split="vall")
    with pytest.raises(UnknownNameError, match="did you mean retrieval-sfm-120k"):
        open_tuples("retrieval-sfm-12k", root)
    for spec in ("none.csv", "none.pkl"):
        with pytest.raises(MissingAssetError):
            open_tuples(tmp_path / spec, root)

"""The registry of everything that can be brought, and the names of images in real ground truths."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from darkside_cli.assets.catalog import DATA
from darkside_cli.assets.soundness import wrong_form
from darkside_cli.jobs.catalog import ASSETS, open_store, read_names, wrong_content
from darkside_cli.networks.catalog import MODELS

FILES = Path(__file__).parents[1] / "parity" / "data" / "files"


def test_every_model_and_every_data_set_is_an_asset() -> None:
    published = [model for model in MODELS if not (model.embedded or model.install)]
    assert [*(model.name for model in published), *DATA.names()] == ASSETS.names()
    for model in published:
        asset = ASSETS.get(model.name)
        assert [(f.path, f.urls) for f in asset.files] == [(f.path, f.urls) for f in model.files]
        assert asset.aliases == model.aliases
        assert ("weights" in asset.groups) != model.by_name_only
        assert asset.needed_by
        assert model.licence in asset.licence
    assert ASSETS.get("gem_r101_hedngan").files[1].path == "weights/hedngan_embed_resnet101_lw.pkl"
    assert ASSETS.get("hed").needed_by == ("train-gan --model hedgan", "train-gan --model hedngan")


def test_names_are_read_from_ground_truths_databases_and_lists() -> None:
    recorded = json.loads((FILES.parent / "dataset_files.json").read_text())
    for name in ("roxford5k", "247tokyo1k"):
        data = pickle.loads((FILES / "test" / name / f"gnd_{name}.pkl").read_bytes())
        assert read_names(FILES / "test" / name / f"gnd_{name}.pkl") == data["imlist"] + data["qimlist"]
    assert set(recorded["train_db"]["train"]["cids"]) <= set(
        read_names(FILES / "sfm" / "retrieval-SfM-120k.pkl")
    )
    assert len(list(read_names(FILES / "sfm" / "train_day.txt"))) == 19


def test_a_ground_truth_decides_what_is_complete(tmp_path: Path) -> None:
    """The parity case's test set, copied into a data root, is complete; without one image it is not."""
    target = tmp_path / "data" / "test" / "247tokyo1k"
    (target / "jpg").mkdir(parents=True)
    source = FILES / "test" / "247tokyo1k"
    (target / "gnd_247tokyo1k.pkl").write_bytes((source / "gnd_247tokyo1k.pkl").read_bytes())
    for image in (source / "jpg").iterdir():
        (target / "jpg" / image.name).write_bytes(image.read_bytes())
    store = open_store(tmp_path)
    assert store.state(ASSETS.get("tokyo247")).status == "complete"
    (target / "jpg" / "db_003.jpg").unlink()
    state = store.state(ASSETS.get("tokyo247"))
    assert (state.status, state.lacking) == ("partial", ("db_003.jpg",))


class Payload:
    """What a hostile ground truth holds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_hostile_ground_truth_runs_nothing(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    folder = tmp_path / "root" / "data" / "test" / "247tokyo1k"
    (folder / "jpg").mkdir(parents=True)
    gnd = folder / "gnd_247tokyo1k.pkl"
    gnd.write_bytes(pickle.dumps({"imlist": Payload(witness), "qimlist": []}))
    store = open_store(tmp_path / "root")
    assert store.state(ASSETS.get("tokyo247")).status == "partial"  # it names nothing, and blocks nothing
    assert "unsafe" in (store.inventory.wrong(gnd, gnd.name) or "")
    assert not witness.exists()


def _pickled(content: object) -> bytes:
    return pickle.dumps(content, protocol=2)


TRUTH = {"imlist": ["a"], "qimlist": ["b"], "gnd": [{"ok": [0], "junk": []}]}
TUPLES = {"cids": ["a", "b"], "cluster": [0, 0], "qidxs": [0], "pidxs": [1]}
#: Names, what is served under them, and what is said of it; None where it is right.
CONTENTS = [
    ("gnd_roxford5k.pkl", TRUTH, None),
    ("gnd_roxford5k.pkl", None, "no ground truth: it has no imlist, qimlist, gnd"),
    ("gnd_roxford5k.pkl", TUPLES, "no ground truth"),
    ("gnd_roxford5k.pkl", {**TRUTH, "imlist": []}, "an empty ground truth"),
    ("retrieval-SfM-120k.pkl", {"train": TUPLES, "val": TUPLES, "version": 1}, None),
    ("retrieval-SfM-120k-whiten.pkl", TUPLES, None),
    ("retrieval-SfM-120k.pkl", TRUTH, "no database of training tuples"),
    ("retrieval-SfM-120k.pkl", {}, "no database of training tuples"),
    ("hedngan_embed_vgg16_lw.pkl", {"m": [0.0], "P": [[1.0]]}, None),
    ("hedngan_embed_vgg16_lw.pkl", TRUTH, "no whitening: it has no m, P"),
]


@pytest.mark.parametrize(("name", "content", "reason"), CONTENTS)
def test_pickles_are_judged_by_what_is_published_under_their_name(
    tmp_path: Path, name: str, content: object, reason: str | None
) -> None:
    (tmp_path / "served").write_bytes(_pickled(content))
    found = wrong_content(tmp_path / "served", f"weights/{name}")
    assert (found is None) if reason is None else reason in str(found)


def test_published_files_pass_the_judge() -> None:
    for path in [*FILES.rglob("gnd_*.pkl"), *FILES.rglob("retrieval-*.pkl"), *FILES.rglob("whitening_*.pkl")]:
        assert wrong_content(path, path.name) is None, path
    for path in FILES.rglob("*.pth"):
        assert wrong_form(path) is None, path

"""A fine-tuning's page tells of the whitening and the scores that lie in its folder, if they are of its network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkside_cli.networks.weights import Whitening, save_whitening
from darkside_cli.report import stages
from darkside_cli.report.stages import scores_shown, whitening_shown
from darkside_cli.report.training import write_training_report
from darkside_cli.retrieval import finetune_stages


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def whitening(run: Path, dims: tuple[int, int] = (3, 4), **metadata: Any) -> None:
    made = {
        "method": "lw",
        "pairs": 1234,
        "images": 567,
        "added_to_diagonal": 0.0,
        "learned_from": {"name": "pla<b>ces"},
        "descriptors": {"image_size": 1024},
        "made_for": {"descriptor": digest(run / stages.DESCRIPTOR_FILE)},
        **metadata,
    }
    matrix = np.eye(*dims)
    save_whitening(run / stages.WHITENING_FILE, Whitening(np.zeros(dims[1]), matrix, made))


def line(dataset: str = "tokyo247", score: float | None = 91.25, **changes: Any) -> dict[str, Any]:
    return {
        "model": "descriptor",
        "dataset": dataset,
        "protocol": "ok",
        "mean_average_precision": score,
        "published": None,
        "precisions": [90.0, 80.0, 70.04],
        "recalls": [None, None, None],
        "queries": 315,
        "database": 1125,
        **changes,
    }


def scores(run: Path, sets: dict[str, Any], **made_for: Any) -> None:
    path = run / stages.WHITENING_FILE
    made = {
        "descriptor": digest(run / stages.DESCRIPTOR_FILE),
        "whitening": digest(path) if path.is_file() else None,
        "settings": {"image_size_px": 1024, "scales": "ms"},
        **made_for,
    }
    (run / stages.SCORES_FILE).write_text(json.dumps({"made_for": made, "sets": sets}))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / stages.DESCRIPTOR_FILE).write_bytes(b"weights")
    return tmp_path


def test_names_are_those_of_the_stages() -> None:
    names = ("DESCRIPTOR_FILE", "WHITENING_FILE", "SCORES_FILE")
    assert [getattr(stages, name) for name in names] == [getattr(finetune_stages, name) for name in names]


def test_nothing_found_is_nothing_shown(run: Path) -> None:
    problems: list[str] = []
    assert whitening_shown(run, problems) is None
    assert scores_shown(run, problems) is None
    assert problems == []


def test_a_whitening(run: Path) -> None:
    whitening(run, dims=(4, 4))
    shown = whitening_shown(run, [])
    assert shown is not None
    assert dict(shown.facts) == {
        "kind": "Lw, learned from pairs",
        "learned from": "1,234 pairs, 567 images",
        "of": "pla<b>ces",
        "dimensions": "4 to 4",
        "images read at": "1024 px",
    }
    assert shown.notes == []


def test_a_covariance_that_had_to_be_helped(run: Path) -> None:
    whitening(run, dims=(4, 4), added_to_diagonal=1e-9)
    shown = whitening_shown(run, [])
    assert shown is not None
    (note,) = shown.notes
    assert note.startswith("The pairs' covariance was not positive definite: 1e-09 was added")


def test_pca_of_few_images(run: Path) -> None:
    whitening(run, dims=(3, 4), method="pca", shrink=2)
    path = run / stages.WHITENING_FILE
    assert path.is_file()
    shown = whitening_shown(run, [])
    assert shown is not None
    facts = dict(shown.facts)
    assert (facts["kind"], facts["dimensions"], facts["shrinkage"]) == ("PCA", "4 to 3", "by eigenvalue 2")
    assert shown.notes == ["The descriptors differ in 3 of 4 dimensions only; the whitening gives no others."]


def test_a_whitening_of_another_network_or_of_somebody_else(run: Path) -> None:
    whitening(run)
    (run / stages.DESCRIPTOR_FILE).write_bytes(b"other weights")
    assert whitening_shown(run, []) is None
    whitening(run)
    assert whitening_shown(run, []) is not None
    save_whitening(run / stages.WHITENING_FILE, Whitening(np.zeros(2), np.eye(2), {"method": "lw"}))
    assert whitening_shown(run, []) is None


@pytest.mark.parametrize("damage", ["bytes", "metadata"])
def test_a_damaged_whitening_is_named(run: Path, damage: str) -> None:
    if damage == "bytes":
        (run / stages.WHITENING_FILE).write_bytes(b"no whitening")
    else:
        whitening(run, images="many", learned_from=7)
    problems: list[str] = []
    assert whitening_shown(run, problems) is None
    assert len(problems) == 1
    assert stages.WHITENING_FILE in problems[0]


def test_scores_beside_published_ones(run: Path) -> None:
    whitening(run)
    twin = "gem_vgg16_hedngan"
    scores(
        run,
        {
            "tokyo247": {"lines": [line(published=90.3)], "published_model": twin},
            "mine": {"lines": [line("mine", None, recalls=[1.0, 2.0, 3.0])]},
        },
    )
    shown = scores_shown(run, [])
    assert shown is not None
    assert shown.heading == [
        "data set", "protocol", "mAP", "published", "diff", "mP@1", "mP@5", "mP@10", "R@1", "R@5", "R@10",
        "queries", "database",
    ]  # fmt: skip
    assert shown.rows == [
        ["tokyo247", "ok", "91.25", "90.3", "+0.95", "90.0", "80.0", "70.0", "-", "-", "-", "315", "1,125"],
        ["mine", "ok", "-", "-", "-", "90.0", "80.0", "70.0", "1.0", "2.0", "3.0", "315", "1,125"],
    ]
    assert shown.notes == [
        "In percent, with whitening; images read at 1024 px, scales: ms.",
        f"Published: mAP of {twin}, the paper's with the same backbone and generator.",
    ]


def test_columns_that_say_nothing_are_left_out(run: Path) -> None:
    scores(run, {"tokyo247": {"lines": [line()]}})
    shown = scores_shown(run, [])
    assert shown is not None
    assert shown.heading == ["data set", "protocol", "mAP", "mP@1", "mP@5", "mP@10", "queries", "database"]
    assert shown.notes == ["In percent, without whitening; images read at 1024 px, scales: ms."]


@pytest.mark.parametrize("changed", [stages.DESCRIPTOR_FILE, stages.WHITENING_FILE])
def test_scores_that_the_run_has_outgrown_are_not_shown(run: Path, changed: str) -> None:
    whitening(run)
    scores(run, {"tokyo247": {"lines": [line()]}})
    (run / changed).write_bytes(b"another")
    shown = scores_shown(run, [])
    assert shown is not None
    assert shown.rows == []
    assert "trained or whitened anew" in shown.notes[0]


@pytest.mark.parametrize("text", ["{", '{"sets": {}}', '{"made_for": 3, "sets": []}'])
def test_damaged_scores_are_named(run: Path, text: str) -> None:
    (run / stages.SCORES_FILE).write_text(text)
    problems: list[str] = []
    assert scores_shown(run, problems) is None
    assert len(problems) == 1
    assert stages.SCORES_FILE in problems[0]


def test_they_are_on_the_page(run: Path) -> None:
    whitening(run, added_to_diagonal=1e-10)
    scores(run, {"tokyo247": {"lines": [line()]}, "mine": {"lines": [line("<i>mine</i>", 12.5)]}})
    text = write_training_report(run).read_text()
    for part in (
        "<h2>Evaluation</h2>", "<td>91.25</td>", "&lt;i&gt;mine&lt;/i&gt;", "<h2>Whitening</h2>",
        "1,234 pairs", "pla&lt;b&gt;ces", "not positive definite",
    ):  # fmt: skip
        assert part in text, part
    assert text.index("<h2>Evaluation") < text.index("<h2>Whitening")


def test_a_run_of_another_kind_has_no_such_parts(tmp_path: Path) -> None:
    text = write_training_report(tmp_path).read_text()
    assert "Evaluation" not in text
    assert "Whitening" not in text

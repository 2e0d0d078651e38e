"""Folders of place recognition are scored as VPR-methods-evaluation scores them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from utm_folders import recalls_of_vpr_methods_evaluation, utm_name, write_utm_folder

from darkside_cli import evaluate
from darkside_cli.errors import UsageError
from darkside_cli.events import Event, Notice

#: Unit vectors whose scalar products and distances float32 holds exactly, so that equal ones are equal.
EXACT = np.array(
    [*np.eye(4), *-np.eye(4), [0.5] * 4, [0.5, 0.5, -0.5, -0.5], [0.5, -0.5, 0.5, -0.5]], np.float32
)


def made_set(root: Path, *, seed: int, exact: bool) -> tuple[Path, Path, list[float]]:
    """A city of 150 m with 120 database images, some in sub-folders, and 60 queries, of which some are far from all.

    Gives it, a file of its descriptors, and the recalls that VPR-methods-evaluation would print.
    """
    rng = np.random.default_rng(seed)
    database = [
        f"{'b-' if n % 3 else 'b/'}{n % 2}/{utm_name(*rng.integers(0, 30, 2) * 5 + 5e5, note=str(n))}"
        for n in range(120)
    ]
    queries = [utm_name(*rng.integers(0, 60, 2) * 5 + 5e5, note=str(n)) for n in range(60)]
    write_utm_folder(root / "test", {"database": database, "queries": queries})
    names = [f"database/{name}" for name in database] + [f"queries/{name}" for name in queries]
    rows = EXACT[rng.integers(0, len(EXACT), len(names))] if exact else rng.standard_normal((len(names), 8))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    np.savez(root / "rows.npz", descriptors=rows, names=np.array(names))
    by_path = {str(root / "test" / name): row for name, row in zip(names, rows, strict=True)}
    sides = [str(root / "test" / side) for side in ("database", "queries")]
    return root, root / "rows.npz", recalls_of_vpr_methods_evaluation(sides[0], sides[1], by_path)


@pytest.mark.parametrize("exact", [True, False], ids=["many ties", "no ties"])
@pytest.mark.parametrize("seed", range(4))
def test_recalls_are_equal_to_the_last_digit(tmp_path: Path, seed: int, exact: bool) -> None:
    folder, rows, expected = made_set(tmp_path, seed=seed, exact=exact)
    told: list[Event] = []
    result = evaluate(descriptors=rows, dataset=str(folder), emit=told.append)
    (line,) = result.lines
    assert list(line.recalls) == expected
    assert (line.protocol, line.queries, line.database) == ("25 m", 60, 120)
    judged = result.evaluations[0].scores.protocols[0].judged
    assert 0 < judged < 60  # some queries have nothing near, and count all the same
    alone = f"{60 - judged} of 60 queries have no database image within 25 m"
    assert any(alone in event.message for event in told if isinstance(event, Notice))
    assert 0 < expected[3] < 100
    document = result.document()["results"][0]["protocols"]["25 m"]
    assert [100 * document["recall"][k] for k in ("1", "5", "10", "20")] == expected


def test_options_that_would_be_passed_over(tmp_path: Path) -> None:
    folder, rows, _ = made_set(tmp_path / "utm", seed=0, exact=True)
    write_utm_folder(tmp_path / "places", {"a/day": ["1.jpg"], "a/night": ["1.jpg"]})
    for words, options in {
        "--positive-dist is for": {"dataset": str(tmp_path / "places"), "positive_dist": 10},
        "name its page": {"dataset": str(folder), "only_wrong": True},
        "leave out --images": {"dataset": str(folder), "images": tmp_path},
        "--query-folder and --database-folder name others": {"dataset": str(folder), "query_folder": "night"},
        "--distractors takes": {"dataset": str(folder), "distractor_images": tmp_path / "places"},
    }.items():
        with pytest.raises(UsageError) as error:
            evaluate(descriptors=rows, **options)
        assert words in (error.value.hint or "")

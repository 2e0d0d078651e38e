"""Records of the images that something was learned from, and what is said where they are asked for again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from darkside_cli.datasets.ground_truth import GroundTruth, Query
from darkside_cli.events import Notice
from darkside_cli.retrieval.describe.overlap import overlap, record
from darkside_cli.retrieval.search.warnings import of_images


def files(folder: Path, count: int, start: int = 0) -> list[Path]:
    """``count`` files of different contents, some of them long."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.jpg" for number in range(start, start + count)]
    for number, path in enumerate(paths, start):
        path.write_bytes(bytes(10_000 * (number % 2)) + f"picture {number}".encode())
    return paths


def test_images_are_known_by_what_they_show_not_by_their_names(tmp_path: Path) -> None:
    learned = files(tmp_path / "a", 6)
    known = json.loads(json.dumps(record([*learned, tmp_path / "not there"])))
    copy = Path(shutil.copy(learned[3], tmp_path / "other name.jpg"))
    assert overlap(known, [copy, *files(tmp_path / "b", 3, start=100)]) == (1, 4)
    assert overlap(known, learned) == (6, 6)


def test_of_very_many_a_share_is_kept(tmp_path: Path) -> None:
    learned, others = files(tmp_path / "a", 3000), files(tmp_path / "b", 1000, start=5000)
    known = record(learned)
    assert len(json.dumps(known)) < 9000
    found, asked = overlap(known, [*learned[:1000], *others])
    assert 400 < asked < 1000
    assert found / asked == pytest.approx(0.5, abs=0.08)
    assert overlap(known, others)[0] == 0


@pytest.mark.parametrize(
    "known", [None, {}, 3, {"count": 1, "digests": "???"}, {"count": "x", "digests": ""}]
)
def test_records_that_are_none(known: object, tmp_path: Path) -> None:
    assert overlap(known, files(tmp_path / "a", 2)) == (0, 0)


def test_a_benchmark_of_images_that_were_learned_from_is_doubtful(tmp_path: Path) -> None:
    paths = files(tmp_path / "a", 4)
    names = tuple(path.name for path in paths)
    truth = GroundTruth(
        "mine", names[:3], (Query(names[3], {"ok": (0,), "junk": ()}),), image_root=tmp_path / "a"
    )
    learned = {"trained": record(paths), "whitened": record(paths[:2]), "other": None}
    told = [event for event in of_images(truth, learned, "run") if isinstance(event, Notice)]
    assert [event.message for event in told] == [
        "run was trained on 100% of the pictures of mine: the figures say little about others",
        "run was whitened on 50% of the pictures of mine: the figures say little about others",
    ]
    assert not list(of_images(truth, {"trained": record(files(tmp_path / "b", 2, start=50))}))


def test_images_that_nobody_asks_for_make_nothing_doubtful(tmp_path: Path) -> None:
    paths = files(tmp_path / "a", 6)
    names = tuple(path.name for path in paths)
    query = Query(names[5], {"ok": (0,), "junk": (1,)})
    truth = GroundTruth("mine", names[:5], (query,), image_root=tmp_path / "a")

    def told(*learned: Path) -> list[tuple[str, str]]:
        notices = of_images(truth, {"trained": record(learned)}, "run")
        return [(notice.level, notice.message) for notice in notices]

    others = "run was trained on 50% of the pictures of mine, but on none that is asked for or right"
    assert told(*paths[1:4]) == [("info", others)]
    for doubtful in ([paths[5]], [paths[0]], paths[:3]):
        ((level, message),) = told(*doubtful)
        assert level == "warning"
        assert "say little about others" in message
    # Of very many images some are known: that none of them is asked for says nothing of the others.
    ((level, _),) = told(*paths[1:4], *files(tmp_path / "b", 2000, start=50))
    assert level == "warning"

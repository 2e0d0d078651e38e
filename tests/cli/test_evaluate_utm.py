"""``darkside evaluate`` on a folder of images whose names say where they were taken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_calls import RunHere
from utm_folders import utm_name, write_utm_folder


def test_the_table_and_the_page_of_wrong_queries(run_here: RunHere, tmp_path: Path) -> None:
    """q1 finds its place first, q2 another one, and q3 was taken far from all."""
    database = [utm_name(0, 0), utm_name(100, 0)]
    queries = [utm_name(3, 4, note="q1"), utm_name(100, 25, note="q2"), utm_name(900, 0, note="q3")]
    write_utm_folder(tmp_path / "city", {"database": database, "queries": queries})
    names = [*(f"database/{name}" for name in database), *(f"queries/{name}" for name in queries)]
    np.savez(tmp_path / "rows.npz", descriptors=np.eye(2, dtype=np.float32)[[0, 1, 0, 0, 1]], names=names)
    words = ("evaluate", "--descriptors", "rows.npz", "--dataset", "city")
    done = run_here(*words, "--gallery", "wrong.html", "--only-wrong")
    assert done.returncode == 0, done.stderr
    head, row, page = (line.split("\t") for line in done.stdout.splitlines())
    figures = dict(zip(head, row, strict=True))
    assert [figures[f"R@{k}"] for k in (1, 5, 10, 20)] == ["33.3", "66.7", "66.7", "66.7"]
    assert (figures["mAP"], figures["queries"]) == ("62.50", "3")  # of q1 and q2: 1 and (0 + 1/2) / 2
    assert page == ["wrong.html"]
    shown = (tmp_path / "wrong.html").read_text()
    assert shown.count("<section") == 2
    assert "nothing within 25 m" in shown
    assert "2 of 3 queries" in shown
    more = run_here(*words, "--positive-dist", "24", "--json")
    recall = json.loads(more.stdout)["results"][0]["protocols"]["24 m"]["recall"]
    assert recall["1"] == recall["20"] == pytest.approx(1 / 3)  # q2 stands 25 m away from its place


def test_descriptors_of_the_whole_set_are_found_by_their_part(run_here: RunHere, tmp_path: Path) -> None:
    """Database and queries have the same names, so that only the folders tell them apart."""
    names = [utm_name(0, 0), utm_name(100, 0)]
    write_utm_folder(tmp_path / "city" / "images" / "test", {"database": names, "queries": names})
    every = [f"{side}/{name}" for side in ("database", "queries") for name in names]
    for above in ("", "test/", "images/test/"):
        np.savez(
            tmp_path / "rows.npz",
            descriptors=np.eye(2, dtype=np.float32)[[0, 1, 0, 1]],
            names=[above + name for name in every],
        )
        done = run_here("evaluate", "--descriptors", "rows.npz", "--dataset", "city", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["results"][0]["protocols"]["25 m"]["recall"]["1"] == 1


def test_what_others_published_goes_to_people_where_results_are_piped(
    run_here: RunHere, tmp_path: Path
) -> None:
    names = [utm_name(0, 0), utm_name(100, 0)]
    write_utm_folder(tmp_path / "tokyo247" / "test", {"database": names, "queries": names})
    np.savez(
        tmp_path / "rows.npz",
        descriptors=np.eye(2, dtype=np.float32)[[0, 1, 0, 1]],
        names=[f"{side}/{name}" for side in ("database", "queries") for name in names],
    )
    done = run_here("evaluate", "--descriptors", "rows.npz", "--dataset", "./tokyo247")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "published recall@1 on tokyo247/test, within 25 m: salad 97.5, megaloc 96.5" in done.stderr

"""``darkside demo`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_calls import RunHere

GAN = (
    "generator.ngf=4", "generator.n_blocks=1", "discriminator.ndf=4", "discriminator.n_layers=1",
    "data.size=6", "data.batch_size=3", "trainer.epochs=1", "trainer.validate_every=0",
)  # fmt: skip
DESCRIPTORS = ("trainer.epochs=1", "data.image_size_px=32")
SMALL = [word for each in GAN for word in ("--set-gan", each)]
SMALL += [word for each in DESCRIPTORS for word in ("--set-base", each, "--set-finetune", each)]


@pytest.mark.slow
def test_table_json_and_report(run_here: RunHere, tmp_path: Path) -> None:
    arguments = ["demo", "--size", "tiny", "--data-dir", "data", "-o", "out", "--device", "cpu", *SMALL]
    done = run_here(*arguments)
    assert done.returncode == 0, done.stderr
    heading, row, report = done.stdout.splitlines()
    assert heading.split("\t")[1:4] == ["night without", "night with", "difference"]
    cells = row.split("\t")
    assert cells[0] == "seed 0"
    assert float(cells[3]) == pytest.approx(float(cells[2]) - float(cells[1]), abs=0.011)
    assert report == "out/report.html"
    assert (tmp_path / report).is_file()
    assert (tmp_path / "out/seed-0/with/report.html").is_file()

    again = run_here(*arguments, "--json")
    document = json.loads(again.stdout)
    assert document["complete"]
    assert document["report"] == "out/report.html"
    assert f"{document['seeds'][0]['scores']['night']['with']:.2f}" == cells[2]
    assert "training in" not in again.stderr


def test_wrong_use(run_here: RunHere, tmp_path: Path) -> None:
    assert "small" in run_here("demo", "--size", "smal").stderr
    assert run_here("demo", "--seeds", "0").returncode == 2
    for photos, hint in (("webcams", "darkside download webcams"), ("webcam", "did you mean webcams")):
        lacking = run_here("demo", "--photos", photos, "--data-dir", "data", "-o", "out")
        assert (lacking.returncode, len(lacking.stderr.splitlines())) == (3, 1)
        assert hint in lacking.stderr
    (tmp_path / "file").touch()
    assert "not a folder" in run_here("demo", "-o", "file").stderr
    wrong = run_here("demo", "--size", "tiny", "--data-dir", "data", "-o", "out", "--set-gan", "ngf=3")
    assert wrong.returncode == 2
    assert "ngf" in wrong.stderr

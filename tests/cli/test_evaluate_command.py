"""``darkside evaluate`` as a real process, on files in the published formats with full-size weights."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import golden
import numpy as np
import pytest
import torch
from cli_calls import RunCli, RunHere
from small_descriptor import write_small_descriptor

from darkside_cli.retrieval.describe.write import write_descriptors

CASE = golden.load_case("evaluation")

MakeImage = Callable[..., Path]


def place_model(root: Path, backbone: str, dim: int) -> None:
    """The published files of the CycleGAN descriptor, with the golden cases' weights."""
    folder = root / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    # The recorded checkpoint has the keys and shapes, each tensor one value expanded.
    content = torch.load(golden.DATA / f"files/checkpoints/embed_{backbone}.pth", weights_only=True)
    content["model_state"] = {key: value.clone() for key, value in content["model_state"].items()}
    golden.fill_(content["model_state"], CASE.seed)
    torch.save(content, folder / f"cyclegan_embed_{backbone}.pth")
    whitening = golden.weights_module().whitening(dim, dim, CASE.seed + 50)
    (folder / f"cyclegan_embed_{backbone}_lw.pkl").write_bytes(pickle.dumps(whitening))


@pytest.fixture
def root(environment: dict[str, str]) -> Path:
    """A data folder with the two tiny test sets in their published layout."""
    root = Path(environment["DARKSIDE_HOME"])
    shutil.copytree(golden.DATA / "files" / "test", root / "data" / "test")
    return root


@pytest.mark.slow
def test_the_golden_evaluation(run_inside: RunCli, root: Path, tmp_path: Path) -> None:
    """Weights, whitening, boxes, scales, metrics: every average and every query's AP of the case, from files."""
    place_model(root, "vgg16", 512)
    sets = {"247tokyo1k": "tokyo247", "roxford5k": "roxford5k"}
    arguments = [word for name in CASE.values for word in ("--dataset", sets[name])]
    size = str(CASE.params["image_size"])
    done = run_inside(
        "evaluate", "--model", "gem_vgg16_cyclegan", *arguments, "--image-size", size, "--json", "--keep", "d"
    )
    assert done.returncode == 0, done.stderr
    results = {each["dataset"]: each for each in json.loads(done.stdout)["results"]}
    for name, expected in CASE.values.items():
        protocols = results[sets[name]]["protocols"]
        for key, value in expected["averages"].items():
            protocol = protocols[key.removeprefix("map_") if "_" in key else "ok"]
            # descriptors agree to 5e-6; the same order of images gives the same average
            assert protocol["mAP"] == pytest.approx(value, abs=1e-9)
        for number, query in enumerate(expected["per_query"]):
            for key, value in query.items():
                protocol = protocols[key.removeprefix("ap_") if "_" in key else "ok"]
                ap = protocol["per_query"][number]["AP"]
                assert ap is None if value is None else ap == pytest.approx(value, abs=1e-9)
    # What was kept can be scored again without a model, as a table with its published figures missing.
    (kept,) = (tmp_path / "d").glob("gem_vgg16_cyclegan-roxford5k-????????.h5")
    again = run_inside("evaluate", "--descriptors", kept, "--dataset", "roxford5k", "--per-query")
    assert again.returncode == 0, again.stderr
    head, *rows = [line.split("\t") for line in again.stdout.decode().splitlines()]
    assert head[:6] == ["model", "data set", "protocol", "mAP", "published", "diff"]
    medium = next(row for row in rows if row[2] == "medium")
    assert float(medium[3]) == pytest.approx(
        100 * CASE.values["roxford5k"]["averages"]["map_medium"], abs=0.01
    )
    assert medium[4] == "-"


@pytest.mark.slow
def test_the_command_the_user_gave(run_inside: RunCli, root: Path) -> None:
    """Letter for letter, beside the published figure."""
    command = "darkside evaluate --model gem_r101_cyclegan --dataset tokyo247"
    missing = run_inside(*command.split()[1:])
    assert missing.returncode == 3
    assert b"darkside download gem_resnet101_cyclegan" in missing.stderr
    place_model(root, "resnet101", 2048)
    done = run_inside(*command.split()[1:])
    assert done.returncode == 0, done.stderr
    row = done.stdout.decode().splitlines()[1].split("\t")
    assert row[:3] == ["gem_resnet101_cyclegan", "tokyo247", "ok"]
    assert row[4] == "92.0"
    assert float(row[5]) == pytest.approx(float(row[3]) - 92.0, abs=0.011)


@pytest.fixture
def places(tmp_path: Path, make_image: MakeImage) -> Path:
    """Three places; each night image is its place's day image, darker."""
    from PIL import Image

    for number in range(3):
        day = make_image(tmp_path / "places" / f"p{number}" / "day" / "d.png", 96, 80, seed=number)
        night = tmp_path / "places" / f"p{number}" / "night" / "n.png"
        night.parent.mkdir()
        Image.open(day).point(lambda v: v // 2).save(night)
    make_image(tmp_path / "more" / "x.png", 96, 80, seed=9)
    return tmp_path / "places"


def describe(places: Path, rows: dict[str, list[float]], path: Path) -> Path:
    names = list(rows)
    table = np.array([rows[name] for name in names], np.float32)
    np.savez(path, descriptors=table / np.linalg.norm(table, axis=1, keepdims=True), names=np.array(names))
    return path


@pytest.mark.slow
def test_own_places_distractors_and_the_gallery(run_inside: RunCli, places: Path, tmp_path: Path) -> None:
    """Hand-made descriptors with a known order."""
    rows = {f"p{i}/day/d.png": [float(i == j) for j in range(3)] for i in range(3)}
    rows |= {f"p{i}/night/n.png": [float(i == j) + 0.1 for j in range(3)] for i in range(2)}
    rows["p2/night/n.png"] = [1.0, 0.1, 0.9]  # nearer to p0 than to its own place, p2
    file = describe(places, rows, tmp_path / "d.npz")
    done = run_inside("evaluate", "--descriptors", file, "--dataset", places, "--json", "--gallery", "g.html")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["results"][0]["protocols"]["ok"]
    # ranks 0, 0 and 1 of the only right image: trapezoidal AP 1, 1 and (0 + 1/2) / 2
    assert [query["AP"] for query in figures["per_query"]] == [1.0, 1.0, 0.25]
    assert figures["mAP"] == pytest.approx(0.75)
    assert figures["recall"] == {"1": pytest.approx(2 / 3), "5": 1.0, "10": 1.0}
    page = (tmp_path / "g.html").read_text()
    assert "AP 25.0" in page
    assert page.count("<section") == 3
    assert "data:image/jpeg;base64" in page

    far = np.eye(3, dtype=np.float32)[[2, 2]]
    np.save(tmp_path / "far.npy", far)  # two distractors exactly like p2's day image: they come after it
    more = run_inside("evaluate", "--descriptors", file, "--dataset", places, "--distractors", "far.npy")
    assert more.returncode == 0, more.stderr
    row = more.stdout.decode().splitlines()[1].split("\t")
    assert row[1].endswith("+2")
    assert math.isclose(float(row[3]), 75.0)


def test_what_is_kept_is_apart_for_each_model_setting_and_folder(
    run_here: RunHere, places: Path, tmp_path: Path
) -> None:
    """Two runs have models of one file name, and two data sets one folder name."""
    for number in (1, 2):
        (tmp_path / f"run{number}").mkdir()
        write_small_descriptor(tmp_path / f"run{number}" / "best.safetensors", seed=number)
    shutil.copytree(places, tmp_path / "other" / "places")
    arguments = ("evaluate", "-m", "run1/best.safetensors", "-m", "run2/best.safetensors", "-d", places)
    arguments += ("-d", "other/places", "--image-size", "96", "--keep", "kept", "-q", "--json")
    first = run_here(*arguments)
    assert first.returncode == 0, first.stderr
    files = sorted((tmp_path / "kept").glob("*.h5"))
    assert [file.name[:21] for file in files] == ["best.safetensors-plac"] * 4
    times = [file.stat().st_mtime_ns for file in files]
    assert run_here(*arguments).stdout == first.stdout
    assert [file.stat().st_mtime_ns for file in files] == times, "taken from what was kept"
    again = run_here(*arguments, "--overwrite")
    assert again.stdout == first.stdout
    assert all(file.stat().st_mtime_ns > before for file, before in zip(files, times, strict=True))
    other = run_here(*arguments, "--clahe", "4.0", "--scales", "ss")
    assert other.returncode == 0, other.stderr
    assert other.stdout != first.stdout
    assert len(list((tmp_path / "kept").glob("*.h5"))) == 8


def test_broken_images_are_named_everywhere(run_here: RunHere, places: Path, tmp_path: Path) -> None:
    write_small_descriptor(tmp_path / "net.safetensors")
    for name in ("p0/night/n.png", "p1/day/d.png"):
        (places / name).write_bytes(b"broken")
    done = run_here("evaluate", "-m", "net.safetensors", "-d", places, "--image-size", "96", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)["results"][0]
    assert result["failed"] == ["p1/day/d.png", "p0/night/n.png"]
    assert [query["name"] for query in result["protocols"]["ok"]["per_query"]] == [
        "p1/night/n.png",
        "p2/night/n.png",
    ]
    assert "p1/day/d.png, p0/night/n.png without a descriptor; queries left out: 1 of 3" in done.stderr


def test_a_published_ground_truth_that_contradicts_itself(run_here: RunHere, tmp_path: Path) -> None:
    """By hand: scores put a, b, c, d in this order; a is ok and junk, c is listed twice.

    cirtorch has a at rank 0 (1), c at rank 2 less the junk before it, 1: (1/1 + 2/2) / 2; over three that are listed.
    """
    gnd = {"imlist": list("abcd"), "qimlist": ["q"], "gnd": [{"ok": [0, 2, 2], "junk": [0], "bbx": None}]}
    (tmp_path / "gnd_odd.pkl").write_bytes(pickle.dumps(gnd))
    angles = np.array([0.1, 0.2, 0.3, 0.4, 0.0])
    table = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    np.savez(tmp_path / "d.npz", descriptors=table, names=np.array(list("abcdq")))
    done = run_here("evaluate", "--descriptors", "d.npz", "--dataset", "gnd_odd.pkl", "--json")
    assert done.returncode == 0, done.stderr
    ap = json.loads(done.stdout)["results"][0]["protocols"]["ok"]["mAP"]
    assert ap == pytest.approx((1 + 1) / 3, rel=1e-12)
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 2
    assert "query 0 (q): ok lists image 2 (c) twice" in warnings[0]
    assert "query 0 (q): image 0 (a) is both ok and junk" in warnings[1]


def test_options_that_would_be_passed_over_are_refused(
    run_here: RunHere, places: Path, tmp_path: Path
) -> None:
    names = [f"p{i}/{part}.png" for i in range(3) for part in ("day/d", "night/n")]
    file = describe(places, {name: [1.0, 0.5] for name in names}, tmp_path / "all.npz")
    gnd = {"imlist": [names[0]], "qimlist": [names[1]], "gnd": [{"ok": [0], "junk": [], "bbx": None}]}
    (tmp_path / "gnd_one.pkl").write_bytes(pickle.dumps(gnd))
    scores = ("evaluate", "--descriptors", file, "--dataset")
    assert run_here(*scores, places).returncode == 0
    assert run_here(*scores, "gnd_one.pkl", "--images", places).returncode == 0
    for arguments, message in [
        ((places, "--dim", "1"), "--dim says how a model describes images"),
        ((places, "--no-whiten"), "--no-whiten says how a model describes images"),
        ((places, "--scales", "ss"), "--scales says how a model describes images"),
        ((places, "--image-size", "96"), "--image-size says how a model describes images"),
        ((places, "--keep", "kept"), "--keep says how a model describes images"),
        ((places, "--images", tmp_path), "leave out --images"),
        (("gnd_one.pkl", "--distractor-images", tmp_path / "more"), "gnd_one.pkl"),
        (("gnd_one.pkl", "--query-folder", "dusk"), "one is no folder of places"),
    ]:
        done = run_here(*scores, *arguments)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert message.replace("gnd_one.pkl", "one is no folder of places") in done.stderr


@pytest.mark.slow
def test_mistakes(run_inside: RunCli, places: Path, tmp_path: Path) -> None:
    def told(*arguments: str | Path) -> tuple[int, str]:
        done = run_inside("evaluate", *arguments)
        assert done.stdout == b""
        assert done.stderr.count(b"\n") == 1, done.stderr
        return done.returncode, done.stderr.decode()

    file = describe(places, {"p0/day/d.png": [1.0, 0.0]}, tmp_path / "few.npz")
    for arguments, code, message in [
        (("--model", "gem_r101_cyclegan"), 2, "no data set given"),
        (("-q", "--dataset", "tokyo247"), 3, "darkside download tokyo247"),
        (("--model", "gem_r101_cyclgan", "--dataset", places), 2, "did you mean gem_r101_cyclegan"),
        (("--descriptors", file, "--dataset", "tokyo274"), 2, "did you mean tokyo247"),
        (("--descriptors", file, "--dataset", "tokyo247"), 3, "darkside download tokyo247"),
        (("--descriptors", file, "--dataset", "no/such.pkl"), 3, "no/such.pkl"),
        (("--descriptors", file, "--dataset", places), 2, "has no descriptor of p1/day/d.png"),
        (("--descriptors", "nope.h5", "--dataset", places), 3, "nope.h5"),
    ]:
        returned, line = told(*arguments)
        assert returned == code, line
        assert message in line


def test_precomputed_descriptors_need_no_images(
    run_here: RunHere, environment: dict[str, str], tmp_path: Path
) -> None:
    """Of a set known by name only the ground truth is needed; with a model, the images as well."""
    truth = Path(environment["DARKSIDE_HOME"]) / "data" / "test" / "roxford5k" / "gnd_roxford5k.pkl"
    truth.parent.mkdir(parents=True)
    gnd = [{"easy": [0], "hard": [1], "junk": [], "bbx": [0, 0, 5, 5]}]
    truth.write_bytes(pickle.dumps({"imlist": ["a", "b", "c"], "qimlist": ["q"], "gnd": gnd}))
    rows = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [1.0, 1.0], "q": [1.0, 0.2]}
    file = describe(tmp_path, rows, tmp_path / "d.npz")
    done = run_here("evaluate", "--descriptors", file, "--dataset", "roxford5k", "--json")
    assert done.returncode == 0, done.stderr
    protocols = json.loads(done.stdout)["results"][0]["protocols"]
    # a, c, b: a is first; b is third, and second without a
    assert [protocols[name]["mAP"] for name in ("easy", "medium", "hard")] == pytest.approx(
        [1, (1 + (1 / 2 + 2 / 3) / 2) / 2, (0 + 1 / 2) / 2]
    )
    assert "d.npz has 1 queries by plain names (q): taken to be of those parts" in done.stderr
    # The model is the one that a file says it was made with, not the file.
    result = json.loads(done.stdout)["results"][0]
    assert (result["model"], result["descriptors"]) == (None, str(file))
    table = np.array(list(rows.values()), dtype=np.float32)
    made = write_descriptors(tmp_path / "made.h5", list(rows), [table], 2, metadata={"model": "gem"})
    again = run_here("evaluate", "--descriptors", made, "--dataset", "roxford5k", "--json")
    result = json.loads(again.stdout)["results"][0]
    assert (result["model"], result["descriptors"]) == ("gem", str(made))
    write_small_descriptor(tmp_path / "net.safetensors")
    lacking = run_here("evaluate", "--model", "net.safetensors", "--dataset", "roxford5k", "--offline")
    assert (lacking.returncode, lacking.stdout) == (3, "")
    assert "darkside download" in lacking.stderr


def test_rows_that_cannot_be_trusted(run_here: RunHere, places: Path, tmp_path: Path) -> None:
    """Of one row a single number is missing, of another it is infinite; the rest are not of unit length."""
    rows = {f"p{i}/day/d.png": [float(i == j) for j in range(3)] for i in range(3)}
    rows |= {f"p{i}/night/n.png": [float(i == j) + 0.1 for j in range(3)] for i in range(3)}
    table = np.array(list(rows.values()), np.float32)
    table[1, 2], table[5, 1] = np.inf, np.nan
    np.savez(tmp_path / "d.npz", descriptors=table, names=np.array(list(rows)))
    np.save(tmp_path / "far.npy", np.array([[np.nan, 0, 0], [0, 0, 1]], np.float32))
    done = run_here("evaluate", "--descriptors", "d.npz", "-d", places, "--distractors", "far.npy", "--json")
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)["results"][0]
    assert result["failed"] == ["p1/day/d.png", "p2/night/n.png"]
    # p1's only answer has no descriptor: p0, p2 and one distractor come before it, the other one has none either
    first, second = (query["AP"] for query in result["protocols"]["ok"]["per_query"])
    assert (first, second) == (1.0, pytest.approx(1 / 4 / 2))
    assert "d.npz: 2 descriptors are not of unit length" in done.stderr
    assert "1 of 2 distractors have no finite descriptor" in done.stderr


def test_what_would_fail_in_the_end_fails_at_once(run_here: RunHere, places: Path, tmp_path: Path) -> None:
    """Nothing is described before: that may be hours of work."""
    write_small_descriptor(tmp_path / "net.safetensors")
    np.save(tmp_path / "other.npy", np.eye(5, dtype=np.float32))
    (tmp_path / "pages").mkdir()
    (tmp_path / "two").mkdir()
    for name in "ab":
        (tmp_path / "two" / f"gnd_{name}.pkl").write_bytes(b"")
    for arguments, code, message in [
        ((places, "--distractors", "other.npy"), 2, "other.npy has descriptors of 5 dimensions, net.safeten"),
        ((places, "--distractors", "no.npy"), 3, "there is no file no.npy"),
        ((places, "--gallery", "pages"), 2, "pages is a folder; name a file, such as gallery.html"),
        (("two",), 2, "two has the ground truths gnd_a.pkl, gnd_b.pkl; name one of these files"),
    ]:
        done = run_here("evaluate", "-m", "net.safetensors", "-d", *arguments)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert message in done.stderr
        assert done.stderr.count("\n") == 1, "no image was described"


def test_nothing_to_judge_is_told(run_here: RunHere, places: Path, tmp_path: Path) -> None:
    document = {
        "format": "darkside-ground-truth",
        "version": 1,
        "database": ["a"],
        "queries": [{"name": "q"}],
    }
    (tmp_path / "mine.json").write_text(json.dumps(document))
    file = describe(places, {"a": [1.0, 0.0], "q": [1.0, 0.5]}, tmp_path / "d.npz")
    done = run_here("evaluate", "--descriptors", file, "-d", "mine.json")
    assert done.returncode == 0
    assert "warning: mine: no query has a right image in the ground truth: nothing to judge" in done.stderr


@pytest.mark.parametrize("keep", [False, True])
def test_at_ctrl_c_it_is_told_whether_something_is_kept(
    run_here: RunHere, places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    from darkside_cli.retrieval.search import evaluate

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "score", interrupted)
    write_small_descriptor(tmp_path / "net.safetensors")
    more = ("--keep", "kept") if keep else ()
    done = run_here("evaluate", "-m", "net.safetensors", "-d", places, "--image-size", "96", "-q", *more)
    assert (done.returncode, done.stdout) == (130, "")
    expected = "what was finished is kept" if keep else "nothing is kept without --keep DIR"
    assert done.stderr.startswith(f"darkside: interrupted; {expected}")

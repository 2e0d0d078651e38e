"""``darkside translate`` as a real process: pipes, odd names, odd images, trees, interruption."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_calls import RunCli, RunHere
from held_command import held_command
from PIL import Image
from waiting import Process, wait_until

from darkside_cli.cli.images import check_stdout
from darkside_cli.cli.output import Output
from darkside_cli.errors import UsageError

MakeImage = Callable[..., Path]
RunPiped = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def translate(run_inside: RunCli, generator_file: Path) -> RunCli:
    """``darkside translate --model <tiny generator> ...``."""

    def run(
        *arguments: str | os.PathLike[str] | bytes, **kwargs: object
    ) -> subprocess.CompletedProcess[bytes]:
        return run_inside("translate", "--model", generator_file, *arguments, **kwargs)

    return run


def lines(done: subprocess.CompletedProcess[bytes]) -> list[bytes]:
    return done.stdout.splitlines()


def test_names_from_a_pipe_become_night_images(
    translate: RunCli, make_image: MakeImage, tmp_path: Path
) -> None:
    make_image(tmp_path / "b.jpg")
    make_image(tmp_path / "a.jpg", 51, 38)
    done = translate("--to", "night", stdin=b"b.jpg\n\na.jpg\r\n")
    assert done.returncode == 0, done.stderr
    assert lines(done) == [b"night/b.jpg", b"night/a.jpg"]
    with Image.open(tmp_path / "night" / "a.jpg") as image:
        assert image.size == (51, 38)
        assert image.format == "JPEG"
    assert b"2 images done" in done.stderr
    # A second run makes nothing, says so, and pipes the same list on.
    before = (tmp_path / "night" / "a.jpg").stat().st_mtime_ns
    again = translate(stdin=b"b.jpg\na.jpg\n")
    assert again.returncode == 0
    assert lines(again) == [b"night/b.jpg", b"night/a.jpg"]
    assert b"2 skipped" in again.stderr
    assert (tmp_path / "night" / "a.jpg").stat().st_mtime_ns == before


def test_any_file_name(translate: RunCli, make_image: MakeImage, tmp_path: Path) -> None:
    names = [
        b"with space.png",
        b'it\'s "quoted".png',
        "höhe-夜.png".encode(),
        b"new\nline.png",
        b"bytes-\xff.png",
        b"-dash.png",
    ]
    template = make_image(tmp_path / "template.bin.png").read_bytes()
    (tmp_path / "template.bin.png").unlink()
    for name in names:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_bytes(template)
    done = translate("-0", stdin=b"\0".join(names))
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"".join(b"night/" + name + b"\0" for name in names)
    written = {os.fsencode(p.name) for p in (tmp_path / "night").iterdir()}
    assert written == set(names)


def test_odd_images(translate: RunCli, make_image: MakeImage, tmp_path: Path) -> None:
    """Every mode comes out as an image of the same (upright) size, and images the network is too large for too."""
    folder = tmp_path / "in"
    make_image(folder / "grey.png", 33, 21, mode="L")
    make_image(folder / "palette.png", 33, 21, mode="P")
    make_image(folder / "bilevel.png", 33, 21, mode="1")
    make_image(folder / "cmyk.jpg", 33, 21, mode="CMYK")
    make_image(folder / "alpha.png", 33, 21, mode="RGBA")
    make_image(folder / "frame.gif", 33, 21)
    Image.fromarray(np.arange(33 * 21, dtype=np.uint16).reshape(21, 33) * 90).save(folder / "deep.png")
    make_image(folder / "one.png", 1, 1)
    make_image(folder / "strip.png", 40, 2)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: stored 33x21, shown 21x33
    make_image(folder / "turned.jpg", 33, 21, exif=exif)
    done = translate("in", "--jsonl")
    assert done.returncode == 0, done.stderr
    items = {Path(item["input"]).name: item for item in map(json.loads, lines(done))}
    sizes = {name: item["size"] for name, item in items.items()}
    assert sizes.pop("turned.jpg") == [21, 33]
    assert sizes.pop("one.png") == [1, 1]
    assert sizes.pop("strip.png") == [40, 2]
    assert set(map(tuple, sizes.values())) == {(33, 21)}
    assert len(sizes) == 7
    for item in items.values():
        with Image.open(tmp_path / item["output"]) as image:
            image.load()
            assert list(image.size) == item["size"]
            assert image.getexif().get(0x0112, 1) == 1
        assert item["seconds"] > 0
    assert items["frame.gif"]["output"].endswith("frame.png")
    with Image.open(tmp_path / items["alpha.png"]["output"]) as image:
        assert image.mode == "RGBA"


def test_failures_are_named_and_the_rest_is_done(
    translate: RunCli, make_image: MakeImage, tmp_path: Path
) -> None:
    whole = make_image(tmp_path / "whole.jpg", 64, 48)
    (tmp_path / "truncated.jpg").write_bytes(whole.read_bytes()[:-300])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture\n")
    os.mkfifo(tmp_path / "fifo.jpg")
    names = ["truncated.jpg", "empty.jpg", "text.jpg", "missing.jpg", "fifo.jpg", "whole.jpg"]
    done = translate(*names, "--jsonl")
    assert done.returncode == 1
    items = [json.loads(line) for line in lines(done)]
    assert [item["input"] for item in items] == names
    assert all(item["error"] for item in items[:-1])
    assert items[-1]["output"] == "night/whole.jpg"
    for name in names[:-1]:
        assert [line for line in done.stderr.splitlines() if f"darkside: {name}: ".encode() in line], name
    assert b"1 images done" in done.stderr
    assert b"5 FAILED" in done.stderr
    assert b"Traceback" not in done.stderr
    assert [p.name for p in (tmp_path / "night").iterdir()] == ["whole.jpg"]


@pytest.mark.slow
def test_trees_and_equal_names(translate: RunCli, make_image: MakeImage, tmp_path: Path) -> None:
    """The structure is kept, the output folder inside the input folder is not an input, hidden files are none."""
    for name in (
        "photos/a/x.png",
        "photos/b/x.png",
        "photos/x.png",
        "photos/.hidden.png",
        "photos/night/old.png",
    ):
        make_image(tmp_path / name)
    done = translate("-r", "photos", "-o", "photos/night")
    assert done.returncode == 0, done.stderr
    assert sorted(lines(done)) == [b"photos/night/a/x.png", b"photos/night/b/x.png", b"photos/night/x.png"]
    again = translate("-r", "photos", "-o", "photos/night")
    assert b"3 skipped" in again.stderr
    flat = translate("photos", "-o", "flat")
    assert lines(flat) == [b"flat/x.png"]
    both = translate("photos/a/x.png", tmp_path / "photos" / "b" / "x.png", "-o", "both")
    assert sorted(lines(both)) == [b"both/photos/a/x.png", b"both/photos/b/x.png"]


def test_sheets_suffix_format_and_size(translate: RunCli, make_image: MakeImage, tmp_path: Path) -> None:
    make_image(tmp_path / "day.jpg", 80, 60)
    done = translate("day.jpg", "--suffix", "_night", "--format", "png", "--max-size", "40", "--compare")
    assert done.returncode == 0, done.stderr
    assert lines(done) == [b"day_night.png"]
    with Image.open(tmp_path / "day_night.png") as image:
        assert image.size == (40, 30)
    with Image.open(tmp_path / "compare" / "day_night.png") as sheet:
        assert sheet.size == (88, 30)


@pytest.mark.slow
def test_mistakes_are_told_in_one_line(
    translate: RunCli, run_inside: RunCli, make_image: MakeImage, tmp_path: Path
) -> None:
    make_image(tmp_path / "a.png")
    (tmp_path / "none").mkdir()

    def told(done: subprocess.CompletedProcess[bytes], code: int) -> str:
        assert done.returncode == code, done.stderr
        message = done.stderr.decode()
        assert message.count("\n") == 1, message
        assert message.startswith("darkside: ")
        assert done.stdout == b""
        return message

    assert "no images in none" in told(translate("none"), 2)
    assert "--recursive" in told(translate("none"), 2)
    assert "nothing to do" in told(translate(stdin=b"\n\n"), 0)
    assert "did you mean png" in told(translate("a.png", "--format", "pgn"), 2)
    assert "did you mean night?" in told(translate("a.png", "--to", "nigt"), 2)
    assert "does not say that it translates to day" in told(translate("a.png", "--to", "day"), 2)
    assert "did you mean hedngan" in told(run_inside("translate", "a.png", "--model", "hedgnan"), 2)
    missing = told(run_inside("translate", "a.png", "--model", "hedngan"), 3)
    assert "hedngan_generator_X.pth" in missing
    assert "darkside-home" in missing
    (tmp_path / "bad.pth").write_bytes(b"<html>404</html>")
    assert "bad.pth" in told(run_inside("translate", "a.png", "--model", "bad.pth"), 2)
    assert "is not a folder" in told(translate("a.png", "-o", "bad.pth"), 2)
    assert not (tmp_path / "night").exists()


def test_quiet_verbose_and_closed_pipes(
    translate: RunCli,
    make_image: MakeImage,
    tmp_path: Path,
    environment: dict[str, str],
    generator_file: Path,
) -> None:
    for i in range(4):
        make_image(tmp_path / f"{i}.png", seed=i)
    assert translate("0.png", "--quiet").stderr == b""
    assert b"1.png -> night/1.png" in translate("1.png", "--verbose").stderr
    command = [
        sys.executable,
        "-m",
        "darkside_cli",
        "translate",
        "--model",
        str(generator_file),
        "2.png",
        "3.png",
    ]
    with Process(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert b"Traceback" not in errors
    assert b"Broken" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_whole_files_and_goes_on(
    make_image: MakeImage,
    tmp_path: Path,
    environment: dict[str, str],
    generator_file: Path,
    number: signal.Signals,
    translate: RunCli,
) -> None:
    for i in range(16):
        make_image(tmp_path / "in" / f"{i:02}.png", 224, 224 if i != 12 else 220, seed=i)
    command = held_command((224, 220), "translate", "--model", generator_file, "in", "-o", "out")
    with Process(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        assert first == b"out/00.png\n"
        process.send_signal(number)
        told = [first, *process.stdout.readlines()]
        errors = process.stderr.read()
    assert process.returncode == 130, errors
    assert b"interrupted" in errors
    written = sorted((tmp_path / "out").iterdir())
    assert [os.fsencode(f"out/{p.name}") + b"\n" for p in written] == told
    assert len(written) < 16
    for path in written:
        with Image.open(path) as image:
            image.load()
    done = translate("in", "-o", "out")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 16)
    assert f"{len(written)} skipped".encode() in done.stderr


def test_kill_9_leaves_no_partial_image(
    make_image: MakeImage,
    tmp_path: Path,
    environment: dict[str, str],
    generator_file: Path,
    translate: RunCli,
) -> None:
    for i in range(16):
        make_image(tmp_path / "in" / f"{i:02}.png", 224, 224, seed=i)
    command = [
        sys.executable,
        "-m",
        "darkside_cli",
        "translate",
        "--model",
        str(generator_file),
        "in",
        "-o",
        "out",
    ]
    with Process(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wait_until(lambda: any((tmp_path / "out").glob(".*")), process=process)  # one is being written
        process.kill()
    for path in (tmp_path / "out").iterdir():
        if not path.name.startswith("."):
            with Image.open(path) as image:
                image.load()
    done = translate("in", "-o", "out")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 16)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_files(
    make_image: MakeImage, tmp_path: Path, environment: dict[str, str], generator_file: Path
) -> None:
    """Peak memory of 2,000 images stays within a few per cent of that of 100."""
    one = make_image(tmp_path / "one.png", 96, 96)
    names = []
    for i in range(2000):
        path = tmp_path / "in" / f"{i:04}.png"
        path.parent.mkdir(exist_ok=True)
        os.link(one, path)
        names.append(os.fsencode(path))
    code = (
        "import resource, sys; from darkside_cli.cli.app import main\n"
        "try: main()\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )

    def peak_kib(count: int, out: str) -> int:
        words = ["translate", "--workers", "2", "--model", str(generator_file), "-q", "-o", out]
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            input=b"\n".join(names[:count]),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            check=True,
        )
        assert len(done.stdout.splitlines()) == count
        return int(done.stderr.split()[-1])

    few, many = peak_kib(100, "few"), peak_kib(2000, "many")
    assert many < 1.08 * few


def test_generators_of_cyclegan_and_both_directions(
    run_inside: RunCli, make_image: MakeImage, tmp_path: Path, generator_file: Path
) -> None:
    """Bare state dicts as CycleGAN writes them: with ``module.`` and InstanceNorm's old statistics."""
    import torch

    state = torch.load(generator_file, weights_only=True)["model_state"]
    old = dict(state)
    for index, width in ((2, 4), (5, 8), (8, 16)):
        old |= {
            f"model.{index}.running_mean": torch.zeros(width),
            f"model.{index}.running_var": torch.ones(width),
        }
    run = tmp_path / "checkpoints" / "day2night"
    run.mkdir(parents=True)
    torch.save(old, run / "latest_net_G_A.pth")
    torch.save({f"module.{key}": value for key, value in state.items()}, run / "latest_net_G_B.pth")
    make_image(tmp_path / "a.png")
    to_night = run_inside("translate", "a.png", "--model", "checkpoints/day2night", "--batch-size", "2")
    assert (to_night.returncode, to_night.stdout) == (0, b"night/a.png\n"), to_night.stderr
    to_day = run_inside("translate", "a.png", "--model", run / "latest_net_G_B.pth", "--to", "day")
    assert (to_day.returncode, to_day.stdout) == (0, b"day/a.png\n"), to_day.stderr
    # the same weights: the same image
    assert (tmp_path / "day" / "a.png").read_bytes() == (tmp_path / "night" / "a.png").read_bytes()
    wrong = run_inside("translate", "a.png", "--model", run / "latest_net_G_A.pth", "--to", "day")
    assert wrong.returncode == 2
    assert b"translates day to night, not to day" in wrong.stderr


def test_a_hostile_checkpoint_runs_nothing(run_inside: RunCli, make_image: MakeImage, tmp_path: Path) -> None:
    import pickle

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path}/ran",)

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"model.1.weight": Payload()}))
    make_image(tmp_path / "a.png")
    done = run_inside("translate", "a.png", "--model", "evil.pth")
    assert done.returncode == 2
    assert b"evil.pth" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()
    pickle.loads((tmp_path / "evil.pth").read_bytes())
    assert (tmp_path / "ran").exists()  # the payload does work where pickles are trusted


@pytest.mark.slow
def test_runs_again(translate: RunCli, make_image: MakeImage, tmp_path: Path) -> None:
    """Suffixes, sheets and clashes: a second run makes nothing new, --overwrite makes the same anew."""
    for name in ("in/a.jpg", "in/IMG.jpg", "in/IMG.JPG", "a.jpg"):
        make_image(tmp_path / name)
    arguments = ("in", "a.jpg", "-o", "out", "--compare")
    first = translate(*arguments)
    assert first.returncode == 0, first.stderr
    assert len(set(first.stdout.splitlines())) == 4
    assert translate(*arguments).stdout == first.stdout
    beside = ("in", "-r", "--suffix", "_n", "--compare")
    assert translate(*beside).returncode == 0
    made = sorted(tmp_path.rglob("*"))
    again = translate(*beside)
    assert b"3 skipped" in again.stderr
    before = (tmp_path / "in" / "a_n.jpg").stat().st_mtime_ns
    forced = translate(*beside, "--overwrite")
    assert forced.returncode == 0, forced.stderr
    assert sorted(tmp_path.rglob("*")) == made
    assert (tmp_path / "in" / "a_n.jpg").stat().st_mtime_ns > before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited by Linux's RLIMIT_AS")
def test_an_image_that_memory_has_no_room_for_is_named(
    make_image: MakeImage, tmp_path: Path, environment: dict[str, str], generator_file: Path
) -> None:
    make_image(tmp_path / "small.png")
    Image.new("RGB", (6000, 6000)).save(tmp_path / "huge.png")
    code = (
        "import resource, torch, darkside_cli.methods.translate\n"
        "from darkside_cli.cli.app import main\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30), -1))\n"
        "main()"
    )
    done = subprocess.run(
        # Each thread takes addresses, and machines with many CPUs would have many of them.
        [
            sys.executable,
            "-c",
            code,
            "translate",
            "--workers",
            "1",
            "-m",
            generator_file,
            "huge.png",
            "small.png",
        ],
        cwd=tmp_path,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == b"night/small.png\n"
    assert b"darkside: huge.png: 6000x6000 does not fit" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files_and_folders_are_named(
    translate: RunCli, make_image: MakeImage, tmp_path: Path
) -> None:
    make_image(tmp_path / "ok.png")
    make_image(tmp_path / "secret.png").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    done = translate("secret.png", "closed", "ok.png")
    assert done.returncode == 1
    assert done.stdout == b"night/ok.png\n"
    assert b"secret.png: permission denied" in done.stderr


def test_an_image_goes_in_and_out_by_pipes(
    translate: RunCli, run_here: RunHere, make_image: MakeImage, tmp_path: Path, generator_file: Path
) -> None:
    """``cat street.jpg | darkside translate - -o - > night.jpg`` gives what a file would hold."""
    street = make_image(tmp_path / "street.jpg", 51, 38)
    done = translate("-", "-o", "-", stdin=street.read_bytes())
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "night").exists()
    assert run_here("translate", "-m", generator_file, "street.jpg").returncode == 0
    assert done.stdout == (tmp_path / "night" / "street.jpg").read_bytes()
    assert b"1 images done" in done.stderr


@pytest.fixture
def piped_in(run_here: RunHere, generator_file: Path, monkeypatch: pytest.MonkeyPatch) -> RunPiped:
    """``darkside translate --model <tiny generator> ...`` with bytes on standard input."""

    def run(data: bytes, *arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return run_here("translate", "--model", generator_file, *arguments)

    return run


def test_a_piped_image_gets_a_name_of_its_own(
    piped_in: RunPiped, make_image: MakeImage, tmp_path: Path
) -> None:
    """Another image is never taken for it, and the same one is not made anew."""
    one, two = (make_image(tmp_path / f"{i}.png", seed=i).read_bytes() for i in range(2))
    done = piped_in(one, "-", "--jsonl")
    assert done.returncode == 0, done.stderr
    item = json.loads(done.stdout)
    assert item["input"] == "-"
    assert item["output"].startswith("night/stdin-")
    assert item["output"].endswith(".png")
    other = piped_in(two, "-")
    assert other.stdout.strip() != item["output"]
    again = piped_in(one)  # without the dash, too
    assert again.stdout.strip() == item["output"]
    assert "1 skipped" in again.stderr
    beside = piped_in(one, "--suffix", "_n", "--format", "webp", "-q")
    assert beside.stdout.strip() == Path(item["output"]).stem + "_n.webp"
    assert (tmp_path / beside.stdout.strip()).is_file()
    both = piped_in(one + two, "-")
    assert "several images came in at once" in both.stderr
    cut = piped_in(one[:-30], "-")
    assert cut.returncode == 1
    assert "standard input: the PNG file is cut short" in cut.stderr


def test_what_cannot_go_through_pipes_is_told_before_anything_is_loaded(
    piped_in: RunPiped,
    run_here: RunHere,
    make_image: MakeImage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = make_image(tmp_path / "a.jpg").read_bytes()
    make_image(tmp_path / "b.jpg")
    monkeypatch.setattr("darkside_cli.jobs.translate.obtain_model", None)  # nothing comes so far

    def refused(data: bytes, *arguments: str) -> str:
        done = piped_in(data, *arguments)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "2 came in" in refused(b"", "a.jpg", "b.jpg", "-o", "-")
    assert "none came in" in refused(b"", "-o", "-")
    assert "others are named beside it" in refused(content, "-", "b.jpg")
    for option in ("--compare", "--json", "--jsonl", "--suffix=_n"):
        assert "does not go with -o -" in refused(content, "-o", "-", option)
    assert "did you mean png" in refused(content, "-o", "-", "--format", "pgn")
    assert "--json and --jsonl" in refused(b"a.jpg\n", "--json", "--jsonl")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.MOV").touch()
    assert "no images in clips, but videos; take frames out first" in refused(b"", "clips")
    assert "a video" in refused(b"\0\0\0\x18ftypisom" + bytes(60), "-", "-o", "-")
    told = refused(b"", "https://example.org/street.jpg")
    assert "https://example.org/street.jpg is a URL" in told
    assert "curl -L URL | darkside translate -" in told
    assert "is a URL" in refused(b"a.jpg\nhttp://example.org/b.jpg\n")
    assert "separated by NUL" in refused(b"a.jpg\0b.jpg\0")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    sort = run_here("sort", "-", "-o", "sorted")
    assert sort.returncode == 2
    assert "an image came in on standard input, where names of images belong" in sort.stderr


def test_an_image_is_not_written_to_a_terminal() -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    check_stdout(Output(stream=io.BytesIO()))
    with pytest.raises(UsageError, match="standard output is a terminal"):
        check_stdout(Output(stream=Terminal()))


def test_json_is_one_object_that_names_the_model(
    run_here: RunHere, make_image: MakeImage, tmp_path: Path, generator_file: Path
) -> None:
    make_image(tmp_path / "a.jpg", 20, 16)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    done = run_here("translate", "a.jpg", "broken.jpg", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["model"] == "darkside-night"  # not hedngan, which is not there
    assert (found["done"], found["skipped"], found["failed"]) == (1, 0, 1)
    assert found["images"][0] | {"seconds": 0} == {
        "input": "a.jpg",
        "output": "night/a.jpg",
        "size": [20, 16],
        "seconds": 0,
    }
    assert found["images"][1]["input"] == "broken.jpg"
    assert "not an image" in found["images"][1]["error"]
    again = json.loads(run_here("translate", "a.jpg", "--json").stdout)
    assert (again["done"], again["skipped"], again["images"][0]["skipped"]) == (0, 1, True)
    lines = run_here("translate", "a.jpg", "--jsonl", "--overwrite", "-m", generator_file).stdout
    assert json.loads(lines)["model"] == str(generator_file)


def test_animations_and_changed_names_are_told(
    run_here: RunHere, make_image: MakeImage, tmp_path: Path, generator_file: Path
) -> None:
    frames = [Image.new("RGB", (20, 16), (50 * i, 0, 0)) for i in range(3)]
    for name in ("moves.gif", "moves.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    names = ("moves.gif", "moves.webp", "still.gif", "pages.tif")
    done = run_here("translate", "-m", generator_file, *names, "--jsonl", "-q")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f"darkside: warning: {name} is animated: only its first frame was taken" for name in names[:2]
    ]
    assert [json.loads(line).get("animated") for line in done.stdout.splitlines()] == [True, True, None, None]
    make_image(tmp_path / "a.jpg")
    make_image(tmp_path / "p" / "a.jpg")
    both = run_here("translate", "-m", generator_file, "a.jpg", "p", "-o", "both")
    assert both.stdout.split() == ["both/a.jpg", "both/p/a.jpg"]
    assert "p/a.jpg is written to both/p/a.jpg: both/a.jpg would be another image's too" in both.stderr


def test_one_image_may_be_written_to_a_file(
    piped_in: RunPiped, make_image: MakeImage, tmp_path: Path
) -> None:
    content = make_image(tmp_path / "a.jpg", 20, 16).read_bytes()
    make_image(tmp_path / "b.jpg", seed=1)
    done = piped_in(b"", "a.jpg", "-o", "out/night.png", "--compare")
    assert (done.returncode, done.stdout) == (0, "out/night.png\n"), done.stderr
    with Image.open(tmp_path / "out" / "night.png") as image:
        assert (image.format, image.size) == ("PNG", (20, 16))
    assert (tmp_path / "out" / "compare" / "night.png").is_file()
    assert "1 skipped" in piped_in(b"", "a.jpg", "-o", "out/night.png").stderr
    assert piped_in(content, "-", "-o", "piped.webp").stdout == "piped.webp\n"

    def refused(*arguments: str) -> str:
        done = piped_in(b"", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        return done.stderr

    assert "would overwrite it" in refused("a.jpg", "-o", "a.jpg", "--overwrite")
    assert (tmp_path / "a.jpg").read_bytes() == content
    assert "night.jpg is one file, and 2 images came in" in refused("a.jpg", "b.jpg", "-o", "night.jpg")
    assert "--suffix does not go" in refused("a.jpg", "-o", "night.jpg", "--suffix", "_n")
    assert "--format does not go" in refused("a.jpg", "-o", "night.jpg", "--format", "png")
    (tmp_path / "folder.jpg").mkdir()
    assert piped_in(b"", "a.jpg", "-o", "folder.jpg").stdout == "folder.jpg/a.jpg\n"


def test_results_come_in_the_order_of_the_names(
    piped_in: RunPiped, make_image: MakeImage, tmp_path: Path
) -> None:
    """Of whatever size, format and fate: done before, missing, broken or new."""
    names = ["9.png", "10.jpg", "missing.jpg", "1.webp", "a/0.png", "broken.png", "2.jpg", "0.png"]
    for i, name in enumerate(names):
        if name != "missing.jpg":
            make_image(tmp_path / name, 16 + 8 * (i % 3), 16, seed=i)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    piped_in(b"2.jpg\n10.jpg\n")
    done = piped_in("\n".join(names).encode(), "--jsonl")
    assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == names
    assert [json.loads(line).get("skipped") for line in done.stdout.splitlines()].count(True) == 2


def test_limits_of_one_image(run_here: RunHere, make_image: Callable[..., Path], tmp_path: Path) -> None:
    """An image that would take too much is named as failed, and the others are done."""
    make_image(tmp_path / "a.png", 40, 30)
    make_image(tmp_path / "large.png", 60, 50)
    Image.new("L", (900_000, 1)).save(tmp_path / "line.png")
    arguments = ("translate", "a.png", "large.png", "line.png", "--model", "darkside-mini")
    done = run_here(*arguments, "--max-pixels", "1200")
    assert (done.returncode, done.stdout) == (1, "night/a.png\n")
    assert "large.png: its 60x50 pixels are more than the limit of 1,200" in done.stderr
    done = run_here("translate", "line.png", "--model", "darkside-mini")
    assert done.returncode == 1
    assert "its 900000x1 pixels are too thin a line for the limit of 500,000,000" in done.stderr
    done = run_here("extract", "large.png", "--max-pixels", "0", "--model", "x", "-o", "x.npz")
    assert (done.returncode, "--max-pixels" in done.stderr) == (2, True)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGTERM"), reason="signals of POSIX")
def test_a_signal_does_not_wait_for_a_decoder(tmp_path: Path, environment: dict[str, str]) -> None:
    """An image whose decoding never ends: whoever ends the run has it ended all the same."""
    Image.new("RGB", (80, 60), (90, 120, 160)).save(tmp_path / "slow.jpg")
    code = (
        "import threading\n"
        "from PIL import ImageFile\n"
        "def told(image):\n"
        "    print('decoding', flush=True)\n"
        "    threading.Event().wait()\n"
        "ImageFile.ImageFile.load = told\n"
        "from darkside_cli.cli.app import main\n"
        "main()"
    )
    with Process(
        [sys.executable, "-c", code, "translate", "slow.jpg", "--model", "darkside-mini"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"decoding\n"
        process.terminate()
        _, said = process.communicate(timeout=240)
    assert process.returncode == 130, said
    assert b"interrupted" in said

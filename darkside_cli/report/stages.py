"""What the stages after a fine-tuning's training found, for its page: the learned whitening, and the scores.

Both are read from the run folder, where :mod:`darkside_cli.retrieval.finetune_stages` leaves them, and are shown only
if they are of the network that lies beside them: a run that was given more epochs has outgrown them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from darkside_cli.assets.ledger import sha256_of
from darkside_cli.errors import DarksideError
from darkside_cli.metrics.protocols import PLACE_KAPPAS
from darkside_cli.networks.state_file import read_state_file
from darkside_cli.networks.weights import Whitening, whitening_from_state_file
from darkside_cli.report.training_facts import read_json

DESCRIPTOR_FILE = "descriptor.safetensors"
WHITENING_FILE = "descriptor_whitening.safetensors"
SCORES_FILE = "evaluation.json"
_KINDS = {"lw": "Lw, learned from pairs", "pca": "PCA"}


@dataclass(frozen=True)
class WhiteningShown:
    """``facts`` are names and values, ``notes`` what one should know of it."""

    facts: list[tuple[str, str]]
    notes: list[str]


@dataclass(frozen=True)
class ScoresShown:
    """A table in words: ``heading``, and ``rows`` with a cell for each; ``notes`` stand above it."""

    heading: list[str]
    rows: list[list[str]]
    notes: list[str]


def whitening_shown(run: Path, problems: list[str]) -> WhiteningShown | None:
    """The whitening that the run in the folder ``run`` learned for its network; None if there is none.

    One that cannot be read is added to ``problems``.
    """
    path = run / WHITENING_FILE
    if not path.is_file():
        return None
    try:
        whitening = whitening_from_state_file(read_state_file(path))
        if whitening is None or not isinstance(whitening.metadata.get("made_for"), Mapping):
            return None  # somebody put it there
        if whitening.metadata["made_for"].get("descriptor") != _digest(run / DESCRIPTOR_FILE):
            return None
        return _whitening_in_words(whitening)
    except (DarksideError, OSError) as error:
        problems.append(f"{WHITENING_FILE} cannot be read: {error}")
    except (KeyError, TypeError, ValueError, AttributeError):
        problems.append(f"{WHITENING_FILE} says nothing that makes sense of how it was learned")
    return None


def scores_shown(run: Path, problems: list[str]) -> ScoresShown | None:
    """The scores of the finished descriptor in the folder ``run``; None if it has none.

    What cannot be read is added to ``problems``.
    """
    document = read_json(run / SCORES_FILE, problems)
    if not document:
        return None
    try:
        made_for, sets = document["made_for"], document["sets"]
        whitening = made_for["whitening"]
        whitening_changed = whitening is not None and whitening != _digest(run / WHITENING_FILE)
        if whitening_changed or made_for["descriptor"] != _digest(run / DESCRIPTOR_FILE):
            note = "The descriptor has been trained or whitened anew since it was last scored."
            return ScoresShown([], [], [note])
        return _scores_in_words(made_for, sets) if sets else None
    except (KeyError, TypeError, ValueError, AttributeError):
        problems.append(f"{SCORES_FILE} makes no sense")
    return None


def _whitening_in_words(whitening: Whitening) -> WhiteningShown:
    metadata = whitening.metadata
    pairs = f"{metadata['pairs']:,} pairs, " if "pairs" in metadata else ""
    facts = [
        ("kind", _KINDS.get(metadata["method"], str(metadata["method"]))),
        ("learned from", f"{pairs}{metadata['images']:,} images"),
        ("of", str(metadata["learned_from"]["name"])),
        ("dimensions", f"{whitening.in_dim} to {whitening.out_dim}"),
    ]
    descriptors = metadata.get("descriptors", {})
    if "image_size" in descriptors:
        facts.append(("images read at", f"{descriptors['image_size']} px"))
    if metadata.get("shrink"):
        facts.append(("shrinkage", f"by eigenvalue {metadata['shrink']}"))
    notes = []
    if added := metadata.get("added_to_diagonal") or 0.0:
        notes.append(
            f"The pairs' covariance was not positive definite: {added:.0e} was added to its diagonal, as the original "
            "does. Several times as many pairs as dimensions spare that."
        )
    if shrunk := metadata.get("shrunk") or 0.0:
        notes.append(
            f"The pairs were fewer than the dimensions: their covariance was shrunk by {shrunk:.0%} to make up for it. "
            "Several times as many pairs as dimensions are better."
        )
    if whitening.out_dim < whitening.in_dim:
        notes.append(
            f"The descriptors differ in {whitening.out_dim} of {whitening.in_dim} dimensions only; the whitening "
            "gives no others."
        )
    return WhiteningShown(facts, notes)


def _scores_in_words(made_for: Mapping[str, Any], sets: Mapping[str, Any]) -> ScoresShown:
    settings = made_for["settings"]
    whitened = "with" if made_for["whitening"] is not None else "without"
    notes = [
        f"In percent, {whitened} whitening; images read at {settings['image_size_px']} px, "
        f"scales: {settings['scales']}."
    ]
    twins = dict.fromkeys(each["published_model"] for each in sets.values() if each.get("published_model"))
    if twins:
        notes.append(
            f"Published: mAP of {', '.join(twins)}, the paper's with the same backbone and generator."
        )
    table = [_cells(line) for each in sets.values() for line in each["lines"]]
    # Columns that say nothing of any set are left out.
    told = [name for name in table[0] if any(row[name] != "-" for row in table)] if table else []
    return ScoresShown(told, [[row[name] for name in told] for row in table], notes)


def _cells(line: Mapping[str, Any]) -> dict[str, str]:
    """A row of the table by its headings."""
    score, published = line["mean_average_precision"], line["published"]
    difference = None if score is None or published is None else score - published
    cells = {
        "data set": str(line["dataset"]),
        "protocol": str(line["protocol"]),
        "mAP": _figure(score, ".2f"),
        "published": _figure(published),
        "diff": _figure(difference, "+.2f"),
    }
    for what, values in (("mP", line["precisions"]), ("R", line["recalls"])):
        cells |= {
            f"{what}@{k}": _figure(value)
            for k, value in zip_longest(PLACE_KAPPAS, values[: len(PLACE_KAPPAS)])
        }
    return {**cells, "queries": f"{line['queries']:,}", "database": f"{line['database']:,}"}


def _figure(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None else format(value, form)


def _digest(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None

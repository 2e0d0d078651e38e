"""Verdicts on translations to night: real nights pass, days, noise and black do not; directions are told."""

from __future__ import annotations

import math

import pytest

from darkside_cli.metrics.verdicts import FIGURES, figure_of, lacking, verdict

# Measured: see the module.
NIGHTS = {
    "edge_agreement": 1.0, "sliced_wasserstein": 0.022, "lightness_distance": 0.018, "mean_luminance": 0.098,
    "luminance_inside": 0.583, "sky_darkness": 0.85, "checkerboard": 1.138,
}  # fmt: skip
EMBEDDED = {
    "edge_agreement": 0.909, "sliced_wasserstein": 0.026, "lightness_distance": 0.018, "mean_luminance": 0.088,
    "luminance_inside": 1.0, "sky_darkness": 0.882, "checkerboard": 1.227,
}  # fmt: skip
DAYS = {
    "edge_agreement": 1.0, "sliced_wasserstein": 0.09, "lightness_distance": 0.251, "mean_luminance": 0.264,
    "luminance_inside": 0.0, "sky_darkness": 0.385, "checkerboard": 1.238,
}  # fmt: skip
NOISE = {
    "edge_agreement": 0.002, "sliced_wasserstein": 0.135, "lightness_distance": 0.333, "mean_luminance": 0.311,
    "luminance_inside": 0.0, "sky_darkness": 0.427, "checkerboard": 1.355,
}  # fmt: skip
BLACK = {
    "edge_agreement": 0.0, "sliced_wasserstein": 0.113, "lightness_distance": 0.244, "mean_luminance": 0.0,
    "luminance_inside": 0.0, "sky_darkness": 1.0, "checkerboard": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("scores", [NIGHTS, EMBEDDED])
def test_nights_are_nights(scores: dict[str, float]) -> None:
    assert verdict(scores) == "a night, by all figures"


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (DAYS, "sky darkness 0.385, good is above 0.6"),
        (NOISE, "edge agreement 0.002, good is above 0.5"),
        (BLACK, "lightness distance 0.244, good is below 0.1; and 1 more"),
        ({**NIGHTS, "checkerboard": 593.2}, "not yet a night: checkerboard 593, good is below 5"),
        ({**NIGHTS, "edge_agreement": math.nan}, "edge agreement nan"),
    ],
)
def test_what_is_no_night_is_told_why(scores: dict[str, float], said: str) -> None:
    text = verdict(scores)
    assert text.startswith("not yet a night: ")
    assert said in text


def test_other_scores_get_no_verdict() -> None:
    assert verdict({"loss": 0.3}) == verdict({}) == ""
    assert lacking({"loss": 0.3}) == []
    assert figure_of("some/loss") is FIGURES["loss"]
    assert figure_of("loss") is not None
    assert FIGURES["loss"].in_words() == "lower is better"
    assert figure_of("mean_luminance") is None
    assert not FIGURES["fid"].is_good(math.nan)

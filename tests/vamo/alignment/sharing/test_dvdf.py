"""The filter by dynamics and value."""

from __future__ import annotations

import numpy as np
import pytest

from vamo.alignment.sharing.dvdf import _ranks, dynamics_and_value

DISCREPANCY = [[np.zeros(2), np.array([0.1, 3.0, 0.2]), np.array([4.0])]]
SCORES = [[np.zeros(2), np.array([0.5, 0.9, 0.7]), np.array([0.1])]]


@pytest.mark.parametrize(
    ("dynamics_weight", "share", "kept"),
    [
        (1.0, 0.25, {1: [0]}),  # only the best fit
        (0.0, 0.25, {1: [1]}),  # only the best score
        # ranks of fit 1, 1/3, 2/3, 0 and of value 1/3, 1, 2/3, 0: three means of 2/3, the first two of them kept
        (0.5, 0.5, {1: [0, 1]}),
        (0.6, 0.5, {1: [0, 2]}),  # .733, .6, .667, 0
        (0.5, 1.0, {1: [0, 1, 2], 2: [0]}),
    ],
)
def test_the_filter_by_hand(dynamics_weight: float, share: float, kept: dict[int, list[int]]) -> None:
    found = dynamics_and_value(DISCREPANCY, SCORES, [0], share=share, dynamics_weight=dynamics_weight)
    counts = np.array([2, len(kept.get(1, [])), len(kept.get(2, []))])
    np.testing.assert_allclose(found.weights[0], counts / counts.sum(), rtol=1e-6)
    for i, wanted in kept.items():
        picked = found.chosen.get((0, i), np.arange(len(SCORES[0][i])))
        assert picked.tolist() == wanted


def test_one_source_alone_is_kept() -> None:
    found = dynamics_and_value([[np.zeros(3)]], [[np.arange(3.0)]], [0], share=0.25, dynamics_weight=0.5)
    assert found.weights.tolist() == [[1.0]] and found.chosen == {}


def test_equal_values_share_their_rank() -> None:
    np.testing.assert_allclose(_ranks(np.array([2.0, 1.0, 2.0, 5.0])), [0.5, 0, 0.5, 1])

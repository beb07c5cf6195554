from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vamo.alignment.estimators import Alignment
from vamo.alignment.pairs import AlignmentTable, RefreshPlan, sample_pairs
from vamo.config import WeightingConfig


@pytest.mark.parametrize(("n_targets", "n_sources", "n"), [(3, 5, 6), (3, 5, 10), (8, 4, 3), (64, 64, 64)])
def test_sampled_pairs_are_unbiased(n_targets: int, n_sources: int, n: int) -> None:
    """The mean of factor x count over draws is w_ik for every pair, within five standard errors.

    A count is at most one away from its mean, so that the variance of factor x count is at most factor x w_ik.
    """
    weights = np.random.default_rng(0).dirichlet(np.full(n_sources, 0.5), size=n_targets)
    n_draws = 4000 if n_targets < 64 else 400
    total = np.zeros((n_targets, n_sources))
    for draw in range(n_draws):
        pairs, factor = sample_pairs(weights, n, np.random.default_rng([1, draw]))
        assert pairs == sorted(pairs) and len(pairs) <= n
        np.add.at(total, tuple(np.transpose(pairs)), factor)
    error = np.sqrt(factor * weights / n_draws)
    assert (np.abs(total / n_draws - weights) <= 5 * error + factor / n_draws).all()


def test_every_target_is_in_every_step() -> None:
    pairs, factor = sample_pairs(np.full((3, 100), 0.01), 8, np.random.default_rng(0))
    assert [k for k, _ in pairs] == [0, 0, 1, 1, 2, 2]
    assert factor == 0.5


def test_pairs_without_weight_are_never_drawn() -> None:
    weights = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    for seed in range(50):
        pairs, _ = sample_pairs(weights, 8, np.random.default_rng(seed))
        assert set(pairs) == {(0, 1), (1, 0), (1, 2)}


@pytest.mark.parametrize(("n_targets", "n_sources"), [(1, 1), (2, 3), (4, 4), (8, 8), (64, 64), (64, 5), (100, 1)])
@pytest.mark.parametrize("budget", [2, 32, 512])
def test_refreshes_take_turns(n_targets: int, n_sources: int, budget: int) -> None:
    """Within its budget a refresh looks at some pairs; within `n_refreshes` of them at every one."""
    config = WeightingConfig(validation_batch_size=budget, alignment_batch_size=budget)
    plan = RefreshPlan.of(n_targets, n_sources, config)
    refreshes = [plan.pairs(r) for r in range(plan.n_refreshes)]
    for pairs in refreshes:
        assert len(pairs) == len(set(pairs)) == plan.n_refreshed * plan.n_aligned
        assert len(pairs) * plan.n_samples <= budget
        assert plan.n_samples >= 2
        assert len({k for k, _ in pairs}) * plan.n_validation <= budget
    assert len({pair for pairs in refreshes for pair in pairs}) == n_targets * n_sources


def test_small_families_are_refreshed_whole() -> None:
    plan = RefreshPlan.of(2, 2, WeightingConfig(validation_batch_size=48, alignment_batch_size=96))
    assert plan == RefreshPlan(2, 2, n_refreshed=2, n_aligned=2, n_samples=24, n_validation=24)
    assert plan.n_refreshes == 1
    assert plan.pairs(3) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def alignment(*per_sample: float) -> Alignment:
    return Alignment(torch.tensor(per_sample).view(1, 1, -1), None)


def test_table_keeps_the_last_value() -> None:
    table = AlignmentTable(2, 3, decay=0.0)
    assert table.mean().tolist() == [[0.0] * 3] * 2
    table.update([(0, 0)], alignment(1.0, 3.0))
    table.update([(0, 1)], alignment(5.0, 5.0))
    table.update([(0, 0)], alignment(2.0, 6.0))
    assert table.mean().tolist() == [[4.0, 5.0, 4.5], [0.0, 0.0, 0.0]]  # unknown pairs get the target's mean
    torch.testing.assert_close(table.standard_error()[0], torch.tensor([2.0, 0.0, math.inf]))


def test_table_running_mean_by_hand() -> None:
    table = AlignmentTable(1, 1, decay=0.5)
    table.update([(0, 0)], alignment(1.0, 3.0))  # mean 2, error 1
    assert (table.mean().item(), table.standard_error().item()) == (2.0, 1.0)  # no pull to the start at 0
    table.update([(0, 0)], alignment(3.0, 7.0))  # mean 5, error 2
    assert table.mean().item() == pytest.approx((0.25 * 2 + 0.5 * 5) / 0.75)
    assert table.standard_error().item() == pytest.approx(math.hypot(0.25 * 1, 0.5 * 2) / 0.75)

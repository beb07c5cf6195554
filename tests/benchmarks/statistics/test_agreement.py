"""Crossed resampling of periods and advertisers, and the agreement of two protocols, against analytic values."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.statistics.agreement import agreement
from benchmarks.statistics.bootstrap import Bootstrap, draw, mean
from benchmarks.statistics.pairing import Paired, pair

RESAMPLES = Bootstrap(n_resamples=4000)


def rows(scores: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Rows of (n_periods, n_advertisers) scores by method and test."""
    parts: dict[str, list[object]] = {
        name: [] for name in ("method", "task", "train_seed", "seed", "advertiser", "score")
    }
    for method, of_method in scores.items():
        for task, grid in of_method.items():
            for (period, advertiser), score in np.ndenumerate(grid):
                for name, value in zip(parts, (method, task, -1, 100 + period, advertiser, score), strict=True):
                    parts[name].append(value)
    return {name: np.array(column) for name, column in parts.items()}


def crossed(n_periods: int, n_advertisers: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    periods, advertisers = rng.normal(0, 1, n_periods), rng.normal(0, 2, n_advertisers)
    return 10 + periods[:, None] + advertisers[None]


def test_episodes_of_a_period_and_of_an_advertiser_are_clusters() -> None:
    grid = crossed(7, 48)
    paired = pair(rows({"a": {"t": grid}}))
    draws = draw(paired, RESAMPLES)
    means = (draws.units[0] * paired.of("a")[0][0]).sum(axis=1) / draws.units[0].sum(axis=1)
    expected = grid.mean(axis=1).var(ddof=1) / 7 + grid.mean(axis=0).var(ddof=1) / 48
    assert means.var() == pytest.approx(expected, rel=0.1)
    found = mean(paired, "a", draws, "t")
    assert found.high - found.low > 2 * 1.96 * np.sqrt(expected)  # Student's t of few periods
    independent = grid.std() / np.sqrt(grid.size)
    assert np.sqrt(means.var()) > 3 * independent


def test_one_period_is_resampled_over_its_advertisers_and_tests_share_the_draw() -> None:
    grid = crossed(3, 40, seed=1)
    paired = pair(rows({"a": {"all": grid, "again": grid + 1, "one": grid[:1]}}))
    draws = draw(paired, RESAMPLES)
    np.testing.assert_array_equal(draws.units[0], draws.units[1])
    one = (draws.units[2] * grid[0]).sum(axis=1) / draws.units[2].sum(axis=1)
    assert one.var() == pytest.approx(grid[0].var(ddof=1) / 40, rel=0.1)
    assert sorted((stratum.tasks, stratum.n_seeds) for stratum in draws.strata) == [((0, 1), 3), ((2,), 40)]
    with pytest.raises(ValueError, match="needs several market seeds or advertisers, found one of 'one'"):
        draw(pair(rows({"a": {"t": grid, "one": grid[:1, :1]}})))


def compared(offline: list[float], true: list[float]) -> Paired:
    noise = 0.01 * (crossed(4, 30, seed=2) - 10)
    names = "abcd"[: len(true)]
    return pair(
        rows({m: {"offline": x + noise, "true": y + noise} for m, x, y in zip(names, offline, true, strict=True)})
    )


def test_agreement_of_known_scores() -> None:
    paired = compared([2.0, 3.0, 5.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    found = agreement(paired, draw(paired, RESAMPLES), "offline", "true")
    assert found.rank_correlation.value == pytest.approx(0.8)
    assert found.ordered_alike.value == pytest.approx(5 / 6)
    assert found.first == "c"
    assert found.loss.value == pytest.approx(1 / 4, abs=0.01)
    assert found.mean_bias.value == pytest.approx(14 / 10 - 1, abs=0.02)
    assert found.bias["a"].value == pytest.approx(1.0, abs=0.05)
    for part in (found.rank_correlation, found.loss, found.mean_bias, *found.bias.values()):
        assert part.low <= part.value <= part.high
    assert found.bias["a"].high - found.bias["a"].low < 0.2  # noise that both tests share cancels


def test_agreement_needs_methods_and_true_scores() -> None:
    paired = compared([1.0, 2.0], [1.0, 2.0])
    alone = pair(rows({"a": {"offline": np.ones((2, 30)), "true": np.ones((2, 30))}}))
    draws = draw(paired, RESAMPLES)
    assert agreement(paired, draws, "offline", "true").loss.value == 0
    with pytest.raises(ValueError, match=r"at least two methods, found \['a'\]"):
        agreement(alone, draw(alone, RESAMPLES), "offline", "true")
    zero = compared([1.0, 2.0], [-1.0, 2.0])
    with pytest.raises(ValueError, match="score of 'a' in 'true' must be positive in every resample"):
        agreement(zero, draw(zero, RESAMPLES), "offline", "true")

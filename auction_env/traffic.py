"""Traffic of an episode: how many impressions arrive in each tick and how their values are distributed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env.kernels.tick import MAX_SIGMA_RATIO
from auction_env.params import MarketParams, TrafficParams
from auction_env.population import Population

Float32 = NDArray[np.float32]
Int = NDArray[np.int64]


class Traffic(NamedTuple):
    """One episode's traffic; tick t, advertiser j.

    Attributes:
        n_impressions: (n_ticks,) int64.
        mean: (n_ticks, n_advertisers) float32, of the predicted value (conversions per impression).
        spread: (n_ticks, n_advertisers) float32, standard deviation of the predicted value.
        sigma: (n_advertisers,) float32, mean relative uncertainty of a prediction.
        lower, upper: (n_advertisers,) float32, normal probabilities of the bounds of the true value.
    """

    n_impressions: Int
    mean: Float32
    spread: Float32
    sigma: Float32
    lower: Float32
    upper: Float32


def _windows(rng: np.random.Generator, swing: float, window: int, n_ticks: int, rows: int) -> NDArray[np.float64]:
    """Factors uniform in 1 +- swing, constant over windows of ticks: (rows, n_ticks)."""
    n_windows = -(-n_ticks // window)
    factors = rng.uniform(1 - swing, 1 + swing, (rows, n_windows))
    return np.repeat(factors, window, axis=1)[:, :n_ticks]


def _volumes(rng: np.random.Generator, params: MarketParams) -> Int:
    traffic = params.traffic
    share = traffic.expected_share(params.n_ticks)
    share = share * _windows(rng, traffic.volume_swing, traffic.volume_window, params.n_ticks, 1)[0]
    # rounding the cumulative volume keeps the day's total exact at any size
    edges = np.rint(np.concatenate(([0.0], np.cumsum(share))) / share.sum() * params.n_impressions)
    volumes: Int = np.diff(edges).astype(np.int64)
    return volumes


def _value_levels(
    rng: np.random.Generator, traffic: TrafficParams, population: Population, n_ticks: int
) -> NDArray[np.float64]:
    by_category = _windows(rng, traffic.category_swing, traffic.value_window, n_ticks, population.n_categories)
    by_advertiser = _windows(rng, traffic.advertiser_swing, traffic.value_window, n_ticks, population.n_advertisers)
    levels: NDArray[np.float64] = by_category[np.asarray(population.category)] * by_advertiser
    return traffic.value_mean * levels.T  # (n_advertisers, n_ticks) -> (n_ticks, n_advertisers)


def draw_traffic(seed: int, params: MarketParams, population: Population) -> Traffic:
    """Draws an episode's traffic: a pure function of its arguments.

    Each part has a generator of its own, so that changing one part's parameters leaves the others' draws alone.
    """
    traffic, n = params.traffic, population.n_advertisers
    volume_rng, level_rng, spread_rng, sigma_rng, bound_rng = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)
    )
    mean = _value_levels(level_rng, traffic, population, params.n_ticks)
    ratio = np.clip(spread_rng.normal(traffic.spread_mean, traffic.spread_sd, n), 0.1, 1.0)
    ratios = np.clip(spread_rng.normal(ratio, traffic.spread_tick_sd * ratio, (params.n_ticks, n)), 0.1, 1.0)
    sigma = np.minimum(np.abs(sigma_rng.normal(traffic.sigma_mean, traffic.sigma_sd, n)), MAX_SIGMA_RATIO)
    below, above = bound_rng.random((2, n))  # bounds lie up to 2 standard deviations from the prediction
    return Traffic(
        n_impressions=_volumes(volume_rng, params),
        mean=mean.astype(np.float32),
        spread=(ratios * mean).astype(np.float32),
        sigma=sigma.astype(np.float32),
        lower=_normal_cdf(-2 * below),
        upper=_normal_cdf(2 * above),
    )


def _normal_cdf(x: NDArray[np.float64]) -> Float32:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in x], np.float32)

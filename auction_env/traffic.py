"""Traffic of an episode: how many impressions arrive in each tick and how their values are distributed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env.kernels.tick import MAX_SIGMA_RATIO
from auction_env.params import MarketParams, Shock, TrafficParams
from auction_env.population import Population

Float = NDArray[np.float64]
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
        day: () int64, the day that the episode is; day 0 is a Monday.
    """

    n_impressions: Int
    mean: Float32
    spread: Float32
    sigma: Float32
    lower: Float32
    upper: Float32
    day: Int = np.asarray(0)


def _windows(rng: np.random.Generator, swing: float, window: int, n_ticks: int, rows: int) -> Float:
    """Factors uniform in 1 +- swing, constant over windows of ticks: (rows, n_ticks)."""
    n_windows = -(-n_ticks // window)
    factors = rng.uniform(1 - swing, 1 + swing, (rows, n_windows))
    return np.repeat(factors, window, axis=1)[:, :n_ticks]


def _volumes(rng: np.random.Generator, params: MarketParams, day: int, level: float, shock: Float) -> Int:
    """Impressions by tick: the day's total has `level`, and the ticks' `shock` factors come on top of it."""
    traffic = params.traffic
    share = traffic.expected_share(params.n_ticks, day)
    share = share * _windows(rng, traffic.volume_swing, traffic.volume_window, params.n_ticks, 1)[0]
    # rounding the cumulative volume keeps the day's total exact at any size
    total = params.n_impressions * level
    edges = np.rint(np.concatenate(([0.0], np.cumsum(share * shock))) / share.sum() * total)
    volumes: Int = np.diff(edges).astype(np.int64)
    return volumes


def _value_levels(rng: np.random.Generator, traffic: TrafficParams, population: Population, n_ticks: int) -> Float:
    by_category = _windows(rng, traffic.category_swing, traffic.value_window, n_ticks, population.n_categories)
    by_advertiser = _windows(rng, traffic.advertiser_swing, traffic.value_window, n_ticks, population.n_advertisers)
    levels: Float = by_category[np.asarray(population.category)] * by_advertiser
    return traffic.value_mean * levels.T  # (n_advertisers, n_ticks) -> (n_ticks, n_advertisers)


def _shock_factors(seed: np.random.SeedSequence, shocks: tuple[Shock, ...], n_ticks: int) -> tuple[Float, Float]:
    """Factors of all shocks together on volume and value, each (n_ticks,)."""
    volume, value = np.ones(n_ticks), np.ones(n_ticks)
    if not shocks:  # a generator costs several microseconds, and a reset draws the traffic of many markets
        return volume, value
    rng = np.random.default_rng(seed)
    for shock in shocks:
        hit, where, how_long = rng.random(3)  # always three, so that shocks leave each other's draws alone
        if hit >= shock.probability:
            continue
        begin = shock.start[0] + where * (shock.start[1] - shock.start[0])
        first = min(int(begin * n_ticks), n_ticks - 1)
        shortest, longest = shock.length
        length = shortest + int(how_long * (longest - shortest + 1))
        volume[first : first + length] *= shock.volume
        value[first : first + length] *= shock.value
    return volume, value


def _which_day(seed: np.random.SeedSequence, n_days: int, day: int | None) -> int:
    if day is None:
        return int(np.random.default_rng(seed).integers(n_days)) if n_days > 1 else 0
    if not 0 <= day < n_days:
        raise ValueError(f"`days` must lie in 0..{n_days - 1} (`TrafficParams.n_days`), found {day}")
    return day


def draw_traffic(seed: int, params: MarketParams, population: Population, day: int | None = None) -> Traffic:
    """Draws an episode's traffic: a pure function of its arguments.

    Each part has a generator of its own, so that changing one part's parameters leaves the others' draws alone.

    Args:
        seed: Seed of the episode.
        params, population: The market.
        day: Which day the episode is, below `TrafficParams.n_days`; None draws it.
    """
    traffic, n = params.traffic, population.n_advertisers
    *children, day_child, shock_child = np.random.SeedSequence(seed).spawn(7)
    volume_rng, level_rng, spread_rng, sigma_rng, bound_rng = (np.random.default_rng(child) for child in children)
    day = _which_day(day_child, traffic.n_days, day)
    day_volume, day_value = (levels[day] for levels in traffic.day_levels())
    shock_volume, shock_value = _shock_factors(shock_child, traffic.shocks, params.n_ticks)
    mean = _value_levels(level_rng, traffic, population, params.n_ticks) * (day_value * shock_value)[:, None]
    ratio = np.clip(spread_rng.normal(traffic.spread_mean, traffic.spread_sd, n), 0.1, 1.0)
    ratios = np.clip(spread_rng.normal(ratio, traffic.spread_tick_sd * ratio, (params.n_ticks, n)), 0.1, 1.0)
    sigma = np.minimum(np.abs(sigma_rng.normal(traffic.sigma_mean, traffic.sigma_sd, n)), MAX_SIGMA_RATIO)
    below, above = bound_rng.random((2, n))  # bounds lie up to 2 standard deviations from the prediction
    return Traffic(
        n_impressions=_volumes(volume_rng, params, day, float(day_volume), shock_volume),
        mean=mean.astype(np.float32),
        spread=(ratios * mean).astype(np.float32),
        sigma=sigma.astype(np.float32),
        lower=_normal_cdf(-2 * below),
        upper=_normal_cdf(2 * above),
        day=np.asarray(day),
    )


def _normal_cdf(x: Float) -> Float32:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in x], np.float32)

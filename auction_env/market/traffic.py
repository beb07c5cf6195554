"""Traffic of an episode: how many impressions arrive in each tick and how their values are distributed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env.kernels.values import MAX_SIGMA_RATIO
from auction_env.market.params import MarketParams, Shock
from auction_env.market.population import Population

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int = NDArray[np.int64]


class Traffic(NamedTuple):
    """One episode's traffic; tick t, advertiser j.

    Attributes:
        n_impressions: (n_ticks,) int64.
        mean: (n_ticks, n_advertisers) float32, of the predicted value (conversions per impression).
        sd: (n_ticks, n_advertisers) float32, standard deviation of the predicted value.
        sigma: (n_advertisers,) float32, mean relative uncertainty of a prediction.
        lower, upper: (n_advertisers,) float32, normal probabilities of the bounds of the true value.
        day: () int64, the day that the episode is; day 0 is a Monday.
    """

    n_impressions: Int
    mean: Float32
    sd: Float32
    sigma: Float32
    lower: Float32
    upper: Float32
    day: Int = np.asarray(0)


def _windows(factors: Float, window: int, n_ticks: int) -> Float:
    """Factors by window as factors by tick: (..., n_windows) -> (..., n_ticks)."""
    return np.repeat(factors, window, axis=-1)[..., :n_ticks]


def _uniform(rng: np.random.Generator, swing: float, shape: tuple[int, ...]) -> Float:
    return np.asarray(rng.uniform(1 - swing, 1 + swing, shape))


def _shock_factors(source: np.random.SeedSequence, shocks: tuple[Shock, ...], n_ticks: int) -> tuple[Float, Float]:
    """Factors of all shocks together on volume and value, each (n_ticks,)."""
    volume, value = np.ones(n_ticks), np.ones(n_ticks)
    rng = np.random.default_rng(source)
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


def _which_day(source: np.random.SeedSequence | None, n_days: int, day: int | None) -> int:
    """The day given, or the one that the source draws; without both, the only one."""
    if day is None and source is None:
        return 0
    if day is None:
        assert source is not None
        return int(source.generate_state(1, np.uint64)[0] % n_days)  # no generator for a single draw: they are slow
    if not 0 <= day < n_days:
        raise ValueError(f"`days` must lie in 0..{n_days - 1} (`TrafficParams.n_days`), found {day}")
    return day


def draw_traffic(seed: int, params: MarketParams, population: Population, day: int | None = None) -> Traffic:
    """Draws an episode's traffic: a pure function of its arguments.

    Args:
        seed: Seed of the episode.
        params, population: The market.
        day: Which day the episode is, below `TrafficParams.n_days`; None draws it.
    """
    return Traffic(*(part[0] for part in draw_traffics([seed], params, population, [day])))


def draw_traffics(
    seeds: Sequence[int], params: MarketParams, population: Population, days: Sequence[int | None]
) -> Traffic:
    """The traffic of several episodes, each a function of its own seed: `Traffic` with a leading axis of episodes.

    Each part has a generator of its own, so that changing one part's parameters leaves the others' draws alone. Only
    the draws run episode by episode; the arithmetic on them is shared, as it costs little more for many than for one.
    """
    traffic, n, n_ticks, n_episodes = params.traffic, population.n_advertisers, params.n_ticks, len(seeds)
    n_volume_windows, n_windows = -(-n_ticks // traffic.volume_window), -(-n_ticks // traffic.value_window)
    volume_windows = np.empty((n_episodes, n_volume_windows))
    by_category = np.empty((n_episodes, population.n_categories, n_windows))
    by_advertiser = np.empty((n_episodes, n, n_windows))
    ratio, sigma, bounds = np.empty((n_episodes, n)), np.empty((n_episodes, n)), np.empty((n_episodes, 2, n))
    z = np.empty((n_episodes, n_ticks, n))
    day = np.empty(n_episodes, np.int64)
    shock_volume, shock_value = np.ones((n_episodes, n_ticks)), np.ones((n_episodes, n_ticks))
    for e, seed in enumerate(seeds):
        # a spawned sequence costs 5 us: those of the day and of shocks come last, so that they can be left out
        has_shocks, draws_day = bool(traffic.shocks), days[e] is None and traffic.n_days > 1
        sources = np.random.SeedSequence(int(seed)).spawn(7 if has_shocks else 6 if draws_day else 5)
        volume_rng, level_rng, sd_rng, sigma_rng, bound_rng = (
            np.random.Generator(np.random.PCG64(source)) for source in sources[:5]
        )
        day[e] = _which_day(sources[5] if draws_day else None, traffic.n_days, days[e])
        if has_shocks:
            shock_volume[e], shock_value[e] = _shock_factors(sources[6], traffic.shocks, n_ticks)
        volume_windows[e] = _uniform(volume_rng, traffic.volume_swing, (n_volume_windows,))
        by_category[e] = _uniform(level_rng, traffic.category_swing, by_category.shape[1:])
        by_advertiser[e] = _uniform(level_rng, traffic.advertiser_swing, by_advertiser.shape[1:])
        ratio[e] = sd_rng.normal(traffic.sd_ratio_mean, traffic.sd_ratio_sd, n)
        sd_rng.standard_normal(out=z[e])
        sigma[e] = sigma_rng.normal(traffic.sigma_mean, traffic.sigma_sd, n)
        bound_rng.random(out=bounds[e])
    day_volume, day_value = (levels[day] for levels in traffic.day_levels())
    levels = by_category[:, np.asarray(population.category)] * by_advertiser
    by_tick = _windows(traffic.value_mean * levels, traffic.value_window, n_ticks)  # (n_episodes, n, n_ticks)
    mean = by_tick.transpose(0, 2, 1) * (day_value[:, None] * shock_value)[..., None]
    if traffic.values is None:
        ratio = _cut(ratio, 0.1, 1.0)[:, None]
        ratios = _cut(ratio + traffic.sd_ratio_tick_sd * ratio * z, 0.1, 1.0)
    else:
        shapes = traffic.values.for_population(population)
        mean, ratios = mean * shapes.level, shapes.sd
    return Traffic(
        n_impressions=_volumes(volume_windows, params, day, day_volume, shock_volume),
        mean=mean.astype(np.float32),
        sd=(ratios * mean).astype(np.float32),
        sigma=np.minimum(np.abs(sigma), MAX_SIGMA_RATIO).astype(np.float32),
        lower=_normal_cdf(-2 * bounds[:, 0]),  # bounds lie up to 2 standard deviations from the prediction
        upper=_normal_cdf(2 * bounds[:, 1]),
        day=day,
    )


def _volumes(windows: Float, params: MarketParams, day: Int, level: Float, shock: Float) -> Int:
    """Impressions by tick: the day's total has `level`, and the ticks' `shock` factors come on top of it."""
    traffic, n_ticks = params.traffic, params.n_ticks
    if traffic.weekly_curve:
        expected = np.stack([traffic.expected_share(n_ticks, int(which)) for which in day])
    else:
        expected = traffic.expected_share(n_ticks)
    share = expected * _windows(windows, traffic.volume_window, n_ticks)
    # rounding the cumulative volume keeps the day's total exact at any size
    total = params.n_impressions * level
    cumulative = np.concatenate((np.zeros((len(day), 1)), np.cumsum(share * shock, axis=1)), axis=1)
    edges = np.rint(cumulative / share.sum(axis=1)[:, None] * total[:, None])
    volumes: Int = np.diff(edges, axis=1).astype(np.int64)
    return volumes


def _cut(x: Float, low: float, high: float) -> Float:
    """`np.clip`, without its cost of several operations on small arrays."""
    return np.minimum(np.maximum(x, low), high)


def _normal_cdf(x: Float) -> Float32:
    scaled, erfc = (-x / math.sqrt(2.0)).ravel().tolist(), math.erfc
    return np.array([0.5 * erfc(value) for value in scaled], np.float32).reshape(x.shape)

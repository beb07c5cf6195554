"""Traffic of an episode: how many impressions arrive in each tick and how their values are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from auction_env.kernels.step import traffic as kernel
from auction_env.kernels.values import MAX_SIGMA_RATIO
from auction_env.market.params import MarketParams, Shock
from auction_env.market.population import Population

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int = NDArray[np.int64]
_DAY, _SHOCKS, _N_PARTS = 5, 6, 7  # children of an episode's SeedSequence; those before are named in `draw_traffics`


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


def _shock_factors(rng: np.random.Generator, shocks: tuple[Shock, ...], n_ticks: int) -> tuple[Float, Float]:
    """Factors of all shocks together on volume and value, each (n_ticks,)."""
    volume, value = np.ones(n_ticks), np.ones(n_ticks)
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


def _which_day(word: np.uint64, n_days: int, day: int | None) -> int:
    """The day given, or the one that a random word says."""
    if day is None:
        return int(word % np.uint64(n_days))
    if not 0 <= day < n_days:
        raise ValueError(f"`days` must lie in 0..{n_days - 1} (`TrafficParams.n_days`), found {day}")
    return day


class _Words(ISeedSequence):
    """A `SeedSequence` whose state is known."""

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[np.uint64]:
        """The four words that `PCG64` takes."""
        return self._words


def _generator(words: NDArray[np.uint64]) -> np.random.Generator:
    """What `numpy.random.default_rng` makes of a `SeedSequence` with this state, (4,): see `kernel.spawn_states`."""
    return np.random.Generator(np.random.PCG64(_Words(words)))  # type: ignore[arg-type] # NumPy's stubs lack the interface


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

    Each part has a generator of its own, so that changing one part's parameters leaves the others' draws alone.
    """
    traffic, n, n_ticks, n_episodes = params.traffic, population.n_advertisers, params.n_ticks, len(seeds)
    n_volume_windows, n_windows = -(-n_ticks // traffic.volume_window), -(-n_ticks // traffic.value_window)
    n_categories = population.n_categories
    states = np.empty((n_episodes, _N_PARTS, 4), np.uint64)
    kernel.spawn_states(np.asarray(seeds, np.int64), states)
    day = np.array([_which_day(states[e, _DAY, 0], traffic.n_days, given) for e, given in enumerate(days)], np.int64)
    shock_volume, shock_value = np.ones((n_episodes, n_ticks)), np.ones((n_episodes, n_ticks))
    if traffic.shocks:
        for e in range(n_episodes):
            rng = _generator(states[e, _SHOCKS])
            shock_volume[e], shock_value[e] = _shock_factors(rng, traffic.shocks, n_ticks)
    day_volume, day_value = (levels[day] for levels in traffic.day_levels())
    level, category, own = day_value[:, None] * shock_value, np.asarray(population.category, np.int64), np.empty((2, 0))
    if traffic.values is not None:
        shapes = traffic.values.for_population(population)
        own = np.stack((shapes.level, shapes.sd))
    volume_windows = np.empty((n_episodes, n_volume_windows))
    sigma, bounds, z = np.empty((n_episodes, n)), np.empty((n_episodes, 2, n)), np.empty((n_ticks, n))
    mean, sd = np.empty((2, n_ticks, n_episodes, n), np.float32)
    for e in range(n_episodes):
        volume_rng, level_rng, sd_rng, sigma_rng, bound_rng = (_generator(words) for words in states[e, :_DAY])
        volume_windows[e] = _uniform(volume_rng, traffic.volume_swing, (n_volume_windows,))
        by_category = _uniform(level_rng, traffic.category_swing, (n_categories, n_windows))
        by_advertiser = _uniform(level_rng, traffic.advertiser_swing, (n, n_windows))
        ratio = sd_rng.normal(traffic.sd_ratio_mean, traffic.sd_ratio_sd, n)
        sd_rng.standard_normal(out=z)
        kernel.shape_values(
            e, traffic.value_mean, by_category, category, by_advertiser, traffic.value_window, level, ratio,
            traffic.sd_ratio_tick_sd, z, own, mean, sd,
        )  # fmt: skip
        sigma[e] = sigma_rng.normal(traffic.sigma_mean, traffic.sigma_sd, n)
        bound_rng.random(out=bounds[e])
    uncertainties = np.empty((3, n_episodes, n), np.float32)
    kernel.shape_uncertainties(float(MAX_SIGMA_RATIO), sigma, bounds, uncertainties)
    return Traffic(
        n_impressions=_volumes(volume_windows, params, day, day_volume, shock_volume),
        mean=mean.swapaxes(0, 1),
        sd=sd.swapaxes(0, 1),
        sigma=uncertainties[0],
        lower=uncertainties[1],
        upper=uncertainties[2],
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
    volumes = np.empty((n_ticks, len(day)), np.int64)
    kernel.shape_volumes(share, share.sum(axis=1), shock, params.n_impressions * level, volumes)
    return volumes.swapaxes(0, 1)

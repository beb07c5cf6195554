"""Replay markets from a user's own logs of every bid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels.logs.cells import N_TICKS
from auction_env.replay.market import FULL_LADDER, ReplayMarket, check_not_negative, one_period, rank_bids
from auction_env.replay.params import ReplayParams

Float = NDArray[np.float64]


def replay_from_bids(
    *,
    tick: ArrayLike,
    bids: ArrayLike,
    values: ArrayLike,
    budget: ArrayLike,
    cpa_target: ArrayLike,
    sigmas: ArrayLike | None = None,
    exposed: ArrayLike | None = None,
    rules: ReplayParams | None = None,
    n_ticks: int = N_TICKS,
    period: int = 0,
    advertisers: ArrayLike | None = None,
    category: ArrayLike | None = None,
) -> ReplayMarket:
    """A replay market of one period from a user's own log of every bid.

    Args:
        tick: (n,) tick of each impression, not falling: impressions come in arrival order.
        bids: (n, n_advertisers) currency per impression; 0 where an advertiser did not bid.
        values: (n, n_advertisers) predicted values, in [0, 1].
        budget, cpa_target: (n_advertisers,) positive.
        sigmas: (n, n_advertisers) standard deviation of the predictions; 0 by default.
        exposed: (n, n_slots) 1 if the slot was seen, 0 if not, negative if unknown; unknown by default.
        rules: How the market clears; a slot at the reserve counts as sold unless they say otherwise.
        n_ticks: Ticks of the period.
        period: Its number.
        advertisers: (n_advertisers,) their numbers, ascending; 0, 1, ... by default.
        category: (n_advertisers,); 0 by default.

    Raises:
        ValueError: Naming the argument, the rule and the value.
    """
    rules = rules or ReplayParams(is_unsold_at_reserve=False)
    matrix = np.asarray(bids, np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(f"`bids` must have shape (n_impressions, n_advertisers), found {matrix.shape}")
    n, n_advertisers = matrix.shape
    numbers = np.arange(n_advertisers) if advertisers is None else np.asarray(advertisers, np.int64)
    if numbers.shape != (n_advertisers,) or np.any(np.diff(numbers) <= 0):
        raise ValueError(f"`advertisers` must be {n_advertisers} ascending numbers, found {numbers.tolist()}")
    value = _predictions("values", values, matrix.shape)
    if value.size and value.max() > 1:
        raise ValueError(f"`values` must be at most 1, found {value.max()}")
    sigma = _predictions("sigmas", np.zeros(matrix.shape) if sigmas is None else sigmas, matrix.shape)
    seen = np.full((n, rules.n_slots), -1) if exposed is None else np.asarray(exposed)
    if seen.shape != (n, rules.n_slots):
        raise ValueError(f"`exposed` must have shape ({n}, {rules.n_slots}), found {seen.shape}")
    weights = 1 << np.arange(rules.n_slots)
    return one_period(
        rules=rules,
        assumption=FULL_LADDER,
        period=period,
        numbers=numbers,
        ladder=rank_bids(matrix, rules.n_slots),
        value=value,
        sigma=sigma,
        exposed=((seen > 0) @ weights).astype(np.uint8),
        known=((seen >= 0) @ weights).astype(np.uint8),
        tick_counts=np.bincount(_ticks(tick, n, n_ticks), minlength=n_ticks),
        budget=_money("budget", budget, n_advertisers),
        cpa_target=_money("cpa_target", cpa_target, n_advertisers),
        category=np.zeros(n_advertisers, np.int64) if category is None else np.asarray(category, np.int64),
    )


def _ticks(tick: ArrayLike, n: int, n_ticks: int) -> NDArray[np.integer[Any]]:
    """The ticks of n impressions, checked."""
    ticks = np.asarray(tick)
    if ticks.shape != (n,) or not np.issubdtype(ticks.dtype, np.integer):
        raise ValueError(f"`tick` must be {n} integers, found {ticks.dtype} of shape {ticks.shape}")
    if n and not (ticks.min() >= 0 and ticks.max() < n_ticks and np.all(np.diff(ticks) >= 0)):
        raise ValueError(f"`tick` must not fall and lie in 0..{n_ticks - 1}, found {ticks.min()} to {ticks.max()}")
    return ticks


def _predictions(name: str, given: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A matrix (n, n_advertisers) as the market holds it, (n_advertisers, n), checked."""
    array = np.asarray(given, np.float64)
    if array.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape} as `bids`, found {array.shape}")
    check_not_negative(name, array)
    return np.ascontiguousarray(array.T, np.float32)


def _money(name: str, given: ArrayLike, n: int) -> Float:
    """An amount of currency for each of n advertisers, checked."""
    array = np.asarray(given, np.float64)
    if array.shape != (n,) or not np.all(np.isfinite(array) & (array > 0)):
        raise ValueError(f"`{name}` must be {n} positive numbers, found {array}")
    return array

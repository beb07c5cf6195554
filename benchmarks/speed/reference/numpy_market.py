"""A full market episode in vectorised NumPy, doing per tick what AuctionNet's simulator does.

Per tick it draws all values as one matrix, sorts all bids, prices the slots, samples exposure, and, where somebody
overspends, drops a random share of that advertiser's wins of each slot and clears the tick again until nobody does;
then it samples true value and conversion of every impression and advertiser. (AuctionNet repeats that last, slowest
step in every round of the loop; once is enough, so this reference is the kinder one.) It is the stated reference of the
speed table: what a competent NumPy user gets from following the public simulator. It shares no code with the kernels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import truncnorm

from auction_env.market.pacing import Pacer
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.market.traffic import Traffic, draw_traffic

Float = NDArray[np.float64]


def run_episode(seed: int, params: MarketParams, population: Population) -> Float:
    """Runs an episode in which all advertisers pace by PID; returns (n_ticks, n_advertisers) costs."""
    traffic = draw_traffic(seed, params, population)
    rng = np.random.default_rng(seed)
    cpa_target = np.asarray(population.cpa_target)
    budget_left = np.asarray(population.budget) * params.budget_scale
    pacer = Pacer(
        base=population.start * cpa_target,
        cpa_limit=cpa_target,
        budget=budget_left,
        expected_traffic=params.traffic.expected_share(params.n_ticks),
        gains=population.gains,
    )
    costs = np.zeros((params.n_ticks, population.n_advertisers))
    gained = np.zeros(population.n_advertisers)
    for t in range(params.n_ticks):
        spent = costs[t - 1] if t else np.zeros(population.n_advertisers)
        multipliers = pacer.multipliers(t, last_cost=spent, last_expected_conversions=gained)
        shape = (int(traffic.n_impressions[t]), population.n_advertisers)
        values = np.clip(rng.normal(traffic.mean[t], traffic.sd[t], shape), 0.0, 1.0)
        sigmas = values * np.minimum(np.abs(rng.normal(traffic.sigma, traffic.sigma / 2, shape)), 0.3)
        costs[t], gained = _run_tick(rng, params, traffic, values, sigmas, multipliers, budget_left)
        budget_left = budget_left - costs[t]
    return costs


def _run_tick(
    rng: np.random.Generator,
    params: MarketParams,
    traffic: Traffic,
    values: Float,
    sigmas: Float,
    multipliers: Float,
    budget_left: Float,
) -> tuple[Float, Float]:
    bids = np.where(budget_left > 0, multipliers, 0.0) * values
    while True:
        slot, price = _clear(bids, params)
        exposed = _expose(rng, slot, params)
        total = np.where(exposed, price, 0.0).sum(axis=0)
        over = np.flatnonzero(total > budget_left)
        if len(over) == 0:
            _sample_conversions(rng, traffic, values, sigmas, exposed)
            return total, np.where(exposed, values, 0.0).sum(axis=0)
        share = (total - budget_left) / (total + 1e-4)
        for j in over:
            for s in range(1, params.n_slots + 1):
                wins = np.flatnonzero(slot[:, j] == s)  # seen or not
                bids[rng.choice(wins, int(np.ceil(share[j] * len(wins))), replace=False), j] = 0.0


def _clear(bids: Float, params: MarketParams) -> tuple[NDArray[np.int64], Float]:
    n_slots = params.n_slots
    order = np.argsort(-bids, axis=1)[:, :n_slots]
    ladder = -np.sort(-bids, axis=1)[:, : n_slots + 1]
    prices = np.maximum(ladder[:, 1:], params.reserve)
    slot, price = np.zeros(bids.shape, np.int64), np.zeros(bids.shape)
    ranks = np.broadcast_to(np.arange(1, n_slots + 1), order.shape)
    won = ladder[:, :n_slots] >= max(params.reserve, np.finfo(float).tiny)
    np.put_along_axis(slot, order, np.where(won, ranks, 0), axis=1)
    np.put_along_axis(price, order, np.where(won, prices, 0.0), axis=1)
    return slot, price


def _expose(rng: np.random.Generator, slot: NDArray[np.int64], params: MarketParams) -> NDArray[np.bool_]:
    chance = np.concatenate(([0.0], params.exposure))
    exposed = rng.binomial(1, chance[slot]).astype(bool)
    for s in range(2, params.n_slots + 1):  # a slot below an unseen one is unseen
        hidden = ((slot == s - 1) & ~exposed).any(axis=1)
        exposed[hidden[:, None] & (slot == s)] = False
    return exposed


def _sample_conversions(
    rng: np.random.Generator, traffic: Traffic, values: Float, sigmas: Float, exposed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    true_values = truncnorm.rvs(
        ndtri(traffic.lower.astype(np.float64)),
        ndtri(traffic.upper.astype(np.float64)),
        loc=values,
        scale=np.maximum(sigmas, 1e-12),
        random_state=rng,
    )
    return np.asarray(rng.binomial(1, np.clip(true_values, 0.0, 1.0)) * exposed)

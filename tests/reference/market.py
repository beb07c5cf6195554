"""The market in plain Python: one impression after the other, one advertiser after the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

MASK32, MASK64 = 2**32 - 1, 2**64 - 1


def mix64(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK64
    return x ^ (x >> 31)


def draw_bits(seed: int, tick: int, lane: int, stream: int, counter: int) -> int:
    key = mix64(seed)
    for part in (tick, lane, stream):
        key = mix64(key ^ part)
    low, high = key & MASK32, key >> 32
    x = (counter + low) & MASK32
    x = ((x ^ (x >> 17)) * 0xED5AD4BB) & MASK32
    x ^= x >> 11
    x = ((x + high) * 0xAC4C1B51) & MASK32
    x = ((x ^ (x >> 15)) * 0x31848BAB) & MASK32
    return x ^ (x >> 14)


def draw_uniform(*key: int) -> float:
    return (draw_bits(*key) >> 8) * 2.0**-24 + 2.0**-25


def clear(bids: np.ndarray, reserve: float, n_slots: int) -> tuple[list[tuple[int, float]], float]:
    """Winners with their GSP prices, from the top slot, and the least winning cost of one impression."""
    eligible = [j for j in range(len(bids)) if bids[j] > 0 and bids[j] >= reserve]
    order = sorted(eligible, key=lambda j: (-bids[j], j))
    ladder = [bids[j] for j in order]

    def next_price(rank: int) -> float:
        return ladder[rank + 1] if rank + 1 < len(ladder) else reserve

    winners = [(j, next_price(rank)) for rank, j in enumerate(order[:n_slots])]
    return winners, ladder[n_slots] if len(ladder) > n_slots else reserve


class Tick(NamedTuple):
    wins: np.ndarray
    exposures: np.ndarray
    cost: np.ndarray
    conversions: np.ndarray
    value: np.ndarray
    bid: np.ndarray
    least_winning_cost: float
    exhausted: np.ndarray


def run_tick(values, multipliers, budget_left, active, *, seed, tick, reserve, exposure, sigma, lower, upper):
    """One tick of one market; `values` (n_impressions, n_advertisers). Updates `budget_left` and `active`."""
    n, n_advertisers = values.shape
    wins, exposures, cost, conversions, value, bid = (np.zeros(n_advertisers) for _ in range(6))
    lwc_sum = 0.0
    for i in range(n):
        u = [draw_uniform(seed, tick, s, 2, i) for s in range(len(exposure))]
        n_exposed = 0
        while n_exposed < len(exposure) and u[n_exposed] < exposure[n_exposed]:
            n_exposed += 1
        while True:  # until everybody who is exposed can pay
            bids = np.where(active, multipliers * values[i], np.float32(0))
            winners, lwc = clear(bids, reserve, len(exposure))
            broke = [j for j, price in winners[:n_exposed] if price > budget_left[j]]
            if not broke:
                break
            active[broke[0]] = False
        bid += bids
        lwc_sum += float(lwc)
        for rank, (j, price) in enumerate(winners):
            wins[j] += 1
            if rank < n_exposed:
                exposures[j] += 1
                cost[j] += price
                budget_left[j] -= price
                value[j] += values[i, j]
                s = min(abs(sigma[j] * (1 + 0.5 * ndtri(draw_uniform(seed, tick, j, 5, i)))), 0.3)
                z = ndtri(lower[j] + (upper[j] - lower[j]) * draw_uniform(seed, tick, j, 4, i))
                true_value = values[i, j] * (1 + s * z)
                conversions[j] += (draw_bits(seed, tick, j, 3, i) + 0.5) * 2.0**-32 < true_value
    return Tick(wins, exposures, cost, conversions, value, bid, lwc_sum / max(n, 1), ~active)

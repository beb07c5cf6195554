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


def draw_normal(*key: int) -> float:
    return float(ndtri(draw_uniform(*key)))


def clear(
    bids: np.ndarray,
    reserve: float,
    n_slots: int,
    *,
    mechanism: str = "gsp",
    exposure: tuple[float, ...] = (),
    quality: np.ndarray | None = None,
) -> tuple[list[tuple[int, float]], float]:
    """Winners with their prices, from the top slot, and the least winning cost of one impression."""
    quality = np.ones_like(bids) if quality is None else quality
    score = bids * quality
    eligible = [j for j in range(len(bids)) if bids[j] > 0 and bids[j] >= reserve]
    order = sorted(eligible, key=lambda j: (-score[j], j))

    def rival(rank: int, j: int) -> float:
        """What the bid of this rank is worth in bids of advertiser j, at least the reserve."""
        return max(score[order[rank]] / quality[j], reserve) if rank < len(order) else reserve

    def price(rank: int, j: int) -> float:
        if mechanism == "first_price":
            return bids[j]
        if mechanism == "gsp":
            return rival(rank + 1, j)
        seen = [float(np.prod(exposure[: s + 1])) for s in range(n_slots)] + [0.0]  # probability of each slot
        harm = sum((seen[s] - seen[s + 1]) * rival(s + 1, j) for s in range(rank, n_slots))
        return harm / seen[rank] if seen[rank] > 0 else rival(rank + 1, j)

    winners = [(j, price(rank, j)) for rank, j in enumerate(order[:n_slots])]
    return winners, max(score[order[n_slots]], reserve) if len(order) > n_slots else reserve


class Tick(NamedTuple):
    wins: np.ndarray
    exposures: np.ndarray
    cost: np.ndarray
    conversions: np.ndarray
    expected_conversions: np.ndarray
    bid: np.ndarray
    least_winning_cost: float
    exhausted: np.ndarray
    clicks: np.ndarray
    expected_clicks: np.ndarray
    add_to_carts: np.ndarray
    expected_add_to_carts: np.ndarray
    gmv: np.ndarray
    expected_gmv: np.ndarray


def funnel_amounts(funnel, *, seed, tick, j, i, mean, sd, shared):
    """Conversion, click and cart probability and order value of an impression: `auction_env.Funnel`, in words."""
    z = draw_normal(seed, tick, j, 1, i)
    if shared > 0:
        z = np.sqrt(shared) * draw_normal(seed, tick, 0, 20, i) + np.sqrt(1 - shared) * z

    def amount(mean_amount, spread_amount, correlation, stream):
        own = draw_normal(seed, tick, j, stream, i)
        return mean_amount * max(1 + spread_amount * (correlation * z + np.sqrt(1 - correlation**2) * own), 0.1)

    value = min(max(mean + sd * z, 0.0), 1.0)
    click = amount(funnel["click_rate"][j], funnel["click_sd"], funnel["click_correlation"], 21)
    cart = amount(funnel["cart_rate"][j], funnel["cart_sd"], funnel["cart_correlation"], 22)
    order = amount(funnel["order_value"][j], funnel["order_sd"], funnel["order_correlation"], 23)
    cart = min(max(cart, 1.6 * value), 1.0)
    return value, min(max(click, cart), 1.0), cart, order


def run_tick(
    values, multipliers, budget_left, active, *, seed, tick, reserve, exposure, sigma, lower, upper,
    mechanism="gsp", reserve_noise=0.0, quality=None, amounts=None, first_price_share=0.0, is_unsold_at_reserve=False,
):  # fmt: skip
    """One tick of one market; `values` (n_impressions, n_advertisers). Updates `budget_left` and `active`.

    `amounts(j, i)` gives what `funnel_amounts` does, in a market that has a funnel.
    """
    n, n_advertisers = values.shape
    wins, exposures, cost, conversions, value, bid = (np.zeros(n_advertisers) for _ in range(6))
    clicks, expected_clicks, carts, expected_add_to_carts, gmv, expected_gmv = (
        np.zeros(n_advertisers) for _ in range(6)
    )
    lwc_sum = 0.0
    for i in range(n):
        u = [draw_uniform(seed, tick, s, 2, i) for s in range(len(exposure))]
        n_exposed = 0
        while n_exposed < len(exposure) and u[n_exposed] < exposure[n_exposed]:
            n_exposed += 1
        floor = reserve
        if reserve_noise > 0:
            floor = np.float32(reserve * np.exp(reserve_noise * draw_normal(seed, tick, 0, 16, i)))
        while True:  # until everybody who is exposed can pay
            bids = np.where(active, multipliers * values[i], np.float32(0))
            winners, lwc = clear(bids, floor, len(exposure), mechanism=mechanism, exposure=exposure, quality=quality)
            winners = [(j, price + np.float32(first_price_share) * (bids[j] - price)) for j, price in winners]
            if is_unsold_at_reserve:
                winners = [(j, price) for j, price in winners if price > floor]
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
                own, order = values[i, j], 0.0
                outcome = (draw_bits(seed, tick, j, 3, i) + 0.5) * 2.0**-32
                if amounts is not None:
                    own, click, cart, order = amounts(j, i)
                    clicks[j] += outcome < click
                    expected_clicks[j] += click
                    carts[j] += outcome < cart
                    expected_add_to_carts[j] += cart
                    expected_gmv[j] += own * order
                value[j] += own
                s = min(abs(sigma[j] * (1 + 0.5 * draw_normal(seed, tick, j, 5, i))), 0.3)
                z = ndtri(lower[j] + (upper[j] - lower[j]) * draw_uniform(seed, tick, j, 4, i))
                conversions[j] += outcome < own * (1 + s * z)
                gmv[j] += order * (outcome < own * (1 + s * z))
    lwc = lwc_sum / max(n, 1)
    return Tick(
        wins, exposures, cost, conversions, value, bid, lwc, ~active, clicks, expected_clicks, carts,
        expected_add_to_carts, gmv, expected_gmv,
    )  # fmt: skip


def report_conversions(made: np.ndarray, *, seed: int, mean_delay: float) -> np.ndarray:
    """When conversions made in each tick are reported; both (n_ticks, n_advertisers)."""
    n_ticks, n_advertisers = made.shape
    reported = np.zeros_like(made)
    for t in range(n_ticks):
        for j in range(n_advertisers):
            for k in range(int(made[t, j])):
                u = (draw_bits(seed, t, j, 18, k) + 0.5) * 2.0**-32
                delay = 0
                while u < (mean_delay / (1 + mean_delay)) ** (delay + 1) and t + delay < n_ticks - 1:
                    delay += 1
                reported[t + delay, j] += 1
    return reported

"""The replay market, slow and obvious: one impression at a time, all competing bids sorted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from auction_env.kernels.rng import STREAM_CONVERSION, STREAM_EXPOSURE, STREAM_TRUE_VALUE, to_normal, to_uniform
from tests.reference.market import draw_bits


class Outcome(NamedTuple):
    """One impression for the own bid; `slot` is 0 if lost."""

    slot: int
    price: float
    least_winning_cost: float


def word(seed: int, tick: int, lane: int, stream: np.uint64, impression: int) -> np.uint32:
    return np.uint32(draw_bits(seed, tick, lane, int(stream), impression))


def clear(bids: np.ndarray, own: int, own_bid: np.float32, *, n_slots, reserve, mechanism, is_unsold) -> Outcome:
    """`bids`: those of all advertisers, of which the own one is replaced."""
    reserve = np.float32(reserve)
    everyone = [np.float32(bid) for bid in bids]
    everyone[own] = np.float32(own_bid)
    eligible = [(-bid, j) for j, bid in enumerate(everyone) if bid >= reserve and bid > 0]
    ranking = [j for _, j in sorted(eligible)]
    losers = ranking[n_slots:]
    lwc = max(reserve, everyone[losers[0]]) if losers else reserve
    if own not in ranking[:n_slots]:
        return Outcome(0, 0.0, float(lwc))
    rank = ranking.index(own)
    following = everyone[ranking[rank + 1]] if rank + 1 < len(ranking) else reserve
    price = max(following, reserve)
    if mechanism == "gsp" and is_unsold and price == reserve:
        return Outcome(0, 0.0, float(lwc))
    return Outcome(rank + 1, float(everyone[own] if mechanism == "first_price" else price), float(lwc))


def is_seen(exposed: np.ndarray, exposure, seed: int, tick: int, impression: int, slot: int) -> bool:
    """`exposed`: (n_slots,) 1 seen, 0 not, negative unknown; `slot` from 1."""
    if exposed[slot - 1] >= 0:
        return bool(exposed[slot - 1])
    for s in range(slot):
        if exposed[s] >= 0:
            seen = bool(exposed[s])
        else:
            seen = exposure[s] >= 1 or to_uniform(word(seed, tick, s, STREAM_EXPOSURE, impression)) < np.float32(
                exposure[s]
            )
        if not seen:
            return False
    return True


def converts(value, sigma, seed: int, tick: int, own: int, impression: int) -> bool:
    u = (float(word(seed, tick, own, STREAM_CONVERSION, impression)) + 0.5) * 2.0**-32
    z = to_normal(to_uniform(word(seed, tick, own, STREAM_TRUE_VALUE, impression)))
    return u < min(max(float(value) + float(sigma) * float(z), 0.0), 1.0)


def play(log: dict, own: int, multipliers: np.ndarray, seed: int, *, rules: dict, exposure, is_expected: bool):
    """An episode; the dictionaries of totals of each tick."""
    budget_left, is_active = float(log["budget"][own]), True
    ticks = []
    for tick, multiplier in enumerate(multipliers):
        rows = np.flatnonzero(log["tick"] == tick)
        total = dict.fromkeys(("bid", "wins", "exposures", "cost", "conversions", "expected_conversions", "lwc"), 0.0)
        for impression, row in enumerate(rows):
            value = np.float32(log["values"][row, own])
            bid = np.float32(np.float32(multiplier) * value) if is_active else np.float32(0)
            outcome = clear(log["bids"][row], own, bid, **rules)
            seen = outcome.slot > 0 and is_seen(log["exposed"][row], exposure, seed, tick, impression, outcome.slot)
            if seen and total["cost"] + outcome.price > budget_left:
                is_active, bid, seen = False, np.float32(0), False
                outcome = clear(log["bids"][row], own, bid, **rules)
            total["bid"] += float(bid)
            total["lwc"] += outcome.least_winning_cost
            total["wins"] += outcome.slot > 0
            if seen:
                total["exposures"] += 1
                total["cost"] += outcome.price
                total["expected_conversions"] += float(value)
                if is_expected:
                    total["conversions"] += float(value)
                else:
                    total["conversions"] += converts(value, log["sigmas"][row, own], seed, tick, own, impression)
        budget_left -= total["cost"]
        n = len(rows)
        total |= {
            "n_impressions": n, "budget_left": budget_left, "least_winning_cost": total.pop("lwc") / max(n, 1),
            "offered_conversions": float(log["values"][rows, own].astype(np.float32).astype(float).sum()),
        }  # fmt: skip
        ticks.append(total)
    return ticks

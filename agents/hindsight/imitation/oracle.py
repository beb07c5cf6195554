"""The oracle of OIL: the multiplier that is best from each tick on, given what the others bid in the whole episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.hindsight.prices import slot_payments, slot_prices
from agents.labels.hindsight import LOG_GRID, peak
from auction_env.market.params import MarketParams
from auction_env.market.tracing import TracedTick
from auction_env.tasks import QUANTITIES, Targets, Task, Totals

Float = NDArray[np.float64]


class Brought(NamedTuple):
    """What the multipliers of `LOG_GRID` bring in a tick if the money lasts, (m,) each."""

    cost: Float  # currency
    amounts: dict[str, Float]  # expected, of each of the `BASES` that the task counts


def brought_by(
    params: MarketParams, traced: TracedTick, advertiser: int, worth: float, task: Task, others: Mapping[str, Float]
) -> Brought:
    """What each multiplier would bring in a tick against the bids that the others make, over exposure.

    Args:
        params: The market's rules.
        traced: The tick.
        advertiser: Whose multiplier it is.
        worth: Of a unit of the objective, which the grid is relative to; currency.
        task: Of the advertiser.
        others: (n,) predicted amounts of each impression, of those of the task's `needs` that it does not bid on.
    """
    price = slot_prices(params, traced.bid, advertiser)  # (n_slots, n), falling along the slots
    payment = slot_payments(params, price)
    value, seen = traced.value[:, advertiser].astype(np.float64), np.cumprod(params.exposure)
    bid = worth * np.exp(LOG_GRID)[:, None] * value
    cost, chance = np.zeros_like(bid), np.zeros_like(bid)
    for slot in reversed(range(params.n_slots)):
        wins = (bid >= price[slot]) & (bid > 0)
        paid = bid if params.mechanism == "first_price" else payment[slot]
        cost, chance = np.where(wins, seen[slot] * paid, cost), np.where(wins, seen[slot], chance)
    counted = {task.basis: value, **others}
    return Brought(cost.sum(axis=1), {basis: (chance * amount).sum(axis=1) for basis, amount in counted.items()})


def best_log_ratios(
    task: Task, targets: Targets, brought: list[Brought], spent: Float, earned: Mapping[str, Float]
) -> Float:
    """Log of the best constant multiplier from each tick to the episode's end, over the worth of a unit.

    The score of the task is maximised, with what there is by then and a budget that ends the campaign within a tick, of
    which it has a share. A constant follows the traffic: the unevenness of its spend is taken as 0.

    Args:
        task, targets: Of the campaign; targets () each.
        brought: Of each of the T ticks.
        spent: (T,) before each tick.
        earned: (T,) before each tick, of each of the task's `needs`.

    Returns:
        (T,), within `LOG_GRID`.
    """
    cost = np.stack([part.cost for part in brought])  # (T, m)
    amounts = {basis: np.stack([part.amounts[basis] for part in brought]) for basis in task.needs}
    scores = np.empty(cost.shape)
    for tick in range(len(cost)):
        left = max(float(targets.budget) - spent[tick], 0.0)
        before = np.cumsum(cost[tick:], axis=0) - cost[tick:]
        unspent = np.maximum(left - before, 0.0)
        share = np.divide(unspent, cost[tick:], out=np.ones_like(before), where=cost[tick:] > 0).clip(max=1.0)
        total_cost = spent[tick] + (share * cost[tick:]).sum(axis=0)
        nothing, known = np.zeros(len(total_cost)), {"cost": total_cost}
        for basis, amount in amounts.items():
            total, column = earned[basis][tick] + (share * amount[tick:]).sum(axis=0), QUANTITIES[basis]
            known |= {column.sampled: total, column.expected: total}
        totals = Totals(**{name: known.get(name, nothing) for name in Totals._fields})
        scores[tick] = task.score(totals, targets, expected=True)
    return peak(scores)

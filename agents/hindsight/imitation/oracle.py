"""The oracle of OIL: the multiplier that is best from each tick on, given what the others bid in the whole episode."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.hindsight.full_information import check_prices_settled, slot_prices
from agents.labels.hindsight import LOG_GRID, peak
from auction_env.market.params import MarketParams
from auction_env.market.tracing import TracedTick
from auction_env.tasks import QUANTITIES, Targets, Task, Totals

Float = NDArray[np.float64]


class Brought(NamedTuple):
    """What the multipliers of `LOG_GRID` bring in a tick if the money lasts, (m,) each."""

    cost: Float  # currency
    amount: Float  # expected, of what the objective counts


def check_oracle(task: Task, params: MarketParams) -> None:
    """Raises ValueError for a task or a market for which the oracle has no answer."""
    check_prices_settled(params)
    others = [one.kind for one in task.constraints if one.basis not in (None, task.basis)]
    if others:
        raise ValueError(
            f"the constraints of task {task.name!r} must count what its objective counts, {task.basis}, for an oracle"
            f" that follows one amount, found {others}"
        )


def brought_by(params: MarketParams, traced: TracedTick, advertiser: int, worth: float) -> Brought:
    """What each multiplier would bring in a tick against the bids that the others make, over exposure.

    Args:
        params: The market's rules.
        traced: The tick.
        advertiser: Whose multiplier it is.
        worth: Of a unit of the objective, which the grid is relative to; currency.
    """
    price = slot_prices(params, traced.bid, advertiser)  # (n_slots, n), falling along the slots
    value, seen = traced.value[:, advertiser].astype(np.float64), np.cumprod(params.exposure)
    bid = worth * np.exp(LOG_GRID)[:, None] * value
    cost, amount = np.zeros_like(bid), np.zeros_like(bid)
    for slot in reversed(range(params.n_slots)):
        wins = (bid >= price[slot]) & (bid > 0)
        paid = bid if params.mechanism == "first_price" else price[slot]
        cost, amount = np.where(wins, seen[slot] * paid, cost), np.where(wins, seen[slot] * value, amount)
    return Brought(cost.sum(axis=1), amount.sum(axis=1))


def best_log_ratios(task: Task, targets: Targets, brought: list[Brought], spent: Float, earned: Float) -> Float:
    """Log of the best constant multiplier from each tick to the episode's end, over the worth of a unit.

    The score of the task is maximised, with what there is by then and a budget that ends the campaign within a tick, of
    which it has a share. A constant follows the traffic: the unevenness of its spend is taken as 0.

    Args:
        task, targets: Of the campaign; targets () each.
        brought: Of each of the T ticks.
        spent, earned: (T,) before each tick.

    Returns:
        (T,), within `LOG_GRID`.
    """
    cost, amount = (np.stack(parts) for parts in zip(*brought, strict=True))  # (T, m)
    column = QUANTITIES[task.basis]
    scores = np.empty(cost.shape)
    for tick in range(len(cost)):
        left = max(float(targets.budget) - spent[tick], 0.0)
        before = np.cumsum(cost[tick:], axis=0) - cost[tick:]
        unspent = np.maximum(left - before, 0.0)
        share = np.divide(unspent, cost[tick:], out=np.ones_like(before), where=cost[tick:] > 0).clip(max=1.0)
        total_cost = spent[tick] + (share * cost[tick:]).sum(axis=0)
        total = earned[tick] + (share * amount[tick:]).sum(axis=0)
        nothing = np.zeros(len(total))
        known = {"cost": total_cost, column.sampled: total, column.expected: total}
        totals = Totals(**{name: known.get(name, nothing) for name in Totals._fields})
        scores[tick] = task.score(totals, targets, expected=True)
    return peak(scores)

"""The replay market's kernels: one own bid an impression against the logged ladder of competing bids.

The ladder lies rank by rank and the values advertiser by advertiser, so that clearing runs over impressions and
vectorises. What follows (exposure, payment, conversion) touches won impressions only and goes in arrival order,
which makes the hard budget exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from auction_env.kernels.clearing import FIRST_PRICE, next_price
from auction_env.kernels.features import add_tick, write_features
from auction_env.kernels.outcomes import (
    CONVERSIONS,
    COST,
    EXPECTED_CONVERSIONS,
    WINS,
    add_exposure,
    draw_exposure,
    draw_outcome,
    is_short,
)
from auction_env.kernels.rng import (
    STREAM_CONVERSION,
    STREAM_EXPOSURE,
    STREAM_TRUE_VALUE,
    draw_normal,
    high_word,
    low_word,
    make_key,
)

MAX_SLOTS = 8
BLOCK = 256  # impressions cleared at once; the scratch stays in the first-level cache

# columns of the totals of a tick, after the first five of `kernels.outcomes`
N_IMPRESSIONS, BID, OFFERED_CONVERSIONS, LEAST_WINNING_COST, BUDGET_LEFT = range(EXPECTED_CONVERSIONS + 1, 10)
N_TOTALS = 10

N_FEATURES = 16
_MAX_Z = np.float32(6.0)  # beyond the largest normal draw: 24 bits reach 5.4


class ReplayLog(NamedTuple):
    """The logged impressions, in arrival order, of all periods behind each other."""

    ladder_bid: NDArray[np.float32]  # (n_slots + 2, n): highest bids of all advertisers, descending, 0 if none
    ladder_advertiser: NDArray[np.int16]  # (n_slots + 2, n): their advertisers, -1 if none or unknown
    value: NDArray[np.float32]  # (n_advertisers, n): predicted values
    sigma: NDArray[np.float32]  # (n_advertisers, n): their standard deviations
    exposed: NDArray[np.uint8]  # (n,): bit s is set if slot s was seen
    known: NDArray[np.uint8]  # (n,): bit s is set if the log tells whether slot s was seen
    tick_start: NDArray[np.int64]  # (n_periods, n_ticks + 1): offsets into the impressions
    value_sum: NDArray[np.float64]  # (n_advertisers, n_periods, n_ticks)


class ReplayRules(NamedTuple):
    """Rules of the auction as the kernels take them."""

    reserve: Any  # float32
    mechanism: int  # a value of `clearing.MECHANISMS`
    is_unsold_at_reserve: bool  # whether a slot priced at the reserve stays unsold
    exposure: NDArray[np.float32]  # (n_slots,): probabilities where the log does not tell
    is_expected: bool  # conversions are predicted values instead of draws


class OwnBids(NamedTuple):
    """Bids on each impression of a tick of those episodes that do not bid with a multiplier, behind each other.

    What came of each impression is written beside its bid.
    """

    start: NDArray[np.int64]  # (n,) where the bids of each episode begin; -1: it bids with its multiplier
    bid: NDArray[np.float32]  # (k,); 0 is written where the episode could no longer pay
    slot: NDArray[np.int32]  # (k,) 0: lost, 1..n_slots
    price: NDArray[np.float32]  # (k,) of the slot won, 0 where lost
    exposed: NDArray[np.bool_]  # (k,)
    converted: NDArray[np.bool_]  # (k,)
    least_winning_cost: NDArray[np.float32]  # (k,)


class EnvState(NamedTuple):
    """State of n episodes."""

    period: NDArray[np.int64]  # (n,) row of `tick_start`
    advertiser: NDArray[np.int64]  # (n,) row of `value`
    seed: NDArray[np.uint64]  # (n,)
    tick: NDArray[np.int64]  # (n,)
    active: NDArray[np.bool_]  # (n,) False once an impression could not be paid
    budget: NDArray[np.float64]  # (n,)
    budget_left: NDArray[np.float64]  # (n,)
    running: NDArray[np.float64]  # (n, 1 + WINDOW, N_STATISTICS): `features`


def _compiled(function: Any) -> Any:
    # No function so compiled allocates, so reference counts, which cost a third of the speed, are left out.
    return njit(cache=True, error_model="numpy", _nrt=False)(function)  # type: ignore[call-overload]  # stubs lack it


@njit(cache=True)
def rank_ladder(bids, top_bid, top_advertiser):
    """The highest bids of each impression, equal ones by advertiser index.

    Args:
        bids: (n, n_advertisers) float64, not negative.
        top_bid: (n_top, n) float32, written: descending, 0 where there is none.
        top_advertiser: (n_top, n) int16, written: -1 where there is none.
    """
    n_top = top_bid.shape[0]
    best, who = np.empty(n_top), np.empty(n_top, np.int64)
    for i in range(bids.shape[0]):
        best[:] = 0.0
        who[:] = -1
        for j in range(bids.shape[1]):
            bid = bids[i, j]
            if bid <= best[n_top - 1]:
                continue
            rank = n_top - 1
            while rank > 0 and best[rank - 1] < bid:
                best[rank], who[rank] = best[rank - 1], who[rank - 1]
                rank -= 1
            best[rank], who[rank] = bid, j
        for rank in range(n_top):
            top_bid[rank, i] = best[rank]
            top_advertiser[rank, i] = who[rank]


@njit(cache=True)
def sum_values(value, tick_start, total):
    """Writes `total` (n_advertisers, n_periods, n_ticks) float64: sums of the values of each tick."""
    for j in range(value.shape[0]):
        for period in range(tick_start.shape[0]):
            for tick in range(tick_start.shape[1] - 1):
                summed = 0.0
                for i in range(tick_start[period, tick], tick_start[period, tick + 1]):
                    summed += value[j, i]
                total[j, period, tick] = summed


@_compiled
def clear_against(log, rules, first, n, own, bid, slot, price, lwc, in_top):
    """Clears n impressions from `first` on for the own bid, with the own logged bid taken out of the ladder.

    Args:
        log, rules: See the classes.
        first, n: Impressions, at most as many as the arrays have room for.
        own: Index of the own advertiser.
        bid: (>= n,) float32 own bids.
        slot: (>= n,) int32, written: 0-based slot won, n_slots if none.
        price: (>= n,) float32, written: price of the slot won.
        lwc: (>= n,) float32, written: the best losing bid, the own one included, at least the reserve.
        in_top: (>= n,) int32 scratch.
    """
    n_slots = log.ladder_bid.shape[0] - 2
    zero = np.float32(0.0)
    for i in range(n):
        slot[i] = 0
        price[i] = zero
        in_top[i] = 0
    for rank in range(n_slots + 2):
        ladder, holder = log.ladder_bid[rank, first : first + n], log.ladder_advertiser[rank, first : first + n]
        counted = np.int32(rank < n_slots)
        for i in range(n):
            other, j = ladder[i], np.int32(holder[i])
            is_other = j != own
            beats = (other > bid[i]) | ((other == bid[i]) & (j < own))
            slot[i] += np.int32(is_other & beats)
            below = other if is_other & (not beats) else zero
            price[i] = max(price[i], below)
            in_top[i] += np.int32(not is_other) * counted
    last, after = log.ladder_bid[n_slots - 1, first : first + n], log.ladder_bid[n_slots, first : first + n]
    second, holder = log.ladder_bid[n_slots + 1, first : first + n], log.ladder_advertiser[n_slots, first : first + n]
    for i in range(n):
        is_in_top = in_top[i] > 0
        # the n_slots-th competing bid and the one after it: the own bid falls above, between or below them
        upper = after[i] if is_in_top else last[i]
        lower = second[i] if is_in_top | (holder[i] == own) else after[i]
        lwc[i] = next_price(max(lower, min(upper, bid[i])), rules.reserve)
    for i in range(n):
        is_won = (slot[i] < n_slots) & (bid[i] >= rules.reserve) & (bid[i] > zero)
        if rules.is_unsold_at_reserve:
            is_won &= price[i] > rules.reserve
        slot[i] = slot[i] if is_won else np.int32(n_slots)
        price[i] = bid[i] if rules.mechanism == FIRST_PRICE else next_price(price[i], rules.reserve)


@_compiled
def exposure_keys(rules, seed, tick, keys):
    """Writes the keys of a tick's exposure draws, one a slot: (n_slots,) uint64."""
    for s in range(rules.exposure.shape[0]):
        keys[s] = make_key(seed, tick, s, STREAM_EXPOSURE)


@_compiled
def is_seen(log, rules, keys, row, impression, slot):
    """Whether a slot is seen: as logged, and drawn where the log does not tell and all slots above are seen."""
    exposed, known = np.int64(log.exposed[row]), np.int64(log.known[row])
    if (known >> slot) & 1:
        return ((exposed >> slot) & 1) == 1
    for s in range(slot + 1):
        if (known >> s) & 1:
            if not (exposed >> s) & 1:
                return False
        elif not draw_exposure(np.uint32(impression), low_word(keys[s]), high_word(keys[s]), rules.exposure[s]):
            return False  # never at 1: a uniform lies below it
    return True


@njit(cache=True)
def new_scratch():
    """Arrays for one block of impressions (slot, in_top; price, least winning cost, bid) and the exposure keys."""
    return np.empty((2, BLOCK), np.int32), np.empty((3, BLOCK), np.float32), np.empty(MAX_SLOTS, np.uint64)


@_compiled
def add_up(values, n):
    """The sum of the first n float32 values, in float64: four lanes of fixed order, wherever this is compiled into."""
    a = b = c = d = 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):
        a += values[i]
        b += values[i + 1]
        c += values[i + 2]
        d += values[i + 3]
    for i in range(whole, n):
        a += values[i]
    return (a + b) + (c + d)


@_compiled
def settle_tick(log, rules, period, own, seed, tick, multiplier, bids, budget_left, scratch, totals, e):
    """One tick of one episode: bids multiplier x value on each impression until one cannot be paid.

    Where `bids` (`OwnBids`) has the episode's own bids, it bids those, with a multiplier of 1, and writes outcomes.
    Writes row e of `totals` (n, N_TOTALS) and returns whether every seen slot could be paid.
    """
    first, stop = log.tick_start[period, tick], log.tick_start[period, tick + 1]
    n_slots = log.ladder_bid.shape[0] - 2
    slot, in_top = scratch[0][0], scratch[0][1]
    price, lwc, bid = scratch[1][0], scratch[1][1], scratch[1][2]
    keys = scratch[2]
    exposure_keys(rules, seed, tick, keys)
    value, sigma = log.value[own], log.sigma[own]
    conversion_key = make_key(seed, tick, own, STREAM_CONVERSION)
    value_key = make_key(seed, tick, own, STREAM_TRUE_VALUE)
    value_low, value_high = low_word(value_key), high_word(value_key)
    zero = np.float32(0.0)
    totals[e, :] = 0.0
    bid_sum = lwc_sum = 0.0
    is_paid = True
    at = bids.start[e] - first  # where the outcome of an impression is written; its bid stands there
    is_each = bids.start[e] >= 0
    for block in range(first, stop, BLOCK):
        n = min(BLOCK, stop - block)
        start = 0
        while start < n:
            here, m = block + start, n - start
            if is_each:
                for i in range(m):
                    bid[i] = multiplier * bids.bid[at + here + i]
            else:
                for i in range(m):
                    bid[i] = multiplier * value[here + i]
            clear_against(log, rules, here, m, own, bid, slot, price, lwc, in_top)
            end = m
            for i in range(m):
                s = slot[i]
                if s == n_slots:
                    continue
                row, impression = here + i, here + i - first
                seen = is_seen(log, rules, keys, row, impression, s)
                if seen and is_short(totals[e, COST], price[i], budget_left):
                    end, multiplier, is_paid = i, np.float32(0.0), False  # the rest is cleared without the own bid
                    break
                totals[e, WINS] += 1
                if seen:
                    n_conversions = 0.0
                    if rules.is_expected:
                        n_conversions = np.float64(value[row])
                    else:
                        u = draw_outcome(impression, conversion_key)
                        if u < value[row] + _MAX_Z * sigma[row]:
                            z = draw_normal(np.uint32(impression), value_low, value_high)
                            n_conversions = np.float64(u < value[row] + sigma[row] * z)
                    add_exposure(totals, e, price[i], value[row], n_conversions)
                    if is_each:
                        bids.exposed[at + row], bids.converted[at + row] = True, n_conversions > 0
            if is_each:
                for i in range(end):
                    is_won = slot[i] < n_slots
                    bids.bid[at + here + i] = bid[i]
                    bids.slot[at + here + i] = slot[i] + 1 if is_won else 0
                    bids.price[at + here + i] = price[i] if is_won else zero
                    bids.least_winning_cost[at + here + i] = lwc[i]
            bid_sum += add_up(bid, end)
            lwc_sum += add_up(lwc, end)
            start += end
    totals[e, N_IMPRESSIONS] = stop - first
    totals[e, BID] = bid_sum
    totals[e, OFFERED_CONVERSIONS] = log.value_sum[own, period, tick]
    totals[e, LEAST_WINNING_COST] = lwc_sum / max(stop - first, 1)
    totals[e, BUDGET_LEFT] = budget_left - totals[e, COST]
    return is_paid


@_compiled
def observe(log, state, e, out):
    """Writes the features of episode e at the start of its current tick, (>= 16,): `StateFeatures.observe`."""
    n_ticks = log.tick_start.shape[1] - 1
    tick = state.tick[e]
    value_now, volume_now = 0.0, 0
    if tick < n_ticks:
        period = state.period[e]
        volume_now = log.tick_start[period, tick + 1] - log.tick_start[period, tick]
        value_now = log.value_sum[state.advertiser[e], period, tick] / max(volume_now, 1)
    write_features(
        state.running, e, tick, (n_ticks - tick) / n_ticks, state.budget_left[e] / state.budget[e], value_now,
        volume_now, out,
    )  # fmt: skip


@_compiled
def step_env(log, rules, state, e, multiplier, bids, scratch, totals, observation):
    """One tick of episode e; writes its row of the totals and the features that follow."""
    given = np.float32(multiplier) if state.active[e] else np.float32(0.0)
    is_paid = settle_tick(
        log, rules, state.period[e], state.advertiser[e], state.seed[e], state.tick[e], given, bids,
        state.budget_left[e], scratch, totals, e,
    )  # fmt: skip
    state.active[e] &= is_paid
    state.budget_left[e] = totals[e, BUDGET_LEFT]
    n = max(totals[e, N_IMPRESSIONS], 1.0)
    add_tick(
        state.running, e, totals[e, BID] / n,
        totals[e, LEAST_WINNING_COST], totals[e, OFFERED_CONVERSIONS] / n, totals[e, CONVERSIONS] / n,
        totals[e, WINS] / n, totals[e, N_IMPRESSIONS],
    )  # fmt: skip
    state.tick[e] += 1
    observe(log, state, e, observation)


@_compiled
def step_envs(log, rules, state, mask, multipliers, bids, scratch, totals, observations):
    """A tick of every episode in `mask`, one after another.

    Args:
        log, rules, state: See the classes; `state` is changed.
        mask: (n,) bool.
        multipliers: (n,) float64.
        bids: See `OwnBids`; `exposed` and `converted` must be False.
        scratch: See `new_scratch`.
        totals: (n, N_TOTALS) float64, written where `mask`.
        observations: (n, >= 16) float, written where `mask`.
    """
    for e in range(mask.shape[0]):
        if mask[e]:
            step_env(log, rules, state, e, multipliers[e], bids, scratch, totals, observations[e])


@njit(cache=True, parallel=True)
def step_envs_parallel(n_parts, log, rules, state, mask, multipliers, bids, totals, observations):
    """`step_envs` on all threads, in `n_parts` runs of episodes."""
    n = mask.shape[0]
    for part in prange(n_parts):
        scratch = new_scratch()
        for e in range(part * n // n_parts, (part + 1) * n // n_parts):
            if mask[e]:
                step_env(log, rules, state, e, multipliers[e], bids, scratch, totals, observations[e])


@_compiled
def observe_envs(log, state, mask, observations):
    """Writes the features of every episode in `mask`."""
    for e in range(mask.shape[0]):
        if mask[e]:
            observe(log, state, e, observations[e])


@_compiled
def clear_period(log, rules, period, own, bids, seed, scratch, slot, price, lwc, exposed):
    """Clears a whole period for given own bids, without a budget.

    Args:
        log, rules, period, own, seed, scratch: As elsewhere.
        bids: (n,) float32, one an impression of the period.
        slot: (n,) int32, written: 0 lost, 1..n_slots.
        price, lwc: (n,) float32, written: price of the slot won (0 if none), least winning cost.
        exposed: (n,) bool, written: whether the slot won is seen.
    """
    n_slots = log.ladder_bid.shape[0] - 2
    in_top, keys = scratch[0][1], scratch[2]
    offset = log.tick_start[period, 0]
    for tick in range(log.tick_start.shape[1] - 1):
        first, stop = log.tick_start[period, tick], log.tick_start[period, tick + 1]
        exposure_keys(rules, seed, tick, keys)
        for block in range(first, stop, BLOCK):
            at, n = block - offset, min(BLOCK, stop - block)
            clear_against(
                log, rules, block, n, own, bids[at : at + n], slot[at : at + n], price[at : at + n],
                lwc[at : at + n], in_top,
            )  # fmt: skip
            for i in range(n):
                s = slot[at + i]
                is_won = s < n_slots
                slot[at + i] = s + 1 if is_won else 0
                price[at + i] = price[at + i] if is_won else 0.0
                exposed[at + i] = is_won and is_seen(log, rules, keys, block + i, block + i - first, s)

"""A block of impressions from bids to totals: clear, expose, charge and convert, in arrival order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from auction_env.kernels.clearing import BLOCK, GSP, least_winning_cost, next_price, rank_bids, slot_price
from auction_env.kernels.outcomes import (
    ADD_TO_CARTS,
    CLICKS,
    COST,
    EXPECTED_ADD_TO_CARTS,
    EXPECTED_CLICKS,
    EXPECTED_GMV,
    GMV,
    WINS,
    add_exposure,
    draw_amounts,
    draw_conversion,
    draw_exposure,
    draw_known_conversion,
    draw_outcome,
    is_short,
    may_convert,
)
from auction_env.kernels.rng import STREAM_EXPOSURE, STREAM_RESERVE, draw_one_normal, high_word, low_word, make_key
from auction_env.kernels.running.compiling import inlined, inner
from auction_env.kernels.values import N_BASES


class Rules(NamedTuple):
    """Rules of the auction as the kernels take them."""

    mechanism: Any  # int64, a value of `clearing.MECHANISMS`
    first_price_share: Any  # float32, share of a price that is the winner's bid: `MarketParams.first_price_share`
    exposure: NDArray[np.float32]  # (n_slots,): probability that a slot is seen given that the one above is
    weight: NDArray[np.float32]  # (n_slots, n_slots): `clearing.price_weights`
    reserve: Any  # float32
    reserve_noise: Any  # float32, standard deviation of the log of an impression's reserve
    quality: NDArray[np.float32]  # (n_advertisers,)
    has_quality: bool  # whether any of them is not 1
    is_unsold_at_reserve: bool  # whether a slot whose price is the reserve stays unsold
    # the fields of `values.FunnelRules`
    has_funnel: bool
    click_rate: NDArray[np.float32]  # (n_advertisers,) mean click probability
    cart_rate: NDArray[np.float32]  # (n_advertisers,) mean add-to-cart probability
    order_value: NDArray[np.float32]  # (n_advertisers,) mean value of an order, currency
    funnel_sd: NDArray[np.float32]  # (3,)
    funnel_correlation: NDArray[np.float32]  # (3,)
    value_correlation: Any  # float32
    value_shape: NDArray[np.float32]  # (n_advertisers, N_POINTS), or (n_advertisers, 0)


class RuleArrays(NamedTuple):
    """`Rules` in few arrays: a call of a kernel costs 0.1 us for every array in a record, `Rules` together 2 us."""

    numbers: NDArray[np.float32]  # (8,): mechanism .. has_funnel and value_correlation, see `rules_of`
    exposure: NDArray[np.float32]  # (n_slots,)
    weight: NDArray[np.float32]  # (n_slots, n_slots)
    by_advertiser: NDArray[np.float32]  # (4, n_advertisers): quality, click rate, cart rate, order value
    funnel: NDArray[np.float32]  # (2, 3): funnel_sd, funnel_correlation
    value_shape: NDArray[np.float32]  # (n_advertisers, N_POINTS), or (n_advertisers, 0)

    @classmethod
    def of(cls, rules: Rules) -> RuleArrays:
        """The same rules."""
        numbers = (
            rules.mechanism, rules.first_price_share, rules.reserve, rules.reserve_noise, rules.has_quality,
            rules.is_unsold_at_reserve, rules.has_funnel, rules.value_correlation,
        )  # fmt: skip
        return cls(
            np.array(numbers, np.float32), rules.exposure, rules.weight,
            np.stack((rules.quality, rules.click_rate, rules.cart_rate, rules.order_value)),
            np.stack((rules.funnel_sd, rules.funnel_correlation)), rules.value_shape,
        )  # fmt: skip


@inner
def rules_of(numbers, exposure, weight, by_advertiser, funnel, value_shape):
    """`Rules` from `RuleArrays`."""
    return Rules(
        np.int64(numbers[0]), numbers[1], exposure, weight, numbers[2], numbers[3], by_advertiser[0], numbers[4] != 0,
        numbers[5] != 0, numbers[6] != 0, by_advertiser[1], by_advertiser[2], by_advertiser[3], funnel[0], funnel[1],
        numbers[7], value_shape,
    )  # fmt: skip


class Advertisers(NamedTuple):
    """What outcomes depend on besides the values, (n_markets, n_advertisers) float32: see `outcomes.is_converted`."""

    sigma: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    mean: NDArray[np.float32]  # of the tick's predicted values
    sd: NDArray[np.float32]


class Tiles(NamedTuple):
    """The impressions of a tick by block, (n_tiles, n_advertisers, BLOCK) float32 each."""

    basis: NDArray[np.float32]  # what a multiplier multiplies: predicted amounts, or bids, with a multiplier of 1
    value: NDArray[np.float32]  # predicted amounts; the same array where nobody bids impression by impression
    # standard deviations of the predicted conversions; (1, 0, 0): not known, each outcome draws its own
    sigma: NDArray[np.float32]


@inner
def first_blocks(n, kind):
    """Where the blocks of each market begin, (n_markets,) int64: markets of a kind share theirs.

    Args:
        n: (n_markets,) int64 impressions.
        kind: (n_markets,) int64 from 0 on.
    """
    n_kinds = 0
    for e in range(n.shape[0]):
        n_kinds = max(n_kinds, kind[e] + 1)
    start = np.zeros(n_kinds + 1, np.int64)
    for e in range(n.shape[0]):
        start[kind[e] + 1] = (n[e] + BLOCK - 1) // BLOCK
    for k in range(1, start.shape[0]):
        start[k] += start[k - 1]
    first = np.empty(n.shape[0], np.int64)
    for e in range(n.shape[0]):
        first[e] = start[kind[e]]
    return first


class Ladder(NamedTuple):
    """What is known of an item's impressions before anybody pays: scratch of one thread."""

    top_bid: NDArray[np.float32]  # (n_slots + 1, BLOCK) scores
    top_idx: NDArray[np.int32]  # (n_slots + 1, BLOCK) their advertisers
    reserve: NDArray[np.float32]  # (BLOCK,)
    n_exposed: NDArray[np.int32]  # (BLOCK,) slots that are seen, from the top
    price: NDArray[np.float32]  # (n_slots, BLOCK) of the slots that are won
    new_bid: NDArray[np.float32]  # (BLOCK,) scratch of `rank_bids`
    # (n_slots, 4, BLOCK) of each slot's winner: `outcomes.draw_amounts`; written in a market with a funnel
    amounts: NDArray[np.float32]


@inner
def new_ladder(n_slots, has_funnel):
    """`Ladder` of a block, not filled; without a funnel it has no amounts."""
    # few arrays, whose rows it takes: each array of its own would cost every block 0.05 us
    money, counts = np.empty((2 * n_slots + 3, BLOCK), np.float32), np.empty((n_slots + 2, BLOCK), np.int32)
    n = n_slots + 1
    return Ladder(
        money[:n], counts[:n], money[n], counts[n], money[n + 1 : n + 1 + n_slots], money[n + 1 + n_slots],
        np.empty((n_slots if has_funnel else 0, N_BASES, BLOCK), np.float32),
    )  # fmt: skip


@inner
def count_exposed(seed, tick, first, n, exposure, n_exposed):
    """How many slots of each impression are seen, from the top: a slot is seen only if all above it are."""
    n_exposed[:n] = 0
    for s in range(exposure.shape[0]):
        key = make_key(seed, tick, s, STREAM_EXPOSURE)
        low, high = np.uint32(low_word(key) + np.uint32(first)), high_word(key)
        for i in range(n):
            n_exposed[i] += np.int32(draw_exposure(np.uint32(i), low, high, exposure[s]) & (n_exposed[i] == s))


@inner
def draw_reserves(seed, tick, first, n, reserve, noise, out):
    """Reserve price of each impression: log-normal around `reserve`, which is its median."""
    if noise == 0:
        out[:n] = reserve
        return
    key = make_key(seed, tick, np.int64(0), STREAM_RESERVE)
    for i in range(n):
        z = draw_one_normal(np.uint32(first + i), low_word(key), high_word(key))
        out[i] = reserve * np.exp(noise * z)


@inner(error_model="numpy")
def price_slots(basis, multiplier, rules, ladder, start, stop):
    """Writes the prices of the won slots of impressions [start, stop) to the ladder."""
    price, top_bid, top_idx = ladder.price, ladder.top_bid, ladder.top_idx
    for s in range(price.shape[0]):
        if rules.mechanism == GSP and not rules.has_quality:  # the usual case, vectorised
            row, below, reserve = price[s, start:stop], top_bid[s + 1, start:stop], ladder.reserve[start:stop]
            for i in range(stop - start):
                row[i] = next_price(below[i], reserve[i])
        else:
            for i in range(start, stop):
                winner = top_idx[s, i]
                if winner >= 0:
                    bid = multiplier[winner] * basis[winner, i]
                    price[s, i] = slot_price(
                        rules.mechanism, rules.weight, top_bid, s, i, ladder.reserve[i], bid, rules.quality[winner]
                    )
        if rules.first_price_share > 0:
            for i in range(start, stop):
                winner = top_idx[s, i]
                if winner >= 0:
                    bid = multiplier[winner] * basis[winner, i]
                    price[s, i] += rules.first_price_share * (bid - price[s, i])


@inlined
def open_ladder(seed, tick, first, n, rules):
    """`Ladder` of n impressions from `first` on: reserve prices and exposed slots are filled in, bids are not."""
    ladder = new_ladder(rules.exposure.shape[0], rules.has_funnel)
    draw_reserves(seed, tick, first, n, rules.reserve, rules.reserve_noise, ladder.reserve)
    count_exposed(seed, tick, first, n, rules.exposure, ladder.n_exposed)
    return ladder


@inner
def leave_unsold(ladder, start, stop):
    """Takes the winners of impressions [start, stop) off the slots whose price is the reserve."""
    for s in range(ladder.price.shape[0]):
        for i in range(start, stop):
            if ladder.price[s, i] <= ladder.reserve[i]:
                ladder.top_idx[s, i] = -1


@inlined
def clear_block(basis, multiplier, rules, ladder, start, stop):
    """Ranks the bids of impressions [start, stop) and prices their slots, in the ladder."""
    rank_bids(
        basis, multiplier, rules.quality, ladder.reserve, start, stop, ladder.new_bid, ladder.top_bid, ladder.top_idx
    )  # fmt: skip
    price_slots(basis, multiplier, rules, ladder, start, stop)
    if rules.is_unsold_at_reserve:
        leave_unsold(ladder, start, stop)


@njit(cache=True, inline="always")
def add_funnel(amounts, s, i, u, totals, winner):
    """Adds clicks, add-to-carts and GMV of an exposed impression, sampled and expected.

    One uniform decides on all three, so that every conversion is an add-to-cart and every add-to-cart a click: with
    u below their probabilities, which are in that order (`kernels.values`). The sampled GMV is added by the caller,
    who knows of the conversion.

    Args:
        amounts: (n_slots, 4, BLOCK): `Ladder.amounts`.
        s: The slot.
        i: The impression in its block.
        u: `draw_outcome` of the impression.
        totals: (n_advertisers, N_TOTALS), of which the row of the winner is added to.
        winner: The advertiser in the slot.
    """
    click, cart = amounts[s, 1, i], amounts[s, 2, i]
    totals[winner, CLICKS] += u < click
    totals[winner, EXPECTED_CLICKS] += click
    totals[winner, ADD_TO_CARTS] += u < cart
    totals[winner, EXPECTED_ADD_TO_CARTS] += cart
    totals[winner, EXPECTED_GMV] += amounts[s, 0, i] * amounts[s, 3, i]


@inner
def settle(
    seed, tick, first, start, stop, values, sigmas, rules, ladder, sigma, lower, upper, mean, sd, keys, is_exact,
    limit, totals,
):  # fmt: skip
    """Charges and converts ranked and priced impressions [start, stop) in arrival order.

    `values` and `sigmas` are a block of `Tiles`; `sigmas` is (0, 0) where they are not known.
    If `is_exact`, stops before the first impression at which an exposed winner's cost would exceed `limit`, and
    returns that impression and advertiser; (stop, -1) when all are settled. `totals` (n_advertisers, N_TOTALS) is
    added to.

    Returns:
        (impression, advertiser, sum of the least winning costs of the settled impressions).
    """
    n_slots = rules.exposure.shape[0]
    top_idx, price, amounts, has_sigmas = ladder.top_idx, ladder.price, ladder.amounts, sigmas.shape[0] > 0
    if rules.has_funnel:
        draw_amounts(seed, tick, first, start, stop, rules, mean, sd, ladder)
    lwc_sum = 0.0
    for i in range(start, stop):
        n_exposed = ladder.n_exposed[i]
        for s in range(n_exposed):
            winner = top_idx[s, i]
            if winner < 0:
                break
            if is_exact and is_short(totals[winner, COST], price[s, i], limit[winner]):
                return i, winner, lwc_sum
        for s in range(n_slots):
            winner = top_idx[s, i]
            if winner < 0:
                break
            totals[winner, WINS] += 1
            if s >= n_exposed:
                continue
            u = draw_outcome(first + i, keys[winner])
            value, n_conversions = values[winner, i], 0
            if rules.has_funnel:
                value = amounts[s, 0, i]
                add_funnel(amounts, s, i, u, totals, winner)
            if has_sigmas:
                n_conversions = draw_known_conversion(
                    seed, tick, first + i, winner, value, sigmas[winner, i], lower[winner], upper[winner], u
                )
            elif may_convert(u, value):  # few do: the others need neither draws nor a call
                n_conversions = draw_conversion(
                    seed, tick, first + i, winner, value, sigma[winner], lower[winner], upper[winner], u
                )
            add_exposure(totals, winner, price[s, i], value, n_conversions)
            if rules.has_funnel:
                totals[winner, GMV] += n_conversions * amounts[s, 3, i]
        lwc_sum += least_winning_cost(ladder.top_bid, i, ladder.reserve[i])
    return stop, -1, lwc_sum


@inner
def sum_basis(basis, multiplier, start, stop, out):
    """Adds the basis of impressions [start, stop) to `out` (n_advertisers,) of those with a multiplier, one by one.

    Four advertisers at a time: a sum in order waits for every addition, and four of them wait together.
    """
    n_advertisers = multiplier.shape[0]
    n_whole = n_advertisers - n_advertisers % 4
    for j in range(0, n_whole, 4):
        a, b, c, d = out[j], out[j + 1], out[j + 2], out[j + 3]
        for i in range(start, stop):
            a += basis[j, i]
            b += basis[j + 1, i]
            c += basis[j + 2, i]
            d += basis[j + 3, i]
        out[j] = a if multiplier[j] > 0 else out[j]
        out[j + 1] = b if multiplier[j + 1] > 0 else out[j + 1]
        out[j + 2] = c if multiplier[j + 2] > 0 else out[j + 2]
        out[j + 3] = d if multiplier[j + 3] > 0 else out[j + 3]
    for j in range(n_whole, n_advertisers):
        if multiplier[j] > 0:
            for i in range(start, stop):
                out[j] += basis[j, i]


@inlined
def settle_block(
    seed, tick, first, n, basis, values, sigmas, submitted, multiplier, rules, sigma, lower, upper, mean, sd, keys,
    is_exact, limit, totals, value_sum, winner,
):  # fmt: skip
    """Settles a block of a market in arrival order: whoever cannot pay an impression is out from that impression on.

    Args:
        seed: uint64 of the market's episode.
        tick: Index of the tick.
        first, n: First impression of the block and their number.
        basis, values: (n_advertisers, BLOCK) float32: its tiles.
        sigmas: The same, or (0, 0): its tile of `Tiles.sigma`.
        submitted: (n_advertisers,) float32 multipliers.
        multiplier: (n_advertisers,) float32, written: `submitted`, but 0 for the exhausted.
        rules: `Rules`.
        sigma, lower, upper, mean, sd: (n_advertisers,) float32: `Advertisers`.
        keys: (n_advertisers,) uint64: `outcomes.conversion_keys`.
        is_exact: Whether to stop those whose money runs out, or to settle as if it never did.
        limit: (n_advertisers,) float64 money left.
        totals: (n_advertisers, N_TOTALS) float64, written.
        value_sum: (n_advertisers,) float64: if somebody is exhausted, overwritten by the sum of the basis over the
            impressions that each advertiser bid on.
        winner: (n_slots, BLOCK) int32, written: who won each slot, seen or not, -1 if nobody; or without rows.

    Returns:
        (sum of the least winning costs, whether somebody was exhausted).
    """
    ladder = open_ladder(seed, tick, first, n, rules)
    totals[:] = 0
    for j in range(multiplier.shape[0]):
        multiplier[j] = submitted[j]
    start, lwc_sum, is_broke = np.int64(0), 0.0, False  # a literal 0 would compile the callees twice
    while start < n:
        clear_block(basis, multiplier, rules, ladder, start, n)
        end, broke, lwc = settle(
            seed, tick, first, start, n, values, sigmas, rules, ladder, sigma, lower, upper, mean, sd, keys, is_exact,
            limit, totals,
        )  # fmt: skip
        lwc_sum += lwc
        if broke >= 0 and not is_broke:
            is_broke = True
            value_sum[:] = 0
        if is_broke:
            sum_basis(basis, multiplier, start, end, value_sum)
        for s in range(winner.shape[0]):
            for i in range(start, end):
                winner[s, i] = ladder.top_idx[s, i]
        if broke >= 0:
            multiplier[broke] = 0
        start = end
    return lwc_sum, is_broke

"""What each impression of a tick will be: for logs, for bidders that bid impression by impression, for references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels import impressions as kernel
from auction_env.kernels.clearing import BLOCK
from auction_env.market.episode import check_impression_bids
from auction_env.market.market import BatchMarket
from auction_env.market.params import MarketParams

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


class TracedTick(NamedTuple):
    """The impressions of a tick, (n_impressions, n_advertisers) unless said otherwise.

    Attributes:
        value: float32 predicted values.
        bid: float32 bids submitted.
        slot: int64: 0 lost, 1..n_slots.
        price: float32 price of the slot won, 0 elsewhere.
        exposed, converted: bool.
        least_winning_cost: (n_impressions,) float32.
    """

    value: Float32
    bid: Float32
    slot: NDArray[np.int64]
    price: Float32
    exposed: Bool
    converted: Bool
    least_winning_cost: Float32


def trace_tick(
    market: BatchMarket,
    multipliers: ArrayLike,
    index: int = 0,
    *,
    on_impressions: Mapping[tuple[int, int], ArrayLike] | None = None,
    any_basis: bool = False,
) -> TracedTick:
    """What each impression of the current tick will be in `market.step`, which it leaves as it is.

    Args:
        market: The markets, within an episode.
        multipliers: (n_advertisers,) of the market traced, as `step` takes them.
        index: Which of the markets.
        on_impressions: Bids on impressions of all markets, as `step` takes them.
        any_basis: Whether advertisers may bid on something else than conversions; `value` is then the predicted
            amount of what each bids on.

    Raises:
        ValueError: The market drops wins of overspenders (`budget_rule`) or delays conversions, so that what happens
            to an impression is not settled when it arrives, or an advertiser bids on something else than conversions
            though `any_basis` is False.
    """
    check_traceable(market.params)
    if not (any_basis or market.is_bidding_on_conversions(index)):
        raise ValueError("all advertisers must bid on conversions to trace impressions, found another basis")
    opening = market.opening
    value = np.ascontiguousarray(market.values(index))
    n, n_advertisers = value.shape
    basis, submitted = value, np.array(multipliers, np.float32)
    for (which, advertiser), bids in (on_impressions or {}).items():
        if which == index:
            basis = value.copy() if basis is value else basis
            basis[:, advertiser] = check_impression_bids(bids, n, f"advertiser {advertiser}")
            submitted[advertiser] = 1.0
    multiplier = np.where(opening.active[index], submitted, np.float32(0))
    left = opening.budget_left[index].copy()
    shape = (n, n_advertisers)
    traced = TracedTick(
        value, np.zeros(shape, np.float32), np.zeros(shape, np.int64), np.zeros(shape, np.float32),
        np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(n, np.float32),
    )  # fmt: skip
    draws = market.draws(index)
    sigma = market.known_sigmas(index)
    blocks = [np.zeros((part.shape[1], BLOCK if part.size else 0), np.float32) for part in (basis, value, sigma)]
    for first in range(0, n, BLOCK):
        rows = slice(first, min(first + BLOCK, n))
        for block, part in zip(blocks, (basis, value, sigma), strict=True):
            if block.size:
                block[:, : rows.stop - first] = part[rows].T
        kernel.trace_block(
            draws.seed, opening.tick, first, rows.stop - first, blocks[0], blocks[1], blocks[2], multiplier,
            draws.rules, draws.advertisers, draws.keys, left, *(column[rows] for column in traced[1:]),
        )  # fmt: skip
    return traced


def check_traceable(params: MarketParams) -> None:
    """Raises ValueError if what happens to an impression is not settled when it arrives: see `trace_tick`."""
    if params.budget_rule != "in_order":
        raise ValueError(
            f"`budget_rule` must be 'in_order' to trace impressions, found {params.budget_rule!r}: replace it, or take"
            " the population of a preset without its rules (`--population` in place of `--preset`)"
        )
    if params.conversion_delay > 0:
        raise ValueError(f"`conversion_delay` must be 0 to trace impressions, found {params.conversion_delay}")

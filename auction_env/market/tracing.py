"""What each impression of a tick will be: for logs, for bidders that bid impression by impression, for references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels import impressions as kernel
from auction_env.kernels.clearing import BLOCK
from auction_env.kernels.settle import Advertisers, Tiles
from auction_env.kernels.step import overspend
from auction_env.kernels.tick import lay_out
from auction_env.market.episode import TickDraws
from auction_env.market.market import BatchMarket, check_impression_bids
from auction_env.market.params import MarketParams

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


class TracedTick(NamedTuple):
    """The impressions of a tick, (n_impressions, n_advertisers) unless said otherwise.

    Attributes:
        value: float32 predicted values.
        bid: float32 bids submitted; 0 where money has run out, and, as in AuctionNet's logs, for dropped wins
            (`budget_rule="auctionnet"`).
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
        ValueError: The market delays conversions, so that what comes of an impression is not known in its tick, or an
            advertiser bids on something else than conversions though `any_basis` is False.
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
    draws, left = market.draws(index), opening.budget_left[index].copy()
    sigma = market.known_sigmas(index)
    tiles = Tiles(*(_blocks(part) if part.size else np.empty((1, 0, 0), np.float32) for part in (basis, value, sigma)))
    if market.params.budget_rule == "auctionnet":
        _drop_wins(draws, opening.tick, n, tiles, multiplier, left)
        left[:] = np.inf  # what was not dropped is paid
    shape = (n, n_advertisers)
    traced = TracedTick(
        value, np.zeros(shape, np.float32), np.zeros(shape, np.int64), np.zeros(shape, np.float32),
        np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(n, np.float32),
    )  # fmt: skip
    for tile, first in enumerate(range(0, n, BLOCK)):
        rows = slice(first, min(first + BLOCK, n))
        kernel.trace_block(
            draws.seed, opening.tick, first, rows.stop - first, tiles.basis[tile], tiles.value[tile],
            tiles.sigma[min(tile, len(tiles.sigma) - 1)], multiplier, draws.rules, draws.advertisers, draws.keys, left,
            *(column[rows] for column in traced[1:]),
        )  # fmt: skip
    return traced


def _blocks(columns: Float32) -> Float32:
    """(n_impressions, k) as the tiles of their blocks, (n_blocks, k, BLOCK), 0 behind the last impression."""
    n, k = columns.shape
    padded = np.zeros((-(-n // BLOCK) * BLOCK, k), np.float32)
    padded[:n] = columns
    return np.ascontiguousarray(padded.reshape(-1, BLOCK, k).transpose(0, 2, 1))


def _drop_wins(draws: TickDraws, tick: int, n: int, tiles: Tiles, multiplier: Float32, left: Float) -> None:
    """Sets the basis of what overspenders do not win to 0, as the market does (`budget_rule="auctionnet"`)."""
    one = np.zeros(1, np.int64)
    overspend.clear_until_paid(
        np.array([draws.seed], np.uint64), tick, lay_out(np.array([n]), one), tiles,
        np.zeros((len(tiles.basis), len(multiplier))), multiplier[None], draws.rules,
        Advertisers(*(part[None] for part in draws.advertisers)), left[None], n_threads=1,
    )  # fmt: skip


def check_traceable(params: MarketParams) -> None:
    """Raises ValueError if what comes of an impression is not known in its tick: see `trace_tick`."""
    if params.conversion_delay > 0:
        raise ValueError(f"`conversion_delay` must be 0 to trace impressions, found {params.conversion_delay}")

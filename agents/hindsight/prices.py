"""What the slots of an impression take and cost, given the bids of all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auction_env.kernels.clearing import price_weights
from auction_env.market.params import MarketParams

Float = NDArray[np.float64]


def check_prices_settled(params: MarketParams) -> None:
    """Raises ValueError for a market whose slots have no price that the others' bids settle."""
    if params.first_price_share > 0:
        raise ValueError(f"`first_price_share` must be 0 for prices in hindsight, found {params.first_price_share}")
    if params.reserve_noise > 0:
        raise ValueError(f"`reserve_noise` must be 0 for prices in hindsight, found {params.reserve_noise}")


def slot_prices(params: MarketParams, bids: NDArray[np.float32], advertiser: int) -> Float:
    """(n_slots, n) what winning each slot of a tick's impressions takes; bids (n, n_advertisers)."""
    n, n_advertisers = bids.shape
    quality = np.ones(n_advertisers, np.float32) if params.quality is None else np.asarray(params.quality, np.float32)
    scores = np.where(bids >= params.reserve, bids, np.float32(0)) * quality
    scores[:, advertiser] = 0
    k = min(params.n_slots, n_advertisers)
    top = np.partition(-scores, k - 1, axis=1)[:, :k]
    out = np.zeros((params.n_slots, n))
    out[:k] = -np.sort(top, axis=1).T / quality[advertiser]
    return np.maximum(out, params.reserve)


def slot_payments(params: MarketParams, prices: Float) -> Float:
    """(n_slots, n) the least that a winner of each slot pays for an exposure; `prices` are those of `slot_prices`.

    That is what winning the slot takes, but for VCG: there a winner pays for the harm that it does to those below.
    """
    if params.mechanism != "vcg":
        return prices
    return np.asarray(price_weights(params.mechanism, params.exposure) @ prices)

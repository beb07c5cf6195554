"""Prices in hindsight are those that the auction charges."""

from __future__ import annotations

import numpy as np
import pytest

from agents.hindsight.prices import slot_payments, slot_prices
from auction_env import MarketParams, clear_auctions


@pytest.mark.parametrize("mechanism", ["gsp", "vcg"])
@pytest.mark.parametrize("is_quality", [False, True])
def test_who_wins_a_slot_bids_its_price_and_pays_its_payment(mechanism: str, is_quality: bool) -> None:
    rng, exposure = np.random.default_rng(0), (1.0, 0.8, 0.6)
    quality = tuple(rng.uniform(0.8, 1.25, 6).tolist()) if is_quality else None
    params = MarketParams(mechanism=mechanism, exposure=exposure, reserve=0.2, quality=quality)
    bids = rng.lognormal(-0.5, 0.6, (200, 6)).astype(np.float32)
    cleared = clear_auctions(bids, mechanism=mechanism, exposure=exposure, reserve=0.2, quality=quality)
    payments_differ = False
    for j in range(6):
        prices = slot_prices(params, bids, j)
        payments = slot_payments(params, prices)
        slot = cleared.slot[:, j]
        won = np.flatnonzero(slot)
        np.testing.assert_allclose(payments[slot[won] - 1, won], cleared.price[won, j], rtol=1e-6)
        assert (bids[won, j] >= prices[slot[won] - 1, won] * (1 - 1e-6)).all()
        higher = won[slot[won] > 1]
        assert (bids[higher, j] <= prices[slot[higher] - 2, higher] * (1 + 1e-6)).all()
        payments_differ |= not np.allclose(payments, prices)
    assert payments_differ == (mechanism == "vcg")

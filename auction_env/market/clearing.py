"""The rules of the auction: `clear_auctions` for a matrix of bids, and as the market's kernels take them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels.clearing import MECHANISMS, clear_bids, price_weights
from auction_env.kernels.settle import Rules
from auction_env.market.funnel import funnel_rules
from auction_env.market.params import MAX_SLOTS, MarketParams
from auction_env.market.population import Population


class Clearing(NamedTuple):
    """Result of `clear_auctions`.

    Attributes:
        slot: (n_impressions, n_advertisers) int64: 0 = lost, 1..n_slots from the top.
        price: (n_impressions, n_advertisers) float64: price of the won slot, 0 elsewhere.
        least_winning_cost: (n_impressions,) float64: the bid one must beat for the last slot, that is the best
            losing bid, at least the reserve. With quality scores the best losing bid x quality, at least the
            reserve: what an advertiser of quality 1 must bid.
    """

    slot: NDArray[np.int64]
    price: NDArray[np.float64]
    least_winning_cost: NDArray[np.float64]


def clear_auctions(
    bids: ArrayLike,
    *,
    reserve: ArrayLike = 0.0,
    n_slots: int = 3,
    mechanism: str = "gsp",
    exposure: ArrayLike | None = None,
    quality: ArrayLike | None = None,
) -> Clearing:
    """Clears one multi-slot auction per row of a bid matrix.

    Bids below the reserve, and bids of zero, never win. Slots go to the highest eligible bids, ties to the
    lower advertiser index. What a won slot costs, per exposure:

    - `gsp`: the next highest eligible bid or the reserve.
    - `first_price`: the winner's own bid.
    - `vcg`: the harm done to those below, per exposure: sum over s >= k of (c_s - c_{s+1}) / c_k x (the bid of
      rank s + 1, at least the reserve), where c_s is the probability that slot s is seen. Bidding one's value is
      the best reply to any bids of the others. With one slot it is the second price.

    With quality scores, advertisers are ranked by bid x quality, and a bid further down counts as its score over
    the winner's own quality: the lowest bid that would still have won against it. The reserve applies to bids.

    Args:
        bids: (n_impressions, n_advertisers), currency per impression, finite and not negative.
        reserve: Reserve price, a scalar or (n_impressions,), finite and not negative.
        n_slots: Number of slots, 1..8; may exceed the number of advertisers.
        mechanism: `gsp`, `first_price` or `vcg`.
        exposure: (n_slots,) probability that a slot is seen, given that the one above is; `vcg` needs it for more
            than one slot, the other mechanisms do not look at it.
        quality: (n_advertisers,) or (n_impressions, n_advertisers), positive; 1 for all by default.

    Raises:
        ValueError: Naming the argument, the rule and the value.

    Source: B. Edelman, M. Ostrovsky, M. Schwarz, "Internet advertising and the generalized second-price
    auction", American Economic Review 97(1), 2007; H. Varian, "Position auctions", International Journal of
    Industrial Organization 25(6), 2007, for the quality scores.
    """
    matrix = np.asarray(bids, np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"`bids` must have shape (n_impressions, n_advertisers), found {matrix.shape}")
    if matrix.shape[1] == 0:
        raise ValueError(f"`bids` must have at least one advertiser, found shape {matrix.shape}")
    _check_money("bids", matrix)
    n_impressions = matrix.shape[0]
    floor = np.asarray(reserve, np.float64)
    if floor.shape not in ((), (n_impressions,)):
        raise ValueError(f"`reserve` must be a scalar or have shape ({n_impressions},), found {floor.shape}")
    _check_money("reserve", floor)
    if isinstance(n_slots, bool) or not isinstance(n_slots, int | np.integer) or not 1 <= n_slots <= MAX_SLOTS:
        raise ValueError(f"`n_slots` must be an integer in 1..{MAX_SLOTS}, found {n_slots!r}")
    if mechanism not in MECHANISMS:
        raise ValueError(f"`mechanism` must be one of {sorted(MECHANISMS)}, found {mechanism!r}")
    chance = _exposure(exposure, int(n_slots), mechanism)
    scores = _quality(quality, matrix)
    slot = np.empty(matrix.shape, np.int64)
    price = np.empty(matrix.shape)
    least_winning_cost = np.empty(n_impressions)
    clear_bids(
        np.ascontiguousarray(matrix),
        np.ascontiguousarray(scores),
        np.ascontiguousarray(np.broadcast_to(floor, (n_impressions,))),
        int(n_slots),
        MECHANISMS[mechanism],
        price_weights(mechanism, chance),
        slot,
        price,
        least_winning_cost,
    )
    return Clearing(slot, price, least_winning_cost)


def _exposure(exposure: ArrayLike | None, n_slots: int, mechanism: str) -> NDArray[np.float64]:
    if exposure is None:
        if mechanism == "vcg" and n_slots > 1:
            raise ValueError("`exposure` must be given for `vcg` with more than one slot, found None")
        return np.ones(n_slots)
    chance = np.asarray(exposure, np.float64)
    if chance.shape != (n_slots,):
        raise ValueError(f"`exposure` must have shape ({n_slots},), found {chance.shape}")
    if not np.all((chance >= 0) & (chance <= 1)):
        raise ValueError(f"`exposure` must lie in [0, 1], found {chance.tolist()}")
    return chance


def _quality(quality: ArrayLike | None, bids: NDArray[np.float64]) -> NDArray[np.float64]:
    if quality is None:
        return np.ones_like(bids)
    scores = np.asarray(quality, np.float64)
    if scores.shape not in (bids.shape[1:], bids.shape):
        raise ValueError(f"`quality` must have shape {bids.shape[1:]} or {bids.shape}, found {scores.shape}")
    bad = ~(np.isfinite(scores) & (scores > 0))
    if bad.any():
        raise ValueError(f"`quality` must be finite and positive, found {scores[bad][0]}")
    with np.errstate(over="ignore"):
        too_big = ~np.isfinite(bids * scores)
    if too_big.any():
        raise ValueError(f"`bids` x `quality` must be finite, found a bid of {bids[too_big][0]} whose score is not")
    return np.broadcast_to(scores, bids.shape)


def _check_money(name: str, values: NDArray[np.float64]) -> None:
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        where = tuple(int(k) for k in np.argwhere(bad)[0])
        place = f" at {where}" if where else ""
        raise ValueError(f"`{name}` must be finite and not negative, found {values[where]}{place}")


def auction_rules(params: MarketParams, population: Population) -> Rules:
    """The rules of the auction as the market's kernels take them."""
    cpa_target, own = np.asarray(population.cpa_target, np.float64), params.traffic.values
    quality = np.ones(len(cpa_target)) if params.quality is None else params.quality
    shape = np.empty((len(cpa_target), 0), np.float32) if own is None else own.for_population(population).quantiles
    return Rules(
        mechanism=MECHANISMS[params.mechanism],
        first_price_share=np.float32(params.first_price_share),
        exposure=np.asarray(params.exposure, np.float32),
        weight=price_weights(params.mechanism, params.exposure).astype(np.float32),
        reserve=np.float32(params.reserve),
        reserve_noise=np.float32(params.reserve_noise),
        quality=np.asarray(quality, np.float32),
        has_quality=params.quality is not None and set(params.quality) != {1.0},
        is_unsold_at_reserve=params.is_unsold_at_reserve,
        **funnel_rules(params.funnel, cpa_target, params.traffic.value_correlation, shape)._asdict(),
    )

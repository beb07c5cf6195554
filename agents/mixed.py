"""Several bidders side by side: each campaign is dealt to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.bidder import (
    Bidder,
    Campaigns,
    ImpressionBids,
    NamedBidder,
    TickView,
    check_bidder,
    check_bids,
    split_bids,
)
from auction_env.tasks import Targets


class _Dealer(NamedBidder):
    """Bidders that share the campaigns; a subclass says who gets which."""

    def __init__(self, bidders: Sequence[Bidder], name: str) -> None:
        if not bidders:
            raise ValueError("`bidders` must hold at least one bidder, found none")
        for bidder in bidders:
            check_bidder(bidder)
        self.name = name
        self._bidders = tuple(bidders)

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes."""
        turn = self._turns(campaigns)
        distinct = {id(bidder): bidder for bidder in self._bidders}  # one that is repeated is reset once, for all its
        turns = [[k for k, other in enumerate(self._bidders) if other is bidder] for bidder in distinct.values()]
        dealt = [
            (bidder, np.flatnonzero(np.isin(turn, own))) for bidder, own in zip(distinct.values(), turns, strict=True)
        ]
        self._dealt = [(bidder, rows) for bidder, rows in dealt if len(rows)]
        for bidder, rows in self._dealt:
            bidder.reset(campaigns._replace(**_take(campaigns, rows, but=_shared(campaigns))))

    def act(self, view: TickView) -> NDArray[np.float64] | ImpressionBids:
        """Each bidder's multipliers for its campaigns, shape (n,), or its bids on their impressions."""
        n = len(view.budget_left)
        multipliers, on_impressions, is_reported = np.empty(n), dict[int, ArrayLike](), False
        shared = ("tick",) if view.impressions is not None else ("tick", "impressions")
        for bidder, rows in self._dealt:
            seen = view._replace(**_take(view, rows, but=shared))
            answer = split_bids(check_bids(bidder, bidder.act(seen), seen), len(rows))
            multipliers[rows] = answer.multipliers
            on_impressions |= {int(rows[i]): bids for i, bids in answer.on_impressions.items()}
            is_reported |= answer.is_reported
        if not on_impressions:
            return multipliers
        bids = [on_impressions.get(i) for i in range(n)]
        return ImpressionBids(bids=bids, multipliers=multipliers, is_reported=is_reported)

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(repr, self._bidders))}])"

    def _turns(self, campaigns: Campaigns) -> NDArray[np.int64]:
        """(n,) the position of each campaign's bidder."""
        raise NotImplementedError


class MixedBidder(_Dealer):
    """Deals the campaigns out to several bidders, by (episode seed + advertiser) modulo their number.

    So over the episodes of a log every advertiser is controlled by each of them, and who controls what does not depend
    on how episodes are batched.

    Args:
        bidders: At least one; repeat one to give it a larger share.
        name: Label in tables.
    """

    def __init__(self, bidders: Sequence[Bidder], *, name: str = "mixed") -> None:
        super().__init__(bidders, name)

    def _turns(self, campaigns: Campaigns) -> NDArray[np.int64]:
        return deal_campaigns(campaigns.seed, campaigns.advertiser, len(self._bidders))


class InTurn(_Dealer):
    """Deals the campaigns out in the order in which they come, across batches: for `rollout_each`.

    Args:
        bidders: At least one.
    """

    def __init__(self, bidders: Sequence[Bidder]) -> None:
        super().__init__(bidders, "in turn")
        self._n_dealt = 0

    def _turns(self, campaigns: Campaigns) -> NDArray[np.int64]:
        turn = (self._n_dealt + np.arange(len(campaigns.seed))) % len(self._bidders)
        self._n_dealt += len(turn)
        return turn


def deal_campaigns(seed: ArrayLike, advertiser: ArrayLike, n: int) -> NDArray[np.int64]:
    """Which of n bidders each campaign is dealt to, from the episode's seed and the advertiser."""
    return np.asarray((np.asarray(seed, np.int64) + np.asarray(advertiser, np.int64)) % n)


def _shared(campaigns: Campaigns) -> tuple[str, ...]:
    """The fields that all campaigns share, or that are unknown."""
    traffic = campaigns.expected_traffic
    names = ["n_ticks", "market", "task"]
    if traffic is None or traffic.ndim == 1:
        names.append("expected_traffic")
    return (*names, *(name for name, value in campaigns._asdict().items() if value is None))


def _take(record: Campaigns | TickView, rows: NDArray[np.intp], but: tuple[str, ...]) -> dict[str, Any]:
    """The rows of all fields but those that all campaigns share."""

    def of(value: Any) -> Any:
        return value.at(rows) if isinstance(value, Targets) else value[rows]

    return {name: of(value) for name, value in record._asdict().items() if name not in but}

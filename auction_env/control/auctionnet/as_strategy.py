"""Our bidders as strategies for AuctionNet: its simulator and its offline evaluator take them as they are.

AuctionNet (arXiv 2412.10798) asks a strategy for the bids of one advertiser, one an impression, tick by tick, and hands
it lists of what happened in each past tick. This module needs nothing of AuctionNet: it has the attributes and methods
that its code uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.advertisers import ControlledTick, mean_multiplier, tick_view, without_funnel
from auction_env.control.bidder import (
    Bidder,
    Campaigns,
    ImpressionOutcomes,
    Impressions,
    TickImpressions,
    check_bidder,
    check_bids,
    split_bids,
)
from auction_env.control.observation import StateFeatures
from auction_env.tasks import BASES, Targets, Task, get_task

Float = NDArray[np.float64]

N_TICKS = 48
"""Ticks of AuctionNet's episodes, which its strategies count on."""


class AuctionNetStrategy:
    """A bidder behind AuctionNet's interface: see `as_auctionnet_strategy`.

    Attributes:
        name, budget, cpa, category: What AuctionNet's controller sets; read at the first tick of an episode.
        remaining_budget: Currency; AuctionNet subtracts what each tick cost.
    """

    def __init__(
        self,
        bidder: Bidder,
        *,
        task: str | Task,
        budget: float,
        cpa: float,
        category: int,
        size: float,
        expected_traffic: ArrayLike | None,
        advertiser: int,
        seed: int,
    ) -> None:
        check_bidder(bidder)
        self._task = get_task(task)
        if self._task.needs != ("conversions",):
            raise ValueError(f"`task` must count conversions alone, as AuctionNet does, found {self._task.name!r}")
        if not (np.isfinite(size) and size > 0):
            raise ValueError(f"`size` must be positive, found {size}")
        traffic = None if expected_traffic is None else np.asarray(expected_traffic, np.float64)
        if traffic is not None and traffic.shape != (N_TICKS,):
            raise ValueError(f"`expected_traffic` must have shape ({N_TICKS},), found {traffic.shape}")
        self.name, self.budget, self.cpa, self.category = bidder.name, budget, cpa, category
        self.remaining_budget = budget
        self._bidder, self._size, self._traffic = bidder, size, traffic
        self._advertiser, self._seed = advertiser, seed
        self._n_seen: int | None = None  # past ticks taken in; None before an episode

    def reset(self) -> None:
        """Starts an episode: all money is left."""
        self.remaining_budget = self.budget
        self._n_seen = None

    def bidding(  # the names of AuctionNet's arguments
        self,
        timeStepIndex: int,
        pValues: ArrayLike,
        pValueSigmas: ArrayLike,
        historyPValueInfo: Sequence[NDArray[Any]],
        historyBid: Sequence[NDArray[Any]],
        historyAuctionResult: Sequence[NDArray[Any]],
        historyImpressionResult: Sequence[NDArray[Any]],
        historyLeastWinningCost: Sequence[NDArray[Any]],
    ) -> Float:
        """The bids of a tick.

        Args:
            timeStepIndex: Index of the tick, from 0.
            pValues, pValueSigmas: (n,) predicted conversions of the tick's impressions and their deviations.
            historyPValueInfo: For each past tick (n, 2): predicted value, its deviation.
            historyBid: (n,) bids.
            historyAuctionResult: (n, 3): whether won, slot (0: lost), price of the slot.
            historyImpressionResult: (n, 2): whether seen, whether converted.
            historyLeastWinningCost: (n,).

        Returns:
            (n,) currency per impression.
        """
        values, sigmas = np.asarray(pValues, np.float64), np.asarray(pValueSigmas, np.float64)
        history = (
            historyPValueInfo, historyBid, historyAuctionResult, historyImpressionResult, historyLeastWinningCost
        )  # fmt: skip
        n_past = len(historyBid)
        if self._n_seen is None or timeStepIndex == 0 or n_past < self._n_seen:
            self._start()
        for past in range(self._n_seen or 0, n_past):
            is_new = past == n_past - 1  # what the money left tells of: the others are older than the last call
            self._take_in(*(part[past] for part in history), is_new=is_new)
        self._n_seen, self._left = n_past, self.remaining_budget
        size, mean = self._size, float(values.mean()) if len(values) else 0.0
        predicted_mean = np.zeros((1, len(BASES)))
        predicted_mean[0, BASES.index("conversions")] = mean
        features = self._features.observe(
            timeStepIndex,
            budget_left=self.remaining_budget / self._budget,
            value_now=mean,
            volume_now=len(values) * size,
        )
        now = Impressions(values.astype(np.float32), sigmas.astype(np.float32))
        view = tick_view(
            timeStepIndex,
            features=features,
            budget_left=np.array([self.remaining_budget * size]),
            predicted_mean=predicted_mean,
            last=self._last,
            impressions=TickImpressions(np.zeros(1, np.intp), lambda _: now, lambda _: self._before),
        )
        answer = split_bids(check_bids(self._bidder, self._bidder.act(view), view, n_impressions=[len(values)]), 1)
        if answer.on_impressions:
            return answer.on_impressions[0].astype(np.float64)
        return float(answer.multipliers[0]) * values  # a new array: AuctionNet changes what it is given

    def _start(self) -> None:
        """Tells the bidder of the campaign."""
        for label, value in (("budget", self.budget), ("cpa", self.cpa)):
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"`{label}` of the strategy must be positive, found {value}: set it before an episode")
        self._budget = float(self.budget)
        targets = Targets.of(np.array([self._budget * self._size]), float(self.cpa))
        self._bidder.reset(
            Campaigns(
                targets=targets,
                base=self._task.unit_worth(targets),
                category=np.array([self.category], np.int64),
                advertiser=np.array([self._advertiser], np.int64),
                requirements=self._task.requirements(targets),
                n_ticks=N_TICKS,
                seed=np.array([self._seed], np.int64),
                expected_traffic=self._traffic,
                task=self._task,
            )
        )
        self._features = StateFeatures(1, N_TICKS)
        self._last: ControlledTick | None = None
        self._before: ImpressionOutcomes | None = None
        self._n_seen, self._left = 0, self._budget

    def _take_in(
        self,
        values: NDArray[Any],
        bids: NDArray[Any],
        auction: NDArray[Any],
        impression: NDArray[Any],
        least_winning_cost: NDArray[Any],
        *,
        is_new: bool,
    ) -> None:
        """Adds a past tick to what the bidder knows."""
        n, size = len(bids), self._size
        won, price = auction[:, 0] > 0, np.asarray(auction[:, 2], np.float64)
        paid = self._left - self.remaining_budget if is_new else None
        seen = _seen(won, price, impression[:, 0] > 0, paid)
        value = np.asarray(values[:, 0], np.float64)
        conversions = float(impression[:, 1].sum())
        self._features.update(
            bid=bids.mean() if n else 0.0,
            least_winning_cost=least_winning_cost.mean() if n else 0.0,
            value=value.mean() if n else 0.0,
            conversions=conversions / max(n, 1),
            win_rate=won.mean() if n else 0.0,
            volume=n * size,
        )

        def amount(total: float) -> Float:
            return np.array([total * size])

        self._last = without_funnel(
            multiplier=np.array([mean_multiplier(bids.sum(), value.sum())]),
            n_impressions=amount(n),
            bid=amount(bids.sum()),
            offered_conversions=amount(value.sum()),
            wins=amount(won.sum()),
            exposures=amount(seen.sum()),
            cost=amount((price * seen).sum() if paid is None else paid),
            conversions=amount(conversions),
            expected_conversions=amount((value * seen).sum()),
            least_winning_cost=np.array([least_winning_cost.mean() if n else 0.0]),
            budget_left=amount(self.remaining_budget),
        )
        self._before = ImpressionOutcomes(
            values=value.astype(np.float32),
            sigmas=values[:, 1].astype(np.float32),
            bids=bids.astype(np.float32),
            slot=auction[:, 1].astype(np.int64),
            price=price.astype(np.float32),
            exposed=seen,
            converted=impression[:, 1] > 0,
            least_winning_cost=least_winning_cost.astype(np.float32),
        )


def _seen(won: NDArray[np.bool_], price: Float, logged: NDArray[np.bool_], paid: float | None) -> NDArray[np.bool_]:
    """Which impressions were seen, (n,): the logged column, or all that were won, whichever explains what was paid.

    AuctionNet's simulator logs whether a slot was seen. Its offline evaluator shows and charges every win, and writes
    the conversions into that column.
    """
    if paid is None or abs((price * logged).sum() - paid) <= abs((price * won).sum() - paid):
        return logged
    return won


def as_auctionnet_strategy(
    bidder: Bidder,
    *,
    task: str | Task = "TargetCPA",
    budget: float = 100.0,
    cpa: float = 2.0,
    category: int = 0,
    size: float = 1.0,
    expected_traffic: ArrayLike | None = None,
    advertiser: int = 0,
    seed: int = 0,
) -> AuctionNetStrategy:
    """Makes an object that AuctionNet's simulator and its offline evaluator take as a strategy.

    Each strategy needs a bidder of its own, as a bidder keeps the state of its campaign.

    Args:
        bidder: Any bidder that does not replay its episode (references in hindsight do).
        task: What it pursues; must count conversions.
        budget, cpa, category: Of the advertiser: currency per episode, currency per conversion, index. AuctionNet's
            simulator sets them; its offline evaluator takes them from the strategy.
        size: Impressions and money that the bidder sees, as a share of what is there: 4_800 / 500_000 for a bidder
            that was trained on episodes of 4,800 impressions and meets 500,000. Bids do not change.
        expected_traffic: (48,) expected share of the impressions of each tick; None: even. AuctionNet does not tell its
            strategies. `TrafficParams().expected_share(48)` is its published curve.
        advertiser, seed: What `Campaigns` says of the campaign, beside its targets.

    Raises:
        ValueError: An argument breaks a rule; it is named.
    """
    return AuctionNetStrategy(
        bidder, task=task, budget=budget, cpa=cpa, category=category, size=size, expected_traffic=expected_traffic,
        advertiser=advertiser, seed=seed,
    )  # fmt: skip

"""BAT's campaigns as a market in which any bidder bids, hour by hour, with the rules of BAT's simulator.

A bid is a price of a contact. It brings the increments of all prices up to it. In VCG it costs their money; in first
price their contacts times the bid. If that is more than the money left, everything is scaled down to it, and the
campaign ends. All amounts are expectations: seeds change nothing, and competitors do not react.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.advertisers import ControlledTick, tick_view, without_funnel
from auction_env.control.bidder import Campaigns, ImpressionBids, TickView, split_bids
from auction_env.control.controlled_market import PlayableMarket, SameEpisodes
from auction_env.control.observation import FEATURE_NAMES, StateFeatures
from auction_env.integers import check_integers
from auction_env.names import check_name
from auction_env.replay.bat.landscape import (
    AT_OWN_PRICE,
    CLICKS,
    CONTACTS,
    MONEY,
    VIEWS,
    Landscape,
    read_landscape,
)  # fmt: skip
from auction_env.tasks import BASES, Targets, Task, Totals

Float = NDArray[np.float64]
Int = NDArray[np.int64]

MECHANISMS = ("vcg", "first_price")
_SPENT = 1e-5  # currency: below it a campaign is over, in BAT's simulator
_TIME_LEFT = FEATURE_NAMES.index("time_left")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatMarket:
    """A `PlayableMarket`: an episode is a campaign, a tick is an hour, a conversion is a contact.

    `rollout(bidder, market=..., advertisers=...)` takes the places of the campaigns in the file. Campaigns differ in
    length: an episode has the ticks of the longest, and a campaign that is over gets nothing. Impressions are views, of
    which the highest price has all. Tasks may count contacts (as `conversions`) and clicks.

    Attributes:
        landscape: What prices bring.
        mechanism: `vcg` or `first_price`.
        contact_worth: Target of a contact and base of the multiplier, currency; by default what the contacts of all
            campaigns cost on average if every price is bid.
    """

    landscape: Landscape
    mechanism: str = "vcg"
    contact_worth: float | None = None

    def __post_init__(self) -> None:
        check_name("mechanism", self.mechanism, MECHANISMS)
        if self.contact_worth is not None and not (np.isfinite(self.contact_worth) and self.contact_worth > 0):
            raise ValueError(f"`contact_worth` must be positive, found {self.contact_worth}")

    @property
    def n_campaigns(self) -> int:
        return self.landscape.n_campaigns

    @property
    def n_ticks(self) -> int:
        """Hours of the longest campaign."""
        return int(self.landscape.campaigns.n_hours.max())

    @property
    def mean_impressions(self) -> float:
        return float(self.landscape.sums[-1, VIEWS] / self.n_campaigns)

    @property
    def targets(self) -> Targets:
        """Budgets, and the worth of a contact and of a click, which cost on average the same share of it."""
        total = self.landscape.sums[-1]
        paid = total[MONEY if self.mechanism == "vcg" else AT_OWN_PRICE]  # if every price is bid
        worth = paid / max(total[CONTACTS], 1e-12) if self.contact_worth is None else self.contact_worth
        clicks = worth * total[CONTACTS] / max(total[CLICKS], 1e-12)
        return Targets.of(self.landscape.campaigns.budget, worth, clicks)

    def needed(self, task: Task) -> BatMarket:
        return self

    def one_each(self, task: Task, advertisers: Int) -> BatSimulation:
        return BatSimulation(self, advertisers, task)

    def again(self, task: Task, campaigns: Campaigns) -> SameEpisodes:
        return SameEpisodes(self.one_each(task, campaigns.advertiser), campaigns.seed, None)

    def days_of(self, seeds: Int) -> Int | None:
        return None

    def alike(self, task: Task, seeds: Int, advertisers: Int, days: Int | None) -> Int:
        return np.zeros(len(seeds), np.int64)  # it has tables, not impressions

    def difference(self, other: PlayableMarket) -> str:
        if not isinstance(other, BatMarket):
            return "one is BAT, the other not"
        if self.landscape is not other.landscape:
            return "other tables"
        pairs = {"mechanism": (self.mechanism, other.mechanism), "worth": (self.contact_worth, other.contact_worth)}
        return ", ".join(f"another {name}: {a} and {b}" for name, (a, b) in pairs.items() if a != b)


def read_bat(campaigns: Any, stats: Any, *, mechanism: str = "vcg", contact_worth: float | None = None) -> BatMarket:
    """BAT's `campaigns.csv` and `stats.csv` (paths or data frames) as a market; errors as of `read_landscape`."""
    check_name("mechanism", mechanism, MECHANISMS)
    landscape = read_landscape(campaigns, stats)
    return BatMarket(landscape=landscape, mechanism=mechanism, contact_worth=contact_worth)


def sum_of_clicks(totals: Totals) -> float:
    """BAT's SCR: the clicks of all campaigns."""
    return float(totals.clicks.sum())


class BatSimulation:
    """n campaigns side by side: a `ControlledMarket`.

    Args:
        market: The market.
        advertisers: (n,) places of campaigns.
        task: Their task; it counts conversions, which are contacts, or clicks.

    Raises:
        ValueError: There is no such campaign, or the task counts something else.
    """

    def __init__(self, market: BatMarket, advertisers: ArrayLike, task: Task) -> None:
        self.played, self._task = market, task
        self._land = market.landscape
        self._everyone = market.targets
        task.check(self._everyone)
        self.control(advertisers)

    @property
    def n_ticks(self) -> int:
        """Hours of the longest campaign."""
        return self.played.n_ticks

    @property
    def n_controlled(self) -> int:
        return len(self._advertiser)

    @property
    def task(self) -> Task:
        return self._task

    @property
    def active(self) -> NDArray[np.bool_]:
        """(n,) False once a campaign is over or has no money."""
        return (self._tick < self._n_hours) & (self._left >= _SPENT)

    def control(self, advertiser: ArrayLike) -> None:
        """Chooses the campaigns, (n,) places, from the next `reset` on."""
        given = check_integers("advertiser", advertiser)
        if given.ndim != 1:
            raise ValueError(f"`advertiser` must be a vector, found shape {given.shape}")
        outside = given[(given < 0) | (given >= self.played.n_campaigns)]
        if len(outside):
            raise ValueError(f"`advertiser` must be from 0 to {self.played.n_campaigns - 1}, found {outside[0]}")
        self._advertiser = given

    def reset(self, seeds: ArrayLike, days: ArrayLike | None = None) -> None:
        """Starts the campaigns; nothing is drawn. ValueError for `days`: a campaign has its own."""
        if days is not None:
            raise ValueError("`days` must not be given: a campaign of BAT has its own days")
        self._seed = np.broadcast_to(check_integers("seeds", seeds), self.n_controlled).copy()
        campaigns = self._land.campaigns
        self._n_hours = campaigns.n_hours[self._advertiser]
        self._targets = self._everyone.at(self._advertiser)
        self._left = self._targets.budget.copy()
        self._tick = 0
        self._last: ControlledTick | None = None
        self._state = StateFeatures(self.n_controlled, self.n_ticks)
        self._offer()

    def _offer(self) -> None:
        """Looks up what the current hour offers."""
        is_open = self._tick < self._n_hours
        first = self._land.first_hour[self._advertiser]
        self._hour = first + np.where(is_open, self._tick, 0)
        self._offered = self._land.whole(self._hour) * is_open[:, None]

    def campaigns(self) -> Campaigns:
        """What is known before the first tick: an hour of a campaign is expected to be as busy as any other."""
        hours = np.arange(self.n_ticks) < self._n_hours[:, None]
        return Campaigns(
            targets=self._targets,
            base=self._task.unit_worth(self._targets),
            category=np.zeros(self.n_controlled, np.int64),
            advertiser=self._advertiser,
            requirements=self._task.requirements(self._targets),
            n_ticks=self.n_ticks,
            seed=self._seed,
            expected_traffic=hours / self._n_hours[:, None],
            market=self.played,
            task=self._task,
        )

    def view(self) -> TickView:
        """What a bidder sees at the start of the hour."""
        predicted = np.zeros((self.n_controlled, len(BASES)))
        per_view = 1.0 / np.maximum(self._offered[:, VIEWS], 1e-12)
        predicted[:, BASES.index("conversions")] = self._offered[:, CONTACTS] * per_view
        predicted[:, BASES.index("clicks")] = self._offered[:, CLICKS] * per_view
        return tick_view(
            self._tick,
            features=self.observe(),
            budget_left=self._left.copy(),
            predicted_mean=predicted,
            last=self._last,
        )

    def observe(self) -> Float:
        """(n, 16) features at the start of the hour, or after the last; the time left is that of the own campaign."""
        views = self._offered[:, VIEWS]
        features = self._state.observe(
            self._tick,
            budget_left=self._left / self._targets.budget,
            value_now=self._offered[:, CONTACTS] / np.maximum(views, 1e-12),
            volume_now=views,
        )
        features[:, _TIME_LEFT] = np.maximum(self._n_hours - self._tick, 0) / self._n_hours
        return features

    def step(self, bids: ArrayLike | ImpressionBids) -> ControlledTick:
        """Runs the hour: multipliers (n,), currency per unit of the task's objective, finite and not negative."""
        given, on_impressions, _ = split_bids(bids, self.n_controlled)
        if on_impressions:
            raise ValueError("`bids` must be multipliers: BAT tells of hours, not of impressions, found bids on some")
        own = self._offered[:, CLICKS if self._task.basis == "clicks" else CONTACTS]
        contacts = self._offered[:, CONTACTS]
        price = np.divide(given * own, contacts, out=np.zeros(len(given)), where=contacts > 0)  # of a contact
        price = np.where(self.active, price, 0.0)
        won = np.where(price[:, None] > 0, self._land.up_to(self._hour, price), 0.0)
        spent = won[:, MONEY] if self.played.mechanism == "vcg" else won[:, CONTACTS] * price
        share = np.divide(self._left, spent, out=np.ones(len(given)), where=spent > self._left)
        won, cost = won * share[:, None], np.minimum(spent, self._left)
        self._left = np.maximum(self._left - cost, 0.0)
        self._last = self._outcome(np.where(self.active | (cost > 0), given, 0.0), price, won, cost)
        self._update(self._last)
        self._tick += 1
        self._offer()
        return self._last

    def _outcome(self, multiplier: Float, price: Float, won: Float, cost: Float) -> ControlledTick:
        return without_funnel(  # clicks aside
            multiplier=multiplier,
            n_impressions=self._offered[:, VIEWS],
            bid=price * self._offered[:, CONTACTS],
            offered_conversions=self._offered[:, CONTACTS],
            wins=won[:, VIEWS],
            exposures=won[:, VIEWS],
            cost=cost,
            conversions=won[:, CONTACTS],
            expected_conversions=won[:, CONTACTS],
            # of the views, if each is bought at the lowest price that wins it
            least_winning_cost=self._offered[:, AT_OWN_PRICE] / np.maximum(self._offered[:, VIEWS], 1e-12),
            budget_left=self._left.copy(),
            clicks=won[:, CLICKS],
            expected_clicks=won[:, CLICKS],
            offered_clicks=self._offered[:, CLICKS],
        )

    def _update(self, tick: ControlledTick) -> None:
        per_view = 1.0 / np.maximum(tick.n_impressions, 1e-12)
        self._state.update(
            bid=tick.bid * per_view,
            least_winning_cost=tick.least_winning_cost,
            value=tick.offered_conversions * per_view,
            conversions=tick.conversions * per_view,
            win_rate=tick.wins * per_view,
            volume=tick.n_impressions,
            mask=self._tick < self._n_hours,
        )

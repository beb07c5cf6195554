"""Runs bidders in simulated markets: the one place where a bidder meets the market."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.learning.bars import Count, counted
from agents.mixed import InTurn
from auction_env.control.advertisers import episode_totals, stack_ticks
from auction_env.control.bidder import Bidder, Campaigns, ImpressionBids, check_bidder, check_bids
from auction_env.control.controlled_market import ControlledMarket, PlayableMarket
from auction_env.control.simulation import ControlledTick, LiveMarket
from auction_env.data import TrajectoryData
from auction_env.integers import check_integers
from auction_env.market.params import MarketParams
from auction_env.market.population import Population, auctionnet_population
from auction_env.notebook import data_frame, html_table
from auction_env.replay.market import ReplayMarket
from auction_env.replay.simulation import LoggedMarket
from auction_env.tasks import OUTCOMES, QUANTITIES, Targets, Task, Totals, unevenness

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_FEWEST_MARKETS, _MOST_MARKETS = 16, 64  # whose impressions are held at once
_IMPRESSIONS_AT_ONCE = 160_000  # of a tick of all markets: a full-size market needs a few MB for their values
_MOST_EPISODES = 256  # side by side: those of a market share its impressions

_PER_CAMPAIGN = ("seed", "advertiser", "day", "category", "requirements")  # fields of `Episodes` by their axis 0
_PER_TICK = ("features", "budget_left", "active")  # by their axis 1


class Episodes(NamedTuple):
    """What happened to n controlled campaigns; per-tick arrays are (n_ticks, n).

    Attributes:
        task: The task of all campaigns.
        market: What they were played in.
        seed, advertiser, day, category: (n,) int64.
        targets: (n,) each: what the advertisers have and would pay.
        requirements: (n, N_REQUIREMENTS).
        features: (n_ticks, n, 16) at the start of each tick.
        budget_left: (n_ticks, n) currency at the start of each tick.
        active: (n_ticks, n) whether the campaign could still pay at the start of the tick.
        ticks: `ControlledTick` with (n_ticks, n) arrays.
    """

    task: Task
    market: PlayableMarket
    seed: Int
    advertiser: Int
    day: Int
    category: Int
    targets: Targets
    requirements: Float
    features: Float
    budget_left: Float
    active: NDArray[np.bool_]
    ticks: ControlledTick

    def __repr__(self) -> str:
        n_ticks, n = self.budget_left.shape
        score = self.score(expected=True).mean() if n else 0.0
        return f"Episodes({n} of {self.task.name}, {n_ticks} ticks, mean expected score {score:.4g})"

    def _repr_html_(self) -> str:
        columns = self.columns()
        return html_table(repr(self), list(columns), zip(*columns.values(), strict=True))

    def columns(self) -> dict[str, NDArray[Any]]:
        """The episodes as columns, (n,) each: who, what was spent and won, scores, realised over limit."""
        totals = self.totals
        own = {"seed": self.seed, "advertiser": self.advertiser, "budget": self.budget, "cost": totals.cost}
        for kind, expected in (("", False), ("_expected", True)):
            own[f"objective{kind}"] = self.objective(expected=expected)
            own[f"score{kind}"] = self.score(expected=expected)
        return own | {f"{name}_ratio_expected": ratio for name, ratio in self.ratios(expected=True).items()}

    def to_pandas(self) -> Any:
        """A data frame with a row an episode: `columns`; `to_trajectories` has a row a tick.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return data_frame(self.columns())

    def total(self, name: str) -> Float:
        """(n,) sum over the episode of a field of `ControlledTick`."""
        return np.asarray(getattr(self.ticks, name).sum(axis=0))

    @property
    def budget(self) -> Float:
        """(n,) currency per episode."""
        return self.targets.budget

    @property
    def totals(self) -> Totals:
        """What the episodes came to, (n,) each."""
        return episode_totals(self.ticks)

    def so_far(self, which: int = 0) -> Totals:
        """What one of the episodes has come to after each tick, (n_ticks,) each."""
        cost, seen = self.ticks.cost[:, which], self.ticks.n_impressions[:, which]
        sums = {name: np.cumsum(getattr(self.ticks, name)[:, which]) for name in OUTCOMES}
        return Totals(**sums, unevenness=np.array([unevenness(cost[:n], seen[:n]) for n in range(1, len(cost) + 1)]))

    def objective(self, *, expected: bool = False) -> Float:
        """(n,) the task's objective; `expected` replaces sampled by predicted amounts."""
        return self.task.reward(self.totals, expected=expected)

    def score(self, *, expected: bool = False) -> Float:
        """(n,) the task's score; `expected` as in `objective`."""
        return self.task.score(self.totals, self.targets, expected=expected)

    def ratios(self, *, expected: bool = False) -> dict[str, Float]:
        """(n,) realised over limit, by constraint."""
        return self.task.ratios(self.totals, self.targets, expected=expected)

    def check_same(self, other: Episodes, *, names: tuple[str, str] = ("the episodes", "the others")) -> None:
        """Raises ValueError, which says what differs, if others are not the same episodes of the same market.

        Args:
            other: Played by another bidder.
            names: What the error calls these and the others.
        """
        own, others = names
        if self.task != other.task:
            raise ValueError(f"{own} must be of the task of {others}, found {self.task} and {other.task}")
        for name in ("seed", "advertiser", "day"):
            if not np.array_equal(getattr(self, name), getattr(other, name)):
                raise ValueError(f"{own} must have the seeds, advertisers and days of {others}, found another `{name}`")
        if difference := self.market.difference(other.market):
            raise ValueError(f"{own} must be played in the market of {others}, found {difference}")

    def at(self, rows: Int) -> Episodes:
        """Some of the episodes, by position."""
        fields = {name: getattr(self, name)[rows] for name in _PER_CAMPAIGN}
        fields |= {name: getattr(self, name)[:, rows] for name in _PER_TICK}
        ticks = ControlledTick(*(column[:, rows] for column in self.ticks))
        return self._replace(targets=self.targets.at(rows), ticks=ticks, **fields)


class PlayedTick(NamedTuple):
    """A tick of n controlled campaigns: what they had at its start, and what it brought.

    Attributes:
        features: (n, 16).
        budget_left: (n,) currency.
        active: (n,) whether the campaign could still pay.
        outcome: (n,) each.
    """

    features: Float
    budget_left: Float
    active: NDArray[np.bool_]
    outcome: ControlledTick


def run_episode(
    simulation: ControlledMarket, seeds: ArrayLike, bidder: Bidder, days: ArrayLike | None = None
) -> Episodes:
    """Runs one episode of every market of `simulation`; `bidder` controls all of its controlled advertisers.

    Raises ValueError, naming the bidder, if it returns bids of a wrong shape, negative or not finite.
    """
    campaigns = start_episode(simulation, seeds, bidder, days)
    ticks = [play_tick(simulation, bidder, simulation.step) for _ in range(simulation.n_ticks)]
    return episodes_of(simulation, campaigns, ticks)


def start_episode(
    simulation: ControlledMarket, seeds: ArrayLike, bidder: Bidder, days: ArrayLike | None = None
) -> Campaigns:
    """Starts one episode of every market and tells the bidder of its campaigns, which are returned."""
    simulation.reset(seeds, days)
    campaigns = simulation.campaigns()
    bidder.reset(campaigns)
    return campaigns


def play_tick(
    simulation: ControlledMarket, bidder: Bidder, step: Callable[[Float | ImpressionBids], ControlledTick]
) -> PlayedTick:
    """Lets the bidder decide and plays the tick with `step`: that of the simulation, or one that looks closer."""
    view = simulation.view()
    features, budget_left, active = view.features.copy(), view.budget_left.copy(), simulation.active
    outcome = step(check_bids(bidder, bidder.act(view), view))
    return PlayedTick(features, budget_left, active, outcome)


def episodes_of(simulation: ControlledMarket, campaigns: Campaigns, ticks: Sequence[PlayedTick]) -> Episodes:
    """The episodes of a simulation as far as they are played: at least one tick."""
    features, budget_left, active, outcomes = zip(*ticks, strict=True)
    return Episodes(
        task=simulation.task, market=simulation.played, seed=campaigns.seed, advertiser=campaigns.advertiser,
        day=_days_of(campaigns), category=campaigns.category, targets=campaigns.targets,
        requirements=campaigns.requirements, features=np.array(features), budget_left=np.array(budget_left),
        active=np.array(active), ticks=stack_ticks(outcomes),
    )  # fmt: skip


def _days_of(campaigns: Campaigns) -> Int:
    return np.full(len(campaigns.seed), -1) if campaigns.day is None else campaigns.day


def rollout(
    bidder: Bidder,
    *,
    seeds: ArrayLike,
    advertisers: ArrayLike,
    task: Task,
    params: MarketParams | None = None,
    population: Population | None = None,
    market: PlayableMarket | ReplayMarket | None = None,
    days: ArrayLike | None = None,
    competitors: Mapping[int, Bidder] | None = None,
    competitor_task: str | Task = "TargetCPA",
    progress: Count | bool | None = None,
) -> Episodes:
    """Evaluates a bidder: episode i is market `seeds[i]` in which it controls `advertisers[i]` alone.

    All other advertisers are live: scripted, or controlled by the bidders of `competitors`. In a log they bid what they
    bid in it. The result does not depend on how the episodes are batched (if that holds for every bidder).

    Args:
        bidder: The bidder.
        seeds, advertisers: (n,) integers.
        task: The task of the controlled advertiser.
        params, population: The live market.
        market: Any market in place of these: a log (`auction_env.ReplayMarket`, or `LoggedMarket` for expected
            conversions), or a `LiveMarket` with its competitors.
        days: (n,) which day each episode is. Live (`BatchMarket.reset`): None draws it from the seed. In a log: the
            numbers of the periods; None takes the periods in turn, by the seed.
        competitors: Bidders by advertiser, for those it does not control; see
            `auction_env.control.simulation.Simulation`.
        competitor_task: Their task.
        progress: Called with the number of episodes just finished; True shows a bar, False none, None a bar after two
            seconds where somebody types (`agents.learning.bars`).

    Raises:
        ValueError: Arguments that do not fit together, or a task that counts what the market does not have.
    """
    for player in (bidder, *(competitors or {}).values()):
        check_bidder(player)
    market = playable(market, task, params, population, competitors, competitor_task)
    competitors = market.competitors if isinstance(market, LiveMarket) else None
    if any(competitor is bidder for competitor in (competitors or {}).values()):
        raise ValueError(f"`competitors` must be other objects than the bidder, found bidder {bidder.name!r} as both")
    check_days(seeds, days)
    seeds, advertisers = check_integers("seeds", seeds), check_integers("advertisers", advertisers)
    if seeds.ndim != 1 or seeds.shape != advertisers.shape or len(seeds) == 0:
        raise ValueError(
            f"`seeds` and `advertisers` must be vectors of one length, found {seeds.shape}, {advertisers.shape}"
        )
    days = market.days_of(seeds) if days is None else check_integers("days", days)
    parts = []
    with counted(progress, f"episodes of {bidder.name}", len(seeds)) as tell:
        for chunk in batches(market, market.alike(task, seeds, advertisers, days)):
            simulation = market.one_each(task, advertisers[chunk])
            parts.append(run_episode(simulation, seeds[chunk], bidder, None if days is None else days[chunk]))
            if tell is not None:
                tell(len(seeds[chunk]))
    return _concatenate(parts)


def playable(
    market: PlayableMarket | ReplayMarket | None,
    task: Task,
    params: MarketParams | None = None,
    population: Population | None = None,
    competitors: Mapping[int, Bidder] | None = None,
    competitor_task: str | Task = "TargetCPA",
) -> PlayableMarket:
    """The market that these arguments of `rollout` describe.

    Raises:
        ValueError: A market, and arguments of a live one beside it.
    """
    if market is None:
        return LiveMarket(
            params=params or MarketParams.for_task(task),
            population=population or auctionnet_population(),
            competitors=competitors,
            competitor_task=competitor_task,
        )
    for name, value in (("params", params), ("population", population), ("competitors", competitors)):
        if value is not None:
            raise ValueError(f"give `market` or `{name}`, not both: a market has its own")
    return LoggedMarket(market=market) if isinstance(market, ReplayMarket) else market


def rollout_each(
    bidders: Sequence[Bidder],
    *,
    seeds: ArrayLike,
    advertisers: ArrayLike,
    task: Task,
    params: MarketParams | None = None,
    population: Population | None = None,
    market: PlayableMarket | ReplayMarket | None = None,
    days: ArrayLike | None = None,
    competitors: Mapping[int, Bidder] | None = None,
    competitor_task: str | Task = "TargetCPA",
    progress: Count | bool | None = None,
) -> list[Episodes]:
    """Evaluates several bidders on the same episodes: what `rollout` gives for each of them, sooner.

    They play side by side, so that the impressions of an episode are drawn once for all of them.

    Args:
        bidders: At least one.
        seeds, advertisers, task, params, population, market, days, progress: As of `rollout`.
        competitors, competitor_task: As of `rollout`; other objects than the bidders.
    """
    market = playable(market, task, params, population, competitors, competitor_task)
    competing = market.competitors if isinstance(market, LiveMarket) and market.competitors else {}
    for bidder in bidders:
        if any(competitor is bidder for competitor in competing.values()):
            raise ValueError(f"`competitors` must be other objects than the bidders, found {bidder.name!r} as both")
    seeds, advertisers = check_integers("seeds", seeds), check_integers("advertisers", advertisers)
    check_days(seeds, days)
    k = len(bidders)
    played = rollout(
        InTurn(bidders),
        seeds=np.repeat(seeds, k),
        advertisers=np.repeat(advertisers, k),
        task=task,
        market=market,
        days=None if days is None else np.repeat(days, k),
        progress=progress,
    )
    return [played.at(np.arange(turn, len(seeds) * k, k)) for turn in range(k)]


def batches(market: PlayableMarket, alike: Int) -> list[slice]:
    """Which episodes `rollout` runs side by side: enough for two cores, and more of small markets.

    A tick costs Python and a model's forward pass some milliseconds whatever there is to do: 64 markets of 4,800
    impressions take three quarters of the time in one batch that they take in four.

    Args:
        market: What is played.
        alike: (n,) of `PlayableMarket.alike`: a batch ends where it would hold the impressions of too many markets.
    """
    fitting = int(_IMPRESSIONS_AT_ONCE * market.n_ticks / max(market.mean_impressions, 1.0))
    most = min(max(fitting, _FEWEST_MARKETS), _MOST_MARKETS)
    starts, held = [0], set[int]()
    for i, kind in enumerate(alike.tolist()):
        if i - starts[-1] == _MOST_EPISODES or len(held) + (kind not in held) > most:
            starts.append(i)
            held = set()
        held.add(kind)
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(alike)], strict=True)]


def check_days(seeds: ArrayLike, days: ArrayLike | None) -> None:
    """Raises ValueError if there are days, but not one a seed."""
    if days is not None and np.shape(days) != np.shape(seeds):
        raise ValueError(f"`days` must have a day for each seed, found shapes {np.shape(days)} and {np.shape(seeds)}")


def _concatenate(parts: list[Episodes]) -> Episodes:
    fields = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _PER_CAMPAIGN}
    fields |= {name: np.concatenate([getattr(p, name) for p in parts], axis=1) for name in _PER_TICK}
    columns = zip(*(p.ticks for p in parts), strict=True)
    ticks = ControlledTick(*(np.concatenate(column, axis=1) for column in columns))
    targets = Targets(*(np.concatenate(part) for part in zip(*(p.targets for p in parts), strict=True)))
    return Episodes(task=parts[0].task, market=parts[0].market, ticks=ticks, targets=targets, **fields)


def to_trajectories(episodes: Episodes, *, period: ArrayLike, policy: ArrayLike = "") -> TrajectoryData:
    """The log of episodes: one row a tick. `period` and the name of the `policy` are scalars or one a campaign."""
    n_ticks, n = episodes.budget_left.shape
    ticks = episodes.ticks

    def per_tick(values: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(values.T).reshape(-1)  # (n_ticks, n) -> (n * n_ticks,)

    def per_campaign(values: ArrayLike) -> NDArray[Any]:
        return np.repeat(np.broadcast_to(np.asarray(values), (n,)), n_ticks)

    columns_of = QUANTITIES[episodes.task.basis]
    names, code = np.unique(np.broadcast_to(np.asarray(policy, np.str_), (n,)), return_inverse=True)
    offered = per_tick(getattr(ticks, columns_of.offered))
    bid = per_tick(ticks.bid)
    last = np.zeros((n_ticks, n), bool)
    last[-1] = True
    columns: dict[str, ArrayLike] = {
        "period": per_campaign(period),
        "advertiser": per_campaign(episodes.advertiser),
        "tick": np.tile(np.arange(n_ticks), n),
        "category": per_campaign(episodes.category),
        "seed": per_campaign(episodes.seed),
        "policy": per_campaign(code),
        "task": 0,
        "budget": per_campaign(episodes.budget),
        **{f"{name}_target": per_campaign(getattr(episodes.targets, name)) for name in Targets._fields[1:]},
        "action": np.divide(bid, offered, out=np.zeros(n * n_ticks), where=offered > 0),
        "reward": per_tick(episodes.task.net(getattr(ticks, columns_of.sampled), ticks.cost)),
        "reward_expected": per_tick(episodes.task.net(getattr(ticks, columns_of.expected), ticks.cost)),
        "done": per_tick(last | ~episodes.active),
        "bid": bid,
        "budget_left": per_tick(episodes.budget_left),
    }
    recorded = (*OUTCOMES, *(column.offered for column in QUANTITIES.values()))
    for name in ("n_impressions", "wins", "exposures", "least_winning_cost", *recorded):
        columns[name] = per_tick(getattr(ticks, name))
    columns["features"] = episodes.features.transpose(1, 0, 2).reshape(n * n_ticks, -1)
    columns["requirements"] = np.repeat(episodes.requirements, n_ticks, axis=0)
    return TrajectoryData.from_columns(columns, tasks=(episodes.task,), labels={"policy": names.tolist()})

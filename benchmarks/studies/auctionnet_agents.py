"""AuctionNet's shipped agents as scripted behaviours: what its logs say of them, and schedules fitted to it.

`python -m benchmarks.studies.auctionnet_fidelity FILE --fit` prints the population that
`auction_env.market.competitors.shipped` holds.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env import Population, auctionnet_population, data
from auction_env.data import TrajectoryData, import_auctionnet_trajectories
from auction_env.market.competitors.shipped import AGENTS
from auction_env.market.pacing import Schedule, log_pace, log_surplus
from auction_env.market.params import TrafficParams
from auction_env.market.population import STEPS

Float = NDArray[np.float64]

POINTS = (0, 1, 2, 4, 8, 12, 16, 24, 32, 40, 47)  # ticks of 48, closer where the agents change faster
# its multipliers come from tables, which differ between advertisers: their level is that of the whole day
_LP = "online-lp"
RIDGE = 1.0
_MIN_LEFT = 1.0  # currency after a tick: with less, wins were dropped, and bids over values tell no multiplier
CLOSED_LOOP = 1.05
"""Factor on the first multipliers of schedules: fitted to logs tick by tick, they spend less than the agents where they
meet each other. On the periods of the fit, the distances of price, CPA and budget use are smallest near it (tried:
1.00, 1.06, 1.12)."""


class AgentLog(NamedTuple):
    """Full days of all advertisers, `(n_days, n_ticks, n_advertisers)` unless said otherwise; money at full size.

    Attributes:
        budget, cpa_target: (n_advertisers,).
        least_winning_cost: (n_days, n_ticks) mean over a tick's impressions; NaN where the log does not tell.
        n_impressions: (n_days, n_ticks).
        multiplier: Bids over predicted values.
        value: Mean predicted value.
        cost, wins, expected_conversions: Sums; NaN where the log does not tell.
        budget_left: At the start of the tick.
    """

    budget: Float
    cpa_target: Float
    least_winning_cost: Float
    n_impressions: Float
    multiplier: Float
    value: Float
    cost: Float
    wins: Float
    expected_conversions: Float
    budget_left: Float

    def days(self, rows: Sequence[int]) -> AgentLog:
        """Some of the days."""
        per_day = {name: part[list(rows)] for name, part in self._asdict().items() if name not in CONSTANTS}
        return self._replace(**per_day)


CONSTANTS = ("budget", "cpa_target")
"""Fields of `AgentLog` without an axis of days."""


def read_agents(paths: Sequence[str | os.PathLike[str]]) -> AgentLog:
    """Reads AuctionNet's trajectory files (`*-rlData.csv`) of full days in which all advertisers were logged.

    Raises:
        ValueError: A period lacks ticks or advertisers, or an advertiser's budget or target changes.
        AuctionNetLogError: A file breaks the schema.
    """
    with tempfile.TemporaryDirectory() as folder:
        import_auctionnet_trajectories(paths, Path(folder) / "log")
        return of_trajectories(data.load(Path(folder) / "log"))


def of_trajectories(log: TrajectoryData) -> AgentLog:
    """The days of a log; see `read_agents`."""
    shape = tuple(len(np.unique(part)) for part in (log.period, log.advertiser, log.tick))
    if np.prod(shape) != len(log):
        raise ValueError(
            f"the log must have every tick of every advertiser in every period, {' x '.join(map(str, shape))} rows,"
            f" found {len(log)}"
        )

    def by_day(column: Float) -> Float:
        return column.reshape(shape).transpose(0, 2, 1)  # rows are sorted by period, advertiser and tick

    budget, cpa = by_day(log.budget), by_day(log.cpa_target)
    for name, part in (("budget", budget), ("CPAConstraint", cpa)):
        if not (part == part[0, 0]).all():
            raise ValueError(f"`{name}` of an advertiser must be the same in all periods, found it changing")
    n = by_day(log.n_impressions)
    return AgentLog(
        budget=budget[0, 0],
        cpa_target=cpa[0, 0],
        least_winning_cost=by_day(log.least_winning_cost)[..., 0],
        n_impressions=n[..., 0],
        multiplier=by_day(log.action),
        value=by_day(log.offered_conversions) / np.maximum(n, 1.0),
        cost=by_day(log.cost),
        wins=by_day(log.wins),
        expected_conversions=by_day(log.expected_conversions),
        budget_left=by_day(log.budget_left),
    )


def fit_population(
    log: AgentLog, value_mean: float = TrafficParams().value_mean, *, ridge: float = RIDGE
) -> Population:
    """AuctionNet's advertisers, with the budgets and targets of a log of its shipped agents and schedules fitted to it.

    Each kind of agent is a ridge regression of log multipliers on the time of day, the pace and the surplus
    (`Schedule`), over all ticks in which its money did not run out. The noise is what remains. `value_mean` is the
    usual predicted value of the market (`TrafficParams`).
    """
    _, n_ticks, n_advertisers = log.multiplier.shape
    if n_advertisers != len(AGENTS) or n_ticks != 48:
        raise ValueError(f"the log must have 48 ticks and {len(AGENTS)} advertisers, found {n_ticks}, {n_advertisers}")
    kinds, start, schedules = np.asarray(AGENTS), np.ones(n_advertisers), []
    bids = log.multiplier > 0
    logs = np.log(np.where(bids, log.multiplier, 1.0))
    left_after = np.concatenate((log.budget_left[:, 1:], log.budget_left[:, -1:]), axis=1)
    is_known = bids & (left_after > _MIN_LEFT)
    is_known[:, -1] = False  # what is left after the last tick is not logged
    for kind in dict.fromkeys(AGENTS):
        who = np.flatnonzero(kinds == kind)
        known, own = is_known[:, :, who], logs[:, :, who]
        first = own[:, 0].mean(axis=0)
        if kind == _LP:
            first = np.array([own[:, :, k][known[:, :, k]].mean() for k in range(len(who))])
        start[who] = np.exp(first) / log.cpa_target[who]
        if kind != STEPS:
            start[who] *= CLOSED_LOOP
            surplus = log_surplus(log.value[:, :, who], value_mean)
            schedules.append(_fit(kind, own - first, known, surplus, log, who, ridge))
    return replace(
        auctionnet_population(),
        budget=tuple(log.budget.tolist()),
        cpa_target=tuple(log.cpa_target.tolist()),
        start=tuple(np.round(start, 3).tolist()),
        behaviour=AGENTS,
        schedules=tuple(schedules),
    )


def _fit(
    kind: str,
    target: Float,
    known: NDArray[np.bool_],
    surplus: Float,
    log: AgentLog,
    who: NDArray[np.int64],
    ridge: float,
) -> Schedule:
    """The schedule of the advertisers `who`, of whom logarithms of the multiplier over the first one are given."""
    tick = np.nonzero(known)[1]
    left = log.budget_left[:, :, who] / log.budget[who]
    pace = log_pace(left, 1.0 - np.arange(48)[:, None] / 48)
    hats = np.stack([np.interp(tick, POINTS, row) for row in np.eye(len(POINTS))], axis=1)
    design = np.concatenate((hats, hats * pace[known][:, None], hats * surplus[known][:, None]), axis=1)
    found = np.linalg.solve(design.T @ design + ridge * np.eye(design.shape[1]), design.T @ target[known])
    rest = np.full(known.shape, np.nan)
    rest[known] = target[known] - design @ found
    level, money, value = np.round(found, 3).reshape(3, -1).tolist()
    return Schedule(
        name=kind,
        at=tuple(point / 48 for point in POINTS),
        level=tuple(level),
        money_reaction=tuple(money),
        value_reaction=tuple(value),
        noise_sd=round(float(np.nanstd(rest)), 3),
        persistence=round(_persistence(rest), 2),
    )


def _persistence(rest: Float) -> float:
    """Correlation of what remains in two ticks that follow each other, `(n_days, n_ticks, n)`, NaN where unknown."""
    before, after = rest[:, :-1].ravel(), rest[:, 1:].ravel()
    both = np.isfinite(before) & np.isfinite(after)
    return float(np.clip(np.corrcoef(before[both], after[both])[0, 1], 0.0, 0.99))

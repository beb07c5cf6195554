"""What a log would have been if another bidder had bid in it, as a response model has it.

The market's side of each tick (impressions, predicted amounts, least winning cost) is the logged one. Cost, wins and
amounts are those that the response (`agents.labels.response`) predicts for the bidder's multiplier, under the logged
budget or another. The states that follow are those that the bidder would meet: with DAgger (S. Ross et al., AISTATS
2011, arXiv 1011.0686) a policy learns there too, here from logs alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.labels.kernels import Int
from agents.labels.relabel import Float
from agents.labels.response import WINS, Response, uncensored
from auction_env.control.advertisers import ControlledTick, tick_view
from auction_env.control.bidder import Bidder, Campaigns, check_multipliers
from auction_env.control.observation import FEATURE_NAMES, StateFeatures
from auction_env.data import TrajectoryData
from auction_env.data.dataset import VECTORS
from auction_env.data.multipliers import relative_multiplier
from auction_env.data.schema import FEATURE_COLUMNS
from auction_env.tasks import BASES, OUTCOMES, QUANTITIES, Targets, Task

CARRY_OVER = float(np.log(2.0))
"""How far a multiplier may be from the logged one, in logs, until the logged outcome says nothing more of its own."""
MOST_WEIGHT = 10.0
"""Largest importance weight of a tick: beyond it one tick's luck would stand for many ticks."""
_CUT_SHORT = 0.01  # share of the budget: with less left after a tick, the budget may have cut it short
_SPENT = 1e-9  # share of the budget below which a campaign is over
_TINY = 1e-12
_VALUE_NOW = FEATURE_NAMES.index("value_now")


class Near(NamedTuple):
    """What the log says of an outcome near a bid that was not made, (e,) each.

    Attributes:
        change: Predicted at the new multiplier over predicted at the logged one; 0 where that is 0.
        rho: 1 at the logged multiplier, 0 from `CARRY_OVER` on.
        weight: Share of the impressions that the response says are won at the new multiplier, over that at the logged
            one: at most `MOST_WEIGHT`, and 0 where the log has no outcome to weight.
        balance: What brings the weighted wins of the tick, over all episodes of the advertiser, to the predicted ones.
    """

    change: Float
    rho: Float
    weight: Float
    balance: Float


OutcomeRule = Callable[[Float, Float, Near], Float]
"""From the logged outcomes of a tick, those predicted at the new multiplier, and what is near: outcomes, (e,) each."""


def carried_over(logged: Float, predicted: Float, near: Near) -> Float:
    """The nearer a multiplier is to the logged one, the more of the tick's own luck stays."""
    return near.rho * logged * near.change + (1.0 - near.rho) * predicted


def complete_episodes(data: TrajectoryData, n_ticks: int) -> Int:
    """The episodes that have all ticks: in others it is not known what the bidder would have met."""
    return np.flatnonzero(np.diff(data.episode_starts) == n_ticks)


def predicted_logs(
    bidder: Bidder,
    task: Task,
    logs: Sequence[tuple[TrajectoryData, Response]],
    *,
    n_ticks: int,
    rng: np.random.Generator,
    rule: OutcomeRule = carried_over,
    targets: Sequence[Targets] | None = None,
) -> list[TrajectoryData]:
    """Lets a bidder bid in logged episodes, all at once.

    By the rule `carried_over`, the nearer a multiplier is to the logged one, the more of the tick's own luck stays:
    with rho = max(0, 1 - |log multiplier - log of the logged| / log 2) the outcome is rho x logged outcome x (predicted
    / predicted at the logged multiplier) + (1 - rho) x predicted. So a bidder that bids what was logged gets the log,
    number for number; far from it a quiet tick is not mistaken for a quiet market. rho is 0 for ticks that the budget
    cut short, and where the log's bids are proportional to something else.

    Args:
        bidder: Reset for all episodes at once.
        task: What the bidder bids for; its bids are proportional to what the objective counts.
        logs: Complete episodes, and the response of their log.
        n_ticks: Ticks of an episode.
        rng: Draws the sampled amounts.
        rule: What a tick brings.
        targets: Of each log's episodes, (n_episodes,) each: budgets and targets that they are played under in place of
            the logged ones.

    Returns:
        For each log the same episodes, of `task`, as the bidder's own log. Exposures are the log's share of the wins.
    """
    rows = [_Rows(data, task, response, n_ticks, rule) for data, response in logs]
    owned = [data for data, _ in logs]
    if targets is not None:
        owned = [_with_targets(data, own, n_ticks) for data, own in zip(owned, targets, strict=True)]
    campaigns = logged_campaigns(task, owned, n_ticks)
    bidder.reset(campaigns)
    state, left = StateFeatures(len(campaigns.base), n_ticks), campaigns.budget.copy()
    last: ControlledTick | None = None
    ticks: list[ControlledTick] = []
    features: list[Float] = []
    for t in range(n_ticks):
        now = _together([part.traffic(t) for part in rows])
        n, per_impression = now["n_impressions"], 1.0 / np.maximum(now["n_impressions"], 1.0)
        features.append(state.observe(t, budget_left=left / campaigns.budget, value_now=now["value_now"], volume_now=n))
        offered = np.stack([now[QUANTITIES[basis].offered] for basis in BASES], axis=1)
        view = tick_view(
            t,
            features=features[-1],
            budget_left=left,
            predicted_mean=offered * per_impression[:, None],
            last=last,
        )
        multiplier = check_multipliers(bidder, bidder.act(view), len(left))
        multiplier = np.where(left > _SPENT * campaigns.budget, multiplier, 0.0)
        split = np.cumsum([part.n_episodes for part in rows])[:-1]
        parts = zip(rows, np.split(multiplier, split), strict=True)
        brought = _together([part.outcomes(t, bids, rng) for part, bids in parts])
        paid = np.minimum(brought["cost"], left)
        share = np.divide(paid, brought["cost"], out=np.ones(len(left)), where=brought["cost"] > 0)
        brought = {name: share * values for name, values in brought.items()}
        last = ControlledTick(
            multiplier=multiplier,
            bid=multiplier * now[QUANTITIES[task.basis].offered],
            budget_left=left - paid,
            **{name: now[name] for name in ("n_impressions", "least_winning_cost")},
            **{QUANTITIES[basis].offered: now[QUANTITIES[basis].offered] for basis in BASES},
            **brought,
        )
        ticks.append(last)
        state.update(
            bid=last.bid * per_impression,
            least_winning_cost=last.least_winning_cost,
            value=now["value_now"],
            conversions=last.conversions * per_impression,
            win_rate=last.wins * per_impression,
            volume=n,
        )
        left = left - paid
    return _as_logs(task, owned, ticks, np.stack(features, axis=1))


def _with_targets(data: TrajectoryData, targets: Targets, n_ticks: int) -> TrajectoryData:
    """Complete episodes of advertisers with other budgets and targets, which no row but theirs shows."""
    rows: dict[str, Any] = {
        name if name == "budget" else f"{name}_target": np.repeat(values, n_ticks)
        for name, values in targets._asdict().items()
    }
    return dataclasses.replace(data, **rows)


class _Rows:
    """The complete episodes of a log, tick by tick."""

    def __init__(self, data: TrajectoryData, task: Task, response: Response, n_ticks: int, rule: OutcomeRule) -> None:
        self.n_episodes, self._rule = data.n_episodes, rule
        self._data, self._task, self._response, self._n_ticks = data, task, response, n_ticks
        self._logged = relative_multiplier(data, task)
        own = np.array([part.basis == task.basis for part in data.tasks])[data.task]
        self._carries = uncensored(data) & own
        self._group = np.unique(data.advertiser[data.episode_starts[:-1]], return_inverse=True)[1]
        self._weighs = own & (data.action > 0) & (data.cost < data.budget_left - _CUT_SHORT * data.budget)
        self._recorded = [basis for basis in BASES if getattr(data.targets, QUANTITIES[basis].target).all()]
        wins = float(data.wins.sum())
        self._exposed = float(data.exposures.sum()) / wins if wins > 0 else 0.0

    def traffic(self, t: int) -> dict[str, Float]:
        """The market's side of a tick, (e,) each."""
        at = slice(t, None, self._n_ticks)
        columns = ("n_impressions", "least_winning_cost", *(QUANTITIES[basis].offered for basis in BASES))
        return {name: self._data[name][at] for name in columns} | {"value_now": self._data.features[at, _VALUE_NOW]}

    def outcomes(self, t: int, multiplier: Float, rng: np.random.Generator) -> dict[str, Float]:
        """What multipliers (e,) bring in a tick as if there were no budget, by column: (e,) each."""
        at = slice(t, None, self._n_ticks)
        tick, logged = _rows_of(self._data, at), self._logged[at]
        both = np.stack([np.where(m > 0, m, 1.0) for m in (multiplier, logged)], axis=1)
        predicted = self._response.outcomes(tick, self._task, np.log(both), counted=(*self._recorded, WINS))
        distance = np.abs(np.log(both[:, 0] / both[:, 1]))
        rho = np.maximum(1.0 - distance / CARRY_OVER, 0.0) * (self._carries[at] & (logged > 0))
        bids = multiplier > 0
        far = {name: values[:, 0] for name, values in predicted.items()}
        change = {
            name: np.divide(values[:, 0], values[:, 1], out=np.zeros(len(bids)), where=values[:, 1] > 0)
            for name, values in predicted.items()
        }
        weight = np.minimum(change["wins"], MOST_WEIGHT) * self._weighs[at]
        weighted, wanted = (np.bincount(self._group, bids * part) for part in (weight * tick.wins, far["wins"]))
        balance = np.divide(wanted, weighted, out=np.zeros(len(wanted)), where=weighted > 0)[self._group]

        def between(logged_outcome: Float, name: str, otherwise: Float) -> Float:
            """By the rule, for an outcome that changes as the prediction of `name` does."""
            near = Near(change[name], rho, weight, balance)
            outcome: Float = bids * self._rule(logged_outcome, otherwise, near)
            return outcome

        out = {name: np.zeros(len(bids)) for name in OUTCOMES}
        out |= {name: between(tick[name], name, far[name]) for name in predicted}
        out["wins"] = np.minimum(out["wins"], tick.n_impressions)
        out["exposures"] = between(tick.exposures, "wins", self._exposed * out["wins"])
        for basis, drawn in self._drawn(far, rng).items():
            column = QUANTITIES[basis]
            out[column.sampled] = between(tick[column.sampled], column.expected, drawn)
        return out

    def _drawn(self, expected: dict[str, Float], rng: np.random.Generator) -> dict[str, Float]:
        """Sampled amounts of the recorded bases: counts are Poisson's, a conversion brings the tick's mean GMV."""
        drawn = {
            basis: rng.poisson(expected[QUANTITIES[basis].expected]).astype(np.float64)
            for basis in self._recorded
            if basis != "gmv"
        }
        if "gmv" in self._recorded:
            of_one = expected["expected_gmv"] / np.maximum(expected["expected_conversions"], _TINY)
            drawn["gmv"] = of_one * drawn["conversions"]
        return drawn


def _rows_of(data: TrajectoryData, rows: slice) -> TrajectoryData:
    """Every n-th row as an episode of one tick."""
    fields = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    fields |= {name: fields[name][rows] for name in (*VECTORS, "observation")}
    return TrajectoryData.from_verified(fields, np.arange(len(fields["tick"]) + 1))


def _together(parts: Sequence[dict[str, Float]]) -> dict[str, Float]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def logged_campaigns(task: Task, logs: Sequence[TrajectoryData], n_ticks: int) -> Campaigns:
    """The campaigns of logged episodes, one log after the other, as a bidder knows them before the first tick.

    The traffic that it expects is the mean of the logs.
    """

    def first(name: str) -> NDArray[np.generic]:
        return np.concatenate([data[name][data.episode_starts[:-1]] for data in logs])

    volume = np.concatenate([data.n_impressions.reshape(-1, n_ticks) for data in logs])
    parts = [data.targets.at(data.episode_starts[:-1]) for data in logs]
    targets = Targets(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return Campaigns(
        targets=targets,
        base=task.unit_worth(targets),
        category=first("category").astype(np.int64),
        advertiser=first("advertiser").astype(np.int64),
        requirements=task.requirements(targets),
        n_ticks=n_ticks,
        seed=first("seed").astype(np.int64),
        expected_traffic=volume.sum(axis=0) / max(float(volume.sum()), 1.0),
    )


def _as_logs(
    task: Task, logs: Sequence[TrajectoryData], ticks: Sequence[ControlledTick], features: Float
) -> list[TrajectoryData]:
    """The logs with the bidder's rows; `features` (n, T, 16)."""
    names = ("bid", "wins", "exposures", *OUTCOMES)
    columns = {name: np.stack([getattr(tick, name) for tick in ticks], axis=1) for name in names}  # (n, T) each
    columns["action"] = np.stack([tick.multiplier for tick in ticks], axis=1)
    after = np.stack([tick.budget_left for tick in ticks], axis=1)
    columns["budget_left"] = np.concatenate([after[:, :1] + columns["cost"][:, :1], after[:, :-1]], axis=1)
    columns["reward"] = task.net(columns[QUANTITIES[task.basis].sampled], columns["cost"])
    columns["reward_expected"] = task.net(columns[QUANTITIES[task.basis].expected], columns["cost"])
    out, start = [], 0
    for data in logs:
        part = slice(start, start + data.n_episodes)
        relabelled = data.with_task(task)
        own: dict[str, Any] = {name: values[part].reshape(-1) for name, values in columns.items()}
        is_last = np.arange(len(data)) % len(ticks) == len(ticks) - 1
        own["done"] = is_last | (own["budget_left"] <= _SPENT * data.budget)
        observation = relabelled.observation.copy()
        observation[:, : len(FEATURE_COLUMNS)] = features[part].reshape(len(data), -1)
        out.append(dataclasses.replace(relabelled, observation=observation, **own))
        start += data.n_episodes
    return out

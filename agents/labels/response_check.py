"""Whether a log fits another log's market: cost that a response model predicts over the cost that was logged.

A response model (`agents.labels.response`) is fitted to the target's own trajectories. It predicts what each tick of a
source's log should have cost at its logged bid. A log that records other bids than were submitted, or comes from
another market, costs more or less than that. No gradient and no training is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from agents.labels.kernels import Int
from agents.labels.relabel import Float
from agents.labels.response import Response, uncensored
from auction_env.data import TrajectoryData
from auction_env.tasks import Task

UNKNOWN = float(np.log(1e6))
"""Distance of an episode or a source of which nothing can be said: it has no tick that no budget cut short, or no
cost. It is as far as distances go."""


class CostCheck(NamedTuple):
    """Predicted and actual cost of the episodes of a log, over the ticks that no budget cut short."""

    predicted: Float  # (e,) as a share of the budget
    actual: Float  # (e,) the same

    @property
    def ratio(self) -> float:
        """Predicted over actual cost of the whole log, episodes in shares of their budgets; nan where both are 0."""
        predicted, actual = float(self.predicted.sum()), float(self.actual.sum())
        if actual > 0:
            return predicted / actual
        return float("inf") if predicted > 0 else float("nan")

    @property
    def distance(self) -> float:
        """|log ratio| of the whole log, at most `UNKNOWN`."""
        return float(_distance(self.predicted.sum(keepdims=True), self.actual.sum(keepdims=True))[0])

    @property
    def episode_distance(self) -> Float:
        """(e,) |log ratio| of each episode, at most `UNKNOWN`."""
        return _distance(self.predicted, self.actual)

    def agrees(self, factor: float) -> bool:
        """Whether the ratio of the whole log lies in [1 / factor, factor]."""
        return self.distance <= float(np.log(factor))

    def at(self, episodes: Int) -> CostCheck:
        """The check of some of the episodes."""
        return CostCheck(self.predicted[episodes], self.actual[episodes])


def check_costs(data: TrajectoryData, response: Response) -> CostCheck:
    """Checks each episode of a log against the response model of another one.

    Args:
        data: The log, of any tasks.
        response: Fitted to the target's trajectories.
    """
    kept = uncensored(data)
    predicted = np.zeros(len(data))
    with np.errstate(divide="ignore"):
        logged = np.log(data.action)[:, None]
    for code, task in enumerate(data.tasks):
        rows = kept & (data.task == code)
        if rows.any():
            plain = Task(name=task.name, objective=task.objective)  # constraints do not matter to cost
            cost = response.outcomes(data, plain, np.where(rows[:, None], logged, 0.0))["cost"][:, 0]
            predicted[rows] = cost[rows]
    starts = data.episode_starts[:-1]
    share = 1.0 / data.budget
    return CostCheck(
        np.add.reduceat(predicted * share, starts), np.add.reduceat(np.where(kept, data.cost, 0.0) * share, starts)
    )


def check_sources(
    sources: Mapping[str, TrajectoryData], targets: Mapping[str, TrajectoryData]
) -> list[list[CostCheck]]:
    """The check of every source under every target's response, [k][i] in the order of the mappings.

    Args:
        sources: Logs to be checked.
        targets: Trajectories of the targets, to each of which a response model is fitted.

    Raises:
        ValueError: A target without bids.
    """
    responses = []
    for name, data in targets.items():
        try:
            responses.append(Response.fit([data]))
        except ValueError as error:
            rule = "must hold 2 ticks of an episode with an action above 0 to check costs by"
            raise ValueError(f"target {name!r} {rule}, found none") from error
    return [[check_costs(data, response) for data in sources.values()] for response in responses]


def _distance(predicted: Float, actual: Float) -> Float:
    known = (predicted > 0) & (actual > 0)
    ratio = np.divide(predicted, actual, out=np.full(len(actual), np.inf), where=known)
    distance: Float = np.minimum(np.abs(np.log(ratio)), UNKNOWN)
    return distance

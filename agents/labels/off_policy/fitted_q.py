"""Fitted Q evaluation: what a policy brings from a state on, by regression on logged transitions.

Q(s, a) is the episode's score if the action is a now and the policy decides from the next tick on: the only reward is
the score, at the end, so that limits on whole episodes count as they do. It is fitted backward: after k rounds it
reaches k ticks ahead, and an episode has no more rounds than ticks. The regression is a ridge on the state features,
the action, their squares and products, with a constant for each tick, so that the logged policy gets its logged mean.
It is one system of equations for all rounds, the same numbers every time. The policy decides in the logged states.

Source: H. Le, C. Voloshin and Y. Yue, "Batch policy learning under constraints" (ICML 2019, arXiv 1903.08738),
algorithm 3.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from agents.labels.predicted_log import logged_campaigns
from agents.labels.relabel import Float
from auction_env.control.advertisers import ControlledTick, tick_view
from auction_env.control.bidder import Bidder, check_multipliers
from auction_env.data import TrajectoryData
from auction_env.tasks import BASES, OUTCOMES, QUANTITIES, Task

RIDGE = 1e-4  # of the standardised inputs' mean square
_LOWEST = -4.0  # log of a multiplier relative to the worth of a unit: what stands for no bid
_FAR = 5.0  # standard deviations beyond which an input is not followed, so that products stay bounded
_ACTION = 18  # place of the action among the inputs
_TINY = 1e-12


def decisions(bidder: Bidder, task: Task, data: TrajectoryData, n_ticks: int) -> Float:
    """(n,) the multipliers that a bidder decides on in the logged states of complete episodes, tick by tick."""
    campaigns = logged_campaigns(task, [data], n_ticks)
    bidder.reset(campaigns)
    out = np.empty((data.n_episodes, n_ticks))
    last = None
    for t in range(n_ticks):
        at = slice(t, None, n_ticks)
        n = np.maximum(data.n_impressions[at], 1.0)
        view = tick_view(
            t,
            features=np.ascontiguousarray(data.features[at]),
            budget_left=data.budget_left[at],
            predicted_mean=np.stack([data[QUANTITIES[basis].offered][at] / n for basis in BASES], axis=1),
            last=last,
        )
        out[:, t] = check_multipliers(bidder, bidder.act(view), data.n_episodes)
        columns = ("n_impressions", "bid", "wins", "exposures", "least_winning_cost", *OUTCOMES)
        offered = tuple(QUANTITIES[basis].offered for basis in BASES)
        last = ControlledTick(
            multiplier=data.action[at],
            budget_left=data.budget_left[at] - data.cost[at],
            **{name: data[name][at] for name in (*columns, *offered)},
        )
    return out.reshape(-1)


def fitted_scores(task: Task, data: TrajectoryData, decided: Float, n_ticks: int) -> Float:
    """Predicted expected scores of complete episodes, (e,), under a policy whose decisions in their states are given.

    Args:
        task: The policy's.
        data: Complete episodes whose bids are proportional to what the task counts.
        decided: (n,) multipliers, from `decisions`.
        n_ticks: Ticks of an episode.
    """
    first = data.episode_starts[:-1]
    targets = data.targets.at(first)
    unit = targets.budget / task.unit_worth(targets)  # what the budget buys at the advertiser's target
    score = task.score(data.totals(), targets, expected=True) / unit
    inputs, following = _inputs(task, data, data.action), _inputs(task, data, decided)
    mean, sd = inputs.mean(axis=0), inputs.std(axis=0)
    sd = np.where(sd > _TINY, sd, 1.0)
    of_tick = np.tile(np.eye(n_ticks), (data.n_episodes, 1))
    x, x_next = (
        np.concatenate([of_tick, _with_products(np.clip((part - mean) / sd, -_FAR, _FAR))], axis=1)
        for part in (inputs, following)
    )
    penalty = RIDGE * np.square(x).sum(axis=0)
    penalty[:n_ticks] = 0.0
    factor = scipy.linalg.cho_factor(x.T @ x + np.diag(penalty + _TINY))
    goal = np.zeros((data.n_episodes, n_ticks))
    goal[:, -1] = score
    highest = max(float(score.max()), _TINY)  # bounds what rounds can build up; a bound at 0 would be a bias
    for _ in range(n_ticks):
        weights = scipy.linalg.cho_solve(factor, x.T @ goal.reshape(-1))
        to_come = np.clip(x_next @ weights, -highest, 2.0 * highest).reshape(goal.shape)
        goal[:, :-1] = to_come[:, 1:]
    return np.asarray(to_come[:, 0] * unit)


def _inputs(task: Task, data: TrajectoryData, multiplier: Float) -> Float:
    """(n, 20) state features, budget and worth of the advertiser, and the action."""
    base = task.unit_worth(data.targets)
    relative = np.log(np.maximum(multiplier / base, np.exp(_LOWEST)))
    volume = data.features[:, 13:]
    features = np.concatenate([data.features[:, :13], np.log1p(np.maximum(volume, 0.0))], axis=1)
    own = np.stack([np.log(data.budget), np.log(base), relative, multiplier > 0], axis=1)
    return np.concatenate([features, own], axis=1)


def _with_products(x: Float) -> Float:
    """The inputs, their squares and their products with the action: (n, d) -> (n, 3 d - 1)."""
    return np.concatenate([x, np.square(x), np.delete(x, _ACTION, axis=1) * x[:, [_ACTION]]], axis=1)

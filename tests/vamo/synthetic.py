"""A synthetic family of tasks, built without a market: fast, and with a known best action."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from auction_env.control.observation import FEATURE_NAMES
from auction_env.data import TrajectoryData
from auction_env.tasks import QUANTITIES, TASKS, Targets, Task

Float = NDArray[np.float64]
Policy = Callable[[Float, np.random.Generator], Float]  # features (T, 16) to log(multiplier / base) (T,)

N_TICKS = 48
N_IMPRESSIONS = 128.0  # a power of two: means and sums turn into each other exactly


def sensible(features: Float, rng: np.random.Generator) -> Float:
    """Bids more with a full purse than with an empty one, more at the end than at the start."""
    return features[:, 1] - features[:, 0] + 0.05 * rng.normal(size=len(features))


def episode(index: int, rng: np.random.Generator, task: Task, policy: Policy, is_ended: bool) -> dict[str, Float]:
    """The columns of one episode; an ended one has its campaign over at a random tick."""
    tick = np.arange(N_TICKS)
    end = int(rng.integers(5, N_TICKS)) if is_ended else N_TICKS
    is_active = tick < end
    budget, cpa_target = rng.uniform(1000, 4000), rng.uniform(60, 130)
    features = rng.gamma(2.0, 0.002, (N_TICKS, len(FEATURE_NAMES)))
    features[:, 0] = (N_TICKS - tick) / N_TICKS
    features[:, 1] = rng.uniform(0, 1, N_TICKS)
    features[:, -3:] = rng.integers(0, 10_000, (N_TICKS, 3))
    features[:, FEATURE_NAMES.index("volume_now")] = N_IMPRESSIONS
    targets = Targets.of(np.full(N_TICKS, budget), cpa_target, cpa_target / 40, cpa_target / 8, 3.0)
    multiplier = task.unit_worth(targets) * np.exp(policy(features, rng)) * is_active
    value = rng.gamma(2.0, 0.2, N_TICKS) * is_active
    cost = rng.uniform(0, budget / N_TICKS, N_TICKS) * is_active
    sampled = np.random.default_rng(index)  # apart, so that the other draws do not depend on what is counted
    columns: dict[str, Float] = {
        "features": features,
        "requirements": task.requirements(targets),
        **{"budget" if name == "budget" else f"{name}_target": part for name, part in targets._asdict().items()},
        "tick": tick,
        "period": np.full(N_TICKS, index),
        "category": np.full(N_TICKS, index % 5),
        "action": multiplier,
        "expected_conversions": value,
        "conversions": rng.poisson(value).astype(float),
        "clicks": sampled.poisson(40 * value).astype(float),
        "expected_clicks": 40 * value,
        "add_to_carts": sampled.poisson(8 * value).astype(float),
        "expected_add_to_carts": 8 * value,
        "gmv": sampled.poisson(value) * 3 * cpa_target,
        "expected_gmv": 3 * cpa_target * value,
        "cost": cost,
        "budget_left": budget - np.cumsum(cost) + cost,
        "done": (tick >= end) | (tick == N_TICKS - 1),
    }
    column = QUANTITIES[task.basis]
    offered = {
        "offered_conversions": 1.0,
        "offered_clicks": 40.0,
        "offered_add_to_carts": 8.0,
        "offered_gmv": 3 * cpa_target,
    }
    columns |= {name: np.full(N_TICKS, amount) for name, amount in offered.items()}
    columns["bid"] = multiplier * columns[column.offered]
    reward, expected = (task.net(columns[name], cost) for name in (column.sampled, column.expected))
    return columns | {"reward": reward, "reward_expected": expected}


def make_data(
    n_episodes: int = 12,
    *,
    task: Task = TASKS["TargetCPA"],
    policy: Policy = sensible,
    seed: int = 0,
    share_ended: float = 0.3,
) -> TrajectoryData:
    """Episodes of one task; data sets of different seeds have different advertisers."""
    rng = np.random.default_rng(seed)
    ended = rng.random(n_episodes) < share_ended
    episodes = [episode(i, rng, task, policy, bool(ended[i])) for i in range(n_episodes)]
    columns = {name: np.concatenate([e[name] for e in episodes]) for name in episodes[0]}
    constants = {"advertiser": seed, "seed": -1, "task": 0, "n_impressions": N_IMPRESSIONS}
    constants |= {"wins": 10.0, "exposures": 5.0, "least_winning_cost": 0.01}
    return TrajectoryData.from_columns({**columns, **constants}, tasks=[task])

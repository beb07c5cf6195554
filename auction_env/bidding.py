"""What the single, vector and multi-agent environments share: spaces, observation, action, reward, summary.

Each environment converts its interface's arguments, calls `Bidding` and returns; no formula stands in one of them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.actions import ActionKind, get_action_kind
from auction_env.observation import FEATURE_NAMES, N_FEATURES
from auction_env.pacing import MAX_LOG_RATIO
from auction_env.params import MarketParams
from auction_env.population import Population, auctionnet_population
from auction_env.simulation import Simulation, SteeredTick
from auction_env.tasks import REQUIREMENT_NAMES, Task, get_task
from auction_env.views import Bidder

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Observations = NDArray[np.float32]

TICK_INFO = (
    "multiplier", "cost", "wins", "exposures", "conversions", "value", "least_winning_cost",
    "n_impressions", "budget_left", "clicks",
)  # fmt: skip
"""Fields of `SteeredTick` that every step's info holds."""

MAX_EPISODE_SEED = 2**62


def market_params(
    params: MarketParams | None, *, n_impressions: int | None = None, mechanism: str | None = None
) -> MarketParams:
    """`params`, or default ones with the shortcuts that are given; ValueError if both are."""
    shortcuts = {"n_impressions": n_impressions, "mechanism": mechanism}
    given: dict[str, Any] = {name: value for name, value in shortcuts.items() if value is not None}
    if params is None:
        return MarketParams(**given)
    if given:
        raise ValueError(f"give `params` or `{next(iter(given))}`, not both")
    return params


@dataclass(frozen=True, slots=True, kw_only=True)
class BiddingSpec:
    """The arguments common to all environments, resolved and checked."""

    task: Task
    params: MarketParams
    population: Population
    action_kind: ActionKind
    competitors: Mapping[int, Bidder] | None = None

    @classmethod
    def resolve(
        cls,
        *,
        task: str | Task = "MaxConversions",
        params: MarketParams | None = None,
        population: Population | None = None,
        n_impressions: int | None = None,
        mechanism: str | None = None,
        action_kind: str | ActionKind = "log_multiplier",
        max_ratio: float = 5.0,
        max_ratio_step: float = 1.2,
        competitors: Mapping[int, Bidder] | None = None,
    ) -> BiddingSpec:
        """From the keyword arguments of an environment: see `BiddingEnv`."""
        population = population or auctionnet_population()
        return cls(
            task=get_task(task),
            params=market_params(params, n_impressions=n_impressions, mechanism=mechanism),
            population=population,
            action_kind=get_action_kind(
                action_kind,
                max_ratio=max_ratio,
                max_ratio_step=max_ratio_step,
                reference_cpa=float(np.mean(population.cpa_target)),
            ),
            competitors=competitors,
        )

    @property
    def observation_space(self) -> gym.spaces.Box[np.float32]:
        """Of one advertiser."""
        cpa_target = np.asarray(self.population.cpa_target, np.float64)
        budget = np.asarray(self.population.budget) * self.params.budget_scale
        base = np.maximum(cpa_target, np.asarray(self.population.start) * cpa_target)
        scripted = base.max() * np.exp(MAX_LOG_RATIO)
        top_bid = max(float(self.action_kind.highest(cpa_target).max()), scripted)  # a value is at most 1
        # the least winning cost is a score, bid x quality; normal draws of the reserve's noise stay within +-6
        top_score = top_bid * max(1.0, float(np.max(self.params.quality or 1.0)))
        top_reserve = self.params.reserve * np.exp(6.0 * self.params.reserve_noise)
        volume = np.ceil(self.params.n_impressions * self.params.traffic.highest_volume)
        high = np.ones(N_FEATURES)
        for index, name in enumerate(FEATURE_NAMES):
            if name.startswith(("bid_", "least_winning_cost_")):
                high[index] = max(top_score, top_reserve)
            elif name.startswith("volume_"):
                high[index] = volume
            elif name.startswith("conversions_") and self.params.conversion_delay > 0:
                high[index] = volume  # those of many ticks may be reported in a tick of one impression
        requirements = self.task.requirements(budget, cpa_target).max(axis=0)
        requirements[requirements == 0] = 1.0  # absent limits are 0; a space needs some width
        bound = np.concatenate((high, requirements)).astype(np.float32)
        bound = np.nextafter(bound, np.float32(np.inf))  # float32 rounding must not leave the space
        return gym.spaces.Box(np.zeros_like(bound), bound, dtype=np.float32)

    @property
    def action_space(self) -> gym.spaces.Box[np.float32]:
        """Of one advertiser."""
        return gym.spaces.Box(-1.0, 1.0, (self.action_kind.n_actions,), np.float32)


class BiddingStep(NamedTuple):
    """Outcome of a tick for n steered advertisers.

    Attributes:
        observation: (n, 19).
        reward: (n,) the task's objective.
        done: Whether this was the last tick.
        info: (n,) arrays by name, `ratios` a dictionary of such; what the environments' docstrings list.
    """

    observation: Observations
    reward: Float
    done: bool
    info: dict[str, Any]


class Bidding:
    """An episode of n steered advertisers in markets that stand at the same tick.

    Args:
        spec: Task, market and action kind.
        steered_market, steered_advertiser: (n,) the market and the advertiser of each steered one.
        n_markets: Number of markets.
    """

    def __init__(
        self, spec: BiddingSpec, *, steered_market: ArrayLike, steered_advertiser: ArrayLike, n_markets: int = 1
    ) -> None:
        self.spec = spec
        self.simulation = Simulation(
            spec.params,
            spec.population,
            steered_market=steered_market,
            steered_advertiser=steered_advertiser,
            n_markets=n_markets,
            competitors=copy.deepcopy(spec.competitors),  # bidders have a state, and environments must not share it
        )
        self.ticks: list[SteeredTick] = []
        self.has_begun = self.in_episode = False

    def reset(self, seeds: ArrayLike, advertisers: ArrayLike | None = None) -> tuple[Observations, dict[str, Any]]:
        """Starts an episode in every market; `advertisers` (n,) replaces who is steered."""
        simulation, task = self.simulation, self.spec.task
        if advertisers is not None:
            simulation.steer(simulation.steered_market, advertisers)
        simulation.reset(seeds)
        self._cpa_target, self._budget = simulation.cpa_target, simulation.budget
        self._expected_traffic = simulation.expected_traffic
        self._observation = np.empty((simulation.n_steered, N_FEATURES + len(REQUIREMENT_NAMES)), np.float32)
        self._observation[:, N_FEATURES:] = task.requirements(self._budget, self._cpa_target)
        self._previous = self._cpa_target
        self._cost, self._objective = np.zeros(simulation.n_steered), np.zeros(simulation.n_steered)
        self.ticks = []
        self.has_begun = self.in_episode = True
        return self._observe(simulation.observe()), {"advertiser": simulation.advertiser.copy()}

    def step(self, actions: ArrayLike) -> BiddingStep:
        """Bids for one tick: `actions` (n, n_actions), clipped to [-1, 1].

        Raises:
            RuntimeError: Outside an episode.
            ValueError: Actions of another shape or not finite.
        """
        if not self.in_episode:
            raise RuntimeError("the episode is over or has not begun: call `reset` first")
        action = self._check(actions)
        multiplier = self.spec.action_kind.multipliers(
            np.clip(action, -1.0, 1.0), cpa_target=self._cpa_target, previous=self._previous
        )
        tick, result = self.simulation.step(multiplier)
        self._previous = multiplier
        self.ticks.append(tick)
        reward = self.spec.task.reward(conversions=tick.conversions, value=tick.value)
        self._cost += tick.cost
        self._objective += reward
        info: dict[str, Any] = {name: getattr(tick, name) for name in TICK_INFO}
        if result.done:
            self.in_episode = False
            info |= self._summary()
            features = self.simulation.observe_end(tick)
        else:
            features = self.simulation.observe()
        return BiddingStep(self._observe(features), reward, result.done, info)

    def plan(self, steered: int) -> Float:
        """(n_ticks + 1,) expected share of the impressions before each tick, for one steered advertiser's market."""
        share = self._expected_traffic
        if share.ndim == 2:  # one curve a market
            share = share[self.simulation.steered_market[steered]]
        return np.concatenate(([0.0], np.cumsum(share)))

    def ratios_so_far(self, steered: int) -> dict[str, Float]:
        """Realised over limit after each past tick of one steered advertiser, by constraint: (n_past,) each."""
        cost = np.array([tick.cost[steered] for tick in self.ticks])
        conversions = np.array([tick.conversions[steered] for tick in self.ticks])
        value = np.array([tick.value[steered] for tick in self.ticks])
        reward = self.spec.task.reward(conversions=conversions, value=value)
        return self.spec.task.ratios(
            cost=np.cumsum(cost),
            objective=np.cumsum(reward),
            budget=self._budget[steered],
            cpa_target=self._cpa_target[steered],
        )

    def _summary(self) -> dict[str, Any]:
        totals = {
            "cost": self._cost,
            "objective": self._objective,
            "budget": self._budget,
            "cpa_target": self._cpa_target,
        }
        task = self.spec.task
        return {"score": task.score(**totals), "objective": self._objective.copy(), "ratios": task.ratios(**totals)}

    def _observe(self, features: Float) -> Observations:
        observation = self._observation.copy()
        observation[:, :N_FEATURES] = features
        return observation

    def _check(self, actions: ArrayLike) -> Float:
        action = np.asarray(actions, np.float64)
        shape = (self.simulation.n_steered, self.spec.action_kind.n_actions)
        if action.shape != shape:
            raise ValueError(f"`action` must have shape {shape}, found {action.shape}")
        finite = np.isfinite(action)
        if not finite.all():
            row = int(np.flatnonzero(~finite.all(axis=1))[0])
            raise ValueError(f"`action` must be finite, found {action[row]} in row {row}")
        return action


def draw_episode(rng: np.random.Generator, n_advertisers: int) -> tuple[int, int]:
    """Seed and advertiser of the next episode of an environment; always both, so that giving one shifts nothing."""
    return int(rng.integers(MAX_EPISODE_SEED)), int(rng.integers(n_advertisers))


def info_of(info: dict[str, Any], row: int) -> dict[str, Any]:
    """One advertiser's info, as Python numbers."""
    return {name: info_of(value, row) if isinstance(value, dict) else value[row].item() for name, value in info.items()}

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

from auction_env.control.actions import ActionKind, get_action_kind
from auction_env.control.advertisers import episode_totals, stack_ticks
from auction_env.control.bidder import Bidder
from auction_env.control.observation import FEATURE_NAMES, N_FEATURES
from auction_env.control.simulation import ControlledTick, Simulation
from auction_env.market.market import market_targets
from auction_env.market.pacing import MAX_LOG_RATIO
from auction_env.market.params import MarketParams
from auction_env.market.population import Population, auctionnet_population
from auction_env.tasks import FUNNEL_OUTCOMES, N_REQUIREMENTS, Task, Totals, get_task

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Observations = NDArray[np.float32]

TICK_INFO = (
    "multiplier", "cost", "wins", "exposures", "conversions", "expected_conversions", "least_winning_cost",
    "n_impressions", "budget_left", *FUNNEL_OUTCOMES,
)  # fmt: skip
"""Fields of `ControlledTick` that every step's info holds."""

MAX_EPISODE_SEED = 2**62


def market_params(
    params: MarketParams | None, task: Task, *, n_impressions: int | None = None, mechanism: str | None = None
) -> MarketParams:
    """`params`, or default ones with the shortcuts that are given and what the task needs; ValueError if both are."""
    shortcuts = {"n_impressions": n_impressions, "mechanism": mechanism}
    given: dict[str, Any] = {name: value for name, value in shortcuts.items() if value is not None}
    if params is None:
        return MarketParams.for_task(task, **given)
    if given:
        raise ValueError(f"give `params` or `{next(iter(given))}`, not both")
    params.check_task(task)
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
        task = get_task(task)
        params = market_params(params, task, n_impressions=n_impressions, mechanism=mechanism)
        return cls(
            task=task,
            params=params,
            population=population,
            action_kind=get_action_kind(
                action_kind,
                max_ratio=max_ratio,
                max_ratio_step=max_ratio_step,
                reference=float(np.mean(task.unit_worth(market_targets(params, population)))),
            ),
            competitors=competitors,
        )

    @property
    def observation_space(self) -> gym.spaces.Box[np.float32]:
        """Of one advertiser."""
        targets = market_targets(self.params, self.population)
        base = np.maximum(targets.cpa, np.asarray(self.population.start) * targets.cpa)
        scripted = base.max() * np.exp(MAX_LOG_RATIO)
        top_amount = 1.0  # a probability
        if self.task.basis == "gmv" and self.params.funnel is not None:
            top_amount = float(np.max(self.params.funnel.highest_order * targets.roas * targets.cpa))
        own = self.action_kind.highest(self.task.unit_worth(targets)).max() * top_amount
        top_bid = max(float(own), scripted)
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
        requirements = self.task.requirements(targets).max(axis=0)
        requirements[requirements == 0] = 1.0  # absent limits are 0; a space needs some width
        bound = np.concatenate((high, requirements)).astype(np.float32)
        bound = np.nextafter(bound, np.float32(np.inf))  # float32 rounding must not leave the space
        return gym.spaces.Box(np.zeros_like(bound), bound, dtype=np.float32)

    @property
    def action_space(self) -> gym.spaces.Box[np.float32]:
        """Of one advertiser."""
        return gym.spaces.Box(-1.0, 1.0, (self.action_kind.n_actions,), np.float32)


class BiddingStep(NamedTuple):
    """Outcome of a tick for n controlled advertisers.

    Attributes:
        observation: (n, N_FEATURES + N_REQUIREMENTS).
        reward: (n,) the task's objective.
        done: Whether this was the last tick.
        info: (n,) arrays by name, `ratios` a dictionary of such; what the environments' docstrings list.
    """

    observation: Observations
    reward: Float
    done: bool
    info: dict[str, Any]


class Bidding:
    """An episode of n controlled advertisers in markets that stand at the same tick.

    Args:
        spec: Task, market and action kind.
        controlled_market, controlled_advertiser: (n,) the market and the advertiser of each controlled one.
        n_markets: Number of markets.
    """

    def __init__(
        self, spec: BiddingSpec, *, controlled_market: ArrayLike, controlled_advertiser: ArrayLike, n_markets: int = 1
    ) -> None:
        self.spec = spec
        self.simulation = Simulation(
            spec.params,
            spec.population,
            controlled_market=controlled_market,
            controlled_advertiser=controlled_advertiser,
            n_markets=n_markets,
            task=spec.task,
            competitors=copy.deepcopy(spec.competitors),  # bidders have a state, and environments must not share it
        )
        self.ticks: list[ControlledTick] = []
        self.has_begun = self.in_episode = False

    def reset(self, seeds: ArrayLike, advertisers: ArrayLike | None = None) -> tuple[Observations, dict[str, Any]]:
        """Starts an episode in every market; `advertisers` (n,) replaces who is controlled."""
        simulation, task = self.simulation, self.spec.task
        if advertisers is not None:
            simulation.control(simulation.controlled_market, advertisers)
        simulation.reset(seeds)
        self._targets, self._base = simulation.targets, simulation.base
        self._expected_traffic = simulation.expected_traffic
        self._observation = np.empty((simulation.n_controlled, N_FEATURES + N_REQUIREMENTS), np.float32)
        self._observation[:, N_FEATURES:] = task.requirements(self._targets)
        self._previous = self._base
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
            np.clip(action, -1.0, 1.0), base=self._base, previous=self._previous
        )
        tick, result = self.simulation.step(multiplier)
        self._previous = multiplier
        self.ticks.append(tick)
        reward = self.spec.task.reward(tick)
        info: dict[str, Any] = {name: getattr(tick, name) for name in TICK_INFO}
        if result.done:
            self.in_episode = False
            info |= self._summary()
            features = self.simulation.observe_end(tick)
        else:
            features = self.simulation.observe()
        return BiddingStep(self._observe(features), reward, result.done, info)

    def plan(self, controlled: int) -> Float:
        """(n_ticks + 1,) expected share of the impressions before each tick, for one controlled advertiser's market."""
        share = self._expected_traffic
        if share.ndim == 2:  # one curve a market
            share = share[self.simulation.controlled_market[controlled]]
        return np.concatenate(([0.0], np.cumsum(share)))

    def ratios_so_far(self, controlled: int) -> dict[str, Float]:
        """Realised over limit after each past tick of one controlled advertiser, by constraint: (n_past,) each."""
        if not self.ticks:
            return {name: np.empty(0) for name in self.spec.task.limits(self._targets)}
        ticks = stack_ticks([ControlledTick(*(part[[controlled]] for part in tick)) for tick in self.ticks])
        spans = [episode_totals(ControlledTick(*(part[:n] for part in ticks))) for n in range(1, len(self.ticks) + 1)]
        so_far = Totals(*(np.concatenate(parts) for parts in zip(*spans, strict=True)))
        return self.spec.task.ratios(so_far, self._targets.at([controlled] * len(spans)))

    def _summary(self) -> dict[str, Any]:
        task, totals = self.spec.task, episode_totals(stack_ticks(self.ticks))
        return {
            "score": task.score(totals, self._targets),
            "objective": task.reward(totals),
            "ratios": task.ratios(totals, self._targets),
        }

    def _observe(self, features: Float) -> Observations:
        observation = self._observation.copy()
        observation[:, :N_FEATURES] = features
        return observation

    def _check(self, actions: ArrayLike) -> Float:
        action = np.asarray(actions, np.float64)
        shape = (self.simulation.n_controlled, self.spec.action_kind.n_actions)
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

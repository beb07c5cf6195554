"""Environments over a replay market: `auction_env/Replay-v0`, single and as a native vector environment.

Both are thin adapters over `ReplaySimulation`, which plays any number of episodes at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numba import get_num_threads
from numpy.typing import ArrayLike, NDArray

from auction_env.control.actions import LogMultiplier
from auction_env.control.observation import FEATURE_NAMES, N_FEATURES
from auction_env.kernels import check_fork, outcomes
from auction_env.kernels import replay as kernel
from auction_env.kernels.features import WINDOW
from auction_env.replay.market import ReplayMarket
from auction_env.tasks import N_REQUIREMENTS, Targets, Task, Totals, get_task, unevenness

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Mask = NDArray[np.bool_]
Observation = NDArray[np.float32]

CONVERSIONS = ("sampled", "expected")
N_OBSERVATION = N_FEATURES + N_REQUIREMENTS
_MAX_SEED = 2**62  # of an episode
_SERIAL_BELOW = 50_000  # impressions a step, half a millisecond: waking threads can take longer than so few
_PARTS_PER_THREAD = 2  # for balance: episodes differ in what they win

# keys of `info` at every step and the totals that they show
_INFO = {
    "cost": outcomes.COST,
    "wins": outcomes.WINS,
    "exposures": outcomes.EXPOSURES,
    "conversions": outcomes.CONVERSIONS,
    "expected_conversions": outcomes.EXPECTED_CONVERSIONS,
    "least_winning_cost": kernel.LEAST_WINNING_COST,
    "n_impressions": kernel.N_IMPRESSIONS,
    "budget_left": kernel.BUDGET_LEFT,
}


class ReplaySimulation:
    """Any number of episodes of one advertiser each in a replay market, which need not be at the same tick.

    Args:
        market: The logged periods.
        n_envs: Number of episodes at once.
        task: A Task or the name of a registered one.
        max_ratio: Range of the action: multipliers lie within the target CPA times or over it.
        conversions: `sampled` or `expected`.
    """

    def __init__(
        self,
        market: ReplayMarket,
        n_envs: int,
        *,
        task: str | Task = "MaxConversions",
        max_ratio: float = 5.0,
        conversions: Literal["sampled", "expected"] = "sampled",
    ) -> None:
        if n_envs < 1:
            raise ValueError(f"`num_envs` must be at least 1, found {n_envs}")
        self._action_kind = LogMultiplier(max_ratio=float(max_ratio))
        if np.nanmax(market.cpa_target) * max_ratio > np.finfo(np.float32).max:
            raise ValueError(f"`max_ratio` must keep multipliers within float32, found {max_ratio}")
        if conversions not in CONVERSIONS:
            raise ValueError(f"`conversions` must be one of {CONVERSIONS}, found {conversions!r}")
        self.market, self.n_envs = market, n_envs
        self.task = get_task(task)
        self._rules = market.rules.for_kernel(is_expected=conversions == "expected")
        self._state = kernel.EnvState(
            period=np.zeros(n_envs, np.int64),
            advertiser=np.zeros(n_envs, np.int64),
            seed=np.zeros(n_envs, np.uint64),
            tick=np.full(n_envs, market.n_ticks),
            active=np.zeros(n_envs, np.bool_),
            budget=np.ones(n_envs),
            budget_left=np.zeros(n_envs),
            sums=np.zeros((n_envs, 5)),
            recent=np.zeros((n_envs, WINDOW, 5)),
            volume_sum=np.zeros(n_envs),
            volume_recent=np.zeros((n_envs, WINDOW)),
        )
        self._targets = Targets.of(np.ones(n_envs), 1.0)
        self._requirements = np.zeros((n_envs, N_REQUIREMENTS), np.float32)
        self._conversions, self._value = np.zeros(n_envs), np.zeros(n_envs)
        self._cost = np.zeros((n_envs, market.n_ticks))  # by tick: what the smoothness of the spend needs
        self._scratch = kernel.new_scratch()
        self._is_serial = n_envs * market.n_impressions.mean() / market.n_ticks < _SERIAL_BELOW
        self.observation_space = gym.spaces.Box(
            np.zeros(N_OBSERVATION, np.float32), self._highest_observation(), dtype=np.float32
        )
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    @property
    def is_over(self) -> Mask:
        """(n_envs,) whether an episode has ended or not begun."""
        return np.asarray(self._state.tick == self.market.n_ticks)

    def reset(self, mask: Mask, periods: ArrayLike, advertisers: ArrayLike, seeds: ArrayLike) -> Observation:
        """Starts the episodes in `mask` (n_envs,); the other arguments have an entry for each: indices and seed.

        Returns:
            (n_envs, N_OBSERVATION) current observations of all episodes.
        """
        state = self._state
        state.period[mask], state.advertiser[mask] = periods, advertisers
        state.seed[mask] = np.asarray(seeds).astype(np.uint64)
        budget = self.market.budget[state.period, state.advertiser]
        state.budget[mask] = state.budget_left[mask] = budget[mask]
        new = Targets.of(budget, self.market.cpa_target[state.period, state.advertiser])
        for part, given in zip(self._targets, new, strict=True):
            part[mask] = given[mask]
        self._requirements[mask] = self.task.requirements(self._targets)[mask]
        state.active[mask] = True
        for array in (*state[-4:], state.tick, self._cost, self._conversions, self._value):
            array[mask] = 0
        observations = self._new_observations()
        kernel.observe_envs(self.market.log, state, np.ones(self.n_envs, np.bool_), observations)
        return observations

    def multipliers(self, actions: ArrayLike) -> Float:
        """(n_envs,) multipliers of actions (n_envs, 1): the target CPA x `max_ratio` ** action."""
        action = np.asarray(actions, np.float64)
        if action.shape != (self.n_envs, 1) or not np.isfinite(action).all():
            raise ValueError(f"`action` must be one finite number an environment, found {actions!r}")
        clipped = np.minimum(np.maximum(action, -1.0), 1.0)
        return self._action_kind.multipliers(clipped, base=self._targets.cpa, previous=self._targets.cpa)

    def step(self, mask: Mask, multipliers: Float) -> tuple[Observation, Float, Float]:
        """Plays a tick of the episodes in `mask`, none of which may be over.

        Returns:
            Observations (n_envs, N_OBSERVATION), rewards (n_envs,) and the totals of the tick (n_envs, N_TOTALS): 0
            outside `mask`, but for the requirements in the observations.
        """
        observations, totals = self._new_observations(), np.zeros((self.n_envs, kernel.N_TOTALS))
        arguments = (self.market.log, self._rules, self._state, mask, multipliers)
        if self._is_serial:
            kernel.step_envs(*arguments, self._scratch, totals, observations)
        else:
            check_fork()
            kernel.step_envs_parallel(_PARTS_PER_THREAD * get_num_threads(), *arguments, totals, observations)
        self._conversions += totals[:, outcomes.CONVERSIONS]
        self._value += totals[:, outcomes.EXPECTED_CONVERSIONS]
        played = np.flatnonzero(mask)
        self._cost[played, self._state.tick[played] - 1] = totals[played, outcomes.COST]
        reward = self.task.reward(
            _totals(totals[:, outcomes.COST], totals[:, outcomes.CONVERSIONS], totals[:, outcomes.EXPECTED_CONVERSIONS])
        )
        return observations, reward, totals

    def summary(self, mask: Mask) -> dict[str, Any]:
        """`score`, `objective` and `ratios` of the episodes in `mask`, which have ended."""
        cost, targets = self._cost[mask], self._targets.at(mask)
        uneven = unevenness(
            cost, np.diff(self.market.log.tick_start, axis=1)[self._state.period[mask]].astype(np.float64), axis=1
        )
        totals = _totals(np.cumsum(cost, axis=1)[:, -1], self._conversions[mask], self._value[mask], uneven)
        return {
            "score": self.task.score(totals, targets),
            "objective": self.task.reward(totals),
            "ratios": self.task.ratios(totals, targets),
        }

    def _new_observations(self) -> Observation:
        out = np.zeros((self.n_envs, N_OBSERVATION), np.float32)
        out[:, N_FEATURES:] = self._requirements
        return out

    def _highest_observation(self) -> Observation:
        market = self.market
        is_there = np.isfinite(market.budget)
        targets = Targets.of(market.budget[is_there], market.cpa_target[is_there])
        top_bid = self._action_kind.highest(targets.cpa).max()  # a value is at most 1
        top_cost = max(top_bid, market.rules.reserve, float(market.log.ladder_bid.max(initial=0.0)))
        high = np.ones(N_FEATURES)
        for index, name in enumerate(FEATURE_NAMES):
            if name.startswith("bid_"):
                high[index] = top_bid
            elif name.startswith("least_winning_cost_"):
                high[index] = top_cost
            elif name.startswith("volume_"):
                high[index] = max(market.n_impressions.max(), 1)
        requirements = self.task.requirements(targets).max(axis=0)
        requirements[requirements == 0] = 1.0  # absent limits are 0; a space needs some width
        bound = np.concatenate((high, requirements)).astype(np.float32)
        return np.nextafter(bound, np.float32(np.inf))  # float32 rounding must not leave the space


def _totals(cost: Float, conversions: Float, value: Float, uneven: Float | None = None) -> Totals:
    """Totals of a log that has conversions only."""
    nothing = np.zeros(cost.shape)
    return Totals(
        cost, conversions, value, nothing, nothing, nothing, nothing, nothing, nothing,
        nothing if uneven is None else uneven,
    )  # fmt: skip


class _Choice:
    """Which period and advertiser an episode plays: given, or drawn from all that fit."""

    def __init__(self, market: ReplayMarket, period: int | None, advertiser: int | None) -> None:
        self._market, self._given = market, (period, advertiser)
        self._pool = self._fitting(period, advertiser)

    def draw(
        self, generator: np.random.Generator, period: int | None = None, advertiser: int | None = None
    ) -> tuple[int, Int]:
        """A seed and the indices (period, advertiser); both are always drawn, so that none shifts the other."""
        seed, share = int(generator.integers(_MAX_SEED)), generator.random()
        pool = self._pool
        if period is not None or advertiser is not None:
            pool = self._fitting(
                self._given[0] if period is None else period, self._given[1] if advertiser is None else advertiser
            )
        return seed, pool[int(share * len(pool))]

    def _fitting(self, period: int | None, advertiser: int | None) -> Int:
        market, pool = self._market, self._market.episodes
        for name, number, numbers, column in (
            ("period", period, market.periods, 0),
            ("advertiser", advertiser, market.advertisers, 1),
        ):
            if number is not None:
                fitting = pool[numbers[pool[:, column]] == number]
                if not len(fitting):
                    known = np.unique(numbers[pool[:, column]]).tolist()
                    raise ValueError(f"`{name}` must be one of {known} or None, found {number}")
                pool = fitting
        return pool


def _as_market(market: ReplayMarket | str | os.PathLike[str] | None) -> ReplayMarket:
    if market is None:
        raise ValueError("`market` must be a ReplayMarket or the directory of a saved one, found None")
    return market if isinstance(market, ReplayMarket) else ReplayMarket.load(market)


class ReplayEnv(gym.Env[Observation, NDArray[np.float32]]):
    """One advertiser bids against a logged day: its own logged bids are replaced, the others' stay as they were.

    Action space, observation space, reward, episode end and `info` are those of `auction_env/Bidding-v0`. The
    competitors do not react.

    ## Arguments
    `market`: a ReplayMarket or the directory of a saved one. `period`, `advertiser`: their numbers in the log, or
    None to draw at each reset. `task`, `max_ratio`: as in Bidding-v0. `conversions`: `sampled` draws them around
    the logged prediction, normal with its logged sigma and cut to [0, 1]; `expected` counts predicted values.

    `reset(seed=...)` fixes everything that follows; `options={"episode_seed": int, "period": int,
    "advertiser": int}` selects one episode. `info` of `reset` names `period` and `advertiser`.

    ## Version history
    - v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium reads a plain class attribute

    def __init__(
        self,
        *,
        market: ReplayMarket | str | os.PathLike[str] | None = None,
        task: str | Task = "MaxConversions",
        period: int | None = None,
        advertiser: int | None = None,
        max_ratio: float = 5.0,
        conversions: Literal["sampled", "expected"] = "sampled",
        render_mode: None = None,
    ) -> None:
        if render_mode is not None:
            raise ValueError(f"`render_mode` must be None in this version, found {render_mode!r}")
        self._market, self.render_mode = _as_market(market), None
        self._simulation = ReplaySimulation(self._market, 1, task=task, max_ratio=max_ratio, conversions=conversions)
        self.task = self._simulation.task
        self._choice = _Choice(self._market, period, advertiser)
        self.observation_space, self.action_space = (
            self._simulation.observation_space,
            self._simulation.action_space,
        )
        self._everyone = np.ones(1, np.bool_)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; see the class docstring for `options`."""
        super().reset(seed=seed)
        options = dict(options or {})
        chosen = {name: options.pop(name, None) for name in ("period", "advertiser")}
        episode_seed = options.pop("episode_seed", None)
        if options:
            raise ValueError(
                f"`options` must hold only 'advertiser', 'episode_seed' and 'period', found {sorted(options)}"
            )
        drawn_seed, (row, column) = self._choice.draw(self.np_random, **chosen)
        self.episode_seed = drawn_seed if episode_seed is None else _checked_seed(episode_seed)
        observation = self._simulation.reset(self._everyone, [row], [column], [self.episode_seed])[0]
        return observation, {
            "period": int(self._market.periods[row]),
            "advertiser": int(self._market.advertisers[column]),
        }

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Bids for one tick; see the class docstring."""
        simulation = self._simulation
        if simulation.is_over[0]:
            raise RuntimeError("the episode is over or has not begun: call `reset` first")
        multiplier = simulation.multipliers(np.asarray(action, np.float64).reshape(-1, 1))
        observation, reward, totals = simulation.step(self._everyone, multiplier)
        info: dict[str, Any] = {"multiplier": float(multiplier[0])}
        info.update((name, float(totals[0, column])) for name, column in _INFO.items())
        is_over = bool(simulation.is_over[0])
        if is_over:
            summary = simulation.summary(self._everyone)
            info.update(score=float(summary["score"][0]), objective=float(summary["objective"][0]))
            info["ratios"] = {name: float(ratio[0]) for name, ratio in summary["ratios"].items()}
        return observation[0], float(reward[0]), is_over, False, info


class ReplayVectorEnv(VectorEnv[Observation, NDArray[np.float32], NDArray[Any]]):
    """`num_envs` copies of `ReplayEnv` in one kernel call a step.

    Environment i seeded with `seed + i` is elementwise `ReplayEnv` seeded with that number. Arrays of `info` follow
    Gymnasium: with each key goes a mask `_key`. Arguments: those of `ReplayEnv`, and `autoreset_mode`:

    - `NextStep`: the step after an episode's last ignores its action, starts the next episode and gives reward 0.
    - `SameStep`: the last step of an episode starts the next one and puts `final_obs` and `final_info` into `info`.
    - `Disabled`: ended episodes are started by `reset(options={"reset_mask": mask})`, and stepping one is an error.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium reads a plain class attribute
        "render_modes": [],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        market: ReplayMarket | str | os.PathLike[str] | None = None,
        task: str | Task = "MaxConversions",
        period: int | None = None,
        advertiser: int | None = None,
        max_ratio: float = 5.0,
        conversions: Literal["sampled", "expected"] = "sampled",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: None = None,
    ) -> None:
        if render_mode is not None:
            raise ValueError(f"`render_mode` must be None in this version, found {render_mode!r}")
        self._market, self.num_envs, self.render_mode = _as_market(market), num_envs, None
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self._simulation = ReplaySimulation(
            self._market, num_envs, task=task, max_ratio=max_ratio, conversions=conversions
        )
        self.task = self._simulation.task
        self._choice = _Choice(self._market, period, advertiser)
        self.single_observation_space = self._simulation.observation_space
        self.single_action_space = self._simulation.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators = [seeding.np_random()[0] for _ in range(num_envs)]
        self._is_over = np.zeros(num_envs, np.bool_)
        self._everyone = np.ones(num_envs, np.bool_)
        self._is_ready = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode everywhere, or where `options["reset_mask"]` (num_envs,) bool says.

        `seed` is one number (environment i gets seed + i) or one each.
        """
        options = dict(options or {})
        mask = np.asarray(options.pop("reset_mask", self._everyone))
        if options:
            raise ValueError(f"`options` must hold only 'reset_mask', found {sorted(options)}")
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(f"`reset_mask` must be {self.num_envs} booleans, not all False, found {mask!r}")
        if not (self._is_ready or mask.all()):
            raise RuntimeError("the first `reset` must start every environment, without `reset_mask`")
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        if seeds is not None:
            if len(seeds) != self.num_envs:
                raise ValueError(f"`seed` must hold {self.num_envs} numbers, found {len(seeds)}")
            for i, given in enumerate(seeds):
                if given is not None and mask[i]:
                    self._generators[i] = seeding.np_random(int(given))[0]
        self._is_ready = True
        self._is_over = self._is_over & ~mask
        return self._begin(mask)

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Bids for one tick in every environment; see the class docstring."""
        if not self._is_ready:
            raise RuntimeError("the episodes have not begun: call `reset` first")
        simulation, was_over = self._simulation, self._is_over
        multiplier = simulation.multipliers(actions)
        has_ended = was_over.any()
        if has_ended and self.autoreset_mode is AutoresetMode.DISABLED:
            raise RuntimeError(
                f"the episode of environment {np.argmax(was_over)} is over: call `reset` with `reset_mask` first"
            )
        mask = ~was_over if has_ended else self._everyone
        begun, info = self._begin(was_over) if has_ended else (None, {})
        observations, reward, totals = simulation.step(mask, multiplier)
        if begun is not None:
            observations[was_over] = begun[was_over]
        is_over = simulation.is_over
        self._is_over = is_over
        if is_over.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = self._tick_info(multiplier, totals, is_over) | self._summary(is_over)
            final_observations = np.full(self.num_envs, None, object)
            for i in np.flatnonzero(is_over):
                final_observations[i] = observations[i].copy()
            observations, info = self._begin(is_over)
            info.update(final_obs=final_observations, _final_obs=is_over, final_info=final, _final_info=is_over)
            info.update(self._tick_info(multiplier, totals, ~is_over))
            self._is_over = np.zeros(self.num_envs, np.bool_)
        else:
            info.update(self._tick_info(multiplier, totals, mask))
            if is_over.any():
                info.update(self._summary(is_over))
        return observations, reward, is_over.copy(), np.zeros(self.num_envs, np.bool_), info

    def _tick_info(self, multiplier: Float, totals: Float, mask: Mask) -> dict[str, Any]:
        """The tick's entries of `info` where `mask`, 0 elsewhere."""
        if not mask.all():
            multiplier, totals = np.where(mask, multiplier, 0.0), np.where(mask[:, None], totals, 0.0)
        info = {"multiplier": multiplier, "_multiplier": mask}
        for name, column in _INFO.items():
            info[name], info["_" + name] = totals[:, column], mask
        return info

    def _begin(self, mask: Mask) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode of every environment in `mask`."""
        drawn = [self._choice.draw(self._generators[i]) for i in np.flatnonzero(mask)]
        rows = np.array([episode for _, episode in drawn])
        observations = self._simulation.reset(mask, rows[:, 0], rows[:, 1], [seed for seed, _ in drawn])
        period, advertiser = np.zeros(self.num_envs, np.int64), np.zeros(self.num_envs, np.int64)
        period[mask], advertiser[mask] = self._market.periods[rows[:, 0]], self._market.advertisers[rows[:, 1]]
        info = {"period": period, "_period": mask, "advertiser": advertiser, "_advertiser": mask}
        return observations, info

    def _summary(self, mask: Mask) -> dict[str, Any]:
        summary = self._simulation.summary(mask)
        info: dict[str, Any] = {"ratios": {}, "_ratios": mask}
        for name in ("score", "objective"):
            info[name], info["_" + name] = self._spread(mask, summary[name]), mask
        for name, ratio in summary["ratios"].items():
            info["ratios"][name], info["ratios"]["_" + name] = self._spread(mask, ratio), mask
        return info

    def _spread(self, mask: Mask, values: Float) -> Float:
        out = np.zeros(self.num_envs)
        out[mask] = values
        return out


def _checked_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"`episode_seed` must be an integer that is not negative, found {seed!r}")
    return int(seed)

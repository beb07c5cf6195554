"""The episode that all environments play: observation, action, reward, info, summary.

Each environment converts its interface's arguments, calls `Bidding` and returns; no formula stands in one of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.control.advertisers import ControlledTick, episode_totals, stack_ticks, tick_view
from auction_env.control.bidder import Campaigns, TickView
from auction_env.control.controlled_market import ControlledMarket
from auction_env.control.observation import N_FEATURES
from auction_env.envs.own import reward_of
from auction_env.envs.spec import BiddingSpec, EnvMarket
from auction_env.kernels.step.controlled import clip_actions
from auction_env.tasks import BASES, N_REQUIREMENTS, Totals

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Observations = NDArray[np.float32]

TICK_INFO = ControlledTick._fields[: ControlledTick._fields.index("expected_gmv") + 1]
"""Fields of `ControlledTick` that every step's info holds."""
_COST_AT = ControlledTick._fields.index("cost")

MOST_RATIO = 1e6
"""What `ratios_expected` says of an infinite ratio, so that learners may compute with it."""


class BiddingStep(NamedTuple):
    """Outcome of a tick for n controlled advertisers.

    Attributes:
        observation: (n, N_FEATURES + N_REQUIREMENTS), or as the spec's own observation says.
        reward: (n,) the task's objective, or the spec's own reward.
        done: Whether this was the last tick.
        tick: What it brought.
        summary: Of the episode after its last tick: (n,) arrays by name, `ratios` a dictionary of such; else empty.
    """

    observation: Observations
    reward: Float
    done: bool
    tick: ControlledTick
    summary: dict[str, Any]

    @property
    def info(self) -> dict[str, Any]:
        """(n,) arrays by name, what the environments' docstrings list."""
        return dict(zip(TICK_INFO, self.tick.columns, strict=False)) | self.summary

    def info_of(self, row: int) -> dict[str, Any]:
        """One advertiser's info, as Python numbers."""
        info = dict(zip(TICK_INFO, self.tick.columns[:, row].tolist(), strict=False))
        return info | info_of(self.summary, row) if self.summary else info


class Bidding:
    """Episodes of n controlled advertisers in markets that stand at the same tick.

    Args:
        spec: Task, market and action kind.
        market: What is played: `spec.market.controlled_market`, or any other view of such a market.
    """

    def __init__(self, spec: BiddingSpec[EnvMarket], market: ControlledMarket) -> None:
        self.spec, self.market = spec, market
        self._shape = (market.n_controlled, spec.action_kind.n_actions)
        self._counted_at = ControlledTick._fields.index(spec.task.counted())
        # whether somebody asks how evenly an episode spent
        self._has_unevenness = spec.reward is not None or any(c.kind == "smoothness" for c in spec.task.constraints)
        self.ticks: list[ControlledTick] = []
        self.campaigns: Campaigns | None = None  # until the first `reset`
        self.in_episode = False

    def reset(
        self, seeds: ArrayLike, advertisers: ArrayLike | None = None, days: ArrayLike | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Starts the episodes; `advertisers` (n,) replaces who is controlled, `days` as the market takes them."""
        if advertisers is not None:
            self.market.control(advertisers)
        self.market.reset(seeds, days)
        campaigns = self.campaigns = self.market.campaigns()
        self._observation = np.empty((len(campaigns.base), N_FEATURES + N_REQUIREMENTS), np.float32)
        self._observation[:, N_FEATURES:] = campaigns.requirements
        self._previous = campaigns.base
        self.ticks = []
        self.in_episode = True
        chosen = (campaigns.advertiser.copy(), np.asarray(campaigns.day))
        return self._observe(), dict(zip(self.spec.market.chosen_by, chosen, strict=False))

    def step(self, actions: ArrayLike) -> BiddingStep:
        """Bids for one tick: `actions` (n, n_actions), clipped to [-1, 1].

        Raises:
            RuntimeError: Outside an episode.
            ValueError: Actions of another shape or not finite.
        """
        spec, campaigns, ticks = self.spec, self.campaigns, self.ticks
        if not self.in_episode or campaigns is None:
            raise RuntimeError("the episode is over or has not begun: call `reset` first")
        action = self._clip(actions)
        multiplier = spec.action_kind.multipliers(action, base=campaigns.base, previous=self._previous)
        tick = self.market.step(multiplier)
        self._previous = multiplier
        ticks.append(tick)
        totals: Totals | None = None
        summary: dict[str, Any] = {}
        if len(ticks) == campaigns.n_ticks:
            self.in_episode = False
            totals = episode_totals(stack_ticks(ticks), has_unevenness=self._has_unevenness)
            summary = self._summary(campaigns, totals)
        if spec.reward is None:
            reward = spec.task.net(tick.columns[self._counted_at], tick.columns[_COST_AT])
        else:
            reward = reward_of(spec.reward, campaigns, tick, totals)
        return BiddingStep(self._observe(), reward, not self.in_episode, tick, summary)

    def ratios_so_far(self, controlled: int) -> dict[str, Float]:
        """Sampled amounts over their limits after each past tick of one controlled advertiser, (n_past,) each."""
        assert self.campaigns is not None
        targets = self.campaigns.targets
        if not self.ticks:
            return {name: np.empty(0) for name in self.spec.task.limits(targets)}
        columns = stack_ticks(self.ticks).columns[..., [controlled]]
        spans = [episode_totals(ControlledTick.of(columns[:, :n])) for n in range(1, len(self.ticks) + 1)]
        so_far = Totals(*(np.concatenate(parts) for parts in zip(*spans, strict=True)))
        return self.spec.task.ratios(so_far, targets.at([controlled] * len(spans)))

    def _summary(self, campaigns: Campaigns, totals: Totals) -> dict[str, Any]:
        task, targets = self.spec.task, campaigns.targets
        ratios, expected = task.ratios(totals, targets), task.ratios(totals, targets, expected=True)
        objective = task.reward(totals)
        return {
            "score": task.penalised(objective, ratios),
            "score_expected": task.penalised(task.reward(totals, expected=True), expected),
            "objective": objective,
            "ratios": ratios,
            "ratios_expected": {name: np.minimum(ratio, MOST_RATIO) for name, ratio in expected.items()},
        }

    def _observe(self) -> Observations:
        if self.spec.observation is not None:
            assert self.campaigns is not None
            view = self.market.view() if self.in_episode else self._last_view()
            return self.spec.observation.observe(self.campaigns, view)
        observation = self._observation.copy()
        observation[:, :N_FEATURES] = self.market.observe()
        return observation

    def _last_view(self) -> TickView:
        """After the last tick: no time is left and nothing is predicted."""
        last = self.ticks[-1]
        return tick_view(
            self.market.n_ticks,
            features=self.market.observe(),
            budget_left=last.budget_left,
            predicted_mean=np.zeros((len(last.budget_left), len(BASES))),
            last=last,
        )

    def _clip(self, actions: ArrayLike) -> Float:
        action = np.array(actions, np.float64, order="C")
        if action.shape != self._shape:
            raise ValueError(f"`action` must have shape {self._shape}, found {action.shape}")
        row = clip_actions(action)
        if row >= 0:
            raise ValueError(f"`action` must be finite, found {np.asarray(actions, np.float64)[row]} in row {row}")
        return action


def info_of(info: dict[str, Any], row: int) -> dict[str, Any]:
    """One advertiser's info, as Python numbers."""
    return {name: info_of(value, row) if isinstance(value, dict) else value.item(row) for name, value in info.items()}

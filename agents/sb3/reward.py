"""The reward for learning: the score of the episode, dimensionless and with little noise.

`Bidding-v0` pays sampled amounts, whose noise is most of their variance, and no constraint enters them. Here

    r_t = scale * amount_t / (budget / worth)  +  [t = T] * scale * (score - objective) / (budget / worth)

with the amounts, the objective and the score of predicted outcomes (`signal="expected"`) or of sampled ones
("sampled"), and worth what the advertiser would pay for a unit (`Task.unit_worth`). So the undiscounted return is
scale x score / (budget / worth): `scale` for an episode that spends its budget at the target and keeps all limits.
Predicted amounts are the conditional expectation of the sampled ones given what was exposed: the same optimum for
objectives without a ratio limit, and the score's penalty of expected instead of sampled ratios for those with one.

With `shaping` w > 0 each tick also gets discount * P(s') - P(s) of the potential (Ng, Harada and Russell 1999)

    P(s) = w * scale * min(budget_left, time_left)          both as shares, 0 at the end

which changes no optimal policy: over an episode it adds the constant -P(s_0) to the discounted return. Money spent
ahead of an even pace then costs w in the tick that spends it, so that a tick's reward says what the tick was worth.
Without it the best bid of one tick is a small difference between large returns (docs/agents/sb3.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from agents.learning.reward import reward_unit
from agents.sb3.settings import RewardSettings
from auction_env.envs.vector import BiddingVectorEnv
from auction_env.tasks import OUTCOMES, Totals, unevenness

Float = NDArray[np.float64]


class LearningReward(VectorWrapper[Any, Any, Any]):
    """Replaces the reward of `Bidding-v0` by the one above; the info of the last tick also gets `return`.

    Args:
        env: A `BiddingVectorEnv` in the autoreset mode SAME_STEP.
        settings: Signal, scale and shaping.
        discount: That of the algorithm, which the change of the potential needs.
    """

    _potential: Float  # (n,) of the state of now

    def __init__(self, env: VectorEnv[Any, Any, Any], settings: RewardSettings, *, discount: float = 1.0) -> None:
        super().__init__(env)
        inner = env.unwrapped
        if not isinstance(inner, BiddingVectorEnv):
            raise ValueError(f"`env` must be auction_env/Bidding-v0's vector environment, found {inner}")
        if inner.autoreset_mode is not AutoresetMode.SAME_STEP:
            rule = "`env` must have the autoreset mode SAME_STEP"
            raise ValueError(f"{rule}, found {inner.autoreset_mode}: make_vec(..., autoreset_mode='SameStep')")
        spec = inner.spec_of_bidding
        self._task, self._settings, self._inner = spec.task, settings, inner
        self._n_ticks, self._discount = spec.market.n_ticks, discount

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts episodes of all copies together; ValueError for a `reset_mask`."""
        if options and "reset_mask" in options:
            raise ValueError("`options` must not hold 'reset_mask': all copies begin together")
        observation, infos = self.env.reset(seed=seed, options=options)
        self._begin()
        return observation, infos

    def step(self, actions: Any) -> tuple[Any, Float, Any, Any, dict[str, Any]]:
        """Steps all copies; the reward is the learning one."""
        observation, _, terminated, truncated, infos = self.env.step(actions)
        is_over = bool(terminated.any())  # all copies end together
        tick = infos["final_info"] if is_over else infos
        for name in OUTCOMES:
            self._sums[name] += tick[name]
        self._cost.append(tick["cost"])
        self._volume.append(tick["n_impressions"])
        expected = self._settings.signal == "expected"
        earned = Totals(**{name: tick[name] for name in OUTCOMES}, unevenness=np.zeros(self.num_envs))
        reward = self._task.reward(earned, expected=expected) * self._unit + self._potential_change()
        if is_over:
            totals = Totals(**self._sums, unevenness=unevenness(np.stack(self._cost), np.stack(self._volume)))
            score = self._task.score(totals, self._targets, expected=expected)
            reward = reward + (score - self._task.reward(totals, expected=expected)) * self._unit
            tick["return"] = score * self._unit  # without the potential
            tick["_return"] = np.ones(self.num_envs, bool)
            self._begin()
        return observation, reward, terminated, truncated, infos

    def _potential_change(self) -> Float:
        """(n,) of the tick whose cost has just been noted."""
        before, self._potential = self._potential, self._potential_now()
        return self._discount * self._potential - before

    def _potential_now(self) -> Float:
        budget_left = 1.0 - np.sum(self._cost, axis=0) / self._targets.budget
        weight = self._settings.shaping * self._settings.scale
        return np.asarray(weight * np.minimum(budget_left, 1.0 - len(self._cost) / self._n_ticks), np.float64)

    def _begin(self) -> None:
        self._targets = self._inner.targets
        self._unit = reward_unit(self._task, self._targets, self._settings.scale)
        self._sums = {name: np.zeros(self.num_envs) for name in OUTCOMES}
        self._cost: list[Float] = []
        self._potential = self._potential_now()
        self._volume: list[Float] = []

"""Copies of an environment that step together: their seeds, the ends of their episodes, what follows an end.

Gymnasium's three modes, final observations and infos, masked resets and the layout of a vector environment's info stand
here alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from auction_env.envs.cohorts import Cohort, Cohorts
from auction_env.envs.core import BiddingStep
from auction_env.envs.episode_choice import next_episodes
from auction_env.envs.spec import BiddingSpec, EnvMarket
from auction_env.integers import check_integer

Observations = NDArray[np.float32]
Mask = NDArray[np.bool_]
Int = NDArray[np.int64]
StepResult = tuple[Observations, NDArray[np.float64], Mask, Mask, dict[str, Any]]


class CopySeeds:
    """The generators of n copies and their seeds: drawn from the system until somebody gives one."""

    def __init__(self, n: int) -> None:
        pairs = [seeding.np_random() for _ in range(n)]
        self.rngs, self.seeds = [rng for rng, _ in pairs], [seed for _, seed in pairs]

    def set(self, seed: int | Sequence[int | None] | None, mask: Mask) -> None:
        """Gives the copies in `mask` (n,) their seeds: copy i gets seed + i, or its own of n; None goes on."""
        n = len(self.rngs)
        if seed is None:
            return
        seeds = list(seed) if isinstance(seed, list | tuple | range | np.ndarray) else None
        if seeds is None:
            seeds = [check_integer("seed", seed) + copy for copy in range(n)]
        if len(seeds) != n:
            raise ValueError(f"`seed` must be an integer or one a copy ({n}), found {len(seeds)}")
        for copy in np.flatnonzero(mask):
            if seeds[copy] is not None:
                self.rngs[copy], self.seeds[copy] = seeding.np_random(check_integer("seed", seeds[copy]))


class Copies:
    """n copies of an environment in one of Gymnasium's autoreset modes.

    Args:
        spec: What all copies play.
        n: Number of copies.
        mode: What follows the end of an episode.
    """

    def __init__(self, spec: BiddingSpec[EnvMarket], n: int, mode: AutoresetMode) -> None:
        self.spec, self.n, self.mode = spec, n, mode
        self.seeds = CopySeeds(n)
        self._choices = spec.choices(n)
        self.cohorts = Cohorts(spec, n)
        self._over = np.zeros(n, bool)
        self._observation: Observations | None = None  # (n, n_features) the last ones, from the first reset on

    def check_mask(self, mask: Any) -> Mask:
        """`reset_mask` of a reset: (n,) which copies begin anew; None for all."""
        if mask is None:
            return np.ones(self.n, bool)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.n,):
            raise ValueError(f"`reset_mask` must be a bool array of shape ({self.n},), found {mask!r}")
        if not mask.any():
            raise ValueError("`reset_mask` must select at least one copy, found none")
        if self._observation is None and not mask.all():
            raise RuntimeError("the first `reset` must begin all copies: leave out `reset_mask`")
        return mask

    def reset(self, mask: Mask, options: Mapping[str, Int]) -> tuple[Observations, dict[str, Any]]:
        """Starts episodes of the copies in `mask`; the rows of the others repeat their last observation."""
        infos: dict[str, Any] = {}
        return self._begin(np.flatnonzero(mask), infos, options).copy(), infos

    def step(self, actions: NDArray[Any]) -> StepResult:
        """Bids for one tick in every copy: `actions` (n, n_actions).

        Raises:
            RuntimeError: Before the first reset, or if an episode is over in the mode DISABLED.
        """
        infos: dict[str, Any] = {}
        begins_anew = self._over
        stepping = list(self.cohorts)
        if begins_anew.any():
            if self.mode is not AutoresetMode.NEXT_STEP:
                raise RuntimeError(
                    f"the episodes of copies {np.flatnonzero(begins_anew).tolist()} are over:"
                    " call `reset` with options={'reset_mask': mask}"
                )
            stepping = [cohort for cohort in stepping if not begins_anew[cohort.copies[cohort.live]].any()]
            self._begin(np.flatnonzero(begins_anew), infos, {})
        rewards, done = np.zeros(self.n), np.zeros(self.n, bool)
        finished: dict[str, Any] = {}
        for cohort in stepping:
            outcome = cohort.bidding.step(actions if cohort.is_everybody else actions[cohort.copies])
            is_final = outcome.done and self.mode is AutoresetMode.SAME_STEP
            self._take(cohort, outcome, rewards, done, finished if is_final else infos)
        assert self._observation is not None
        if finished:
            self._finish(infos, finished, done)
        else:
            self._over = done.copy()
        return self._observation.copy(), rewards, done, np.zeros(self.n, bool), infos

    def _take(
        self, cohort: Cohort, outcome: BiddingStep, rewards: NDArray[np.float64], done: Mask, infos: dict[str, Any]
    ) -> None:
        """Writes a cohort's outcome into the arrays of all copies."""
        if cohort.is_everybody:  # the usual case, without the cost of picking rows of a dozen small arrays
            self._observation, rewards[:], done[:] = outcome.observation, outcome.reward, outcome.done
            _put_all(infos, outcome.info, np.ones(self.n, bool))
            return
        assert self._observation is not None
        copies, live = cohort.copies[cohort.live], cohort.live
        self._observation[copies], rewards[copies] = outcome.observation[live], outcome.reward[live]
        done[copies] = outcome.done
        _put(infos, outcome.info, copies, live, self.n)

    def _finish(self, infos: dict[str, Any], finished: dict[str, Any], done: Mask) -> None:
        """SAME_STEP: keeps the end of the episodes in `infos` and begins the next ones."""
        assert self._observation is not None
        ended, final_obs = np.flatnonzero(done), np.full(self.n, None, dtype=object)
        for copy in ended:
            final_obs[copy] = self._observation[copy].copy()
        infos |= {"final_obs": final_obs, "_final_obs": done.copy(), "final_info": finished, "_final_info": done.copy()}
        self._begin(ended, infos, {})

    def _begin(self, copies: Int, infos: dict[str, Any], options: Mapping[str, Int]) -> Observations:
        """Starts episodes of these copies, as one cohort; the last observations of all copies."""
        chosen = {name: values[copies] for name, values in options.items()}
        rngs, choices = ([part[copy] for copy in copies] for part in (self.seeds.rngs, self._choices))
        episodes = next_episodes(self.spec.market, rngs, choices, chosen)
        cohort = self.cohorts.of(copies)
        observation, info = cohort.bidding.reset(*episodes)
        if self._observation is None:
            self._observation = np.zeros((self.n, observation.shape[1]), np.float32)
        self._observation[copies] = observation
        self._over[copies] = False
        _put(infos, info, copies, cohort.live, self.n)
        return self._observation


def _put(infos: dict[str, Any], info: dict[str, Any], copies: Int, rows: Mask, n: int) -> None:
    """Adds a cohort's info: arrays over all n copies by name, with the mask `_name` of those that have it."""
    for name, value in info.items():
        if isinstance(value, dict):
            _put(infos.setdefault(name, {}), value, copies, rows, n)
        else:
            if name not in infos:
                infos[name] = np.zeros(n, value.dtype)
            infos[name][copies] = value[rows]
        infos.setdefault(f"_{name}", np.zeros(n, bool))[copies] = True


def _put_all(infos: dict[str, Any], info: dict[str, Any], everybody: Mask) -> None:
    """`_put` for a cohort of all copies; `everybody` (n,) is True."""
    for name, value in info.items():
        if isinstance(value, dict):
            _put_all(infos.setdefault(name, {}), value, everybody)
        else:
            infos[name] = value.copy()
        infos[f"_{name}"] = everybody

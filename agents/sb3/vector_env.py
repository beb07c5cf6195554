"""Stable-Baselines3 on native Gymnasium vector environments: no subprocesses, no loop over copies.

Needs the extra `sb3`; `agents` does not import this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn


class NativeVecEnv(VecEnv):
    """A Stable-Baselines3 `VecEnv` over a Gymnasium `VectorEnv`, with any of Gymnasium's vector wrappers around it.

    Stable-Baselines3 wants the next episode's first observation together with the last reward. In the autoreset mode
    SAME_STEP the environment gives both at once. In NEXT_STEP, which `make_vec` takes by default and without which
    Gymnasium's observation wrappers refuse to work, one more step, whose actions nobody reads, begins the next
    episodes; all copies must end together, as those of this package do.

    Equal to a `DummyVecEnv` of the single environments: observations, rewards (float32), dones, and infos with
    `terminal_observation` and `TimeLimit.truncated`. Wrap it in `VecMonitor` for episode returns and lengths and in
    `VecNormalize` for normalisation.

    Example:
        >>> envs = gym.make_vec("auction_env/Bidding-v0", num_envs=16, n_impressions=4800)
        >>> envs = gymnasium.wrappers.vector.NormalizeObservation(envs)
        >>> model = PPO("MlpPolicy", VecMonitor(NativeVecEnv(envs)))

    Raises:
        ValueError: No vector environment, or one in the autoreset mode DISABLED.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        if not isinstance(env, VectorEnv):
            raise ValueError(f"`env` must be a Gymnasium VectorEnv, as gymnasium.make_vec makes it, found {env!r}")
        mode = env.metadata.get("autoreset_mode")
        if mode not in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
            rule = "`env` must have the autoreset mode NEXT_STEP (the default of make_vec) or SAME_STEP"
            raise ValueError(f"{rule}, found {mode}: make_vec(..., autoreset_mode='SameStep')")
        self.env, self._mode = env, mode
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: NDArray[Any] | None = None

    def reset(self) -> NDArray[Any]:
        """Resets all copies with the seeds and options that `seed` and `set_options` gave, which are used once."""
        seeds: Any = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        observation, infos = self.env.reset(seed=seeds, options=_merge_options(self._options))
        self.reset_infos = split_infos(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return np.asarray(observation)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Steps all copies; those whose episode ends are reset at once."""
        observation, reward, terminated, truncated, infos = self.env.step(self._actions)
        done = terminated | truncated
        if not done.any():
            records = split_infos(infos, self.num_envs)
        elif self._mode is AutoresetMode.SAME_STEP:
            records = self._records_at_an_end(infos, done)
        else:
            observation, records = self._begin_next(observation, infos, done)
        for record, cut in zip(records, (truncated & ~terminated).tolist(), strict=True):
            record["TimeLimit.truncated"] = cut
        return np.asarray(observation), np.asarray(reward, np.float32), done, records

    def close(self) -> None:
        self.env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """The pictures of all copies; of None without the render mode "rgb_array"."""
        frames: Any = self.env.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the vector environment, which all copies share."""
        return [getattr(self.env, attr_name)] * len(self._copies(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute that all copies share; ValueError for some copies only."""
        if len(self._copies(indices)) != self.num_envs:
            raise ValueError(f"`indices` must name all copies, which share their attributes, found {indices!r}")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Not there: the copies are one object and have no methods of their own."""
        raise NotImplementedError(f"the copies have no methods of their own, found a call of {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """False: single-environment wrappers cannot wrap a copy."""
        return [False] * len(self._copies(indices))

    def _begin_next(
        self, last: NDArray[Any], infos: dict[str, Any], done: NDArray[np.bool_]
    ) -> tuple[NDArray[Any], list[dict[str, Any]]]:
        """NEXT_STEP: the first observations of the next episodes, and the records of the last tick."""
        if not done.all():
            ended = np.flatnonzero(done).tolist()
            raise ValueError(
                f"episodes of all copies must end together in the mode NEXT_STEP, found the end of {ended}"
            )
        records = split_infos(infos, self.num_envs)
        for record, observation in zip(records, np.array(last), strict=True):
            record["terminal_observation"] = observation
        first, _, _, _, begun = self.env.step(self._actions)
        self.reset_infos = split_infos(begun, self.num_envs)
        return np.asarray(first), records

    def _records_at_an_end(self, infos: dict[str, Any], done: NDArray[np.bool_]) -> list[dict[str, Any]]:
        final_obs, final_info = infos["final_obs"], infos["final_info"]
        others = {
            key: value for key, value in infos.items() if key.removeprefix("_") not in {"final_obs", "final_info"}
        }
        records = split_infos(others, self.num_envs)
        ends = split_infos(final_info, self.num_envs)
        for copy in np.flatnonzero(done):
            of_end = {**ends[copy], "terminal_observation": final_obs[copy]}
            if "episode" in records[copy]:  # what Gymnasium's RecordEpisodeStatistics adds is of the episode that ended
                of_end["episode"] = records[copy].pop("episode")
            self.reset_infos[copy], records[copy] = records[copy], of_end
        return records

    def _copies(self, indices: VecEnvIndices) -> Sequence[int]:
        return list(self._get_indices(indices))


def split_infos(infos: dict[str, Any], n: int) -> list[dict[str, Any]]:
    """Gymnasium's info of a vector environment as one dictionary of Python values a copy."""
    names = [name for name in infos if not name.startswith("_")]
    masks = {name: infos.get(f"_{name}") for name in names}
    columns = {
        name: split_infos(infos[name], n) if isinstance(infos[name], dict) else np.asarray(infos[name]).tolist()
        for name in names
    }
    if all(mask is None or mask.all() for mask in masks.values()):
        return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)] or [
            {} for _ in range(n)
        ]
    records: list[dict[str, Any]] = [{} for _ in range(n)]
    for name, column in columns.items():
        mask = masks[name]
        for copy in range(n) if mask is None else np.flatnonzero(mask):
            records[copy][name] = column[copy]
    return records


def _merge_options(options: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """One options dictionary of arrays, one value a copy, from one dictionary a copy."""
    if not any(options):
        return None
    names = set(options[0])
    if any(set(one) != names for one in options):
        raise ValueError(f"the options of all copies must have the same names, found {list(options)}")
    return {name: np.array([one[name] for one in options]) for name in options[0]}

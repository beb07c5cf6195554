"""Trains Stable-Baselines3's PPO on the native vector environment: no subprocesses, everything normalised."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

import auction_env  # noqa: F401 - registers the environment


def main(n_steps: int = 16_384, n_envs: int = 16) -> None:
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

    from agents.sb3 import NativeVecEnv

    kwargs = {"task": "MaxConversions", "n_impressions": 4_800, "autoreset_mode": "SameStep"}
    envs = VecNormalize(VecMonitor(NativeVecEnv(gym.make_vec("auction_env/Bidding-v0", num_envs=n_envs, **kwargs))))
    model = PPO("MlpPolicy", envs, n_steps=48, batch_size=min(256, 48 * n_envs), seed=0, device="cpu")
    model.learn(n_steps)

    envs.training = False  # the statistics of the normalisation stay as they are
    envs.seed(1)
    observation = envs.reset()
    dones = np.zeros(n_envs, bool)
    while not dones.any():  # all copies end together
        action, _ = model.predict(observation, deterministic=True)
        observation, _, dones, infos = envs.step(action)
    print(f"mean score over {n_envs} episodes: {np.mean([info['score'] for info in infos]):.2f}")


if __name__ == "__main__":
    main()

"""Trains Stable-Baselines3's PPO on the environment, observations normalised by Gymnasium's wrapper."""

from __future__ import annotations

import gymnasium as gym
from gymnasium.wrappers import NormalizeObservation

import auction_env  # noqa: F401 - registers the environment


def main(n_steps: int = 2_048) -> None:
    from stable_baselines3 import PPO

    env = NormalizeObservation(gym.make("auction_env/Bidding-v0", task="MaxConversions", n_impressions=5_000))
    model = PPO("MlpPolicy", env, n_steps=min(n_steps, 480), batch_size=48, seed=0, device="cpu")
    model.learn(n_steps)
    observation, _ = env.reset(seed=1)
    done, total = False, 0.0
    while not done:
        action, _ = model.predict(observation, deterministic=True)
        observation, reward, done, _, info = env.step(action)
        total += float(reward)
    print(f"conversions {total:.0f}, score {info['score']:.2f}")


if __name__ == "__main__":
    main()

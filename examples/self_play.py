"""Self-play with PettingZoo: four advertisers adapt their bids in one market, the other 44 stay scripted."""

from __future__ import annotations

from auction_env import Constraint, Task
from auction_env.envs.parallel import BiddingParallelEnv

# predicted instead of sampled conversions: a day of this size has hardly any of the latter
TASK = Task(name="SmoothCPA", objective="expected_conversions", constraints=(Constraint(kind="cpa"),))
STEP = 0.1  # of the log multiplier, in units of its range


def main(n_episodes: int = 10) -> None:
    env = BiddingParallelEnv(advertisers=[0, 1, 2, 3], task=TASK, n_impressions=5_000)
    level = dict.fromkeys(env.possible_agents, 0.0)  # 0 bids the target CPA all day
    for episode in range(n_episodes):
        env.reset(seed=episode)
        while env.agents:
            actions = {agent: env.action_space(agent).low * 0 + level[agent] for agent in env.agents}
            _, _, _, _, infos = env.step(actions)
        for agent, info in infos.items():  # each learns from its own day only: pay more if money is left, less if over
            is_over = max(info["ratios"].values()) >= 1.0 or info["budget_left"] < 1e-3
            level[agent] = min(max(level[agent] + (-STEP if is_over else STEP), -1.0), 1.0)
        scores = "  ".join(f"{info['score']:.2f} at {info['multiplier']:.0f}" for info in infos.values())
        print(f"episode {episode}: {scores}")


if __name__ == "__main__":
    main()

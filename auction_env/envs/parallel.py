"""Self-play: any advertisers of one market as a PettingZoo `ParallelEnv`; needs the extra `multi`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import seeding
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from auction_env.control.controlled_market import ControlledMarket
from auction_env.envs.core import Bidding, info_of
from auction_env.envs.live import MarketArguments, live_spec
from auction_env.envs.rendering import Frame, Screen, check_render_mode, episode_so_far
from auction_env.envs.spec import BiddingSpec, EnvMarket, EpisodeId
from auction_env.integers import check_integer, check_integers

Observation = NDArray[np.float32]


class MarketParallelEnv(ParallelEnv):  # type: ignore[misc] # PettingZoo ships no types
    """Several advertisers of any kind of market, each an agent: the classes below it say which market.

    Args:
        spec: Task, market and action kind.
        market: One market in which the agents are controlled.
        advertisers: The agents' advertisers, in the market's order of the controlled ones.
        render_mode: One of `metadata["render_modes"]`, or None.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - PettingZoo reads a plain class attribute
        "name": "auction_env/Bidding-v0",
        "render_modes": ["human", "rgb_array"],
        "render_fps": 4,
        "is_parallelizable": True,
    }

    def __init__(
        self,
        spec: BiddingSpec[EnvMarket],
        market: ControlledMarket,
        advertisers: Sequence[int],
        *,
        render_mode: str | None,
    ) -> None:
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.task, self.render_mode = spec.task, render_mode
        self.possible_agents = [f"advertiser_{index}" for index in advertisers]
        self.agents: list[str] = []
        self._bidding = Bidding(spec, market)
        self._observation_spaces = {agent: spec.observation_space for agent in self.possible_agents}
        self._action_spaces = {agent: spec.action_space for agent in self.possible_agents}
        self._rng: np.random.Generator | None = None
        self._screen = Screen(human=render_mode == "human")

    def observation_space(self, agent: str) -> Box[np.float32]:
        """The same object at every call."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> Box[np.float32]:
        """The same object at every call."""
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        """Starts an episode; see the class docstring."""
        if seed is not None or self._rng is None:
            self._rng, _ = seeding.np_random(None if seed is None else check_integer("seed", seed))
        drawn = self._draw(self._rng, options or {})
        self.episode_seed = check_integer("episode_seed", (options or {}).get("episode_seed", drawn.seed))
        observation, info = self._bidding.reset([self.episode_seed], days=None if drawn.day is None else [drawn.day])
        self.agents = list(self.possible_agents)
        self._show_if_human()
        return self._by_agent(observation), {agent: info_of(info, row) for row, agent in enumerate(self.agents)}

    def step(
        self, actions: Mapping[str, NDArray[np.float32]]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Runs one tick with an action of every agent.

        Raises:
            RuntimeError: Outside an episode.
            ValueError: Actions of other agents than `agents`, of a wrong shape or not finite.
        """
        agents = list(self.agents)
        if agents and set(actions) != set(agents):
            missing, unknown = sorted(set(agents) - set(actions)), sorted(set(actions) - set(agents))
            raise ValueError(f"`actions` must have one entry an agent, missing {missing}, unknown {unknown}")
        outcome = self._bidding.step([np.asarray(actions[agent], np.float64).reshape(-1) for agent in agents])
        self._show_if_human()
        if outcome.done:
            self.agents = []
        rows = range(len(agents))
        return (
            self._by_agent(outcome.observation),
            {agents[row]: float(outcome.reward[row]) for row in rows},
            dict.fromkeys(agents, outcome.done),
            dict.fromkeys(agents, False),
            {agents[row]: outcome.info_of(row) for row in rows},
        )

    def render(self) -> Frame | None:
        """The episode so far of all agents: an (height, width, 3) picture, or None in the mode "human"."""
        if self.render_mode is None:
            raise ValueError('`render` needs a `render_mode`: make the environment with render_mode="rgb_array"')
        return self._screen.show([episode_so_far(self._bidding, row) for row in range(len(self.possible_agents))])

    def state(self) -> Observation:
        """(n_agents, 31) the last observations of all agents: what a centralised critic may see."""
        if self._bidding.campaigns is None:
            raise RuntimeError("there is no state: call `reset` first")
        return self._last.copy()

    def close(self) -> None:
        """Closes the window, if there is one."""
        self._screen.close()

    def _draw(self, rng: np.random.Generator, options: Mapping[str, Any]) -> EpisodeId:
        """The next episode; its advertiser does not matter."""
        return self._bidding.spec.market.draw(rng, {})

    def _by_agent(self, observation: Observation) -> dict[str, Observation]:
        self._last = observation
        return {agent: observation[row].copy() for row, agent in enumerate(self.possible_agents)}

    def _show_if_human(self) -> None:
        if self.render_mode == "human":
            self.render()


class BiddingParallelEnv(MarketParallelEnv):
    """Several advertisers of one market, each an agent; all others are scripted and live.

    Observation, action, reward and info of an agent are those of `BiddingEnv`; with one agent the two are equal. All
    agents bid in the same auctions and end together: `terminated` after the last tick, `truncated` never.

    Agents are named `advertiser_<index>`. `advertisers` are their indices: a subset in any order; all by default. The
    other arguments are those of `BiddingEnv`. A picture shows all agents.

    `reset(seed=...)` fixes everything that follows; `options={"episode_seed": int}` selects one market episode. Other
    options are ignored, as PettingZoo's API test demands.
    """

    def __init__(
        self,
        *,
        advertisers: Iterable[int] | None = None,
        render_mode: str | None = None,
        **arguments: Unpack[MarketArguments],
    ) -> None:
        spec = live_spec(**arguments)
        market = spec.market
        indices = different_advertisers(advertisers, range(market.population.n_advertisers))
        in_one_market = np.zeros(len(indices), np.int64)
        simulation = market.simulation(spec.task, markets=in_one_market, advertisers=indices)
        super().__init__(spec, simulation, indices, render_mode=render_mode)


def different_advertisers(given: Iterable[int] | None, everybody: Iterable[int]) -> list[int]:
    """The advertisers of the agents, all by default; ValueError where one is given twice, or none."""
    indices: list[int] = check_integers("advertisers", list(everybody if given is None else given)).tolist()
    if not indices or len(set(indices)) != len(indices):
        raise ValueError(f"`advertisers` must hold different indices, at least one, found {indices}")
    return indices

"""`auction_env/Bidding-v0`: one advertiser bids in a market of live competitors."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from auction_env.observation import FEATURE_NAMES, N_FEATURES
from auction_env.pacing import MAX_LOG_RATIO
from auction_env.params import MarketParams
from auction_env.population import Population, auctionnet_population
from auction_env.simulation import Simulation, SteeredTick
from auction_env.tasks import Task, get_task

Observation = NDArray[np.float32]


class BiddingEnv(gym.Env[Observation, NDArray[np.float32]]):
    """Real-time bidding for one advertiser of a multi-slot auction market.

    ## Action space
    `Box(-1, 1, (1,), float32)`: the log multiplier relative to the base, in units of log(`max_ratio`). The
    advertiser bids multiplier x predicted value on every impression of the tick, with
    `multiplier = base * max_ratio ** action` and base = the advertiser's target CPA (currency per conversion).
    So 0 bids the target CPA, and with the default `max_ratio` of 5 the range is a fifth to five times that.

    ## Observation space
    `Box(0, high, (19,), float32)`, raw units; `gymnasium.wrappers.NormalizeObservation` scales them. `high` is the
    largest possible value of each: the largest bid, the size of the market, the largest budget and limit.

    | index | name | unit | range |
    | --- | --- | --- | --- |
    | 0 | time_left: share of the ticks still to come, this one included | share | (0, 1] |
    | 1 | budget_left | share of the budget | [0, 1] |
    | 2 | bid_all: mean own bid, over all past ticks | currency per impression | >= 0 |
    | 3 | bid_last_3: the same over the last 3 ticks | currency per impression | >= 0 |
    | 4 | least_winning_cost_all | currency per impression | >= 0 |
    | 5 | value_all: mean predicted value | conversions per impression | [0, 1] |
    | 6 | conversions_all | conversions per impression | [0, 1] |
    | 7 | win_rate_all | slots won per impression | [0, 1] |
    | 8 | least_winning_cost_last_3 | currency per impression | >= 0 |
    | 9 | value_last_3 | conversions per impression | [0, 1] |
    | 10 | conversions_last_3 | conversions per impression | [0, 1] |
    | 11 | win_rate_last_3 | slots won per impression | [0, 1] |
    | 12 | value_now: mean predicted value of this tick's impressions | conversions per impression | [0, 1] |
    | 13 | volume_now | impressions | >= 0 |
    | 14 | volume_last_3 | impressions | >= 0 |
    | 15 | volume_all: of all past ticks | impressions | >= 0 |
    | 16 | requirement budget | currency | > 0 |
    | 17 | requirement cpa_limit, 0 if there is none | currency per conversion | >= 0 |
    | 18 | requirement has_cpa_limit | mask | 0 or 1 |

    Means are means over ticks of the tick's mean over impressions, 0 where there is no past. The observation
    after the last tick has no tick to describe: indices 0, 12 and 13 are 0.

    ## Reward
    The task's objective earned in the tick: sampled conversions of exposed impressions for `MaxConversions` and
    `TargetCPA`. Constraints do not enter the reward; they enter the score.

    ## Episode end
    `terminated` after the last of the market's ticks (48 by default). An advertiser whose money runs out wins
    nothing more, but the episode goes on. `truncated` is never set.

    ## Info
    Every step: `multiplier`, `cost`, `wins`, `exposures`, `conversions`, `value` (predicted), `least_winning_cost`,
    `n_impressions`, `budget_left`. After the last tick also `score` (objective x product of
    min(1, limit / realised) ** beta), `objective`, and `ratios`: realised over limit by constraint name.

    ## Arguments
    `task`: a Task or the name of a registered one. `advertiser`: index, or None to draw one at each reset.
    `params`, `population`: the market; `n_impressions` is a short cut for the size alone. `max_ratio`: range of
    the action, see above.

    `reset(seed=...)` fixes everything that follows; `options={"episode_seed": int, "advertiser": int}` selects
    one market episode, as rollouts and logs name it, and the advertiser.

    ## Version history
    - v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium reads a plain class attribute

    def __init__(
        self,
        *,
        task: str | Task = "MaxConversions",
        advertiser: int | None = None,
        params: MarketParams | None = None,
        population: Population | None = None,
        n_impressions: int | None = None,
        max_ratio: float = 5.0,
        render_mode: None = None,
    ) -> None:
        if render_mode is not None:
            raise ValueError(f"`render_mode` must be None in this version, found {render_mode!r}")
        if params is not None and n_impressions is not None:
            raise ValueError("give `params` or `n_impressions`, not both")
        if not (np.isfinite(max_ratio) and max_ratio > 1):
            raise ValueError(f"`max_ratio` must be greater than 1, found {max_ratio}")
        if params is None:
            params = MarketParams() if n_impressions is None else MarketParams(n_impressions=n_impressions)
        self.task = get_task(task)
        self.max_ratio = float(max_ratio)
        self.render_mode = None
        self._advertiser = advertiser
        first = 0 if advertiser is None else advertiser
        self._simulation = Simulation(
            params, population or auctionnet_population(), steered_market=[0], steered_advertiser=[first]
        )
        high = self._highest_observation()
        self.observation_space = gym.spaces.Box(np.zeros_like(high), high, dtype=np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self._in_episode = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; see the class docstring for `options`."""
        super().reset(seed=seed)
        options = dict(options or {})
        advertiser = options.pop("advertiser", self._advertiser)
        episode_seed = options.pop("episode_seed", None)
        if options:
            raise ValueError(f"`options` must hold only 'advertiser' and 'episode_seed', found {sorted(options)}")
        # both are always drawn, so that giving one does not shift the other
        drawn_seed = int(self.np_random.integers(2**62))
        drawn_advertiser = int(self.np_random.integers(self._simulation.market.n_advertisers))
        self._simulation.steer([0], [drawn_advertiser if advertiser is None else advertiser])
        self.episode_seed = drawn_seed if episode_seed is None else int(episode_seed)
        self._simulation.reset([self.episode_seed])
        self._requirements = self.task.requirements(self._simulation.budget, self._simulation.cpa_target)[0]
        self._cost, self._objective = 0.0, 0.0
        self._in_episode = True
        return self._observe(), {"advertiser": int(self._simulation.advertiser[0])}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Bids for one tick; see the class docstring."""
        if not self._in_episode:
            raise RuntimeError("the episode is over or has not begun: call `reset` first")
        exponent = np.asarray(action, np.float64).reshape(-1)
        if exponent.shape != (1,) or not np.isfinite(exponent[0]):
            raise ValueError(f"`action` must be one finite number, found {action!r}")
        simulation = self._simulation
        multiplier = simulation.cpa_target * self.max_ratio ** np.clip(exponent, -1.0, 1.0)
        tick, result = simulation.step(multiplier)
        reward = float(self.task.reward(conversions=tick.conversions, value=tick.value)[0])
        self._cost += float(tick.cost[0])
        self._objective += reward
        info = _tick_info(tick)
        if result.done:
            self._in_episode = False
            info.update(self._summary())
        return self._observe(tick if result.done else None), reward, result.done, False, info

    def _highest_observation(self) -> Observation:
        market = self._simulation.market
        top_bid = market.cpa_target.max() * max(self.max_ratio, np.exp(MAX_LOG_RATIO))  # a value is at most 1
        high = np.ones(N_FEATURES)
        for index, name in enumerate(FEATURE_NAMES):
            if name.startswith(("bid_", "least_winning_cost_")):
                high[index] = max(top_bid, market.params.reserve)
            elif name.startswith("volume_"):
                high[index] = np.ceil(market.params.n_impressions * market.params.traffic.highest_volume)
        requirements = self.task.requirements(market.budget, market.cpa_target).max(axis=0)
        requirements[requirements == 0] = 1.0  # absent limits are 0; a space needs some width
        bound = np.concatenate((high, requirements)).astype(np.float32)
        return np.nextafter(bound, np.float32(np.inf))  # float32 rounding must not leave the space

    def _summary(self) -> dict[str, Any]:
        totals = {
            "cost": self._cost,
            "objective": self._objective,
            "budget": self._simulation.budget[0],
            "cpa_target": self._simulation.cpa_target[0],
        }
        ratios = {name: float(ratio) for name, ratio in self.task.ratios(**totals).items()}
        return {"score": float(self.task.score(**totals)), "objective": self._objective, "ratios": ratios}

    def _observe(self, last: SteeredTick | None = None) -> Observation:
        features = self._simulation.observe() if last is None else self._simulation.observe_end(last)
        return np.concatenate((features[0], self._requirements)).astype(np.float32)


def _tick_info(tick: SteeredTick) -> dict[str, Any]:
    names = (
        "multiplier", "cost", "wins", "exposures", "conversions", "value", "least_winning_cost",
        "n_impressions", "budget_left",
    )  # fmt: skip
    return {name: float(getattr(tick, name)[0]) for name in names}

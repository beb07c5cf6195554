"""`auction_env/Bidding-v0`: one advertiser bids in a market of live competitors."""

from __future__ import annotations

from typing import Any, Unpack

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from auction_env.envs.core import Bidding, info_of
from auction_env.envs.episode_choice import next_episodes, read_options
from auction_env.envs.live import MarketArguments, live_spec
from auction_env.envs.rendering import Screen, check_render_mode, episode_so_far
from auction_env.envs.spec import BiddingSpec, EnvMarket
from auction_env.integers import check_integer

Observation = NDArray[np.float32]


class MarketEnv(gym.Env[Observation, NDArray[np.float32]]):
    """One advertiser of any kind of market: `BiddingEnv` and `ReplayEnv` say which, and are otherwise equal."""

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 4}  # noqa: RUF012 - Gymnasium reads a class attribute

    def __init__(self, spec: BiddingSpec[EnvMarket], *, render_mode: str | None) -> None:
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.task, self.render_mode = spec.task, render_mode
        self.observation_space, self.action_space = spec.observation_space, spec.action_space
        self._choices = spec.choices(1)
        self._bidding = Bidding(spec, spec.market.controlled_market(spec.task, 1))
        self._screen = Screen(human=render_mode == "human")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; see the class docstring for `options`."""
        super().reset(seed=None if seed is None else check_integer("seed", seed))
        spec = self._bidding.spec
        chosen = read_options(options or {}, spec.market.chosen_by, 1)
        episodes = next_episodes(spec.market, [self.np_random], self._choices, chosen)
        self.episode_seed = int(episodes.seed[0])
        observation, info = self._bidding.reset(*episodes)
        if self.render_mode == "human":
            self.render()
        return observation[0], info_of(info, 0)

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Bids for one tick; see the class docstring."""
        outcome = self._bidding.step(np.asarray(action).reshape(1, -1))
        if self.render_mode == "human":
            self.render()
        return outcome.observation[0], float(outcome.reward[0]), outcome.done, False, outcome.info_of(0)

    def render(self) -> NDArray[np.uint8] | None:
        """The episode so far: an (height, width, 3) picture, or None in the mode "human", whose window is updated."""
        if self.render_mode is None:
            gym.logger.warn('`render` needs a `render_mode`: make the environment with render_mode="rgb_array"')
            return None
        return self._screen.show([episode_so_far(self._bidding, 0)])

    def close(self) -> None:
        """Closes the window, if there is one."""
        self._screen.close()


class BiddingEnv(MarketEnv):
    """Real-time bidding for one advertiser of a multi-slot auction market.

    ## Action space
    `Box(-1, 1, (n,), float32)`. The advertiser bids multiplier x predicted value on every impression of the tick;
    `action_kind` says how the action a becomes the multiplier (currency per conversion), where CPA is the advertiser's
    target CPA (`auction_env.control.actions`). For a task that counts something else than conversions, the multiplier
    is currency per unit of that, the bid is multiplier x predicted amount of it, and in the place of the CPA stands
    what a unit is worth to the advertiser (`Task.unit_worth`).

    | action_kind | n | multiplier |
    | --- | --- | --- |
    | log_multiplier | 1 | CPA x max_ratio ** a: 0 bids the target CPA, the range is a fifth to five times that |
    | relative | 1 | previous multiplier x max_ratio_step ** a; starts from CPA, within max_ratio ** +-1 of it |
    | two_coefficient | 2 | alpha0 + alpha1 x CPA: alpha0 = mean CPA / 2 x max_ratio ** a[0], alpha1 = (1 + a[1]) / 2 |

    where "mean CPA" is the mean target of the market's advertisers.

    ## Observation space
    `Box(0, high, (31,), float32)`, raw units; `gymnasium.wrappers.NormalizeObservation` scales them. `high` is the
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
    | 17 | requirement wants_conversions: whether the objective counts them | flag | 0 or 1 |
    | 18 | requirement wants_clicks | flag | 0 or 1 |
    | 19 | requirement wants_add_to_carts | flag | 0 or 1 |
    | 20 | requirement wants_gmv: gross merchandise value; 2 for the surplus, GMV minus cost | flag | 0, 1 or 2 |
    | 21 | requirement cpa_limit | currency per conversion | >= 0 |
    | 22 | requirement has_cpa_limit | mask | 0 or 1 |
    | 23 | requirement cpc_limit | currency per click | >= 0 |
    | 24 | requirement has_cpc_limit | mask | 0 or 1 |
    | 25 | requirement roas_limit | GMV over cost | >= 0 |
    | 26 | requirement has_roas_limit | mask | 0 or 1 |
    | 27 | requirement min_delivery_limit | share of the budget | [0, 1] |
    | 28 | requirement has_min_delivery_limit | mask | 0 or 1 |
    | 29 | requirement smoothness_limit | unevenness of the spend | [0, 1] |
    | 30 | requirement has_smoothness_limit | mask | 0 or 1 |

    A limit that the task does not have is 0 and its mask 0 (`auction_env.tasks.REQUIREMENT_NAMES`).

    Means are means over ticks of the tick's mean over impressions, 0 where there is no past. The observation
    after the last tick has no tick to describe: indices 0, 12 and 13 are 0.

    ## Reward
    The task's objective earned in the tick: sampled conversions of exposed impressions for `MaxConversions` and
    `TargetCPA`, clicks for `MaxClicks` and so on; for `MaxSurplus` GMV minus
    cost, which may be negative. Constraints do not enter the reward; they enter the score.

    ## Episode end
    `terminated` after the last of the market's ticks (48 by default). An advertiser whose money runs out wins
    nothing more, but the episode goes on. `truncated` is never set.

    ## Info
    Every step: `multiplier`, `cost`, `wins`, `exposures`, `conversions`, `expected_conversions`, `least_winning_cost`,
    `n_impressions`, `budget_left`, and what only markets with a funnel have (0 in others): `clicks`, `add_to_carts`,
    `gmv` and `expected_clicks`, `expected_add_to_carts`, `expected_gmv`. After the last tick also `score` (objective x
    product of min(1, limit / realised) ** beta), `objective`, and `ratios`: realised over limit by constraint name, at
    most 1 where the limit is kept, infinite where money was spent and nothing was sampled. `score_expected` and
    `ratios_expected` are the same of expected instead of sampled amounts: less noise, and always finite (at most 1e6),
    so a learner may compute a reward from them. `reset`: `advertiser`.

    ## Arguments
    `task`: a Task or the name of a registered one. `advertiser`: index, or None to draw one at each reset.
    `params`, `population`: the market; `n_impressions` and `mechanism` are shortcuts for these two parameters alone. A
    task that counts clicks, add-to-carts or GMV needs `params` with a funnel; without `params` it gets the default one.
    A population may be named: "auctionnet", "auctionnet-agents", or a JSON file. `redraw` (budget, CPA): an episode's
    budgets and target CPAs are those of the population times factors drawn anew, uniform in 1 +- these shares.
    `competitors`: bidders (`auction_env.control.bidder.Bidder`) by advertiser that replace the population's script.
    `action_kind` (a name or an `auction_env.control.actions.ActionKind`), `max_ratio`, `max_ratio_step`: the action,
    see above.
    `observation` (`auction_env.envs.own.Observation`), `reward`: your own, in place of those above (docs/extend.md).
    `render_mode`: None, "rgb_array" (`render` returns a picture of the episode so far) or "human" (a matplotlib
    window).

    `reset(seed=...)` fixes everything that follows; `options={"episode_seed": int, "advertiser": int}` selects
    one market episode, as rollouts and logs name it, and the advertiser.

    ## Version history
    - v0: first version.
    """

    def __init__(
        self, *, advertiser: int | None = None, render_mode: str | None = None, **arguments: Unpack[MarketArguments]
    ) -> None:
        super().__init__(live_spec(advertiser=advertiser, **arguments), render_mode=render_mode)

"""`auction_env/Replay-v0`: the environments of `auction_env.envs` over a replay market."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Unpack

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from auction_env.envs.single import MarketEnv
from auction_env.envs.spec import (
    MAX_EPISODE_SEED,
    ActionArguments,
    BiddingSpec,
    Choice,
    Chosen,
    EpisodeId,
    Maxima,
    resolve_spec,
)
from auction_env.envs.vector import MarketVectorEnv
from auction_env.replay.market import ReplayMarket
from auction_env.replay.simulation import Conversions, LoggedMarket, ReplaySimulation
from auction_env.replay.storage import load_replay
from auction_env.tasks import Targets, Task, get_task

Int = NDArray[np.int64]
MarketOrDirectory = ReplayMarket | str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoggedEnvMarket(LoggedMarket):
    """An `EnvMarket` whose competitors bid what they bid in a log."""

    _fitting: dict[tuple[int | None, ...], Int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def chosen_by(self) -> tuple[str, ...]:
        return ("advertiser", "period")

    @property
    def label(self) -> str:
        rules, n = self.market.rules, self.market.n_periods
        return f"replay of {n} logged period{'s' if n > 1 else ''}, {rules.mechanism}"

    @property
    def targets(self) -> Targets:
        is_there = np.isfinite(self.market.budget)
        return Targets.of(self.market.budget[is_there], self.market.cpa_target[is_there])

    def maxima(self, task: Task) -> Maxima:
        return Maxima(
            competing_bid=float(self.market.log.ladder_bid.max(initial=0.0)),
            reserve=self.market.rules.reserve,
            quality=1.0,
            amount=1.0,  # a probability
            n_impressions=float(max(self.market.n_impressions.max(), 1)),
            conversions=1.0,
        )

    def check(self, choice: Choice) -> None:
        self._episodes(choice)

    def draw(self, rng: np.random.Generator, choice: Choice) -> EpisodeId:
        seed, share = int(rng.integers(MAX_EPISODE_SEED)), rng.random()
        fitting = self._episodes(choice)
        row, column = fitting[int(share * len(fitting))]
        return EpisodeId(seed, int(self.market.advertisers[column]), int(self.market.periods[row]))

    def controlled_market(self, task: Task, n: int) -> ReplaySimulation:
        return ReplaySimulation(self.market, np.zeros(n, np.int64), task=task, conversions=self.conversions)

    def _episodes(self, choice: Choice) -> Int:
        """(n_episodes, 2) period and advertiser, as indices, of all that fit the choice."""
        key = (choice.get("period"), choice.get("advertiser"))
        if key not in self._fitting:
            market, fitting = self.market, self.market.episodes
            for column, (name, numbers) in enumerate((("period", market.periods), ("advertiser", market.advertisers))):
                if (number := key[column]) is None:
                    continue
                found = numbers[fitting[:, column]]
                if number not in found:
                    raise ValueError(f"`{name}` must be one of {np.unique(found).tolist()} or None, found {number}")
                fitting = fitting[found == number]
            self._fitting[key] = fitting
        return self._fitting[key]


class ReplayArguments(ActionArguments, total=False):
    """The arguments that single and vector environments over a log share; see `ReplayEnv`."""

    task: str | Task
    period: Chosen
    advertiser: Chosen
    conversions: Conversions


def replay_spec(
    market: MarketOrDirectory | None,
    *,
    task: str | Task = "MaxConversions",
    period: Chosen = None,
    advertiser: Chosen = None,
    conversions: Conversions = "sampled",
    **action: Unpack[ActionArguments],
) -> BiddingSpec[LoggedEnvMarket]:
    """The arguments of an environment over a log, resolved and checked; see `ReplayEnv`."""
    if market is None:
        raise ValueError("`market` must be a ReplayMarket or the directory of a saved one, found None")
    logged = LoggedEnvMarket(
        market=market if isinstance(market, ReplayMarket) else load_replay(market), conversions=conversions
    )
    return resolve_spec(get_task(task), logged, {"period": period, "advertiser": advertiser}, **action)


class ReplayEnv(MarketEnv):
    """One advertiser bids against a logged day: its own logged bids are replaced, the others' stay as they were.

    Action space, observation space, reward, episode end, pictures and `info` are those of `auction_env/Bidding-v0`
    (`auction_env.envs.single.BiddingEnv`). The competitors do not react. The log has conversions only: tasks that count
    something else are refused.

    ## Arguments
    `market`: a ReplayMarket or the directory of a saved one. `period`, `advertiser`: their numbers in the log, or
    None to draw at each reset. `conversions`: `sampled` draws them around the logged prediction, normal with its
    logged sigma and cut to [0, 1]; `expected` counts the predictions. `task`, `action_kind`, `max_ratio`,
    `max_ratio_step`, `render_mode`: as in Bidding-v0.

    `reset(seed=...)` fixes everything that follows; `options={"episode_seed": int, "period": int,
    "advertiser": int}` selects one episode. `info` of `reset` names `period` and `advertiser`.

    ## Version history
    - v0: first version.
    """

    def __init__(
        self,
        *,
        market: MarketOrDirectory | None = None,
        render_mode: str | None = None,
        **arguments: Unpack[ReplayArguments],
    ) -> None:
        super().__init__(replay_spec(market, **arguments), render_mode=render_mode)


class ReplayVectorEnv(MarketVectorEnv):
    """Copies of `ReplayEnv` that step together; see there for the arguments.

    `period` and `advertiser` may be one a copy. Autoreset modes, `reset` and its options are those of
    `auction_env.envs.vector.BiddingVectorEnv`; `period` is one more option. Copy i seeded with `seed + i`
    is elementwise `ReplayEnv` seeded with that number.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        market: MarketOrDirectory | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **arguments: Unpack[ReplayArguments],
    ) -> None:
        spec = replay_spec(market, **arguments)
        super().__init__(num_envs, spec, autoreset_mode=autoreset_mode, render_mode=render_mode)

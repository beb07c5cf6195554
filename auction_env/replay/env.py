"""The environments of `auction_env.envs` over a log: `auction_env/Replay-v0`, `auction_env/LoggedValues-v0`."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Unpack

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from auction_env.control.bidder import Bidder
from auction_env.control.simulation import Simulation
from auction_env.envs.live import highest_reserve, named_population, with_redraw
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
from auction_env.market.pacing import MAX_LOG_RATIO
from auction_env.market.params import MarketParams
from auction_env.market.population import Population, extreme_targets
from auction_env.replay.logged_values import LoggedValuesMarket, logged_values
from auction_env.replay.market import ReplayMarket
from auction_env.replay.simulation import Conversions, LoggedMarket, ReplaySimulation
from auction_env.replay.storage import load_replay
from auction_env.tasks import Targets, Task, get_task

Int = NDArray[np.int64]
MarketOrDirectory = ReplayMarket | str | os.PathLike[str]


class LogEpisodes:
    """The episodes of a log, an advertiser in a period each, and which of them fit a choice."""

    def __init__(self, market: ReplayMarket) -> None:
        self._market = market
        self._fitting: dict[tuple[int | None, ...], Int] = {}

    @property
    def targets(self) -> Targets:
        """What the advertisers have and would pay, (n_episodes,) each."""
        is_there = np.isfinite(self._market.budget)
        return Targets.of(self._market.budget[is_there], self._market.cpa_target[is_there])

    def draw(self, rng: np.random.Generator, choice: Choice) -> EpisodeId:
        """See `EnvMarket.draw`."""
        seed, share = int(rng.integers(MAX_EPISODE_SEED)), rng.random()
        fitting = self.fitting(choice)
        row, column = fitting[int(share * len(fitting))]
        return EpisodeId(seed, int(self._market.advertisers[column]), int(self._market.periods[row]))

    def fitting(self, choice: Choice) -> Int:
        """(n_episodes, 2) period and advertiser, as indices, of all that fit; ValueError if none does."""
        key = (choice.get("period"), choice.get("advertiser"))
        if key not in self._fitting:
            market, fitting = self._market, self._market.episodes
            for column, (name, numbers) in enumerate((("period", market.periods), ("advertiser", market.advertisers))):
                if (number := key[column]) is None:
                    continue
                found = numbers[fitting[:, column]]
                if number not in found:
                    raise ValueError(f"`{name}` must be one of {np.unique(found).tolist()} or None, found {number}")
                fitting = fitting[found == number]
            self._fitting[key] = fitting
        return self._fitting[key]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoggedEnvMarket(LoggedMarket):
    """An `EnvMarket` whose competitors bid what they bid in a log."""

    episodes: LogEpisodes = field(repr=False)

    @property
    def chosen_by(self) -> tuple[str, ...]:
        return ("advertiser", "period")

    @property
    def label(self) -> str:
        rules, n = self.market.rules, self.market.n_periods
        return f"replay of {n} logged period{'s' if n > 1 else ''}, {rules.mechanism}"

    @property
    def targets(self) -> Targets:
        return self.episodes.targets

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
        self.episodes.fitting(choice)

    def draw(self, rng: np.random.Generator, choice: Choice) -> EpisodeId:
        return self.episodes.draw(rng, choice)

    def controlled_market(self, task: Task, n: int) -> ReplaySimulation:
        return ReplaySimulation(self.market, np.zeros(n, np.int64), task=task, conversions=self.conversions)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoggedValuesEnvMarket(LoggedValuesMarket):
    """An `EnvMarket` in which all advertisers bid live on the impressions of a log."""

    episodes: LogEpisodes = field(repr=False)

    @property
    def chosen_by(self) -> tuple[str, ...]:
        return ("advertiser", "period")

    @property
    def label(self) -> str:
        n = self.log.n_periods
        return f"live on {n} logged period{'s' if n > 1 else ''}, {self.params.mechanism}"

    @property
    def targets(self) -> Targets:
        return extreme_targets(self.episodes.targets, self.population)

    def maxima(self, task: Task) -> Maxima:
        start = float(np.max(self.population.start)) * (1.0 + self.population.cpa_swing)
        return Maxima(
            competing_bid=float(start * np.nanmax(self.log.cpa_target) * np.exp(MAX_LOG_RATIO)),
            reserve=highest_reserve(self.params),
            quality=max(1.0, float(np.max(self.params.quality or 1.0))),
            amount=1.0,  # a probability
            n_impressions=float(max(self.log.n_impressions.max(), 1)),
            conversions=float(self.log.n_impressions.max()) if self.params.conversion_delay > 0 else 1.0,
        )

    def check(self, choice: Choice) -> None:
        self.episodes.fitting(choice)

    def draw(self, rng: np.random.Generator, choice: Choice) -> EpisodeId:
        return self.episodes.draw(rng, choice)

    def controlled_market(self, task: Task, n: int) -> Simulation:
        return self._own(task, np.zeros(n, np.int64), np.arange(n), n)

    def shared(self, task: Task, advertisers: Sequence[int]) -> Simulation:
        """One market in which all of these advertisers are controlled."""
        return self._own(task, np.asarray(advertisers), np.zeros(len(advertisers), np.int64), 1)

    def _own(self, task: Task, advertisers: Int, markets: Int, n_markets: int) -> Simulation:
        # bidders have a state, which environments must not share
        own = dataclasses.replace(self, competitors=copy.deepcopy(self.competitors))
        return own._simulation(task, advertisers, markets, n_markets)


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
    log = _opened(market)
    logged = LoggedEnvMarket(market=log, conversions=conversions, episodes=LogEpisodes(log))
    return resolve_spec(get_task(task), logged, {"period": period, "advertiser": advertiser}, **action)


def _opened(market: MarketOrDirectory | None) -> ReplayMarket:
    if market is None:
        raise ValueError("`market` must be a ReplayMarket or the directory of a saved one, found None")
    return market if isinstance(market, ReplayMarket) else load_replay(market, mmap=True)


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


class LoggedValuesArguments(ActionArguments, total=False):
    """The arguments that single and vector environments share; see `LoggedValuesEnv`."""

    task: str | Task
    period: Chosen
    advertiser: Chosen
    rules: MarketParams | None
    population: Population | str | None
    redraw: tuple[float, float] | None
    competitors: Mapping[int, Bidder] | None


def logged_values_spec(
    market: MarketOrDirectory | None,
    *,
    task: str | Task = "MaxConversions",
    period: Chosen = None,
    advertiser: Chosen = None,
    rules: MarketParams | None = None,
    population: Population | str | None = None,
    redraw: tuple[float, float] | None = None,
    competitors: Mapping[int, Bidder] | None = None,
    **action: Unpack[ActionArguments],
) -> BiddingSpec[LoggedValuesEnvMarket]:
    """The arguments of an environment with live bidders on a log, resolved and checked; see `LoggedValuesEnv`."""
    live = logged_values(_opened(market), rules=rules, population=named_population(population), competitors=competitors)
    live = dataclasses.replace(live, population=with_redraw(live.population, redraw))
    of_live = {name: getattr(live, name) for name in LoggedValuesMarket.__dataclass_fields__}
    in_env = LoggedValuesEnvMarket(**of_live, episodes=LogEpisodes(live.log))
    return resolve_spec(get_task(task), in_env, {"period": period, "advertiser": advertiser}, **action)


class LoggedValuesEnv(MarketEnv):
    """One advertiser bids on the impressions of a logged day, on which all others bid live.

    Action space, observation space, reward, episode end, pictures and `info` are those of `auction_env/Bidding-v0`
    (`auction_env.envs.single.BiddingEnv`). Impressions, predicted values and their deviations, budgets and targets are
    the log's; bids and prices are not. Tasks that count something else than conversions are refused.

    ## Arguments
    `market`: a ReplayMarket or the directory of a saved one. `period`, `advertiser`: as in `ReplayEnv`. `rules`,
    `population`, `competitors`: as of `auction_env.replay.logged_values.logged_values`; a population may be named.
    `redraw`: factors on the log's budgets and target CPAs. `task`, `action_kind`, `max_ratio`, `max_ratio_step`,
    `render_mode`: as in Bidding-v0.

    `reset(seed=...)` and its options are those of `ReplayEnv`.

    ## Version history
    - v0: first version.
    """

    def __init__(
        self,
        *,
        market: MarketOrDirectory | None = None,
        render_mode: str | None = None,
        **arguments: Unpack[LoggedValuesArguments],
    ) -> None:
        super().__init__(logged_values_spec(market, **arguments), render_mode=render_mode)


class LoggedValuesVectorEnv(MarketVectorEnv):
    """Copies of `LoggedValuesEnv` that step together; see there for the arguments.

    `period` and `advertiser` may be one a copy. Autoreset modes, `reset` and its options are those of
    `ReplayVectorEnv`. Copy i seeded with `seed + i` is elementwise `LoggedValuesEnv` seeded with that number.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        market: MarketOrDirectory | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **arguments: Unpack[LoggedValuesArguments],
    ) -> None:
        spec = logged_values_spec(market, **arguments)
        super().__init__(num_envs, spec, autoreset_mode=autoreset_mode, render_mode=render_mode)

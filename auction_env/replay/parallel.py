"""Self-play on the impressions of a log: its advertisers as a PettingZoo `ParallelEnv`; needs the extra `multi`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import numpy as np

from auction_env.envs.parallel import MarketParallelEnv, different_advertisers
from auction_env.envs.spec import MAX_EPISODE_SEED, EpisodeId
from auction_env.integers import check_integer
from auction_env.replay.env import LoggedValuesArguments, MarketOrDirectory, logged_values_spec


class LoggedValuesParallelEnv(MarketParallelEnv):
    """Several advertisers of a logged day, each an agent; all others bid live on the logged impressions.

    Observation, action, reward and info of an agent are those of `auction_env.replay.env.LoggedValuesEnv`; with one
    agent the two are equal. All agents bid in the same auctions and end together: `terminated` after the last tick,
    `truncated` never. Agents are named `advertiser_<index>`.

    ## Arguments
    `market`: a ReplayMarket or the directory of a saved one. `advertisers`: the agents' indices, a subset in any order;
    all by default. `period`: its number in the log, or None to draw one of those in which all agents are. The others
    are those of `LoggedValuesEnv`.

    `reset(seed=...)` fixes everything that follows; `options={"episode_seed": int, "period": int}` selects one episode.
    Other options are ignored, as PettingZoo's API test demands.
    """

    def __init__(
        self,
        *,
        market: MarketOrDirectory | None = None,
        advertisers: Iterable[int] | None = None,
        render_mode: str | None = None,
        **arguments: Unpack[LoggedValuesArguments],
    ) -> None:
        if arguments.get("advertiser") is not None:
            raise ValueError(f"`advertiser` must be given as `advertisers`, found {arguments['advertiser']!r}")
        spec = logged_values_spec(market, **arguments)
        log = spec.market.log
        indices = different_advertisers(advertisers, range(log.n_advertisers))
        for index in indices:
            spec.market.check({"advertiser": index})
        self._periods = log.periods[np.isfinite(log.budget[:, indices]).all(axis=1)]
        if not len(self._periods):
            raise ValueError(
                f"`advertisers` must be in one period of the log together, found none with all of {indices}"
            )
        self._period = next(iter(spec.choices(1)[0].values()), None)
        if self._period is not None:
            self._check_period(self._period)
        super().__init__(spec, spec.market.shared(spec.task, indices), indices, render_mode=render_mode)

    def _draw(self, rng: np.random.Generator, options: Mapping[str, Any]) -> EpisodeId:
        seed, share = int(rng.integers(MAX_EPISODE_SEED)), rng.random()  # as in `LogEpisodes.draw`
        given = options.get("period", self._period)
        period = self._periods[int(share * len(self._periods))] if given is None else check_integer("period", given)
        self._check_period(int(period))
        return EpisodeId(seed, 0, int(period))

    def _check_period(self, period: int) -> None:
        if period not in self._periods:
            raise ValueError(
                f"`period` must be one in which all agents are, of {self._periods.tolist()}, or None, found {period}"
            )

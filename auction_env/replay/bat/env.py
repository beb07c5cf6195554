"""The environments of `auction_env.envs` over BAT's campaigns: `auction_env/BAT-v0`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Unpack

import numpy as np
from gymnasium.vector import AutoresetMode

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
from auction_env.replay.bat.landscape import AT_OWN_PRICE, CLICKS, CONTACTS, VIEWS
from auction_env.replay.bat.market import BatMarket, BatSimulation
from auction_env.replay.bat.storage import load_bat
from auction_env.tasks import Task, get_task

MarketOrDirectory = BatMarket | str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatEnvMarket(BatMarket):
    """An `EnvMarket` of BAT's campaigns."""

    @property
    def chosen_by(self) -> tuple[str, ...]:
        return ("advertiser",)

    @property
    def label(self) -> str:
        return f"BAT, {self.n_campaigns:,} campaigns, {self.mechanism}"

    def maxima(self, task: Task) -> Maxima:
        land = self.landscape
        hours = np.arange(land.first_hour[-1])
        offered = land.whole(hours)
        views = np.maximum(offered[:, VIEWS], 1e-12)
        of_campaign = land.sums[land.first_row[land.first_hour], VIEWS]
        return Maxima(
            competing_bid=float((offered[:, AT_OWN_PRICE] / views).max()),
            reserve=0.0,
            quality=1.0,
            amount=float((offered[:, CLICKS if task.basis == "clicks" else CONTACTS] / views).max()),
            n_impressions=float(max(np.diff(of_campaign).max(), 1.0)),
            conversions=float(max((offered[:, CONTACTS] / views).max(), 1.0)),
        )

    def check(self, choice: Choice) -> None:
        number = choice.get("advertiser")
        if number is not None and not 0 <= number < self.n_campaigns:
            raise ValueError(f"`advertiser` must be from 0 to {self.n_campaigns - 1} or None, found {number}")

    def draw(self, rng: np.random.Generator, choice: Choice) -> EpisodeId:
        seed, drawn = int(rng.integers(MAX_EPISODE_SEED)), int(rng.integers(self.n_campaigns))
        self.check(choice)
        chosen = choice.get("advertiser")
        return EpisodeId(seed, drawn if chosen is None else chosen)

    def controlled_market(self, task: Task, n: int) -> BatSimulation:
        return BatSimulation(self, np.zeros(n, np.int64), task)


class BatArguments(ActionArguments, total=False):
    """The arguments that single and vector environments share; see `BatEnv`."""

    task: str | Task
    advertiser: Chosen


def bat_spec(
    market: MarketOrDirectory | None,
    *,
    task: str | Task = "MaxConversions",
    advertiser: Chosen = None,
    **action: Unpack[ActionArguments],
) -> BiddingSpec[BatEnvMarket]:
    """The arguments of an environment over BAT's campaigns, resolved and checked; see `BatEnv`."""
    if market is None:
        raise ValueError("`market` must be a BatMarket or the directory of a saved one, found None")
    opened = market if isinstance(market, BatMarket) else load_bat(market)
    in_env = BatEnvMarket(landscape=opened.landscape, mechanism=opened.mechanism, contact_worth=opened.contact_worth)
    chosen = get_task(task)
    in_env.controlled_market(chosen, 1)  # refuses what the market does not count
    return resolve_spec(chosen, in_env, {"advertiser": advertiser}, **action)


class BatEnv(MarketEnv):
    """One of BAT's campaigns bids hour by hour, with the rules of BAT's simulator (`BatMarket`).

    Action space, observation space, reward, episode end and `info` are those of `auction_env/Bidding-v0`
    (`auction_env.envs.single.BiddingEnv`). A tick is an hour, a conversion a contact, impressions are views. All
    amounts are expected ones, so that nothing is drawn but the campaign. Campaigns differ in length: an episode has the
    ticks of the longest, and a campaign that is over gets nothing. Tasks may count conversions and clicks.

    ## Arguments
    `market`: a BatMarket (`auction_env.replay.bat.market.read_bat`) or the directory of one (`import_bat`).
    `advertiser`: the place of a campaign in the file, or None to draw one at each reset. `task`, `action_kind`,
    `max_ratio`, `max_ratio_step`, `render_mode`: as in Bidding-v0.

    `reset(seed=...)` fixes everything that follows; `options={"advertiser": int}` selects a campaign.

    ## Version history
    - v0: first version.
    """

    def __init__(
        self,
        *,
        market: MarketOrDirectory | None = None,
        render_mode: str | None = None,
        **arguments: Unpack[BatArguments],
    ) -> None:
        super().__init__(bat_spec(market, **arguments), render_mode=render_mode)


class BatVectorEnv(MarketVectorEnv):
    """Copies of `BatEnv` that step together; see there for the arguments.

    `advertiser` may be one a copy. Autoreset modes, `reset` and its options are those of
    `auction_env.envs.vector.BiddingVectorEnv`. Copy i seeded with `seed + i` is elementwise `BatEnv` seeded with that
    number.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        market: MarketOrDirectory | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **arguments: Unpack[BatArguments],
    ) -> None:
        spec = bat_spec(market, **arguments)
        super().__init__(num_envs, spec, autoreset_mode=autoreset_mode, render_mode=render_mode)

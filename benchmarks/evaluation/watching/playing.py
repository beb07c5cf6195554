"""Plays one episode tick by tick with several bidders side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from agents.mixed import InTurn
from agents.rollouts import PlayedTick, episodes_of, play_tick, start_episode
from auction_env.control.advertisers import ControlledTick
from auction_env.control.bidder import Bidder, ImpressionBids
from benchmarks.evaluation.episodes import EpisodeSet
from benchmarks.evaluation.named import NamedBidder, check_bidders, made_for
from benchmarks.evaluation.watching.episode import Float, WatchedEpisode
from benchmarks.evaluation.watching.ladder import ladder_of


def watch(bidders: Mapping[str, Bidder | NamedBidder], episodes: EpisodeSet, episode: int = 0) -> WatchedEpisode:
    """Plays one episode with several bidders and keeps every tick.

    Args:
        bidders: By name: bidders, or `benchmarks.evaluation.named.named_bidder` of a text.
        episodes: Of one task: an entry of what `in_market`, `of_data` or `in_log` gives.
        episode: Position of the episode.

    Raises:
        ValueError: No bidder, no such episode, or a bidder that cannot play the task.
    """
    *_, last = unfold(bidders, episodes, episode)
    return last


def unfold(
    bidders: Mapping[str, Bidder | NamedBidder], episodes: EpisodeSet, episode: int = 0
) -> Iterator[WatchedEpisode]:
    """Plays as `watch` and gives the episode so far after every tick.

    Every bidder plays in a market of its own. The markets have equal impressions; their competitors react to the
    bidder, so that prices part.
    """
    check_bidders(bidders)
    chosen = episodes.one(episode)
    made = made_for(chosen.market, chosen.task, bidders)
    n = len(made)
    simulation = chosen.market.one_each(chosen.task, np.repeat(chosen.advertisers, n))
    players, ladder = InTurn(list(made.values())), ladder_of(simulation)
    days = None if chosen.days is None else np.repeat(chosen.days, n)
    campaigns = start_episode(simulation, np.repeat(chosen.seeds, n), players, days)
    plan = np.cumsum(np.atleast_2d(campaigns.traffic_shares)[0])
    description = chosen.description
    ticks: list[PlayedTick] = []
    prices: list[Float] = []

    def step(bids: Float | ImpressionBids) -> ControlledTick:
        outcome, to_beat = ladder.step(bids)
        prices.append(to_beat)
        return outcome

    for _ in range(simulation.n_ticks):
        ticks.append(play_tick(simulation, players, step))
        so_far = episodes_of(simulation, campaigns, ticks)
        yield WatchedEpisode(
            played={name: so_far.at(np.array([turn])) for turn, name in enumerate(made)},
            ladder=np.array(prices),
            plan=plan,
            description=description,
        )

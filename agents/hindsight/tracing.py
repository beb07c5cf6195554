"""An episode impression by impression, as a bidder plays it: what references and welfare are computed from."""

from __future__ import annotations

from collections.abc import Iterator

from auction_env.control.bidder import Bidder, check_bids
from auction_env.control.simulation import Simulation
from auction_env.market.tracing import TracedTick, trace_tick


def traced_episode(simulation: Simulation, bidder: Bidder) -> Iterator[TracedTick]:
    """Plays an episode of one market that has just been reset; gives each tick before it is settled.

    Args:
        simulation: One market with one controlled advertiser.
        bidder: Plays the controlled advertiser.

    Raises:
        ValueError: What comes of an impression is not known in its tick (`trace_tick`).
    """
    bidder.reset(simulation.campaigns())
    for _ in range(simulation.market.params.n_ticks):
        view = simulation.view()
        everyone = simulation.decide(check_bids(bidder, bidder.act(view), view))
        yield trace_tick(
            simulation.market, everyone.multipliers[0], on_impressions=everyone.on_impressions, any_basis=True
        )
        simulation.play(everyone)

"""The protocol that every bidder implements: rules, references, learned agents.

It is defined in `auction_env.control.bidder`, since the market takes bidders as competitors.
"""

from __future__ import annotations

from auction_env.control.bidder import Bidder, Campaigns, TickView

__all__ = ["Bidder", "Campaigns", "TickView"]

"""A tick of many markets, each phase one call: what opens it, pacing, auctions, what controlled advertisers see."""

"""A tick of many markets, each phase one call: what opens it, the auctions, what controlled advertisers see of it."""

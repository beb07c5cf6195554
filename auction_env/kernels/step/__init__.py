"""A tick of many markets, in one call or each phase in one: what opens it, pacing, auctions, controlled advertisers."""

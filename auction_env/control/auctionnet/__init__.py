"""AuctionNet's strategy interface, both ways: our bidders as its strategies, its strategies as our bidders."""

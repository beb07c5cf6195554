"""Scripted competitors: what each behaviour bids, named populations, the rules of AuctionNet."""

"""Advertisers that somebody controls: the bidder protocol, what a bidder observes, how it acts, and the simulation."""

"""Learners that play and imitate an oracle, which knows what the episode will bring."""

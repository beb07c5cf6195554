"""A learner that plays and imitates an oracle, which knows what the episode will bring."""

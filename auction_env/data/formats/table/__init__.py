"""A table of your own, one row a campaign and tick: its columns, reading, problems, and the trajectories made of it."""

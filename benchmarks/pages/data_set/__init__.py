"""The page of a trajectory data set."""

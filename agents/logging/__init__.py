"""How logs are made: logging policies and the collection of trajectories and impressions."""

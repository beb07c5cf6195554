"""Speed of market and training, and the question of scale, on a GPU: one script each."""

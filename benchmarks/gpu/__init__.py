"""Speed of market and training on a GPU, one script each."""

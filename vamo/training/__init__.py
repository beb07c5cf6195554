"""Training: the loop, its backward strategies, state, monitor, and several processes."""

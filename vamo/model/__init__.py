"""The policy: backbones, conditioning, heads, periodicity, ensembles, and decisions one tick at a time."""
